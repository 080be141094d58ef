package sql

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"otpbridge/server/otp"
)

// After a power cut a file has everything written before its last sync, and an arbitrary part of later writes, in any
// order, each torn between sectors. These tests record what SQLite writes under a load of the store, make such remains
// from it, and check with an independent SQLite that every acknowledged fact is there.

// written is one event of a file, in the order of all files.
type written struct {
	file   string // the name's last element; empty for an acknowledgement
	offset int64
	data   []byte
	kind   kindOfWrite
	fact   otp.ID // acknowledged
}

type kindOfWrite int

const (
	wrote kindOfWrite = iota
	truncated
	synced
	removed
	acknowledged
)

// recorded is the history of the files below a folder.
type recorded struct {
	mu      sync.Mutex
	folder  string
	history []written
}

func (r *recorded) add(w written) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, w)
}

// recording receives SQLite's writes; one test at a time records.
var recording struct {
	ordinary uintptr // SQLite's own VFS
	sync.RWMutex
	to    *recorded
	files map[uintptr]*recordedFile
}

type recordedFile struct {
	name string
	own  lib.Tsqlite3_io_methods
}

// record makes every connection that is opened from now on record its writes below folder. Its VFS forwards everything
// to SQLite's own.
func record(t *testing.T, folder string) *recorded {
	t.Helper()
	tls := libc.NewTLS()
	defer tls.Close()
	if recording.ordinary == 0 {
		recording.ordinary = lib.Xsqlite3_vfs_find(tls, 0)
		require.NotZero(t, recording.ordinary)
	}
	name, err := libc.CString("recording") // stays allocated with the VFS
	require.NoError(t, err)
	vfs := *at[lib.Tsqlite3_vfs](recording.ordinary)
	vfs.FpNext, vfs.FzName, vfs.FxOpen, vfs.FxDelete = 0, name, pointer(recordOpen), pointer(recordDelete)
	address := allocated(t, tls, vfs)
	recording.Lock()
	recording.to, recording.files = &recorded{folder: folder}, map[uintptr]*recordedFile{}
	recording.Unlock()
	const byDefault = 1
	require.EqualValues(t, lib.SQLITE_OK, lib.Xsqlite3_vfs_register(tls, address, byDefault))
	t.Cleanup(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		lib.Xsqlite3_vfs_register(tls, recording.ordinary, byDefault)
		lib.Xsqlite3_vfs_unregister(tls, address)
	})
	return recording.to
}

// at returns a pointer to the value at an address in SQLite's memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

func allocated[T any](t *testing.T, tls *libc.TLS, value T) uintptr {
	address := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(value)))
	require.NotZero(t, address)
	*at[T](address) = value
	return address
}

// pointer returns a declared function in the form in which the Go translation of SQLite stores it; function is its
// inverse.
func pointer[F any](function F) uintptr { return *(*uintptr)(unsafe.Pointer(&function)) }

func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&pointer)) }

func recordOpen(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32,
		uintptr) int32](at[lib.Tsqlite3_vfs](recording.ordinary).FxOpen)
	code := open(tls, recording.ordinary, name, file, flags, outFlags)
	if code != lib.SQLITE_OK || name == 0 {
		return code
	}
	path := libc.GoString(name)
	recording.Lock()
	defer recording.Unlock()
	if filepath.Dir(path) != recording.to.folder {
		return code
	}
	f := &recordedFile{name: filepath.Base(path), own: *at[lib.Tsqlite3_io_methods](at[lib.Tsqlite3_file](file).FpMethods)}
	methods := f.own
	methods.FxWrite, methods.FxTruncate, methods.FxSync = pointer(recordWrite), pointer(recordTruncate),
		pointer(recordSync)
	address := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(methods))) // a test's few stay allocated
	*at[lib.Tsqlite3_io_methods](address) = methods
	at[lib.Tsqlite3_file](file).FpMethods = address
	recording.files[file] = f
	return code
}

func recordDelete(tls *libc.TLS, _, name uintptr, syncFolder int32) int32 {
	path := libc.GoString(name)
	to, _ := recordedAt(0)
	if filepath.Dir(path) == to.folder {
		to.add(written{file: filepath.Base(path), kind: removed})
	}
	remove := function[func(*libc.TLS, uintptr, uintptr, int32) int32](at[lib.Tsqlite3_vfs](recording.ordinary).FxDelete)
	return remove(tls, recording.ordinary, name, syncFolder)
}

func recordedAt(file uintptr) (*recorded, *recordedFile) {
	recording.RLock()
	defer recording.RUnlock()
	return recording.to, recording.files[file]
}

func recordWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	to, f := recordedAt(file)
	to.add(written{file: f.name, offset: offset, data: bytes.Clone(unsafe.Slice(at[byte](data), n)), kind: wrote})
	return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.own.FxWrite)(tls, file, data, n, offset)
}

func recordTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	to, f := recordedAt(file)
	to.add(written{file: f.name, offset: size, kind: truncated})
	return function[func(*libc.TLS, uintptr, int64) int32](f.own.FxTruncate)(tls, file, size)
}

func recordSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	to, f := recordedAt(file)
	code := function[func(*libc.TLS, uintptr, int32) int32](f.own.FxSync)(tls, file, flags)
	if code == lib.SQLITE_OK {
		to.add(written{file: f.name, kind: synced})
	}
	return code
}

// content is the content of a file.
type content []byte

func (c content) after(w written) content {
	switch w.kind {
	case wrote:
		if end := int(w.offset) + len(w.data); end > len(c) {
			c = append(c, make([]byte, end-len(c))...)
		}
		copy(c[w.offset:], w.data)
	case truncated:
		c = slices.Grow(c, max(0, int(w.offset)-len(c)))[:w.offset]
	}
	return c
}

// remains returns the files after a power cut: durable is what was synced, pending is what was not.
func remains(durable map[string]content, pending map[string][]written, random *rand.Rand) map[string]content {
	files := map[string]content{}
	for name, c := range durable {
		files[name] = bytes.Clone(c)
	}
	for name, writes := range pending {
		writes = slices.Clone(writes)
		if random.IntN(2) == 0 {
			random.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
		}
		share := random.IntN(5) // of four writes that reached the disk
		for _, w := range writes {
			if w.kind == truncated {
				if random.IntN(4) < share {
					files[name] = content(files[name]).after(w)
				}
				continue
			}
			for sector := range slices.Chunk(sectors(w), 1) {
				if random.IntN(4) < share {
					files[name] = content(files[name]).after(sector[0])
				}
			}
		}
	}
	return files
}

// sectors returns the parts of a write that a disk writes atomically: 512 bytes each.
func sectors(w written) (parts []written) {
	const size = 512
	for start := 0; start < len(w.data); {
		end := min(len(w.data), start+size-int(w.offset+int64(start))%size)
		parts = append(parts, written{file: w.file, offset: w.offset + int64(start), data: w.data[start:end], kind: wrote})
		start = end
	}
	return parts
}

// cutReport counts what the cuts found.
type cutReport struct{ cuts, unsynced, checked, violations int }

// cutPower replays a history up to many places after its first acknowledgement and checks what is left.
func cutPower(t *testing.T, history []written, cuts int) (report cutReport) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, uint64(cuts)))
	first := slices.IndexFunc(history, func(w written) bool { return w.kind == acknowledged })
	require.Positive(t, first)
	places := make([]int, cuts)
	for i := range places {
		places[i] = first + random.IntN(len(history)-first)
	}
	slices.Sort(places)
	durable, pending := map[string]content{}, map[string][]written{}
	var facts []string
	next := 0
	for _, place := range places {
		for ; next < place; next++ {
			switch w := history[next]; w.kind {
			case acknowledged:
				facts = append(facts, hex.EncodeToString(w.fact[:]))
			case synced:
				for _, earlier := range pending[w.file] {
					durable[w.file] = durable[w.file].after(earlier)
				}
				delete(pending, w.file)
			case removed: // before the first fact, as a journal, or at the end
				delete(durable, w.file)
				delete(pending, w.file)
			default:
				pending[w.file] = append(pending[w.file], w)
			}
		}
		report.cuts++
		for _, writes := range pending {
			report.unsynced += len(writes)
		}
		report.checked += len(facts)
		if err := lookAt(t, remains(durable, pending, random), facts); err != nil {
			report.violations++
			t.Logf("cut %d of %d: %v", place, len(history), err)
		}
	}
	return report
}

// lookAt opens the files with Debian's SQLite and returns what is wrong with them.
func lookAt(t *testing.T, files map[string]content, facts []string) error {
	t.Helper()
	folder := t.TempDir()
	for name, c := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), c, 0o600))
	}
	out, err := exec.Command("sqlite3", filepath.Join(folder, "otp.db"),
		`PRAGMA integrity_check; SELECT lower(hex(id)) FROM events;`).CombinedOutput()
	os.RemoveAll(folder)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 || lines[0] != "ok" {
		return fmt.Errorf("integrity: %.200s", out)
	}
	there := map[string]bool{}
	for _, line := range lines[1:] {
		there[line] = true
	}
	lost := 0
	for _, fact := range facts {
		if !there[fact] {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d acknowledged facts are lost", lost, len(facts))
	}
	return nil
}

// loaded returns the history of a store under load, with checkpoints in between.
func loaded(t *testing.T) []written {
	folder := t.TempDir()
	history := record(t, folder)
	path := filepath.Join(folder, "otp.db")
	s, err := Open(ctx, "sqlite:"+path, Options{})
	require.NoError(t, err)
	checkpoints, err := sql.Open("sqlite", sqliteURI(path))
	require.NoError(t, err)
	var callers sync.WaitGroup
	failed := make(chan error, 1000)
	for caller := range 8 {
		callers.Go(func() {
			for round := range 30 {
				recipient, slot := nextID(), nextID()
				op, _ := generate(recipient, slot, policy, noon)
				for _, op := range []*Operation{op, verify(recipient, slot, false, noon), verify(recipient, slot, true, noon)} {
					if err := s.Do(op); err != nil && otp.KindOf(err) != otp.WrongCode {
						failed <- err
						return
					}
					history.add(written{kind: acknowledged, fact: op.Event})
				}
				if caller == 0 && round%7 == 6 {
					_, err := checkpoints.Exec(`PRAGMA wal_checkpoint(` + []string{"PASSIVE", "RESTART", "TRUNCATE"}[round%3] + `)`)
					failed <- err
				}
			}
		})
	}
	callers.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(checkpoints.Close(), s.Close()))
	return history.history
}

func needsSQLite(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sqlite3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("sqlite3 is not on PATH")
		}
		t.Skip("sqlite3 is not on PATH")
	}
}

func TestPowerCut_LosesNothingAcknowledgedFault(t *testing.T) {
	needsSQLite(t)
	cuts := 40
	if os.Getenv("FULL") == "1" {
		cuts = 500
	}
	report := cutPower(t, loaded(t), cuts)
	t.Logf("%d cuts with %d writes not synced: %d acknowledged facts looked for, %d violations",
		report.cuts, report.unsynced, report.checked, report.violations)
	require.Positive(t, report.unsynced)
	require.Positive(t, report.checked)
	require.Zero(t, report.violations)
}

// A harness that has found no loss proves nothing: here no sync reaches the disk after the first fact.
func TestPowerCut_AStoreThatDoesNotSyncIsFoundFault(t *testing.T) {
	needsSQLite(t)
	history := loaded(t)
	first := slices.IndexFunc(history, func(w written) bool { return w.kind == acknowledged })
	unsynced := slices.Clone(history[:first])
	for _, w := range history[first:] {
		if w.kind != synced {
			unsynced = append(unsynced, w)
		}
	}
	require.NotZero(t, cutPower(t, unsynced, 10).violations)
}
