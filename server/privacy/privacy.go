// Package privacy exports and erases the data of one person, and reports which personal data is kept and how long.
//
// A subject is a user_id in an application's metadata, or a recipient: a number in E.164 form, or a mailbox. It is
// found by keyed hashes in an index. An erasure destroys all data of the subject except the counters against guessing,
// which expire within a day, and pseudonyms in the audit log and in the ledger of erasures. The ledger is written
// beside the audit log's checkpoints, so that erasures can be repeated on a restored backup.
//
// The next server that starts finishes an interrupted erasure. Data that is sent to the subject while an erasure runs
// may stay, as if it had been sent afterwards.
package privacy

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Options are what Privacy needs.
type Options struct {
	Store *sql.Store
	Vault *vault.Vault
	Log   *slog.Logger
	// CallDays and ChangeDays are how long the audit log keeps the content of its entries.
	CallDays, ChangeDays int
	// LedgerFile is the file that every certificate is appended to; empty for none.
	LedgerFile string
}

// Privacy exports, erases and reports. It is safe for concurrent use.
type Privacy struct {
	Options
	key *crypto.ReceiptKey

	mu     sync.Mutex
	pushed map[otp.ID]bool // the erasures in the ledger's file; nil until it is read
	last   otp.ID
}

// New returns a Privacy. It derives the key that signs certificates.
func New(o Options) (*Privacy, error) {
	key, err := o.Vault.CertificateKey()
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Privacy{Options: o, key: key}, err
}

// Asked names a subject of an account.
type Asked struct {
	Account     string
	Environment otp.Environment
	ID          string // a user_id, or a recipient
}

// maxID is the length of the longest user_id that fits into metadata, in bytes.
const maxID = 1024

// subject returns the subject that a request names. An id that can be both a user_id and a recipient means both. A
// number needs its plus: digits alone could be another person's user_id. Refusals: Invalid, NotFound.
func (p *Privacy) subject(ctx context.Context, a Asked) (sql.Subject, error) {
	if err := a.Environment.Check(); err != nil {
		return sql.Subject{}, err
	}
	if a.ID == "" || len(a.ID) > maxID {
		return sql.Subject{}, otp.RefuseField("id", "must be a user_id, a number such as +919551492394 or a mailbox")
	}
	_, err := p.Store.Accounts.Find(ctx, a.Account)
	if errors.Is(err, sql.ErrNotFound) {
		return sql.Subject{}, otp.Refuse(otp.NotFound, "there is no such account")
	}
	if broken := (*sql.BrokenRow)(nil); err != nil && !errors.As(err, &broken) {
		return sql.Subject{}, err
	}
	s := sql.Subject{Account: a.Account, Environment: a.Environment,
		User: p.Vault.UserHash(a.Account, a.Environment, a.ID)}
	if recipient := recipientOf(a.ID); recipient != "" {
		s.Recipient = p.Vault.RecipientHash(a.Account, a.Environment, recipient)
	}
	return s, nil
}

// recipientOf returns the identity of a number or mailbox, empty for an id that is neither. It also accepts numbers
// that the account no longer sends to.
func recipientOf(id string) string {
	if strings.Contains(id, "@") {
		mailbox, err := deliver.Mailbox(id)
		if err != nil {
			return ""
		}
		return mailbox
	}
	digits, plus := strings.CutPrefix(strings.NewReplacer(" ", "", "-", "").Replace(id), "+")
	if !plus || !otp.Digits(digits) || len(digits) > 15 {
		return ""
	}
	return deliver.AnyNumber(digits)
}

// Pseudonym is the prefix of a subject's pseudonym in the audit log, in certificates and in the ledger.
const Pseudonym = "sub"

// note records an action about a subject in the audit log.
func note(tx *sql.Tx, kind otp.ChangeKind, by otp.Actor, s *sql.Subject, at otp.Millis,
	details map[string]string) error {
	if details == nil {
		details = map[string]string{}
	}
	details["subject"], details["environment"] = s.User.Text(Pseudonym), string(s.Environment)
	return tx.Record(otp.Change{ID: sql.NewID(), At: at, Kind: kind, Actor: by, Account: s.Account, Details: details})
}

func (p *Privacy) noted(ctx context.Context, kind otp.ChangeKind, by otp.Actor, s *sql.Subject) error {
	return p.Store.Change(ctx, func(tx *sql.Tx) error { return note(tx, kind, by, s, otp.At(time.Now()), nil) })
}

// Count is how much an erasure would destroy.
type Count struct {
	Challenges int `json:"challenges"` // of the history
	Events     int `json:"events"`
}

// Count counts the data of a subject, and records that somebody did so.
func (p *Privacy) Count(ctx context.Context, by otp.Actor, a Asked) (c Count, err error) {
	s, err := p.subject(ctx, a)
	if err != nil {
		return c, err
	}
	if err := p.noted(ctx, otp.PrivacyCounted, by, &s); err != nil {
		return c, err
	}
	err = p.each(ctx, s, 0, func(page sql.Page) error {
		traces, err := p.Store.Privacy.Traces(ctx, page)
		c.Challenges += len(page.Challenges)
		c.Events += len(traces)
		return err
	})
	return c, err
}

// each visits all pages of a subject, also those that older servers stored without hashes.
func (p *Privacy) each(ctx context.Context, s sql.Subject, before otp.Millis, visit func(sql.Page) error) error {
	if err := p.Store.Privacy.Each(ctx, s, before, visit); err != nil {
		return err
	}
	return p.eachUnhashed(ctx, []sql.Subject{s}, visit)
}

// eachUnhashed searches the sends without hashes for several subjects in one pass.
func (p *Privacy) eachUnhashed(ctx context.Context, subjects []sql.Subject, visit func(sql.Page) error) error {
	return p.Store.Privacy.EachUnhashed(ctx, func(u sql.Unhashed) error {
		for i := range subjects {
			if s := &subjects[i]; s.Account == u.Account && s.Environment == u.Environment && p.isOf(&u, s) {
				return visit(sql.Page{Challenges: []otp.ID{u.Challenge}})
			}
		}
		return nil
	})
}

// isOf reports whether a send without hashes names a subject. A value that cannot be decrypted does not.
func (p *Privacy) isOf(u *sql.Unhashed, s *sql.Subject) bool {
	if u.Metadata != nil {
		metadata, err := p.Vault.Keyring.Open(vault.Metadata(u.Challenge), u.Metadata)
		if user := otp.UserOf(metadata); err == nil && user != "" &&
			p.Vault.UserHash(s.Account, s.Environment, user) == s.User {
			return true
		}
	}
	if u.Mailbox == nil || s.Recipient.IsZero() {
		return false
	}
	mailbox, err := p.Vault.Keyring.Open(vault.Mailbox(u.Event), u.Mailbox)
	return err == nil && p.Vault.RecipientHash(s.Account, s.Environment, string(mailbox)) == s.Recipient
}
