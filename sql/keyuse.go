package sql

import (
	"context"
	"strconv"
	"time"

	"otpbridge/server/otp"
)

// KeyDay is the use of a credential on one day.
type KeyDay struct {
	ID          otp.ID
	Day         int64 // days since 1970, UTC
	Calls       int64
	Permissions int64  // bits of the permissions used
	Network     string // of the peers; ManyNetworks for several
}

// ManyNetworks stands for several networks.
const ManyNetworks = "*"

var keyDays = table[KeyDay]{"key_days", func(d *KeyDay) []column {
	return []column{
		{"credential_id", &d.ID}, {"day", &d.Day}, {"calls", &d.Calls}, {"permissions", &d.Permissions},
		{"network", &d.Network},
	}
}}

// DayOf returns the day of a moment, as in KeyDay.
func DayOf(at otp.Millis) int64 { return int64(at / otp.Day) }

// KeyUse is the use of a credential within about a minute.
type KeyUse struct {
	KeyDay
	At      otp.Millis // of the last call
	Address string     // of its peer
}

// AddUses adds uses in one transaction.
func (c *Credentials) AddUses(ctx context.Context, uses []KeyUse) error {
	return c.store.write(ctx, func(w *session) error {
		tx := &Tx{session: w, store: c.store, ctx: ctx}
		for i := range uses {
			if err := tx.addUse(&uses[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tx *Tx) addUse(u *KeyUse) error {
	err := tx.exec(tx.ctx,
		`UPDATE credentials SET used_at = ?, used_address = ? WHERE id = ? AND (used_at IS NULL OR used_at < ?)`,
		int64(u.At), u.Address, u.ID[:], int64(u.At))
	if err != nil {
		return err
	}
	added, err := tx.changed(`
		UPDATE key_days
		SET calls = calls + ?, permissions = permissions | ?, network = CASE WHEN network = ? THEN network ELSE ? END
		WHERE credential_id = ? AND day = ?`,
		u.Calls, u.Permissions, u.Network, ManyNetworks, u.ID[:], u.Day)
	if err != nil || added {
		return err
	}
	return keyDays.insert(tx.ctx, tx, &u.KeyDay)
}

// Days reads the use of credentials from a day on.
func (c *Credentials) Days(ctx context.Context, ids []otp.ID, from int64) ([]KeyDay, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, args := in(ids, idArg)
	return keyDays.find(ctx, c.store, `credential_id IN `+list+` AND day >= ?`, append(args, from)...)
}

// keyMemory is how long a day of use is kept: longer than it is looked back.
const keyMemory = 32 * otp.Day

// Notices of a credential, each given once. They are stored as bits, so they must not be renumbered.
const (
	rotationNoticed = 1
	monthNoticed    = 2
	weekNoticed     = 4
	dayNoticed      = 8
)

// ends are the notices before a key's expiry, the last one first.
var ends = []struct {
	bit    int64
	before otp.Millis
	days   int
}{{dayNoticed, otp.Day, 1}, {weekNoticed, 7 * otp.Day, 7}, {monthNoticed, 30 * otp.Day, 30}}

// noticedKey holds the columns of a credential that notices depend on.
type noticedKey struct {
	id                         otp.ID
	account, environment, name string
	created, expire            otp.Millis
	noticed                    int64
}

var noticedKeys = table[noticedKey]{"credentials", func(k *noticedKey) []column {
	return []column{
		{"id", &k.id}, {"esme_address", &k.account}, {"environment", &k.environment},
		{"name", &k.name}, {"created_at", &k.created},
		{"expires_at", &k.expire}, {"noticed", &k.noticed},
	}
}}

// noticeKeys records for each working key that it is due for rotation, and 30, 7 and 1 days before its expiry that it
// expires, once among all servers. If several are due at once, only the last is recorded. A key with a shorter
// lifetime gets no such notice, and a key with a successor none at all.
func (s *Store) noticeKeys(ctx context.Context, now otp.Millis) error {
	where := `revoked_at IS NULL AND enabled = 1 AND successor IS NULL AND (expires_at IS NULL OR expires_at > ?)
		AND (created_at <= ? AND noticed & 1 = 0`
	args := []any{int64(now), int64(now - otp.RotationAge)}
	for _, end := range ends {
		where += ` OR expires_at <= ? AND expires_at - created_at > ? AND noticed & ? = 0`
		args = append(args, int64(now+end.before), int64(end.before), end.bit)
	}
	due, err := noticedKeys.find(ctx, s, where+`) ORDER BY id LIMIT ?`, append(args, sweepChunk)...)
	for i := 0; i < len(due) && err == nil; i++ {
		err = s.write(ctx, func(w *session) error {
			return (&Tx{session: w, store: s, ctx: ctx}).notice(&due[i], now)
		})
	}
	return err
}

// notice records what is due for one key, unless another server was first.
func (tx *Tx) notice(k *noticedKey, now otp.Millis) error {
	noticed, last, first := k.noticed, 0, true
	for _, end := range ends {
		if k.expire == 0 || k.expire > now+end.before || k.expire-k.created <= end.before {
			continue
		}
		if first && noticed&end.bit == 0 {
			last = end.days
		}
		first = false
		noticed |= end.bit
	}
	rotate := k.created <= now-otp.RotationAge && noticed&rotationNoticed == 0
	if rotate {
		noticed |= rotationNoticed
	}
	ours, err := tx.changed(`
		UPDATE credentials
		SET noticed = ?
		WHERE id = ? AND noticed = ? AND revoked_at IS NULL AND COALESCE(expires_at, 0) = ?`,
		noticed, k.id[:], k.noticed, int64(k.expire))
	if err != nil || !ours {
		return err
	}
	c := otp.Change{At: now, Account: k.account, Credential: k.id, Actor: otp.Actor{Kind: "server"}}
	details := func(name, value string) map[string]string {
		return map[string]string{"key": k.id.Text("key"), "environment": k.environment, "name": k.name, name: value}
	}
	if last != 0 {
		c.ID, c.Kind, c.Details = NewID(), otp.KeyExpiring, details("days", strconv.Itoa(last))
		c.Details["expires_at"] = k.expire.Time().Format(time.RFC3339)
		if err := tx.Record(c); err != nil {
			return err
		}
	}
	if rotate {
		c.ID, c.Kind, c.Details = NewID(), otp.KeyRotationDue,
			details("age_days", strconv.FormatInt(int64((now-k.created)/otp.Day), 10))
		return tx.Record(c)
	}
	return nil
}

// sweepKeyDays removes days of use that are older than keyMemory.
func (s *Store) sweepKeyDays(ctx context.Context, now otp.Millis) error {
	old, err := keyDays.find(ctx, s, `day < ? LIMIT 1`, DayOf(now-keyMemory))
	if err != nil || len(old) == 0 {
		return err
	}
	return s.exec(ctx, `DELETE FROM key_days WHERE day < ?`, DayOf(now-keyMemory))
}
