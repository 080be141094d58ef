package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// body is the body of a request.
type body struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Timestamp   time.Time `json:"timestamp"`
	Account     string    `json:"account"`
	Environment string    `json:"environment,omitempty"` // missing for what is about no environment, such as an alert
	Data        any       `json:"data"`
}

// about is the data member for an event of a challenge.
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

// errUntrue means that the change that a notice tells of is gone: the notice is dropped.
var errUntrue = errors.New("there is nothing to tell")

// text returns a notice's body. For an event that is the text for all endpoints; for a change it is the text of the
// first try, or a new one.
func (w *Webhooks) text(ctx context.Context, e *sql.Endpoint, n *sql.Notice, of sql.Text) ([]byte, error) {
	switch {
	case e.Recipients == full && of.Whole != nil:
		return w.Vault.Keyring.Open(vault.WebhookEvent(n.ID), of.Whole)
	case of.Masked != nil:
		return w.Vault.Keyring.Open(vault.WebhookEvent(n.ID), of.Masked)
	case n.Request != nil:
		return w.Vault.Keyring.Open(vault.WebhookText(n.Endpoint, n.ID), n.Request)
	}
	change, err := w.Store.Webhooks.Change(ctx, n.Event)
	if errors.Is(err, sql.ErrNotFound) {
		err = errUntrue
	}
	if err != nil {
		return nil, err
	}
	details := change.Details
	if details == nil {
		details = map[string]string{}
	}
	encoded, err := json.Marshal(body{ID: otp.NoticeID(n.Event, otp.NoticeType(n.Type)).Text("evt"), Type: n.Type,
		Timestamp: n.At.Time(), Account: n.Account, Environment: n.Environment, Data: details})
	if err != nil {
		return nil, err
	}
	n.Request = w.Vault.Keyring.Seal(vault.WebhookText(n.Endpoint, n.ID), encoded)
	return encoded, nil
}

// describe returns the text of an event for endpoints. Values that cannot be decrypted are left out and logged, so
// that one event does not block others.
func (w *Webhooks) describe(t *sql.Telling, told otp.NoticeType, id otp.ID) (text sql.Text) {
	e := &t.Event
	data := about{Challenge: e.Challenge.Text("otp"), Recipient: t.Recipient.Mask, Door: e.Door, Send: e.Send}
	if e.Channels != 0 {
		data.Channels = strings.Split(e.Channels.String(), ",")
	}
	if e.Summary != nil {
		data.Error = e.Summary.ProviderError
	}
	open := func(row, sealed []byte) []byte {
		if sealed == nil {
			return nil
		}
		plain, err := w.Vault.Keyring.Open(row, sealed)
		if err != nil {
			w.Log.Warn("webhooks are told of an event without what cannot be opened", "event", e.ID.Text("evt"), "error", err)
		}
		return plain
	}
	if first := t.First; first != nil {
		data.Purpose, data.Metadata = first.Type, open(vault.Metadata(e.Challenge), first.Metadata)
		data.Recipient = cmp.Or(data.Recipient, first.Mask)
		if !json.Valid(data.Metadata) {
			data.Metadata = nil
		}
	}
	seal := func() []byte {
		encoded, err := json.Marshal(body{ID: otp.NoticeID(e.ID, told).Text("evt"), Type: string(told),
			Timestamp: t.At.Time(), Account: e.Account, Environment: string(e.Environment), Data: data})
		if err != nil {
			panic(err) // texts and JSON always have JSON
		}
		return w.Vault.Keyring.Seal(vault.WebhookEvent(id), encoded)
	}
	text.Masked = seal()
	if t.Whole {
		if whole := open(vault.Recipient(t.Recipient.ID), t.Recipient.Sealed); whole != nil {
			data.Recipient = string(whole)
			text.Whole = seal()
		}
	}
	return text
}

// TellCheckpoint sends a checkpoint to the endpoints that name audit.checkpoint, so that their owners can keep it out
// of the reach of the database's owner.
func (w *Webhooks) TellCheckpoint(ctx context.Context, size int64, note string, at otp.Millis) error {
	return w.Store.Webhooks.TellAll(ctx, otp.NoticeCheckpoint, sql.NewID(), at,
		func(t *sql.Telling, told otp.NoticeType, id otp.ID) sql.Text {
			encoded, err := json.Marshal(body{ID: t.Event.ID.Text("evt"), Type: string(told), Timestamp: t.At.Time(),
				Account: t.Event.Account, Data: map[string]any{"size": size, "note": note}})
			if err != nil {
				panic(err) // numbers and texts always have JSON
			}
			return sql.Text{Masked: w.Vault.Keyring.Seal(vault.WebhookEvent(id), encoded)}
		})
}
