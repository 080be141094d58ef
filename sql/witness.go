package sql

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"otpbridge/server/files"
	"otpbridge/server/otp"
)

// A restored backup undoes what was answered since: used codes and charged guesses. Nothing in the database can show
// that, because everything in it is restored too. So each server counts its commits in a row, and writes the count
// into a file outside the database after each COMMIT and before the answers: the witness. If its row is behind the
// file or missing, the database is an older one.
//
// The file is written without waiting for the disk, because a killed process loses nothing of it, and synced once a
// second. So only a power cut together with a backup of the same second could go unnoticed.

// ErrRestored says that the database has become older under a running server.
var ErrRestored = errors.New("the database is older than what this server committed: a backup was restored, or " +
	"another database " +
	"is in its place; the next start ends the codes that are in it")

// witness is the file of this server. A nil witness records nothing. Callers hold Store.writing.
type witness struct {
	file   *os.File
	server otp.ID
	mark   int64 // of the last known COMMIT
	told   int64 // the content of the file
	moved  int64 // how far the transaction in progress moves it
	doubt  bool  // a transaction that moved it failed: the database may have either mark
	synced time.Time
}

// testimony is the content of a witness's file.
type testimony struct {
	server otp.ID
	mark   int64
	at     otp.Millis // when it was written
}

// witnessFormat has a fixed length, so that it is overwritten in place.
const witnessFormat = "otpbridge 1 %s %020d %020d "

var witnessLength = len(fmt.Sprintf(witnessFormat, strings.Repeat("0", 32), 0, 0)) + len("00000000\n")

func (t testimony) text() []byte {
	text := fmt.Sprintf(witnessFormat, hex.EncodeToString(t.server[:]), t.mark, int64(t.at))
	return fmt.Appendf(nil, "%s%08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

var errDamagedWitness = errors.New("it is damaged")

func parseTestimony(text []byte) (t testimony, err error) {
	if len(text) != witnessLength {
		return t, errDamagedWitness
	}
	var server string
	if _, err := fmt.Sscanf(string(text), witnessFormat, &server, &t.mark, &t.at); err != nil {
		return t, errDamagedWitness
	}
	id, err := hex.DecodeString(server)
	if err != nil || len(id) != len(t.server) {
		return t, errDamagedWitness
	}
	t.server = otp.ID(id)
	if string(t.text()) != string(text) {
		return t, errDamagedWitness
	}
	return t, nil
}

// witnessName returns the start of the names of a database's witness files.
func (s *Store) witnessName() string {
	sum := sha256.Sum256([]byte(s.dialect.place(s.options.url)))
	return "otpbridge-" + hex.EncodeToString(sum[:8])
}

// maxWitnesses is how many servers of one database may share a folder.
const maxWitnesses = 64

// openWitness takes the first file of this name that no other server holds, and creates one if there is none. left are
// all files that no server holds: one server may have been two before.
func openWitness(folder, witness string) (own *os.File, left []*os.File, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(folder) // no link in it leads to a file elsewhere
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	var free []*os.File
	for n := 1; n <= maxWitnesses; n++ {
		flags := os.O_RDWR
		if len(free) == 0 {
			flags |= os.O_CREATE
		}
		name := fmt.Sprintf("%s.%d", witness, n)
		file, err := files.OpenIn(root, name, flags)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		locked := false
		if err == nil {
			if locked, err = files.TryLock(file); err != nil {
				err = fmt.Errorf("cannot be locked: %w", err)
			}
		}
		switch {
		case locked:
			free = append(free, file)
		case err == nil: // another server's
			file.Close()
		default:
			closeAll(append(free, file))
			return nil, nil, fmt.Errorf("%s %w", filepath.Join(folder, name), err)
		}
	}
	if len(free) == 0 {
		return nil, nil, fmt.Errorf("%d servers have their state in %s", maxWitnesses, folder)
	}
	return free[0], free[1:], nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// readTestimony reads a locked file; a new file is empty.
func readTestimony(file io.ReaderAt) (t testimony, empty bool, err error) {
	text := make([]byte, witnessLength+1)
	n, err := file.ReadAt(text, 0)
	if err != nil && err != io.EOF {
		return t, false, err
	}
	if n == 0 {
		return t, true, nil
	}
	t, err = parseTestimony(text[:n])
	return t, false, err
}

// settle reads the mark from the database after a transaction with an unknown outcome.
func (m *witness) settle(ctx context.Context, w *session) error {
	if m == nil {
		return nil
	}
	if !m.doubt {
		m.moved = 0
		return nil
	}
	found, mark := false, int64(0)
	err := w.query(ctx, `SELECT mark FROM server_marks WHERE server = ?`, []driver.Value{m.server[:]},
		func(values row) error {
			r := reader{row: values}
			found, mark = true, r.number()
			return r.err
		})
	switch {
	case err != nil:
		return err
	case !found || mark != m.mark && mark != m.mark+m.moved:
		return ErrRestored
	}
	m.mark, m.moved, m.doubt = mark, 0, false
	return nil
}

// advance moves the mark in a transaction that writes something. Its guard fails if the row is not as this server left
// it.
func (m *witness) advance(c *script) {
	if m == nil {
		return
	}
	c.guard(`UPDATE server_marks SET mark = ?, updated_at = ? WHERE server = ? AND mark = ?`,
		m.mark+m.moved+1, time.Now().UnixMilli(), m.server[:], m.mark+m.moved)
	m.moved++
}

// failed records a transaction that did not commit, as far as is known.
func (m *witness) failed() {
	if m != nil && m.moved > 0 {
		m.doubt = true
	}
}

// committed writes the mark to the file. On an error the callers must not be answered: what is answered has to be in
// the file.
func (m *witness) committed() error {
	if m == nil {
		return nil
	}
	m.mark, m.moved = m.mark+m.moved, 0
	if m.mark == m.told {
		return nil
	}
	if err := m.write(); err != nil {
		return fmt.Errorf("write down what was committed: %w", err)
	}
	return nil
}

func (m *witness) write() error {
	now := time.Now()
	_, err := m.file.WriteAt(testimony{m.server, m.mark, otp.At(now)}.text(), 0)
	if err == nil {
		m.told = m.mark
	}
	if err == nil && now.Sub(m.synced).Abs() >= time.Second {
		m.synced = now
		err = m.file.Sync()
	}
	return err
}

func (m *witness) close() error {
	if m == nil {
		return nil
	}
	return errors.Join(m.file.Sync(), m.file.Close())
}
