package sql

import (
	"context"

	"otpbridge/server/otp"
)

// WebhookQueue stores which server delivers to which endpoint, and the notices that wait.
type WebhookQueue struct{ store *Store }

// Due lists the endpoints that are on, not leased by another server at now, and have a notice due.
func (q *WebhookQueue) Due(ctx context.Context, owner otp.ID, now otp.Millis) (ids []otp.ID, err error) {
	rows, err := q.store.reads.QueryContext(ctx, `
		SELECT e.id
		FROM webhook_endpoints e
		WHERE e.off_at IS NULL AND (e.owner = ? OR e.leased_until IS NULL OR e.leased_until <= ?)
			AND EXISTS (SELECT 1 FROM webhook_deliveries WHERE endpoint_id = e.id AND `+isNext+`)`,
		owner[:], int64(now), int64(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id otp.ID
		if err := rows.Scan(idScan{&id}); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Claim leases endpoints to owner until a moment, if they are on and not leased by another server at now, and returns
// which.
func (q *WebhookQueue) Claim(owner otp.ID, ids []otp.ID, now, until otp.Millis) (claimed []otp.ID, err error) {
	matched := make([]int64, len(ids))
	err = q.store.aside(func(writes *script) {
		for i := range ids {
			writes.count(&matched[i], `
				UPDATE webhook_endpoints
				SET owner = ?, leased_until = ?
				WHERE id = ? AND off_at IS NULL AND (owner = ? OR leased_until IS NULL OR leased_until <= ?)`,
				owner[:], int64(until), ids[i][:], owner[:], int64(now))
		}
	})
	for i, n := range matched {
		if n == 1 {
			claimed = append(claimed, ids[i])
		}
	}
	return claimed, err
}

// Release ends owner's leases.
func (q *WebhookQueue) Release(owner otp.ID) error {
	return q.store.aside(func(writes *script) {
		writes.count(nil, `UPDATE webhook_endpoints SET leased_until = NULL WHERE owner = ?`, owner[:])
	})
}

// Mine reads an endpoint that is on and leased by owner at now; ErrNotFound for any other.
func (q *WebhookQueue) Mine(ctx context.Context, id, owner otp.ID, now otp.Millis) (Endpoint, error) {
	return endpoints.one(ctx, q.store, `id = ? AND off_at IS NULL AND owner = ? AND leased_until > ?`, id[:], owner[:],
		int64(now))
}

// isNext is true for a notice that is due and has no earlier open notice of the same challenge.
const isNext = `due_at <= ? AND NOT EXISTS (
		SELECT 1
		FROM webhook_deliveries earlier
		WHERE earlier.challenge_id = webhook_deliveries.challenge_id AND earlier.due_at IS NOT NULL
			AND earlier.endpoint_id = webhook_deliveries.endpoint_id AND earlier.id < webhook_deliveries.id)`

// Next reads the notices to send to an endpoint at now, longest due first.
func (q *WebhookQueue) Next(ctx context.Context, endpoint otp.ID, now otp.Millis, limit int) ([]Notice, error) {
	return notices.find(ctx, q.store, `endpoint_id = ? AND `+isNext+` ORDER BY due_at LIMIT ?`, endpoint[:], int64(now), limit)
}

// Settle writes the results of tries: the fields of Notice from State on, and DueAt. A notice that is gone or done
// meanwhile does not change.
func (q *WebhookQueue) Settle(tried []Notice) error {
	return q.store.aside(func(writes *script) {
		for i := range tried {
			n := &tried[i]
			writes.count(nil, `
				UPDATE webhook_deliveries
				SET due_at = ?, state = ?, attempts = ?, status = ?, reason = ?, tried_at = ?, request = ?, answer = ?
				WHERE endpoint_id = ? AND id = ? AND due_at IS NOT NULL`,
				moment(n.DueAt), n.State, int64(n.Attempts), int64(n.Status), n.Reason, moment(n.TriedAt), nullable(n.Request),
				nullable(n.Answer), n.Endpoint[:], n.ID[:])
		}
	})
}

// Drop removes notices that turned out not to be true.
func (q *WebhookQueue) Drop(untrue []Notice) error {
	return q.store.aside(func(writes *script) {
		for i := range untrue {
			writes.count(nil, `DELETE FROM webhook_deliveries WHERE endpoint_id = ? AND id = ?`, untrue[i].Endpoint[:],
				untrue[i].ID[:])
		}
	})
}
