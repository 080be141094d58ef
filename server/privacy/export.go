package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// ExportFormat names the format of an export. New members may be added; no member changes its meaning.
const ExportFormat = "otpbridge-export-1"

// exportHead has the first members of an export. history and told follow. complete is last: an export without it was
// cut off.
type exportHead struct {
	Format      string          `json:"format"`
	Account     string          `json:"account"`
	Environment otp.Environment `json:"environment"`
	ID          string          `json:"id"` // as in the request
	ExportedAt  time.Time       `json:"exported_at"`
}

// exported is one line of a subject's history. It has no code, because none is kept.
type exported struct {
	At        time.Time       `json:"at"`
	Kind      otp.EventKind   `json:"kind"`
	Door      otp.Door        `json:"door"`
	Challenge string          `json:"challenge_id,omitempty"`
	Recipient string          `json:"recipient,omitempty"` // missing a day after its last use
	Email     string          `json:"email,omitempty"`     // the mailbox, if a message went there too
	Channels  []string        `json:"channels,omitempty"`
	Send      int             `json:"send,omitempty"` // its number within the challenge, from 1
	Type      string          `json:"type,omitempty"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
}

// tale is a webhook's delivery about a subject.
type tale struct {
	At    time.Time `json:"at"`
	Type  string    `json:"type"`
	State string    `json:"state"`
	Host  string    `json:"host"`
}

// ExportFile is the file name of an export.
const ExportFile = "export.json"

// exportPatience is how long one export may take.
const exportPatience = 10 * time.Minute

// Export writes the data of a subject as JSON. It first records in the audit log that somebody reads it. It writes a
// page at a time, so that an export may have any length; after an error it lacks its end. Refusals, before the first
// byte: Invalid, NotFound.
func (p *Privacy) Export(ctx context.Context, by otp.Actor, a Asked, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, exportPatience)
	defer cancel()
	s, err := p.subject(ctx, a)
	if err != nil {
		return err
	}
	if err := p.noted(ctx, otp.PrivacyExported, by, &s); err != nil {
		return err
	}
	head, err := json.Marshal(exportHead{ExportFormat, s.Account, s.Environment, a.ID, time.Now().UTC()})
	if err != nil {
		return err
	}
	out := &list{w: w}
	out.text(strings.TrimSuffix(string(head), "}") + `,"history":[`)
	err = p.each(ctx, s, 0, func(page sql.Page) error {
		traces, err := p.Store.Privacy.Traces(ctx, page)
		if err != nil {
			return err
		}
		for i := range traces {
			line, err := p.line(&traces[i])
			if err != nil {
				return err
			}
			out.member(line)
		}
		return out.flush()
	})
	if err != nil {
		return err
	}
	out.text(`],"webhooks":[`)
	out.some = false
	err = p.each(ctx, s, 0, func(page sql.Page) error {
		told, err := p.Store.Privacy.Told(ctx, page)
		for _, t := range told {
			out.member(tale{t.At.Time(), t.Type, t.State, t.Host})
		}
		if err != nil {
			return err
		}
		return out.flush()
	})
	if err != nil {
		return err
	}
	out.text("],\"complete\":true}\n")
	return out.flush()
}

// line decrypts an event into a line of the history.
func (p *Privacy) line(t *sql.Trace) (e exported, err error) {
	e = exported{At: t.At.Time(), Kind: t.Kind, Door: t.Door, Send: t.Send}
	if !t.Challenge.IsZero() {
		e.Challenge = t.Challenge.Text("otp")
	}
	if t.Channels&(otp.SMS|otp.Email) != 0 {
		e.Channels = strings.Split((t.Channels & (otp.SMS | otp.Email)).String(), ",")
	}
	if len(t.Sealed) > 0 {
		recipient, err := p.Vault.Keyring.Open(vault.Recipient(t.Row), t.Sealed)
		if err != nil {
			return e, fmt.Errorf("open recipient: %w", err)
		}
		e.Recipient = string(recipient)
	}
	if t.Mailbox != nil {
		mailbox, err := p.Vault.Keyring.Open(vault.Mailbox(t.ID), t.Mailbox)
		if err != nil {
			return e, fmt.Errorf("open mailbox: %w", err)
		}
		e.Email = string(mailbox)
	}
	if summary := t.Summary; summary != nil {
		e.Type = summary.Type
		if e.Recipient == "" {
			e.Recipient = summary.Mask
		}
		if summary.ExpiresAt != 0 {
			at := summary.ExpiresAt.Time()
			e.ExpiresAt = &at
		}
		if summary.Metadata != nil {
			if e.Metadata, err = p.Vault.Keyring.Open(vault.Metadata(t.Challenge), summary.Metadata); err != nil {
				return e, fmt.Errorf("open metadata: %w", err)
			}
		}
	}
	return e, nil
}

// list writes elements of JSON arrays.
type list struct {
	w    io.Writer
	page strings.Builder
	some bool
	err  error
}

func (l *list) text(text string) { l.page.WriteString(text) }

func (l *list) member(m any) {
	encoded, err := json.Marshal(m)
	if err != nil {
		l.err = err
		return
	}
	if l.some {
		l.page.WriteByte(',')
	}
	l.some = true
	l.page.WriteByte('\n')
	l.page.Write(encoded)
}

// flush writes the buffered page.
func (l *list) flush() error {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, l.page.String())
	}
	l.page.Reset()
	return l.err
}
