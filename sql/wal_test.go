package sql

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// withDisk opens a store on SQLite whose log is confirmed by what the test makes of a disk.
func withDisk(t testing.TB, sync func(*os.File) error) (s *Store, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "otp.db")
	s = openTest(t, "sqlite:"+path, Options{Sandbox: true})
	s.writer.log.mu.Lock()
	s.writer.log.sync = sync
	s.writer.log.mu.Unlock()
	return s, path
}

func TestDo_AnswersNobodyBeforeTheDiskConfirmedAndDecidesOnMeanwhile(t *testing.T) {
	asked, confirm := make(chan struct{}, 100), make(chan struct{})
	s, _ := withDisk(t, func(file *os.File) error {
		asked <- struct{}{}
		<-confirm
		return file.Sync()
	})
	var answered atomic.Int64
	var callers sync.WaitGroup
	call := func() {
		op, _ := generate(nextID(), nextID(), policy, noon)
		callers.Go(func() {
			if err := s.Do(op); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	stored := func() int { return count(t, s, `SELECT COUNT(*) FROM challenges`) }

	call()
	<-asked // the first batch is committed, and its disk busy
	require.Equal(t, 1, stored())
	require.Zero(t, answered.Load())
	call() // as many as are being confirmed: they need not wait to be decided
	require.Eventually(t, func() bool { return stored() == 2 }, 10*time.Second, time.Millisecond)
	require.Zero(t, answered.Load(), "two batches are committed, and none is on disk")
	close(confirm)
	callers.Wait()
	require.EqualValues(t, 2, answered.Load())
}

func TestDo_ADiskThatFailsEndsTheStore(t *testing.T) {
	broken := errors.New("no more sectors")
	s, path := withDisk(t, func(*os.File) error { return broken })
	op, _ := generate(nextID(), nextID(), policy, noon)
	require.ErrorIs(t, s.Do(op), broken, "what was committed may be lost, so nobody hears that it was")
	s.writer.log.mu.Lock()
	s.writer.log.sync = (*os.File).Sync
	s.writer.log.mu.Unlock()
	op, _ = generate(nextID(), nextID(), policy, noon)
	require.ErrorIs(t, s.Do(op), errUnconfirmed, "a disk that is well again does not bring back what it dropped")
	require.ErrorIs(t, s.Ping(ctx), errUnconfirmed)
	require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges`))

	require.NoError(t, s.Close())
	again := openTest(t, "sqlite:"+path, Options{Sandbox: true})
	op, _ = generate(nextID(), nextID(), policy, noon)
	require.NoError(t, again.Do(op), "a new start begins with what there is")
}

func TestWrite_ReturnsWhenTheDiskConfirmed(t *testing.T) {
	asked := 0
	s, _ := withDisk(t, func(*os.File) error {
		asked++
		return nil
	})
	require.NoError(t, s.InsertKeyCheck(ctx, "k", make([]byte, 16), 1))
	require.Equal(t, 1, asked)
	require.Equal(t, otp.NotFound, otp.KindOf(s.Do(verify(nextID(), nextID(), true, noon))))
	require.Equal(t, 1, asked, "what wrote nothing has nothing to confirm")
}

// powerCuts runs callers on a disk that takes a picture of the files each time it is asked, and
// then compares what was acknowledged with what each picture holds: whoever was answered when the
// disk had confirmed one must be in it, since a power cut at that moment would have left no more.
func powerCuts(t *testing.T, disk func(file *os.File, picture func()) error) (pictures, acknowledged, lost int) {
	var path string
	var confirmed atomic.Int64 // pictures that were confirmed, in the order of their numbers
	folder, taken := t.TempDir(), 0
	copyTo := func(number int, suffix string) {
		bytes, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprint(number, ".db", suffix)), bytes, 0o600))
	}
	s, path := withDisk(t, func(file *os.File) error {
		if err := disk(file, func() {
			taken++
			copyTo(taken, "")
			copyTo(taken, "-wal")
		}); err != nil {
			return err
		}
		confirmed.Store(int64(taken))
		return nil
	})
	type fact struct {
		challenge otp.ID
		picture   int64
	}
	var mu sync.Mutex
	var facts []fact
	var callers sync.WaitGroup
	for range 12 {
		callers.Go(func() {
			for range 25 {
				op, made := generate(nextID(), nextID(), policy, noon)
				if err := s.Do(op); err != nil {
					t.Error(err)
				}
				at := confirmed.Load()
				mu.Lock()
				facts = append(facts, fact{made.ID, at})
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	for number := 1; number <= taken; number++ {
		recovered := openTest(t, "sqlite:"+filepath.Join(folder, fmt.Sprint(number, ".db")), Options{Sandbox: true})
		for _, f := range facts {
			if f.picture == int64(number) && count(t, recovered, `SELECT COUNT(*) FROM challenges WHERE id = ?`, f.challenge[:]) != 1 {
				lost++
			}
		}
	}
	for _, f := range facts {
		if f.picture == 0 {
			lost++
		}
	}
	return taken, len(facts), lost
}

func TestPowerCut_NothingAcknowledgedIsLost(t *testing.T) {
	pictures, acknowledged, lost := powerCuts(t, func(file *os.File, picture func()) error {
		picture()
		return file.Sync()
	})
	t.Logf("%d power cuts, %d acknowledged operations, %d lost", pictures, acknowledged, lost)
	require.Greater(t, pictures, 10)
	require.Equal(t, 300, acknowledged)
	require.Zero(t, lost)
}

// A disk that says yes and does nothing must be found out.
func TestHarness_CatchesADiskThatOnlySaysThatItConfirmed(t *testing.T) {
	asked := 0
	_, _, lost := powerCuts(t, func(_ *os.File, picture func()) error {
		if asked++; asked%4 == 1 {
			picture()
		}
		return nil
	})
	require.NotZero(t, lost)
}
