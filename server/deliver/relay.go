package deliver

import (
	"fmt"
	"slices"
	"strings"
)

// RelayRecipients are the recipients that a sandbox may really send a captured message to: numbers with their plus,
// and mailboxes; see Identity.
type RelayRecipients []string

// ParseRelayRecipients reads recipients, separated by commas. Empty text means none. Errors quote no value.
func ParseRelayRecipients(text string) (RelayRecipients, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var recipients RelayRecipients
	for i, entry := range strings.Split(text, ",") {
		to := strings.TrimSpace(entry)
		if !reachable(to) {
			return nil, fmt.Errorf("entry %d: is neither a number like +919551492394 nor a mailbox", i+1)
		}
		recipients = append(recipients, Identity(to))
	}
	return recipients, nil
}

// Allow reports whether to is one of them. A number has one spelling, with its plus.
func (r RelayRecipients) Allow(to string) bool { return slices.Contains(r, Identity(to)) }
