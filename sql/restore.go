package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"otpbridge/server/files"
	"otpbridge/server/otp"
)

// Restore is a backup that was found in the database's place. What was committed between From and Until is lost:
// revoked keys work again, locks and counters are as they were at From.
type Restore struct {
	FoundAt otp.Millis
	From    otp.Millis // time of the restored database's newest event; 0 if it has none
	Until   otp.Millis // the server's last commit to the previous database; 0 if it is not known
	Ended   int        // challenges that were live in the backup
}

// Restored returns what Open found, nil for a database that has lost nothing.
func (s *Store) Restored() *Restore { return s.restored }

// Outdated is closed when the database turns out to be older than what this store committed. Nothing is committed from
// then on; the next Open ends the codes in it.
func (s *Store) Outdated() <-chan struct{} { return s.outdated }

// Restores returns what servers of this database found since a moment, newest first.
func (s *Store) Restores(ctx context.Context, since otp.Millis) (found []Restore, err error) {
	err = s.each(ctx, "read what was restored", `
		SELECT found_at, COALESCE(lost_from, 0), COALESCE(lost_until, 0), challenges_ended
		FROM restores
		WHERE found_at >= ?
		ORDER BY id DESC`, []any{int64(since)}, func(rows *sql.Rows) error {
		var r Restore
		err := rows.Scan(&r.FoundAt, &r.From, &r.Until, &r.Ended)
		found = append(found, r)
		return err
	})
	return found, err
}

// forgetMarks is how long the mark of a server that does not come back is kept. If it comes back later it finds none,
// and ends the codes that are live then.
const forgetMarks = 90 * 24 * time.Hour

// callWitness compares the database with what the servers with state in this folder have committed. If the database is
// older, it ends everything that a code of the backup could still be used for, before serving begins. Then this server
// begins a new row and file.
//
// Every server of a database does this for itself. Codes that another server sent in the meantime end as well: that
// costs a few people another message, and the servers need not coordinate.
func (s *Store) callWitness(ctx context.Context) error {
	if s.options.State == "" || s.options.Schema != UpdateSchema {
		return nil
	}
	own, left, err := openWitness(s.options.State, s.witnessName())
	if err != nil {
		return fmt.Errorf("keep what was committed in the state folder: %w", err)
	}
	defer closeAll(left)
	m := &witness{file: own, server: NewID()}
	if err := s.hear(ctx, m, left); err != nil {
		return errors.Join(err, own.Close())
	}
	s.witness = m
	return nil
}

// hear compares, ends codes and registers.
func (s *Store) hear(ctx context.Context, m *witness, left []*os.File) error {
	restored, err := s.compare(ctx, append([]*os.File{m.file}, left...))
	if err != nil {
		return err
	}
	if restored != nil {
		if err := s.endRestored(ctx, restored); err != nil {
			return fmt.Errorf("end the codes of a restored backup: %w", err)
		}
		s.restored = restored
	}
	if err := s.register(ctx, m); err != nil {
		return fmt.Errorf("begin this server's mark: %w", err)
	}
	for _, file := range left { // their content has been used
		if err := os.Remove(file.Name()); err != nil {
			return fmt.Errorf("remove the state of a server that is gone: %w", err)
		}
	}
	return nil
}

// Compare returns what the database lacks of the commits of the servers with state in this folder, nil if it lacks
// nothing. It changes neither, and may run beside running servers.
func (s *Store) Compare(ctx context.Context, folder string) (*Restore, error) {
	names, err := filepath.Glob(filepath.Join(folder, s.witnessName()+".*"))
	if err != nil {
		return nil, err
	}
	var witnesses []*os.File
	defer func() { closeAll(witnesses) }()
	for _, name := range names {
		file, err := files.Open(name, os.O_RDONLY)
		if err != nil {
			return nil, fmt.Errorf("%s %w", name, err)
		}
		witnesses = append(witnesses, file)
	}
	return s.compare(ctx, witnesses)
}

// compare returns what is missing, nil if nothing is.
func (s *Store) compare(ctx context.Context, files []*os.File) (*Restore, error) {
	var restored *Restore
	for _, file := range files {
		said, empty, err := readTestimony(file)
		if empty {
			continue
		}
		if err == nil {
			var behind bool
			if behind, err = s.behind(ctx, said); err != nil {
				return nil, err
			}
			if !behind {
				continue
			}
		} else if !errors.Is(err, errDamagedWitness) {
			return nil, fmt.Errorf("read the server's state: %w", err)
		}
		if restored == nil {
			restored = &Restore{FoundAt: otp.At(time.Now())}
		}
		restored.Until = max(restored.Until, said.at)
	}
	if restored == nil {
		return nil, nil
	}
	var newest []byte
	err := s.reads.GetContext(ctx, &newest, `SELECT id FROM events ORDER BY id DESC LIMIT 1`)
	if err == nil && len(newest) == len(otp.ID{}) {
		restored.From = idTime(otp.ID(newest))
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("look for the newest event: %w", err)
	}
	return restored, nil
}

// behind reports whether the database lacks something that the server has committed.
func (s *Store) behind(ctx context.Context, said testimony) (bool, error) {
	var mark int64
	err := s.reads.GetContext(ctx, &mark, `SELECT mark FROM server_marks WHERE server = ?`, said.server[:])
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read a server's mark: %w", err)
	}
	return mark < said.mark, nil
}

// endRestored cancels the challenges of the backup, ends its deliveries and what people log in with, and records that
// in the database. A challenge that a running server writes at the same moment is decided by its version.
func (s *Store) endRestored(ctx context.Context, restored *Restore) error {
	for after := (otp.ID{}); ; {
		var ids [][]byte
		err := s.reads.SelectContext(ctx, &ids, `
			SELECT id FROM challenges
			WHERE id > ? AND used_at IS NULL AND canceled_at IS NULL AND replaced_at IS NULL
			ORDER BY id LIMIT 200`, after[:])
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			break
		}
		list, args := in(ids, func(id []byte) driver.Value { return id })
		err = s.write(ctx, func(w *session) error {
			ended, err := w.affect(ctx, `
				UPDATE challenges
				SET version = version + 1, canceled_at = ?
				WHERE used_at IS NULL AND canceled_at IS NULL AND replaced_at IS NULL AND id IN `+list,
				append([]driver.Value{int64(restored.FoundAt)}, args...)...)
			restored.Ended += int(ended)
			return err
		})
		if err != nil {
			return err
		}
		after = otp.ID(ids[len(ids)-1])
	}
	return s.write(ctx, func(w *session) error {
		err := w.exec(ctx, `
			UPDATE deliveries
			SET version = version + 1, outcome = 'unknown', leased_until = NULL, finished_at = ?
			WHERE leased_until IS NOT NULL AND finished_at IS NULL`, int64(restored.FoundAt))
		if err == nil {
			err = endLogins(ctx, w, restored.FoundAt)
		}
		if err != nil {
			return err
		}
		id := NewID()
		return w.exec(ctx, `
			INSERT INTO restores (id, found_at, lost_from, lost_until, challenges_ended) VALUES (?, ?, ?, ?, ?)`,
			id[:], int64(restored.FoundAt), moment(restored.From), moment(restored.Until), int64(restored.Ended))
	})
}

// stepSeconds is how long a code of an app is good, and with it the next (RFC 6238).
const stepSeconds = 30

// endLogins ends what people of the backup could log in with once more: sessions that ended since, links that were
// used, questions to passkeys that were answered and codes of apps that were shown. Backup codes stay, since a person
// may have nothing else: those that were used since are good again until their person makes new ones.
func endLogins(ctx context.Context, w *session, now otp.Millis) error {
	at, step := int64(now), int64(now/otp.Second)/stepSeconds+1
	for _, end := range []struct {
		text string
		args []driver.Value
	}{
		{`UPDATE sessions SET ended_at = ? WHERE ended_at IS NULL`, []driver.Value{at}},
		{`UPDATE tickets SET expires_at = ? WHERE used_at IS NULL AND expires_at > ?`, []driver.Value{at, at}},
		{`DELETE FROM ceremonies`, nil},
		{`UPDATE factors SET last_step = ? WHERE kind = 'totp' AND last_step < ?`, []driver.Value{step, step}},
	} {
		if err := w.exec(ctx, end.text, end.args...); err != nil {
			return err
		}
	}
	return nil
}

// register adds a row for this start of the server, and its file. A kill in between leaves an unused row.
func (s *Store) register(ctx context.Context, m *witness) error {
	now := time.Now()
	err := s.write(ctx, func(w *session) error {
		if err := w.exec(ctx, `DELETE FROM server_marks WHERE updated_at < ?`,
			now.Add(-forgetMarks).UnixMilli()); err != nil {
			return err
		}
		return w.exec(ctx, `INSERT INTO server_marks (server, mark, updated_at) VALUES (?, ?, ?)`, m.server[:], int64(1),
			now.UnixMilli())
	})
	if err != nil {
		return err
	}
	m.mark = 1
	if err := m.write(); err != nil {
		return err
	}
	return m.file.Truncate(int64(witnessLength))
}
