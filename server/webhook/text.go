package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// body is what is sent.
type body struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Timestamp   time.Time `json:"timestamp"`
	Account     string    `json:"account"`
	Environment string    `json:"environment,omitempty"` // not of keys' changes
	Data        any       `json:"data"`
}

// about is the data of an event of a challenge.
type about struct {
	Challenge string          `json:"challenge_id"`
	Recipient string          `json:"recipient,omitempty"` // unknown a day after its last use
	Door      otp.Door        `json:"door"`
	Channels  []string        `json:"channels,omitempty"` // of a send
	Send      int             `json:"send,omitempty"`     // its number, from 1
	Purpose   string          `json:"purpose,omitempty"`  // the type that /v1/send was given
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Error     string          `json:"provider_error,omitempty"`
}

// errUntrue is the end of a notice that turned out not to be true, or whose event is gone.
var errUntrue = errors.New("there is nothing to tell")

// text returns a notice's body: the one that was sent before, or one made of its event.
func (w *Webhooks) text(ctx context.Context, e *sql.Endpoint, n *sql.Notice) ([]byte, error) {
	row := vault.WebhookText(n.Endpoint, n.ID)
	if n.Request != nil {
		return w.Vault.Keyring.Open(row, n.Request)
	}
	data, err := w.data(ctx, e, n)
	if errors.Is(err, sql.ErrNotFound) {
		err = errUntrue
	}
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(body{ID: otp.NoticeID(n.Event, otp.NoticeType(n.Type)).Text("evt"), Type: n.Type,
		Timestamp: n.At.Time(), Account: n.Account, Environment: n.Environment, Data: data})
	if err != nil {
		return nil, err
	}
	n.Request = w.Vault.Keyring.Seal(row, encoded)
	return encoded, nil
}

func (w *Webhooks) data(ctx context.Context, e *sql.Endpoint, n *sql.Notice) (any, error) {
	if n.Challenge.IsZero() {
		change, err := w.Store.Webhooks.Change(ctx, n.Event)
		if err != nil {
			return nil, err
		}
		details := change.Details
		if details == nil {
			details = map[string]string{}
		}
		return details, nil
	}
	if otp.NoticeType(n.Type) == otp.NoticeExpired {
		if err := w.expired(ctx, n.Challenge); err != nil {
			return nil, err
		}
	}
	event, recipient, err := w.Store.Webhooks.Source(ctx, n.Event)
	if err != nil {
		return nil, err
	}
	data := about{Challenge: event.Challenge.Text("otp"), Recipient: recipient.Mask, Door: event.Door, Send: event.Send}
	if event.Channels != 0 {
		data.Channels = strings.Split(event.Channels.String(), ",")
	}
	if event.Summary != nil {
		data.Error = event.Summary.ProviderError
	}
	if e.Recipients == full && recipient.Sealed != nil {
		whole, err := w.Vault.Keyring.Open(vault.Recipient(recipient.ID), recipient.Sealed)
		if err != nil {
			return nil, err
		}
		data.Recipient = string(whole)
	}
	return data, w.describe(ctx, &event, &data)
}

// describe adds what the first send of a challenge says of it, where it was asked for through the JSON API.
func (w *Webhooks) describe(ctx context.Context, event *otp.Event, data *about) error {
	if event.Door != otp.V1Door {
		return nil
	}
	history, err := w.Store.Challenges.History(ctx, event.Challenge)
	if err != nil {
		return err
	}
	for _, earlier := range history {
		s := earlier.Summary
		if earlier.Kind != otp.EventSent || s == nil {
			continue
		}
		data.Purpose = s.Type
		if data.Recipient == "" {
			data.Recipient = s.Mask
		}
		if s.Metadata != nil {
			if data.Metadata, err = w.Vault.Keyring.Open(vault.Metadata(event.Challenge), s.Metadata); err != nil {
				return err
			}
		}
	}
	return nil
}

// expired returns errUntrue unless a challenge has ended unused. One that is not there any more ended an hour ago, and
// is told of by nobody.
func (w *Webhooks) expired(ctx context.Context, challenge otp.ID) error {
	c, _, err := w.Store.Challenges.ByID(ctx, challenge)
	if err == nil && (c.UsedAt != 0 || c.CanceledAt != 0 || c.ReplacedAt != 0 || c.Wrong >= c.MaxAttempts) {
		return errUntrue
	}
	return err
}
