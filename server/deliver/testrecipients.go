package deliver

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// TestRecipients are recipients with a fixed outcome, for a sandbox with real channels: nothing is sent to them, and
// the outcome is the one in their row. Keys are numbers with their plus, or mailboxes; see Identity.
type TestRecipients map[string]TestRecipient

// TestRecipient is the outcome of messages to a test recipient.
type TestRecipient struct {
	Outcome Outcome
	// Code replaces the code of the recipient's challenges whose codes have the same length, 4 to 10 digits; empty
	// replaces none.
	Code string
}

// Code returns the fixed code for a recipient's challenges with codes of this length, empty for none.
func (r TestRecipients) Code(to string, length int) string {
	if code := r[Identity(to)].Code; len(code) == length {
		return code
	}
	return ""
}

// Has reports whether to is a test recipient.
func (r TestRecipients) Has(to string) bool {
	_, has := r[Identity(to)]
	return has
}

var fixedCode = regexp.MustCompile(`^[0-9]{4,10}$`)

var testNumber = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// ParseTestRecipients reads recipient=outcome or recipient=outcome:code, separated by commas. Outcomes are sent,
// not_sent and unknown; a code is 4 to 10 digits. Empty text means none. Errors quote no value.
func ParseTestRecipients(text string) (TestRecipients, error) {
	recipients := TestRecipients{}
	if strings.TrimSpace(text) == "" {
		return recipients, nil
	}
	outcomes := map[string]Outcome{Sent.String(): Sent, NotSent.String(): NotSent, Unknown.String(): Unknown}
	for i, entry := range strings.Split(text, ",") {
		to, word, _ := strings.Cut(strings.TrimSpace(entry), "=")
		word, code, coded := strings.Cut(word, ":")
		outcome, known := outcomes[word]
		switch {
		case !known:
			return nil, fmt.Errorf("entry %d: does not end with =sent, =not_sent or =unknown, or one of these and a code, as "+
				"in =sent:123456", i+1)
		case coded && !fixedCode.MatchString(code):
			return nil, fmt.Errorf("entry %d: has a code that is not 4 to 10 digits", i+1)
		case !reachable(to):
			return nil, fmt.Errorf("entry %d: is for neither a number like +919000000001 nor a mailbox", i+1)
		}
		to = Identity(to)
		if _, twice := recipients[to]; twice {
			return nil, fmt.Errorf("entry %d: is for a recipient that has one already", i+1)
		}
		recipients[to] = TestRecipient{Outcome: outcome, Code: code}
	}
	return recipients, nil
}

// reachable reports whether to is a number with its plus, or a bare mailbox.
func reachable(to string) bool {
	_, err := Mailbox(to)
	return testNumber.MatchString(to) || err == nil
}

// Before returns the channels with the test recipients in front.
func (r TestRecipients) Before(channels []Channel) []Channel {
	if len(r) == 0 {
		return channels
	}
	guarded := make([]Channel, len(channels))
	for i, channel := range channels {
		guarded[i] = rehearsed{channel, r}
	}
	return guarded
}

// rehearsed is a channel with test recipients in front.
type rehearsed struct {
	Channel
	recipients TestRecipients
}

var errRehearsed = errors.New("a test recipient's outcome")

// Send returns the fixed outcome for a test recipient, and hands all other messages on.
func (r rehearsed) Send(ctx context.Context, m Message) Result {
	row, fixed := r.recipients[Identity(m.To)]
	switch {
	case !fixed:
		return r.Channel.Send(ctx, m)
	case row.Outcome == Sent:
		return Result{Outcome: Sent, MessageID: "test-" + m.ID}
	}
	return Result{Outcome: row.Outcome, Reason: errRehearsed.Error()}
}

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
