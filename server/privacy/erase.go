package privacy

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// ErasurePrefix is the prefix of an erasure's id.
const ErasurePrefix = "era"

// Erasure is an erasure that is done.
type Erasure struct {
	ID          string             `json:"id"`
	Certificate string             `json:"certificate"` // the signed JWS
	Says        crypto.Certificate `json:"says"`        // its content, for people
}

// Erase destroys the data of a subject. It writes the request into the ledger and the audit log before it destroys
// anything, so that an interrupted erasure can be finished. Refusals: Invalid, NotFound.
func (p *Privacy) Erase(ctx context.Context, by otp.Actor, a Asked) (Erasure, error) {
	s, err := p.subject(ctx, a)
	if err != nil {
		return Erasure{}, err
	}
	now := otp.At(time.Now())
	e := sql.Erasure{ID: sql.NewID(), Account: s.Account, Environment: string(s.Environment), User: s.User,
		Recipient: s.Recipient, At: now}
	err = p.Store.Change(ctx, func(tx *sql.Tx) error {
		if err := p.Store.Privacy.Begin(tx, e); err != nil {
			return err
		}
		return note(tx, otp.PrivacyErasing, by, &s, now, map[string]string{"erasure": e.ID.Text(ErasurePrefix)})
	})
	if err != nil {
		return Erasure{}, err
	}
	// The erasure goes on if the caller hangs up.
	return p.finish(context.WithoutCancel(ctx), by, e)
}

// finish destroys the data, and certifies that.
func (p *Privacy) finish(ctx context.Context, by otp.Actor, e sql.Erasure) (made Erasure, err error) {
	s, gone := e.Subject(), sql.Erased{}
	err = p.each(ctx, s, 0, func(page sql.Page) error {
		step, err := p.Store.Privacy.Erase(ctx, page)
		gone.Add(step)
		return err
	})
	if err != nil {
		return made, err
	}
	err = p.Store.Change(ctx, func(tx *sql.Tx) error {
		e.DoneAt = otp.At(time.Now())
		rest, err := p.Store.Privacy.Unname(tx, s, e.DoneAt+1)
		if err != nil {
			return err
		}
		all := gone
		all.Add(rest)
		if all.SafeList, err = p.unlist(tx, &s, e.DoneAt); err != nil {
			return err
		}
		made.Says = p.certificate(&e, all)
		if e.Certificate, err = p.key.SignCertificate(made.Says); err != nil {
			return err
		}
		if _, err := p.Store.Privacy.Finish(tx, e); err != nil {
			return err
		}
		details := map[string]string{"erasure": e.ID.Text(ErasurePrefix)}
		for name, n := range made.Says.Erased {
			details[name] = strconv.FormatInt(n, 10)
		}
		return note(tx, otp.PrivacyErased, by, &s, e.DoneAt, details)
	})
	if err != nil {
		return made, err
	}
	made.ID, made.Certificate = e.ID.Text(ErasurePrefix), e.Certificate
	return made, p.Store.Privacy.Forget(ctx)
}

// unlist removes a subject's number from the safe list of its account, and returns how often it was there. A beginning
// of numbers stays, because it is nobody's.
func (p *Privacy) unlist(tx *sql.Tx, s *sql.Subject, at otp.Millis) (int64, error) {
	if s.Recipient.IsZero() {
		return 0, nil
	}
	account, err := p.Store.Accounts.Lock(tx, s.Account)
	if broken := (*sql.BrokenRow)(nil); errors.Is(err, sql.ErrNotFound) || errors.As(err, &broken) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	before := len(account.SafeList)
	account.SafeList = slices.DeleteFunc(account.SafeList, func(entry string) bool {
		return p.Vault.RecipientHash(s.Account, s.Environment, recipientOf(entry)) == s.Recipient
	})
	gone := int64(before - len(account.SafeList))
	if len(account.SafeList) == 0 {
		account.SafeList = nil // no list
	}
	if gone > 0 {
		account.UpdatedAt = at
		_, err = p.Store.Accounts.Update(tx, &account, []string{"safe_list", "updated_at"})
	}
	return gone, err
}

// certificate returns the content of an erasure's certificate.
func (p *Privacy) certificate(e *sql.Erasure, gone sql.Erased) crypto.Certificate {
	until := func(span otp.Millis) int64 { return (e.DoneAt + span).Time().Unix() }
	c := crypto.Certificate{
		Issuer: "otpbridge", ID: e.ID.Text(ErasurePrefix), Subject: e.User.Text(Pseudonym), Audience: e.Account,
		Environment: e.Environment, AskedAt: e.At.Time().Unix(), ErasedAt: e.DoneAt.Time().Unix(),
		IssuedAt: e.DoneAt.Time().Unix(), Erased: map[string]int64{},
		Remains: []crypto.Remainder{
			{What: "counters of guesses and sends, under a keyed hash", Until: until(otp.RecipientMemory),
				Why: "an erasure must not lift a lock"},
			{What: "entries of the audit log that name a pseudonym, or four digits of the number",
				Until: until(otp.Millis(p.ChangeDays) * otp.Day), Why: "they prove what was done, and by whom"},
			{What: "a line of the ledger of erasures, with keyed hashes",
				Why: "it stays, so that a restored backup is erased again"},
			{What: "backups and logs of the database from before",
				Why: "until the operator removes them; a restored one is erased again"},
		},
	}
	if !e.Recipient.IsZero() {
		c.Recipient = e.Recipient.Text(Pseudonym)
	}
	encoded, err := json.Marshal(gone)
	if err == nil {
		err = json.Unmarshal(encoded, &c.Erased)
	}
	if err != nil {
		panic(err) // numbers always have JSON
	}
	return c
}

// Verify returns the content of a certificate that this installation has signed. Refusal: Invalid.
func (p *Privacy) Verify(certificate string) (crypto.Certificate, error) {
	c, err := crypto.OpenCertificate(certificate, map[string][]byte{p.key.ID(): p.key.Public()})
	if err != nil {
		return c, otp.RefuseField("certificate", "is not one that this installation has signed, or was changed")
	}
	return c, nil
}

// interrupted is the age at which no server works on an unfinished erasure any more.
const interrupted = 10 * otp.Minute

// Resume finishes interrupted erasures, and returns their number.
func (p *Privacy) Resume(ctx context.Context, now otp.Millis) (n int, err error) {
	open, err := p.Store.Privacy.Open(ctx, now-interrupted)
	for _, e := range open {
		if err != nil {
			break
		}
		_, err = p.finish(ctx, otp.Actor{Kind: "server"}, e)
		n++
	}
	return n, err
}
