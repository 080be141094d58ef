package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// places is where a log tells of its checkpoints.
type places struct {
	mu     sync.Mutex
	told   []Checkpoint
	answer error
}

func (p *places) tell(_ context.Context, c Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, c)
	return p.answer
}

func (p *places) fails(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = err
}

func (p *places) all() []Checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

// An entry whose checkpoint cannot be pushed is not protected, however quiet the server is: the log says that it is
// behind until every place has the checkpoint, and each place gets it whether or not the others take it.
func TestStart_APlaceThatFailsIsTriedAgainAndStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		folder := filepath.Join(t.TempDir(), "not mounted yet")
		l.CheckpointFile = filepath.Join(folder, "checkpoints")
		var told places
		told.fails(errors.New("no database"))
		var pushed atomic.Int64
		l.Tell = told.tell
		l.Pushed = func(context.Context) error { pushed.Add(1); return nil }
		l.Start()
		defer l.Close()
		change(t, l, otp.At(time.Now()), "the only one")
		time.Sleep(2 * time.Minute)
		require.NotEmpty(t, told.all())
		require.Positive(t, pushed.Load())
		require.Greater(t, l.Behind(), 118*time.Second)

		require.NoError(t, os.Mkdir(folder, 0o700))
		time.Sleep(3 * time.Second)
		content, err := os.ReadFile(l.CheckpointFile)
		require.NoError(t, err)
		require.Equal(t, file(told.all()[0]), string(content), "once, though webhooks could not be told yet")
		require.Greater(t, l.Behind(), 118*time.Second)
		told.fails(nil)
		time.Sleep(3 * time.Second)
		require.Less(t, l.Behind(), 2*time.Second)
		n := len(told.all())
		time.Sleep(time.Hour)
		require.Len(t, told.all(), n)
	})
}

// The entries of the last minute before a quiet time are told too.
func TestStart_TheLastCheckpointIsToldAlsoIfNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		var told places
		l.Tell = told.tell
		sizes := func() (all []int64) {
			for _, c := range told.all() {
				all = append(all, c.Size)
			}
			return all
		}
		l.Start()
		defer l.Close()
		for range 3 {
			change(t, l, otp.At(time.Now()), "again")
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, []int64{1}, sizes())
		time.Sleep(time.Hour)
		require.Equal(t, []int64{1, 3}, sizes())
	})
}

// What servers remove while a long log is verified is not taken for tampering.
func TestVerify_MayTakeLongerThanTheRetentionsSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		v := &verification{log: &Log{Options: Options{CallDays: 30, ChangeDays: 400}}, now: otp.At(began), began: began}
		call := stubOf(CallEntry, v.now-30*otp.Day+3*otp.Minute, nil)
		change := stubOf(ChangeEntry, call.at(), nil)
		require.False(t, v.expired(call))
		time.Sleep(3 * time.Minute)
		require.True(t, v.expired(call))
		require.False(t, v.expired(change))
	})
}
