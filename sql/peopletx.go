package sql

import (
	"context"
	"database/sql/driver"
	"errors"

	"otpbridge/server/otp"
)

// Tx is a transaction that changes people, keys or accounts. It is valid until the function that it was given to
// returns. Its writes are guarded against concurrent ones: a method that reports false has changed nothing.
type Tx struct {
	*session
	store    *Store
	ctx      context.Context
	recorded bool
}

// errUnrecorded reports a caller's bug.
var errUnrecorded = errors.New("sql: something was changed and no change was recorded")

// Change runs do in a transaction and commits if do returns nil. do may run several times, each time on fresh rows;
// the last run counts. do must record its changes in the same transaction: without a record the transaction fails.
// ErrTaken means that an address, or another unique key, is in use. The error is a refusal, Overloaded, if too many
// writes wait.
func (s *Store) Change(ctx context.Context, do func(*Tx) error) error {
	if err := s.admitsWrite(); err != nil {
		return err
	}
	err := s.write(ctx, func(w *session) error {
		tx := &Tx{session: w, store: s, ctx: ctx}
		if err := do(tx); err != nil {
			return err
		}
		if !tx.recorded {
			return errUnrecorded
		}
		return nil
	})
	if err != nil && s.dialect.taken(err) {
		return ErrTaken
	}
	return err
}

// Record adds a change to the history, and the notices about it for the account's webhooks.
func (tx *Tx) Record(c otp.Change) error {
	tx.recorded = true
	row := rowOf(c)
	if err := changes.insert(tx.ctx, tx, &row); err != nil {
		return err
	}
	return tx.tellChange(&c)
}

func first[R any](all []R, err error) (r R, found bool, _ error) {
	if err != nil || len(all) == 0 {
		return r, false, err
	}
	return all[0], true, nil
}

func (tx *Tx) changed(text string, args ...driver.Value) (bool, error) {
	n, err := tx.affect(tx.ctx, text, args...)
	return n > 0, err
}

// Person reads a person; false if there is none.
func (tx *Tx) Person(id otp.ID) (Person, bool, error) {
	return first(persons.lock(tx.ctx, tx, `id = ?`, id[:]))
}

// Owners counts the enabled persons with a role except one, and prevents other transactions from changing that number
// until this one ends.
func (tx *Tx) Owners(role string, except otp.ID) (int, error) {
	if err := tx.exec(tx.ctx, `UPDATE owners SET version = version + 1 WHERE id = 1`); err != nil {
		return 0, err
	}
	all, err := persons.lock(tx.ctx, tx, `role = ? AND disabled_at IS NULL AND id <> ?`, role, except[:])
	return len(all), err
}

// InsertPerson adds a person.
func (tx *Tx) InsertPerson(p Person) error { return persons.insert(tx.ctx, tx, &p) }

// UpdatePerson writes a person's columns except address, password and creation, if the row still has p's version, and
// raises the version by one.
func (tx *Tx) UpdatePerson(p Person) (bool, error) {
	cell := func(name string, field any) driver.Value { return column{name, field}.value() }
	return tx.changed(`
		UPDATE persons
		SET name = ?, role = ?, accounts = ?, permissions = ?, version = version + 1, updated_at = ?, disabled_at = ?
		WHERE id = ? AND version = ?`,
		p.Name, p.Role, cell("accounts", &p.Accounts), cell("permissions",
			&p.Permissions), int64(p.UpdatedAt), moment(p.DisabledAt), p.ID[:], p.Version)
}

// UpdatePassword writes a new hash if the row still has the old one.
func (tx *Tx) UpdatePassword(person otp.ID, old, hash string) (bool, error) {
	return tx.changed(`UPDATE persons SET password_hash = ? WHERE id = ? AND password_hash = ?`, hash, person[:], old)
}

// DeletePerson removes a person and everything that belongs to them except the history.
func (tx *Tx) DeletePerson(id otp.ID) (bool, error) {
	err := tx.exec(tx.ctx,
		`DELETE FROM refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE person_id = ?)`, id[:])
	for _, table := range []string{"sessions", "factors", "backup_codes", "tickets", "ceremonies"} {
		if err == nil {
			err = tx.exec(tx.ctx, `DELETE FROM `+table+` WHERE person_id = ?`, id[:])
		}
	}
	if err != nil {
		return false, err
	}
	return tx.changed(`DELETE FROM persons WHERE id = ?`, id[:])
}

// InsertTicket adds a ticket.
func (tx *Tx) InsertTicket(t Ticket) error { return tickets.insert(tx.ctx, tx, &t) }

// UseTicket uses up a ticket that is valid at now; false for any other.
func (tx *Tx) UseTicket(hash [32]byte, now otp.Millis) (t Ticket, found bool, err error) {
	used, err := tx.changed(`UPDATE tickets SET used_at = ? WHERE hash = ? AND used_at IS NULL AND expires_at > ?`,
		int64(now), hash[:], int64(now))
	if err != nil || !used {
		return t, false, err
	}
	return first(tickets.lock(tx.ctx, tx, `hash = ?`, hash[:]))
}

// EndTickets ends every unused ticket with a purpose for a person or an address.
func (tx *Tx) EndTickets(purpose string, person otp.ID, email string, now otp.Millis) (bool, error) {
	where, who := `email = ?`, driver.Value(email)
	if !person.IsZero() {
		where, who = `person_id = ?`, person[:]
	}
	return tx.changed(`UPDATE tickets SET expires_at = ? WHERE purpose = ? AND used_at IS NULL AND expires_at > ? AND `+where,
		int64(now), purpose, int64(now), who)
}

// InsertSession adds a session with its first refresh token.
func (tx *Tx) InsertSession(s Session, token [32]byte) error {
	if err := sessions.insert(tx.ctx, tx, &s); err != nil {
		return err
	}
	return refreshTokens.insert(tx.ctx, tx, &RefreshToken{Hash: token, Session: s.ID, CreatedAt: s.CreatedAt})
}

// UseRefreshToken uses up a token at now if it is unused; used reports whether it did. It also returns the token in
// its new state and its session; ErrNotFound if there is none.
func (tx *Tx) UseRefreshToken(hash [32]byte, nonce otp.ID, now otp.Millis) (used bool, found RefreshToken, s Session,
	err error) {
	used, err = tx.changed(`UPDATE refresh_tokens SET used_at = ?, nonce = ? WHERE hash = ? AND used_at IS NULL`,
		int64(now), nonce[:], hash[:])
	if err != nil {
		return used, found, s, err
	}
	found, there, err := first(refreshTokens.lock(tx.ctx, tx, `hash = ?`, hash[:]))
	if err == nil && there {
		s, there, err = first(sessions.lock(tx.ctx, tx, `id = ?`, found.Session[:]))
	}
	if err == nil && !there {
		err = ErrNotFound
	}
	return used, found, s, err
}

// InsertRefreshToken adds a successor.
func (tx *Tx) InsertRefreshToken(t RefreshToken) error { return refreshTokens.insert(tx.ctx, tx, &t) }

// UpdateSession writes where a session was last used from, unless it has ended.
func (tx *Tx) UpdateSession(s Session) (bool, error) {
	return tx.changed(`UPDATE sessions SET address = ?, network = ?, agent = ?, seen_at = ? WHERE id = ? AND ended_at IS NULL`,
		s.Address, s.Network, s.Agent, int64(s.SeenAt), s.ID[:])
}

// ProveSession writes when and with which factor a session was last authenticated, unless it has ended.
func (tx *Tx) ProveSession(id otp.ID, factor string, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE sessions SET factor = ?, authenticated_at = ? WHERE id = ? AND ended_at IS NULL`, factor,
		int64(now), id[:])
}

// EndSession ends one session of a person.
func (tx *Tx) EndSession(person, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE sessions SET ended_at = ? WHERE id = ? AND person_id = ? AND ended_at IS NULL`, int64(now),
		id[:], person[:])
}

// EndSessions ends all sessions of a person except one; for the zero id it ends all.
func (tx *Tx) EndSessions(person, except otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE sessions SET ended_at = ? WHERE person_id = ? AND id <> ? AND ended_at IS NULL`,
		int64(now), person[:], except[:])
}

// InsertFactor adds a factor. It removes the person's unconfirmed factors of the same kind.
func (tx *Tx) InsertFactor(f Factor) error {
	err := tx.exec(tx.ctx, `DELETE FROM factors WHERE person_id = ? AND kind = ? AND confirmed_at IS NULL`, f.Person[:],
		f.Kind)
	if err != nil {
		return err
	}
	return factors.insert(tx.ctx, tx, &f)
}

// ConfirmFactor activates a factor, with the time step of the code that confirmed it.
func (tx *Tx) ConfirmFactor(person, id otp.ID, step int64, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE factors SET confirmed_at = ?, last_step = ? WHERE id = ? AND person_id = ? AND confirmed_at IS NULL`,
		int64(now), step, id[:], person[:])
}

// UseStep uses up a time step of a factor: of any number of callers with the same step or an older one, one succeeds.
func (tx *Tx) UseStep(person, id otp.ID, step int64, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE factors SET last_step = ?, used_at = ? WHERE id = ? AND person_id = ? AND confirmed_at IS NOT NULL AND last_step < ?`,
		step, int64(now), id[:], person[:], step)
}

// DeleteFactor removes one factor of a person, or all for the zero id. The backup codes are removed with the last one.
func (tx *Tx) DeleteFactor(person, id otp.ID) (bool, error) {
	where, args := `person_id = ?`, []driver.Value{person[:]}
	if !id.IsZero() {
		where, args = where+` AND id = ?`, append(args, id[:])
	}
	deleted, err := tx.changed(`DELETE FROM factors WHERE `+where, args...)
	if err != nil {
		return deleted, err
	}
	left, err := factors.lock(tx.ctx, tx, `person_id = ? AND confirmed_at IS NOT NULL`, person[:])
	if err == nil && len(left) == 0 {
		err = tx.exec(tx.ctx, `DELETE FROM backup_codes WHERE person_id = ?`, person[:])
	}
	return deleted, err
}

// ReplaceBackupCodes replaces a person's backup codes with those that have these hashes.
func (tx *Tx) ReplaceBackupCodes(person otp.ID, hashes [][32]byte, now otp.Millis) error {
	if err := tx.exec(tx.ctx, `DELETE FROM backup_codes WHERE person_id = ?`, person[:]); err != nil {
		return err
	}
	for _, hash := range hashes {
		if err := backupCodes.insert(tx.ctx, tx, &BackupCode{Person: person, Hash: hash, CreatedAt: now}); err != nil {
			return err
		}
	}
	return nil
}

// UseBackupCode uses up one backup code.
func (tx *Tx) UseBackupCode(person otp.ID, hash [32]byte, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE backup_codes SET used_at = ? WHERE person_id = ? AND hash = ? AND used_at IS NULL`,
		int64(now), person[:], hash[:])
}

// Guess applies a rule to the guesses counted under ids, and writes the result.
func (p *People) Guess(ctx context.Context, ids []otp.ID, rule func(all []otp.Guesses) error) error {
	if err := p.store.admitsWrite(); err != nil {
		return err
	}
	return p.store.write(ctx, func(w *session) error {
		return (&Tx{session: w, store: p.store, ctx: ctx}).Guess(ids, rule)
	})
}

// Guess is People.Guess within a transaction.
func (tx *Tx) Guess(ids []otp.ID, rule func(all []otp.Guesses) error) error {
	list, args := in(ids, idValue)
	found, err := guesses.lock(tx.ctx, tx, `id IN `+list+` ORDER BY id`, args...)
	if err != nil {
		return err
	}
	all := make([]otp.Guesses, len(ids))
	for i, id := range ids {
		all[i].ID = id
		for _, g := range found {
			if g.ID == id {
				all[i] = g
			}
		}
	}
	if err := rule(all); err != nil {
		return err
	}
	for _, g := range all {
		if err := tx.writeGuesses(g); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) writeGuesses(g otp.Guesses) error {
	if g == (otp.Guesses{ID: g.ID}) {
		return nil // nothing to count
	}
	if g.Version == 0 {
		g.Version = 1
		err := guesses.insert(tx.ctx, tx, &g)
		if err != nil && tx.store.dialect.taken(err) {
			return errGuard // another was first; the next try reads its row
		}
		return err
	}
	kept, err := tx.changed(`UPDATE guesses SET version = version + 1, attempts = ?, blocked_until = ?, updated_at = ? WHERE id = ? AND version = ?`,
		int64(g.Count), moment(g.BlockedUntil), int64(g.UpdatedAt), g.ID[:], g.Version)
	if err == nil && !kept {
		err = errGuard
	}
	return err
}

// peopleMemory is how long ended sessions and tickets are kept, for review.
const peopleMemory = 30 * otp.Day

// sweepPeople removes sessions, tickets, ceremonies and test recipients that no rule uses any more. There are few of
// them.
func (s *Store) sweepPeople(ctx context.Context, now otp.Millis) error {
	before, kept := int64(now), int64(now-peopleMemory)
	for _, dead := range []struct {
		from   string
		before int64
	}{
		{`refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE expires_at < ?)`, kept},
		{`sessions WHERE expires_at < ?`, kept},
		{`tickets WHERE expires_at < ?`, kept},
		{`ceremonies WHERE expires_at < ?`, before},
		{`test_recipients WHERE expires_at < ?`, before},
	} {
		n := 0
		err := s.reads.GetContext(ctx, &n, `SELECT COUNT(*) FROM `+dead.from, dead.before)
		if err == nil && n > 0 {
			err = s.exec(ctx, `DELETE FROM `+dead.from, dead.before)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
