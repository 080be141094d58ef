package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Inbox shows what the sandbox would have sent: a view over committed sends. It stores nothing itself.
type Inbox struct{ engine *Engine }

// Message is one message in the sandbox's inbox, rendered from a committed send when it is read.
type Message struct {
	ID          string    `json:"id"`
	Account     string    `json:"account"`
	Channel     string    `json:"channel"`
	To          string    `json:"to"`
	From        string    `json:"from"`
	Subject     string    `json:"subject"`
	Text        string    `json:"text"`
	Code        string    `json:"code"`
	ChallengeID string    `json:"challenge_id"`
	CreatedAt   time.Time `json:"created_at"`

	content deliver.Content // complete
}

// Segments returns the number of segments that a provider would bill for the text.
func (m Message) Segments() deliver.Segments { return deliver.CountSegments(m.Text) }

// MessageQuery selects messages of the inbox. Zero fields select everything.
type MessageQuery struct {
	Account string
	To      string // any spelling of a number, or a mailbox
	After   string // a message's id: only newer ones; or an RFC 3339 time
	Limit   int    // 1–500; 0 means 50
}

// messagePage is how many sends one read of the inbox takes.
const messagePage = 500

// List returns messages of the inbox, newest first. Refusals: Invalid (after, to).
func (i *Inbox) List(ctx context.Context, q MessageQuery) ([]Message, error) {
	if q.Limit == 0 {
		q.Limit = 50
	}
	sends, err := i.sendQuery(ctx, q)
	if err != nil {
		return nil, err
	}
	to, err := recipientSpelling(q.To)
	if err != nil {
		return nil, err
	}
	messages := []Message{}
	for {
		page, err := i.engine.store.Sandbox.Sends(ctx, sends)
		if err != nil {
			return nil, err
		}
		for _, send := range page {
			shown, err := i.render(ctx, &send)
			if err != nil {
				return nil, err
			}
			for _, message := range shown {
				if q.To != "" && deliver.Identity(message.To) != to {
					continue
				}
				if messages = append(messages, message); len(messages) == q.Limit {
					return messages, nil
				}
			}
		}
		if len(page) < sends.Limit {
			return messages, nil
		}
		sends.Before = page[len(page)-1].Event.ID
	}
}

// sendQuery returns the part of q that the store can select.
func (i *Inbox) sendQuery(ctx context.Context, q MessageQuery) (sql.SendQuery, error) {
	sends := sql.SendQuery{Account: q.Account, From: sql.OldestSend(otp.At(time.Now())), Limit: min(q.Limit, messagePage)}
	if q.After != "" {
		event, _, _ := strings.Cut(q.After, "-")
		if id, ok := otp.ParseID("msg", event); ok {
			sends.After = id
		} else if at, err := time.Parse(time.RFC3339, q.After); err == nil {
			sends.Since = otp.At(at)
		} else {
			return sends, otp.RefuseField("after", "must be a message's id or a time such as 2026-01-31T12:00:00Z")
		}
	}
	to, err := recipientSpelling(q.To)
	switch {
	case err != nil:
		return sends, err
	case to == "":
	case strings.Contains(to, "@"):
		// A mailbox is sealed with each send, and its hash names another row. So sends are selected by mailbox only
		// after they are opened.
		sends.WithMail, sends.Limit = true, messagePage
	default:
		addresses := []string{q.Account}
		if q.Account == "" {
			var err error
			if addresses, err = i.engine.store.Accounts.Addresses(ctx); err != nil {
				return sends, err
			}
		}
		for _, address := range addresses {
			for _, environment := range otp.Environments() {
				caller := &Caller{Account: &otp.Account{Address: address}, Environment: environment}
				sends.Recipients = append(sends.Recipients, i.engine.recipientHash(caller, to))
			}
		}
	}
	return sends, nil
}

// recipientSpelling brings an inbox search term to the spelling that messages have. Refusal: Invalid for a malformed
// mailbox.
func recipientSpelling(to string) (string, error) {
	if to == "" {
		return "", nil
	}
	if strings.Contains(to, "@") {
		return inField("to")(normalMailbox(to))
	}
	digits := strings.NewReplacer(" ", "", "-", "", "+", "").Replace(to)
	return "+" + strings.TrimPrefix(digits, "00"), nil
}

// render renders the inbox messages of one send, one per channel.
func (i *Inbox) render(ctx context.Context, send *sql.Send) ([]Message, error) {
	challenge, event := &send.Challenge, &send.Event
	opened, err := i.engine.keyring.Open(vault.Recipient(send.Recipient.ID), send.Recipient.Sealed)
	if err != nil {
		return nil, err
	}
	recipient := string(opened)
	settings, err := i.engine.accounts.value(ctx, event.Account)
	if err != nil {
		return nil, err
	}
	code, err := i.engine.code(settings, challenge, recipient)
	if err != nil {
		return nil, err
	}
	var messages []Message
	for _, medium := range event.Channels.Each() {
		to := recipient
		if medium == otp.Email {
			mailbox, err := i.engine.keyring.Open(vault.Mailbox(event.ID), event.Mailbox)
			if err != nil {
				return nil, err
			}
			to = string(mailbox)
		}
		content, err := i.engine.content(settings, challenge, recipient, medium, "")
		if err != nil {
			return nil, err
		}
		messages = append(messages, Message{
			ID:      event.ID.Text("msg") + "-" + medium.String(),
			Account: event.Account, Channel: medium.String(),
			To: to, From: "OTPBridge", Subject: content.Subject, Text: content.Text, Code: code,
			ChallengeID: challenge.ID.Text("otp"), CreatedAt: event.At.Time(), content: content,
		})
	}
	return messages, nil
}

// Await is List, but waits until there is at least one match, ctx ends or wait is over; then it returns what there is,
// possibly nothing.
func (i *Inbox) Await(ctx context.Context, q MessageQuery, wait time.Duration) ([]Message, error) {
	if i.engine.options.Inbox == nil {
		return nil, errors.New("there is no inbox to wait for")
	}
	// A send by another server on the same database does not wake waiters here, so they poll.
	const lookAgain = 250 * time.Millisecond
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		arrival := i.engine.options.Inbox.Arrival()
		messages, err := i.List(ctx, q)
		if err != nil || len(messages) > 0 {
			return messages, err
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-arrival:
		case <-again.C:
		case <-over.C:
			again.Stop()
			return messages, nil
		case <-ctx.Done():
			again.Stop()
			return messages, nil
		}
		again.Stop()
	}
}

// Clear empties the inbox by moving its watermark; codes stay live.
func (i *Inbox) Clear(ctx context.Context) error {
	return i.engine.store.Sandbox.ClearInbox(ctx, sql.NewID())
}
