package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"otpbridge/server/otp"
)

// Erased counts what an erasure removed.
type Erased struct {
	Recipients     int64 `json:"recipients"` // numbers and mailboxes; their counters lapse later
	Challenges     int64 `json:"challenges"`
	Events         int64 `json:"events"`
	Deliveries     int64 `json:"deliveries"`
	Webhooks       int64 `json:"webhook_deliveries"`
	Answers        int64 `json:"stored_answers"` // kept for repeated requests
	TestRecipients int64 `json:"test_recipients"`
	SafeList       int64 `json:"safe_list"` // entries of the account's column
}

// Add adds the counts of another step.
func (e *Erased) Add(more Erased) {
	e.Recipients += more.Recipients
	e.Challenges += more.Challenges
	e.Events += more.Events
	e.Deliveries += more.Deliveries
	e.Webhooks += more.Webhooks
	e.Answers += more.Answers
	e.TestRecipients += more.TestRecipients
	e.SafeList += more.SafeList
}

// eraser erases a page inside a transaction.
type eraser struct {
	*Tx
	gone Erased
}

// Erase erases a page in one transaction. Recipients that no other event names lose their number or mailbox, and keep
// the counters that guard against guessing.
func (p *Privacy) Erase(ctx context.Context, page Page) (gone Erased, err error) {
	err = p.store.write(ctx, func(w *session) error {
		e := &eraser{Tx: &Tx{session: w, store: p.store, ctx: ctx}}
		for _, part := range page.parts() {
			if err := e.erase(part); err != nil {
				return err
			}
		}
		gone = e.gone
		return nil
	})
	if err != nil {
		return gone, fmt.Errorf("erase: %w", err)
	}
	return gone, nil
}

// erase erases the events of a part and everything that depends on them. Every decision about a challenge holds its
// recipient's lock, so the recipients are locked first.
func (e *eraser) erase(part pagePart) error {
	_, recipients, err := e.named(part)
	if err != nil || len(recipients) == 0 {
		return err
	}
	list, args := in(recipients, idValue)
	err = e.query(e.ctx, `SELECT id FROM recipients WHERE hash IN `+list+` ORDER BY hash`+e.store.dialect.lock, args,
		func(row) error { return nil })
	if err != nil {
		return err
	}
	events, recipients, err := e.named(part) // their current state
	if err != nil || len(events) == 0 {
		return err
	}
	if part.column == "challenge_id" {
		if err := e.eraseChallenges(part.ids, events, recipients); err != nil {
			return err
		}
	}
	list, args = in(part.ids, idValue)
	if err := e.count(&e.gone.Events, `DELETE FROM events WHERE `+part.column+` IN `+list, args...); err != nil {
		return err
	}
	for _, hash := range recipients {
		if err := e.unname(hash); err != nil {
			return err
		}
	}
	return nil
}

// named reads the events of a part, and the recipients and mailboxes that they name, sorted.
func (e *eraser) named(part pagePart) (events, recipients []otp.ID, err error) {
	list, args := in(part.ids, idValue)
	err = e.query(e.ctx, `SELECT id, recipient_hash, mailbox_hash FROM events WHERE `+part.column+` IN `+list, args,
		func(found row) error {
			r := reader{row: found}
			events, recipients = append(events, r.id()), append(recipients, r.id())
			if mailbox := r.optionalID(); !mailbox.IsZero() {
				recipients = append(recipients, mailbox)
			}
			return r.err
		})
	return events, sortIDs(recipients), err
}

func (e *eraser) eraseChallenges(challenges, events, recipients []otp.ID) error {
	list, args := in(challenges, idValue)
	if err := e.count(&e.gone.Challenges, `DELETE FROM challenges WHERE id IN `+list, args...); err != nil {
		return err
	}
	for _, hash := range recipients {
		n, err := e.store.Webhooks.Erase(e.Tx, hash, challenges...)
		if err != nil {
			return err
		}
		e.gone.Webhooks += n
	}
	// An answer is stored under the id that its request made: a challenge, or the event of a resend.
	for some := range slices.Chunk(slices.Concat(challenges, events), maxInsert) {
		list, args := in(some, idValue)
		if err := e.count(&e.gone.Answers, `DELETE FROM idempotency_keys WHERE challenge_id IN `+list, args...); err != nil {
			return err
		}
	}
	var deliveries []otp.ID
	for _, event := range events {
		deliveries = append(deliveries, otp.DeliveryID(event, otp.SMS), otp.DeliveryID(event, otp.Email))
	}
	for some := range slices.Chunk(deliveries, maxInsert) {
		list, args := in(some, idValue)
		if err := e.count(&e.gone.Deliveries, `DELETE FROM deliveries WHERE id IN `+list, args...); err != nil {
			return err
		}
	}
	return nil
}

// unname removes the number or mailbox of a recipient that no event names any more. Its counters stay and lapse within
// a day: without them an erasure would lift a lock. The row is locked by a separate statement, so that the next one
// sees a send that was faster.
func (e *eraser) unname(hash otp.ID) error {
	err := e.query(e.ctx, `SELECT id FROM recipients WHERE hash = ?`+e.store.dialect.lock, []driver.Value{hash[:]},
		func(row) error { return nil })
	if err != nil {
		return err
	}
	return e.count(&e.gone.Recipients, unnaming, hash[:], hash[:], hash[:])
}

const unnaming = `
	UPDATE recipients
	SET sealed = X'', mask = '', version = version + 1
	WHERE hash = ? AND mask <> ''
		AND NOT EXISTS (SELECT 1 FROM events e WHERE ` + byRecipient + `)
		AND NOT EXISTS (SELECT 1 FROM events e WHERE ` + byMailbox + `)`

func (e *eraser) count(to *int64, text string, args ...driver.Value) error {
	n, err := e.affect(e.ctx, text, args...)
	*to += n
	return err
}

// Unname removes what remains of a subject's number or mailbox from before a moment, once its history is gone: its
// row, the webhook messages about its locks, and its test recipient.
func (p *Privacy) Unname(tx *Tx, s Subject, before otp.Millis) (Erased, error) {
	e := &eraser{Tx: tx}
	if s.Recipient.IsZero() {
		return e.gone, nil
	}
	err := e.unname(s.Recipient)
	stays := false
	if err == nil {
		err = e.query(tx.ctx, `SELECT 1 FROM events e WHERE `+byRecipient+` LIMIT 1`, []driver.Value{s.Recipient[:]},
			func(row) error { stays = true; return nil })
	}
	if err == nil && !stays {
		e.gone.Webhooks, err = p.store.Webhooks.Erase(tx, s.Recipient)
		if err == nil {
			err = tx.exec(tx.ctx, `DELETE FROM shadows WHERE id = ?`, s.Recipient[:])
		}
	}
	if err == nil {
		err = e.count(&e.gone.TestRecipients, `DELETE FROM test_recipients WHERE recipient_hash = ? AND created_at < ?`,
			s.Recipient[:], int64(before))
	}
	return e.gone, err
}

// Forget removes erased data from the database's files as far as possible: SQLite overwrites what it deletes, but
// keeps the old page in its log until this call.
func (p *Privacy) Forget(ctx context.Context) error {
	s := p.store
	s.single.Lock()
	defer s.single.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.writer.connect(ctx); err != nil {
		return err
	}
	for _, text := range s.dialect.forget {
		if _, err := s.writer.conn.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("empty the database's log: %w", err)
		}
	}
	return nil
}

// Erasure is a line of the ledger.
type Erasure struct {
	ID          otp.ID
	Account     string
	Environment string
	User        otp.ID
	Recipient   otp.ID
	At          otp.Millis
	DoneAt      otp.Millis // 0: in progress
	Certificate string     // a signed JWS; empty until it is done
}

var erasures = table[Erasure]{"erasures", func(e *Erasure) []column {
	return []column{
		{"id", &e.ID}, {"esme_address", &e.Account}, {"environment", &e.Environment}, {"user_hash", &e.User},
		{"recipient_hash", &e.Recipient}, {"at", &e.At}, {"done_at", &e.DoneAt}, {"certificate", &e.Certificate},
	}
}}

// Subject returns whose erasure it is.
func (e *Erasure) Subject() Subject {
	return Subject{e.Account, otp.Environment(e.Environment), e.User, e.Recipient}
}

// Begin adds a line to the ledger.
func (p *Privacy) Begin(tx *Tx, e Erasure) error { return erasures.insert(tx.ctx, tx, &e) }

// Finish records that an erasure is done. It reports false if it was already.
func (p *Privacy) Finish(tx *Tx, e Erasure) (bool, error) {
	return tx.changed(`UPDATE erasures SET done_at = ?, certificate = ? WHERE id = ? AND done_at IS NULL`,
		int64(e.DoneAt), e.Certificate, e.ID[:])
}

// Ledger reads erasures after an id, oldest first, of one account, or of all for "".
func (p *Privacy) Ledger(ctx context.Context, account string, after otp.ID, limit int) ([]Erasure, error) {
	if account != "" {
		return erasures.find(ctx, p.store, `esme_address = ? AND id > ? ORDER BY id LIMIT ?`, account, after[:], limit)
	}
	return erasures.find(ctx, p.store, `id > ? ORDER BY id LIMIT ?`, after[:], limit)
}

// Erasure reads a line of the ledger; ErrNotFound if there is none.
func (p *Privacy) Erasure(ctx context.Context, id otp.ID) (Erasure, error) {
	return erasures.one(ctx, p.store, `id = ?`, id[:])
}

// Open lists erasures that are not done and began before a moment.
func (p *Privacy) Open(ctx context.Context, before otp.Millis) ([]Erasure, error) {
	return erasures.find(ctx, p.store, `done_at IS NULL AND at < ? ORDER BY id`, int64(before))
}
