package deliver

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Trial is the result of a test message on one channel.
type Trial struct {
	Channel string
	Result
	Took time.Duration
}

// TestMessage returns a message with a code that is not accepted anywhere, to a number with its plus or a mailbox. id
// must be new each time: mailboxes and gateways drop repetitions.
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

// Try sends m through the channels, in order, until one has sent it or may have. only restricts it to the channel with
// that name; wait bounds each try. It returns the result of each channel that was tried.
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
