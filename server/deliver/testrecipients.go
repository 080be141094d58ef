package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
)

// TestRecipients are recipients with a fixed outcome, for a sandbox whose channels are real:
// whatever is sent to one of them goes nowhere and ends as its row says. Keys are numbers with
// their plus, or mailboxes in lower case.
type TestRecipients map[string]Outcome

var testNumber = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// ParseTestRecipients reads recipient=outcome, separated by commas; outcomes are sent, not_sent
// and unknown. Empty text is nobody.
func ParseTestRecipients(text string) (TestRecipients, error) {
	recipients := TestRecipients{}
	if strings.TrimSpace(text) == "" {
		return recipients, nil
	}
	outcomes := map[string]Outcome{Sent.String(): Sent, NotSent.String(): NotSent, Unknown.String(): Unknown}
	for i, entry := range strings.Split(text, ",") {
		to, word, _ := strings.Cut(strings.TrimSpace(entry), "=")
		outcome, known := outcomes[word]
		address, err := mail.ParseAddress(to)
		switch {
		case !known:
			return nil, fmt.Errorf("entry %d: does not end with =sent, =not_sent or =unknown", i+1)
		case !testNumber.MatchString(to) && (err != nil || address.Address != to):
			return nil, fmt.Errorf("entry %d: is for neither a number like +919000000001 nor a mailbox", i+1)
		}
		to = strings.ToLower(to)
		if _, twice := recipients[to]; twice {
			return nil, fmt.Errorf("entry %d: is for a recipient that has one already", i+1)
		}
		recipients[to] = outcome
	}
	return recipients, nil
}

// Before puts the recipients in front of channels.
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

// Send ends as the recipient's row says, and hands everybody else's messages on.
func (r rehearsed) Send(ctx context.Context, m Message) Result {
	outcome, fixed := r.recipients[strings.ToLower(m.To)]
	switch {
	case !fixed:
		return r.Channel.Send(ctx, m)
	case outcome == Sent:
		return Result{Outcome: Sent, MessageID: "test-" + m.ID}
	}
	return Result{Outcome: outcome, Reason: errRehearsed.Error()}
}
