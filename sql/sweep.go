package sql

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"otpbridge/server/otp"
)

// The size of a sweep. A chunk is removed in one transaction: small enough that batches hardly wait for it. Idle
// chunks are those without rows to remove: a sweep reads at most this many per table, and the next one continues
// there, so that the cost of a sweep does not grow with the history.
const (
	sweepChunk = 500
	sweepIdle  = 20
)

// Swept counts what a sweep removed.
type Swept struct{ Challenges, Recipients, Events, Deliveries, Counters, Guesses, Shadows, Notices int }

func (s *Store) keepSweeping(every time.Duration) {
	defer s.done.Done()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			// If a sweep fails, the rows that stay are ignored by the rules; the next one tries again, and the metrics
			// show it.
			s.metrics.sweep(s.Sweep(context.Background(), otp.At(time.Now())))
		}
	}
}

// walk sweeps a table in the order of its time-ordered ids, so it needs no additional index. Only one sweep at a time
// uses it.
type walk struct {
	table string
	query string // selects id and two numbers of the rows after an id
	judge func(now otp.Millis, id otp.ID, first, second otp.Millis) verdict
	// guard repeats the condition in the DELETE if an operation may change a row in between.
	guard func(now otp.Millis) (condition string, args []driver.Value)
	next  otp.ID // where the next sweep continues
}

type verdict int

const (
	stays verdict = iota
	dead
	young // and so is everything after it
)

// walks returns the walks of the tables whose rows expire. Challenges and events are judged by the time in their ids,
// which is the real time, whatever their account's clock said.
func walks() []*walk {
	return []*walk{
		{
			table: "challenges",
			query: `SELECT id, expires_at - created_at, 0 FROM challenges WHERE id > ? ORDER BY id LIMIT ?`,
			judge: func(now otp.Millis, id otp.ID, ttl, _ otp.Millis) verdict {
				switch age := now - idTime(id); {
				case age > ttl+otp.Memory:
					return dead
				case age <= 30*otp.Second+otp.Memory: // the shortest lifetime
					return young
				}
				return stays
			},
		},
		{
			table: "recipients",
			query: `SELECT id, updated_at, COALESCE(locked_until, 0) FROM recipients WHERE id > ? ORDER BY id LIMIT ?`,
			judge: func(now otp.Millis, _ otp.ID, updatedAt, lockedUntil otp.Millis) verdict {
				if updatedAt < now-otp.RecipientMemory && lockedUntil < now {
					return dead
				}
				return stays
			},
			guard: func(now otp.Millis) (string, []driver.Value) {
				return ` AND updated_at < ? AND (locked_until IS NULL OR locked_until < ?)`,
					[]driver.Value{int64(now - otp.RecipientMemory), int64(now)}
			},
		},
		historyWalk("events", math.MaxInt32),
		historyWalk("webhook_texts", noticeMemory),
		{
			table: "deliveries",
			query: `SELECT id, COALESCE(finished_at, 0), 0 FROM deliveries WHERE id > ? ORDER BY id LIMIT ?`,
			judge: func(now otp.Millis, id otp.ID, finishedAt, _ otp.Millis) verdict {
				switch {
				case finishedAt != 0 && finishedAt < now-otp.DeliveryMemory:
					return dead
				case now-idTime(id) <= otp.DeliveryMemory:
					return young
				}
				return stays
			},
		},
		agedWalk("counters", otp.CounterMemory),
		agedWalk("guesses", otp.GuessMemory),
		agedWalk("shadows", otp.RecipientMemory),
	}
}

// agedWalk returns the walk of a table whose rows are dead once they have not changed for this long.
func agedWalk(table string, memory otp.Millis) *walk {
	return &walk{
		table: table,
		query: `SELECT id, updated_at, 0 FROM ` + table + ` WHERE id > ? ORDER BY id LIMIT ?`,
		judge: func(now otp.Millis, _ otp.ID, updatedAt, _ otp.Millis) verdict {
			if updatedAt < now-memory {
				return dead
			}
			return stays
		},
		guard: func(now otp.Millis) (string, []driver.Value) {
			return ` AND updated_at < ?`, []driver.Value{int64(now - memory)}
		},
	}
}

// historyWalk returns the walk of a table that is kept as long as its account's history, but at most most.
func historyWalk(table string, most otp.Millis) *walk {
	const defaultRetention = 30
	return &walk{
		table: table,
		query: fmt.Sprintf(`
			SELECT e.id, COALESCE(a.retention_days, %d), 0
			FROM %s e
			LEFT JOIN otp_auth_config a ON a.esme_address = e.esme_address
			WHERE e.id > ?
			ORDER BY e.id
			LIMIT ?`, defaultRetention, table),
		judge: func(now otp.Millis, id otp.ID, days, _ otp.Millis) verdict {
			switch age := now - idTime(id); {
			case age > min(max(1, days), most)*otp.Day:
				return dead
			case age <= otp.Day: // the shortest retention
				return young
			}
			return stays
		},
	}
}

// Sweep removes what no rule uses any more, in chunks, oldest first: challenges more than an hour past expiry,
// recipients unchanged for a day, events beyond their account's retention, deliveries that ended a day ago, counters
// unchanged for two days and notices older than a month. It reads only part of a long table. now is the real time; a
// moved sandbox clock only makes rows stay a little longer.
func (s *Store) Sweep(ctx context.Context, now otp.Millis) (Swept, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	var swept Swept
	counts := map[string]*int{"challenges": &swept.Challenges, "recipients": &swept.Recipients, "events": &swept.Events,
		"deliveries": &swept.Deliveries, "counters": &swept.Counters,
		"guesses": &swept.Guesses, "webhook_texts": new(int), "shadows": &swept.Shadows}
	for _, w := range s.walks {
		for idle := 0; idle < sweepIdle; {
			removed, err := s.sweepChunk(ctx, w, now)
			*counts[w.table] += removed
			if err != nil {
				return swept, fmt.Errorf("sweep %s: %w", w.table, err)
			}
			if w.next.IsZero() {
				break
			}
			if removed == 0 {
				idle++
			}
			select {
			case <-s.stop:
				return swept, nil
			case <-time.After(time.Millisecond): // let a batch through
			}
		}
	}
	if err := s.sweepOldest(ctx, "idempotency_keys", "created_at", now-IdempotencyMemory+1); err != nil {
		return swept, fmt.Errorf("sweep idempotency_keys: %w", err)
	}
	if err := s.sweepOldest(ctx, "nonces", "expires_at", now-nonceGrace); err != nil {
		return swept, fmt.Errorf("sweep nonces: %w", err)
	}
	var err error
	if swept.Notices, err = s.sweepNotices(ctx, now); err != nil {
		return swept, fmt.Errorf("sweep webhook_deliveries: %w", err)
	}
	if err := s.sweepPeople(ctx, now); err != nil {
		return swept, fmt.Errorf("sweep people: %w", err)
	}
	if err := s.sweepKeyDays(ctx, now); err != nil {
		return swept, fmt.Errorf("sweep key_days: %w", err)
	}
	if err := s.noticeKeys(ctx, now); err != nil {
		return swept, fmt.Errorf("notice keys that end or are old: %w", err)
	}
	return swept, nil
}

// sweepOldest removes the rows of a table whose column has a moment before another, oldest first, a chunk at a time
// and those of the chunk's last moment.
func (s *Store) sweepOldest(ctx context.Context, table, column string, before otp.Millis) error {
	for {
		var oldest []int64
		err := s.reads.SelectContext(ctx, &oldest, `SELECT `+column+` FROM `+table+` WHERE `+column+` < ? ORDER BY `+column+
			` LIMIT ?`, int64(before), sweepChunk)
		if err != nil || len(oldest) == 0 {
			return err
		}
		err = s.exec(ctx, `DELETE FROM `+table+` WHERE `+column+` <= ?`, oldest[len(oldest)-1])
		if err != nil || len(oldest) < sweepChunk {
			return err
		}
		select {
		case <-s.stop:
			return nil
		case <-time.After(time.Millisecond): // let a batch through
		}
	}
}

// sweepChunk reads one chunk of a table and deletes its dead rows. The walk starts again when it has reached the end,
// or rows that are too young.
func (s *Store) sweepChunk(ctx context.Context, w *walk, now otp.Millis) (removed int, err error) {
	from := w.next
	rows, err := s.reads.QueryContext(ctx, w.query, from[:], sweepChunk)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var doomed []otp.ID
	var last otp.ID
	looked, ended := 0, false
	for rows.Next() && !ended {
		var first, second otp.Millis
		if err := rows.Scan(idScan{&last}, &first, &second); err != nil {
			return 0, err
		}
		looked++
		switch w.judge(now, last, first, second) {
		case dead:
			doomed = append(doomed, last)
		case young:
			ended = true
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	removed, err = s.remove(ctx, w, now, doomed)
	if err != nil {
		return removed, err
	}
	w.next = last
	if ended || looked < sweepChunk {
		w.next = otp.ID{}
	}
	return removed, nil
}

func (s *Store) remove(ctx context.Context, w *walk, now otp.Millis, ids []otp.ID) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	list, args := in(ids, idValue)
	condition := ""
	if w.guard != nil {
		guard, guardArgs := w.guard(now)
		condition, args = guard, append(args, guardArgs...)
	}
	removed := int64(0)
	err := s.write(ctx, func(t *session) (err error) {
		removed, err = t.affect(ctx, `DELETE FROM `+w.table+` WHERE id IN `+list+condition, args...)
		return err
	})
	return int(removed), err
}

// firstID returns the smallest id of a moment.
func firstID(at otp.Millis) (id otp.ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, at))<<16)
	return id
}

// idTime returns the time in a time-ordered id (RFC 9562, section 5.7): its first 48 bits.
func idTime(id otp.ID) otp.Millis {
	return otp.Millis(binary.BigEndian.Uint64(id[:8]) >> 16)
}
