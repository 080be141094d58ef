package sql

import (
	"context"

	"otpbridge/server/otp"
)

// Shadows are the states of recipients by the local rules, for accounts whose upstream answers. They guard nothing.
type Shadows struct{ store *Store }

// Shadow is one such state.
type Shadow struct {
	ID        otp.ID // the recipient's hash
	Version   int64
	Account   string
	State     []byte // nil if not stored yet
	UpdatedAt otp.Millis
}

var shadows = table[Shadow]{"shadows", func(s *Shadow) []column {
	return []column{
		{"id", &s.ID}, {"version", &s.Version}, {"esme_address", &s.Account}, {"state", &s.State},
		{"updated_at", &s.UpdatedAt},
	}
}}

// Change applies a rule to the state of an account's recipient at now. The rule may run more than once.
func (s *Shadows) Change(ctx context.Context, account string, id otp.ID, now otp.Millis,
	rule func(state []byte) ([]byte, error)) error {
	if err := s.store.admitsWrite(); err != nil {
		return err
	}
	return s.store.write(ctx, func(w *session) error {
		tx := &Tx{session: w, store: s.store, ctx: ctx}
		found, err := shadows.lock(ctx, tx, `id = ?`, id[:])
		if err != nil {
			return err
		}
		row := Shadow{ID: id, Version: 1, Account: account}
		if len(found) > 0 {
			row = found[0]
		}
		if row.State, err = rule(row.State); err != nil {
			return err
		}
		row.UpdatedAt = now
		if len(found) == 0 {
			if err = shadows.insert(ctx, tx, &row); err != nil && s.store.dialect.taken(err) {
				return errGuard // another was first; the next try reads its row
			}
			return err
		}
		kept, err := tx.changed(`UPDATE shadows SET version = version + 1, state = ?, updated_at = ? WHERE id = ? AND version = ?`,
			row.State, int64(now), id[:], row.Version)
		if err == nil && !kept {
			err = errGuard
		}
		return err
	})
}
