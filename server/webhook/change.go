package webhook

import (
	"context"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// edit locks an endpoint in a transaction and changes it with do, after match has accepted its version.
func (w *Webhooks) edit(ctx context.Context, by Asker, text string, kind otp.ChangeKind,
	match func(version int64) error, do func(*sql.Tx, *sql.Endpoint, otp.Millis) error) (e sql.Endpoint, err error) {
	id, ok := otp.ParseID(EndpointPrefix, text)
	if !ok {
		return e, ErrNone
	}
	now := otp.At(time.Now())
	err = w.Store.Change(ctx, func(tx *sql.Tx) (err error) {
		var found bool
		e, found, err = w.Store.Webhooks.Lock(tx, by.Account, id)
		if err == nil && (!found || !by.sees(&e)) {
			err = ErrNone
		}
		if err == nil {
			err = match(e.Version)
		}
		before := e
		if err == nil {
			err = do(tx, &e, now)
		}
		if err != nil {
			return err
		}
		change := by.change(kind, &e, now)
		differences(&before, &e, change.Details)
		return tx.Record(change)
	})
	return e, err
}

// differences adds to the details of a change which members it set. A URL is not quoted: it can hold a secret.
func differences(before, after *sql.Endpoint, details map[string]string) {
	var names []string
	for _, member := range []struct{ name, was, is string }{
		{"url", before.URL, after.URL},
		{"events", strings.Join(before.Events, " "), strings.Join(after.Events, " ")},
		{"description", before.Description, after.Description},
		{"enabled", before.Off, after.Off},
		{"signature_header", before.SignatureHeader, after.SignatureHeader},
		{"recipients", before.Recipients, after.Recipients},
	} {
		if member.was != member.is {
			names = append(names, member.name)
		}
	}
	if len(names) > 0 {
		details["changed"] = strings.Join(names, ", ")
	}
	if before.Recipients != after.Recipients {
		details["recipients"] = after.Recipients
	}
}

// update writes an edited endpoint. The caller has locked its row.
func (w *Webhooks) update(tx *sql.Tx, e *sql.Endpoint, now otp.Millis) error {
	e.UpdatedAt = now
	if _, err := w.Store.Webhooks.Update(tx, *e); err != nil {
		return err
	}
	e.Version++
	return nil
}

// Change changes an endpoint. Switching it on resets the time since which it has failed. Refusals: NotFound, Invalid,
// Forbidden and those of match.
func (w *Webhooks) Change(ctx context.Context, by Asker, id string, match func(version int64) error,
	wish Wish) (Endpoint, error) {
	e, err := w.edit(ctx, by, id, otp.WebhookChanged, match, func(tx *sql.Tx, e *sql.Endpoint, now otp.Millis) error {
		if err := w.grant(e, by, wish, now); err != nil {
			return err
		}
		return w.update(tx, e, now)
	})
	if err != nil {
		return Endpoint{}, err
	}
	return shown(&e, ""), nil
}

// Rotate gives an endpoint a new secret and returns it; it is not shown again. The old secret signs beside it for a
// day. Refusals: NotFound and those of match.
func (w *Webhooks) Rotate(ctx context.Context, by Asker, id string, match func(version int64) error) (Endpoint, error) {
	secret := newSecret()
	e, err := w.edit(ctx, by, id, otp.WebhookRotated, match, func(tx *sql.Tx, e *sql.Endpoint, now otp.Millis) error {
		e.OldSecret, e.OldUntil = e.Secret, now+overlap
		e.Secret = w.Vault.Keyring.Seal(vault.WebhookSecret(e.ID), []byte(secret))
		return w.update(tx, e, now)
	})
	if err != nil {
		return Endpoint{}, err
	}
	return shown(&e, secret), nil
}

// Delete removes an endpoint and its deliveries. Refusals: NotFound and those of match.
func (w *Webhooks) Delete(ctx context.Context, by Asker, id string, match func(version int64) error) error {
	_, err := w.edit(ctx, by, id, otp.WebhookRemoved, match, func(tx *sql.Tx, e *sql.Endpoint, _ otp.Millis) error {
		_, err := w.Store.Webhooks.Delete(tx, e.Account, e.ID, e.Version)
		return err
	})
	return err
}
