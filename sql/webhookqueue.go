package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"

	"otpbridge/server/otp"
)

// WebhookQueue stores which server delivers to which endpoint, and the notices that wait.
type WebhookQueue struct{ store *Store }

// Due lists the endpoints that are on, not leased by another server at now, and have a notice due.
func (q *WebhookQueue) Due(ctx context.Context, owner otp.ID, now otp.Millis) (ids []otp.ID, err error) {
	err = q.store.each(ctx, "look for due deliveries", `
		SELECT e.id
		FROM webhook_endpoints e
		WHERE e.off_at IS NULL AND (e.owner = ? OR e.leased_until IS NULL OR e.leased_until <= ?)
			AND EXISTS (SELECT 1 FROM webhook_deliveries WHERE endpoint_id = e.id AND due_at <= ?)`,
		[]any{owner[:], int64(now), int64(now)}, func(rows *sql.Rows) error {
			var id otp.ID
			err := rows.Scan(idScan{&id})
			ids = append(ids, id)
			return err
		})
	return ids, err
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

// earlierNotices finds, for notices d, when the last of the earlier open notices of the same challenge is due.
const earlierNotices = `
	SELECT d.id, MAX(earlier.due_at)
	FROM webhook_deliveries d
	JOIN webhook_deliveries earlier ON earlier.challenge_id = d.challenge_id AND earlier.due_at IS NOT NULL
		AND earlier.endpoint_id = d.endpoint_id AND earlier.id < d.id
	WHERE d.endpoint_id = ? AND d.id IN `

// Next reads up to limit notices of an endpoint that are due at now, longest due first. Ready are those to send. Held
// have to wait for an earlier notice of their challenge, and their DueAt is that notice's: Postpone writes it, so that
// no later call reads them again. A notice that waits for one in ready is in neither.
func (q *WebhookQueue) Next(ctx context.Context, endpoint otp.ID, now otp.Millis, limit int) (ready, held []Notice,
	err error) {
	due, err := notices.find(ctx, q.store, `endpoint_id = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?`, endpoint[:],
		int64(now), limit)
	if err != nil || len(due) == 0 {
		return nil, nil, err
	}
	list, args := in(due, func(n Notice) driver.Value { return idValue(n.ID) })
	until := map[otp.ID]otp.Millis{}
	err = q.store.look(ctx, "read earlier notices", lookup{earlierNotices + list + ` GROUP BY d.id`,
		slices.Concat([]driver.Value{endpoint[:]}, args), func(found row) error {
			r := reader{row: found}
			until[r.id()] = r.moment()
			return r.err
		}})
	for _, n := range due {
		switch at, waits := until[n.ID]; {
		case !waits:
			ready = append(ready, n)
		case at > n.DueAt:
			n.DueAt = at
			held = append(held, n)
		}
	}
	return ready, held, err
}

// Postpone makes notices that Next held due at their DueAt. One that is gone or done meanwhile does not change.
func (q *WebhookQueue) Postpone(held []Notice) error {
	return q.store.aside(func(writes *script) {
		for i := range held {
			writes.count(nil, `UPDATE webhook_deliveries SET due_at = ? WHERE endpoint_id = ? AND id = ? AND due_at < ?`,
				int64(held[i].DueAt), held[i].Endpoint[:], held[i].ID[:], int64(held[i].DueAt))
		}
	})
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
