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

// ExportFormat names the form of an export. Members may be added to it, and none changes its meaning.
const ExportFormat = "otpbridge-export-1"

// exportHead is what an export begins with. History and told follow, and complete at the end: an export without it was
// cut off.
type exportHead struct {
	Format      string          `json:"format"`
	Account     string          `json:"account"`
	Environment otp.Environment `json:"environment"`
	ID          string          `json:"id"` // as it was asked for
	ExportedAt  time.Time       `json:"exported_at"`
}

// exported is one line of a subject's history. It has no code: none is kept.
type exported struct {
	At        time.Time       `json:"at"`
	Kind      otp.EventKind   `json:"kind"`
	Door      otp.Door        `json:"door"`
	Challenge string          `json:"challenge_id,omitempty"`
	Recipient string          `json:"recipient,omitempty"` // missing a day after its last use
	Email     string          `json:"email,omitempty"`     // where a message went besides
	Channels  []string        `json:"channels,omitempty"`
	Send      int             `json:"send,omitempty"` // of the challenge's, from 1
	Type      string          `json:"type,omitempty"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
}

// tale is something that a webhook told another server of a subject.
type tale struct {
	At    time.Time `json:"at"`
	Type  string    `json:"type"`
	State string    `json:"state"`
	Host  string    `json:"host"`
}

// ExportFile is what an export is called where it is kept as a file.
const ExportFile = "export.json"

// exportPatience bounds one export.
const exportPatience = 10 * time.Minute

// Export writes what is kept of a subject as JSON, a page at a time, whatever its length, after it is recorded that
// somebody reads it. An error after the first byte leaves the export without its end. Refusals, before it: Invalid,
// NotFound.
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

// line opens what an event says.
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

// list writes members of JSON arrays.
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

// flush hands out what was written.
func (l *list) flush() error {
	if l.err == nil {
		_, l.err = io.WriteString(l.w, l.page.String())
	}
	l.page.Reset()
	return l.err
}
