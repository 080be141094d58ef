package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"otpbridge/server/otp"
)

// noticeMemory is how long a notice is kept, in days, unless its account keeps its history for less.
const noticeMemory = 30

// sweepNotices removes notices that are too old, and those of removed endpoints. One sweep reads only part of a long
// table; the next sweep continues there.
func (s *Store) sweepNotices(ctx context.Context, now otp.Millis) (removed int, err error) {
	for range sweepIdle {
		doomed, err := s.oldNotices(ctx, now)
		if err != nil {
			return removed, err
		}
		for endpoint, ids := range doomed {
			list, args := in(ids, idValue)
			if err := s.exec(ctx, `DELETE FROM webhook_deliveries WHERE endpoint_id = ? AND id IN `+list,
				append([]driver.Value{endpoint[:]}, args...)...); err != nil {
				return removed, err
			}
			removed += len(ids)
		}
		if s.noticeWalk[0].IsZero() {
			break
		}
	}
	return removed, nil
}

// oldNotices reads one chunk of notices and returns those to remove, by endpoint.
func (s *Store) oldNotices(ctx context.Context, now otp.Millis) (map[otp.ID][]otp.ID, error) {
	from := &s.noticeWalk
	doomed, looked := map[otp.ID][]otp.ID{}, 0
	err := s.each(ctx, "look for old deliveries", `
		SELECT d.endpoint_id, d.id, COALESCE(a.retention_days, ?), e.id IS NULL
		FROM webhook_deliveries d
		LEFT JOIN webhook_endpoints e ON e.id = d.endpoint_id
		LEFT JOIN otp_auth_config a ON a.esme_address = d.esme_address
		WHERE d.endpoint_id >= ? AND (d.endpoint_id > ? OR d.id > ?)
		ORDER BY d.endpoint_id, d.id
		LIMIT ?`, []any{noticeMemory, from[0][:], from[0][:], from[1][:], sweepChunk}, func(rows *sql.Rows) error {
		var days otp.Millis
		var orphan bool
		err := rows.Scan(idScan{&from[0]}, idScan{&from[1]}, &days, &orphan)
		looked++
		if err == nil && (orphan || now-idTime(from[1]) > min(max(1, days), noticeMemory)*otp.Day) {
			doomed[from[0]] = append(doomed[from[0]], from[1])
		}
		return err
	})
	if looked < sweepChunk {
		*from = [2]otp.ID{}
	}
	return doomed, err
}
