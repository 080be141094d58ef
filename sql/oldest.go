package sql

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// classes finds the first record of each class of data about people, using an index: an id, which contains its time,
// or the time.
var classes = map[string]struct {
	query string
	isID  bool
}{
	"history":    {`SELECT MIN(id) FROM events`, true},
	"recipients": {`SELECT MIN(id) FROM recipients`, true},
	"challenges": {`SELECT MIN(id) FROM challenges`, true},
	"deliveries": {`SELECT MIN(id) FROM deliveries`, true},
	"webhook_deliveries": {`
		SELECT MIN(first)
		FROM (SELECT (SELECT MIN(d.id) FROM webhook_deliveries d WHERE d.endpoint_id = e.id) AS first
			FROM webhook_endpoints e) f`, true},
	"stored_answers":  {`SELECT MIN(created_at) FROM idempotency_keys`, false},
	"test_recipients": {`SELECT MIN(created_at) FROM test_recipients`, false},
	"audit_changes":   {`SELECT MIN(id) FROM changes`, true},
	"audit_calls":     {`SELECT MIN(sealed_at) FROM audit_pages WHERE calls IS NOT NULL`, false},
}

// Oldest returns the time of the oldest record of a class, 0 for none. For recipients it is when the recipient was
// first known.
func (p *Privacy) Oldest(ctx context.Context, class string) (otp.Millis, error) {
	look, known := classes[class]
	if !known {
		panic("sql: nothing is kept as " + class)
	}
	var id []byte
	var at *int64
	target := any(&at)
	if look.isID {
		target = &id
	}
	if err := p.store.reads.QueryRowContext(ctx, look.query).Scan(target); err != nil {
		return 0, fmt.Errorf("look for the oldest of %s: %w", class, err)
	}
	switch {
	case len(id) == len(otp.ID{}):
		return idTime(otp.ID(id)), nil
	case at != nil:
		return otp.Millis(*at), nil
	}
	return 0, nil
}

// Exports counts the changes of a kind by account.
func (p *Privacy) Exports(ctx context.Context, kind string) (map[string]int, error) {
	return p.store.counts(ctx, "count exports",
		`SELECT esme_address, COUNT(*) FROM changes WHERE kind = ? GROUP BY esme_address`, kind)
}
