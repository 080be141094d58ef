package deliver

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Trial is how one channel fared with a test message.
type Trial struct {
	Channel string
	Result
	Took time.Duration
}

// TestMessage is a message with a code that nothing accepts, to a number with its plus or a mailbox. The id is made
// anew for each: mailboxes and gateways drop what they take for a repetition.
func TestMessage(id, to, account string, t Template, v Values) (Message, error) {
	m := Message{ID: id, SendID: id, Number: 1, Account: account, Medium: "sms", To: to,
		ExpiresAt: time.Now().Add(5 * time.Minute)}
	if strings.Contains(to, "@") {
		mailbox, err := Mailbox(to)
		if err != nil {
			return m, err
		}
		m.Medium, m.To = "email", mailbox
	} else if !PossibleNumber(to) {
		return m, errors.New("is neither a number like +919551492394 nor a mailbox like user@example.com")
	}
	m.Content = func() (Content, error) { return t.Render(m.Medium, v), nil }
	return m, nil
}

// Try sends m through the channels, in order, until one has sent it or may have. Only restricts them to the one of a
// name; wait bounds each. It returns how each fared that was tried.
func Try(ctx context.Context, channels []Channel, m Message, only string, wait time.Duration) (all []Trial) {
	for _, channel := range channels {
		if only != "" && channel.Name() != only {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, wait)
		began := time.Now()
		result := channel.Send(bounded, m)
		cancel()
		all = append(all, Trial{channel.Name(), result, time.Since(began)})
		if result.Outcome != NotSent {
			break
		}
	}
	return all
}
