package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"time"

	"otpbridge/server/otp"
)

// sweepChunk is how many rows one sweeping transaction looks at: small enough that a batch never
// waits for it noticeably.
const sweepChunk = 500

// Swept counts what a sweep removed.
type Swept struct{ Challenges, Recipients, Events int }

func (s *Store) keepSweeping(every time.Duration) {
	defer s.done.Done()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			// A sweep that fails leaves rows that the rules ignore anyway; the next one tries again.
			_, _ = s.Sweep(context.Background(), otp.At(time.Now()))
		}
	}
}

// Sweep removes what no rule looks at any more, in chunks, oldest first: challenges more than an
// hour past expiry, recipients untouched for a day, events beyond their account's retention. Ids
// are ordered by time, so it needs no index of its own. Now is unmoved by any sandbox clock; a
// moved one only makes rows stay a little longer.
func (s *Store) Sweep(ctx context.Context, now otp.Millis) (Swept, error) {
	var swept Swept
	for _, pass := range []struct {
		count *int
		chunk func(ctx context.Context, now otp.Millis, from otp.ID) (removed int, next otp.ID, err error)
	}{
		{&swept.Challenges, s.sweepChallenges},
		{&swept.Recipients, s.sweepRecipients},
		{&swept.Events, s.sweepEvents},
	} {
		from := otp.ID{}
		for {
			removed, next, err := pass.chunk(ctx, now, from)
			*pass.count += removed
			if err != nil {
				return swept, err
			}
			if next.IsZero() {
				break
			}
			from = next
			select {
			case <-s.stop:
				return swept, nil
			case <-time.After(time.Millisecond): // let a batch through
			}
		}
	}
	return swept, nil
}

// sweepChallenges ends at the first chunk that is too young to hold a dead challenge.
func (s *Store) sweepChallenges(ctx context.Context, now otp.Millis, from otp.ID) (int, otp.ID, error) {
	// The id tells when a challenge was really made, whatever its account's clock said.
	return s.sweepWalk(ctx, "challenges", `SELECT id, expires_at - created_at FROM challenges WHERE id > ? ORDER BY id LIMIT ?`, from,
		func(id otp.ID, ttl otp.Millis) (dead, young bool) {
			age := now - idTime(id)
			return age > ttl+otp.Memory, age <= 30*otp.Second+otp.Memory
		})
}

func (s *Store) sweepEvents(ctx context.Context, now otp.Millis, from otp.ID) (int, otp.ID, error) {
	const defaultRetention = 30
	return s.sweepWalk(ctx, "events", fmt.Sprintf(`
		SELECT e.id, COALESCE(a.retention_days, %d)
		FROM events e
		LEFT JOIN otp_auth_config a ON a.esme_address = e.esme_address
		WHERE e.id > ?
		ORDER BY e.id
		LIMIT ?`, defaultRetention), from,
		func(id otp.ID, days otp.Millis) (dead, young bool) {
			age := now - idTime(id)
			return age > max(1, days)*otp.Day, age <= otp.Day
		})
}

// sweepWalk looks at one chunk of a table in id order and deletes the dead rows. Next is zero
// when the rest of the table is too young.
func (s *Store) sweepWalk(ctx context.Context, table, query string, from otp.ID, judge func(id otp.ID, number otp.Millis) (dead, young bool)) (removed int, next otp.ID, err error) {
	rows, err := s.reads.QueryContext(ctx, query, from[:], sweepChunk)
	if err != nil {
		return 0, otp.ID{}, fmt.Errorf("sweep %s: %w", table, err)
	}
	defer rows.Close()
	var doomed []otp.ID
	looked := 0
	ended := false
	for rows.Next() && !ended {
		var id otp.ID
		var number otp.Millis
		if err := rows.Scan(idScan{&id}, &number); err != nil {
			return 0, otp.ID{}, fmt.Errorf("sweep %s: %w", table, err)
		}
		looked++
		dead, young := judge(id, number)
		if dead {
			doomed = append(doomed, id)
		}
		ended, next = young, id
	}
	if err := rows.Err(); err != nil {
		return 0, otp.ID{}, fmt.Errorf("sweep %s: %w", table, err)
	}
	rows.Close()
	if ended || looked < sweepChunk {
		next = otp.ID{}
	}
	removed, err = s.remove(ctx, table, doomed, "")
	return removed, next, err
}

// sweepRecipients walks all recipients. The DELETE repeats the condition, because an operation
// may have touched the row since it was read.
func (s *Store) sweepRecipients(ctx context.Context, now otp.Millis, from otp.ID) (int, otp.ID, error) {
	rows, err := s.reads.QueryContext(ctx, `
		SELECT id, updated_at, locked_until FROM recipients WHERE id > ? ORDER BY id LIMIT ?`, from[:], sweepChunk)
	if err != nil {
		return 0, otp.ID{}, fmt.Errorf("sweep recipients: %w", err)
	}
	defer rows.Close()
	var doomed []otp.ID
	var next otp.ID
	looked := 0
	for rows.Next() {
		var updatedAt otp.Millis
		var lockedUntil sql.NullInt64
		if err := rows.Scan(idScan{&next}, &updatedAt, &lockedUntil); err != nil {
			return 0, otp.ID{}, fmt.Errorf("sweep recipients: %w", err)
		}
		looked++
		if updatedAt < now-otp.RecipientMemory && otp.Millis(lockedUntil.Int64) < now {
			doomed = append(doomed, next)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, otp.ID{}, fmt.Errorf("sweep recipients: %w", err)
	}
	rows.Close()
	if looked < sweepChunk {
		next = otp.ID{}
	}
	removed, err := s.remove(ctx, "recipients", doomed,
		` AND updated_at < ? AND (locked_until IS NULL OR locked_until < ?)`, int64(now-otp.RecipientMemory), int64(now))
	return removed, next, err
}

func (s *Store) remove(ctx context.Context, table string, ids []otp.ID, guard string, guardArgs ...driver.Value) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	list, args := in(ids, idValue)
	removed := int64(0)
	err := s.write(ctx, func(w *session) (err error) {
		removed, err = w.affect(ctx, `DELETE FROM `+table+` WHERE id IN `+list+guard, append(args, guardArgs...)...)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep %s: %w", table, err)
	}
	return int(removed), nil
}

// idTime is the moment in a time-ordered id (RFC 9562, section 5.7): its first 48 bits.
func idTime(id otp.ID) otp.Millis {
	return otp.Millis(binary.BigEndian.Uint64(id[:8]) >> 16)
}
