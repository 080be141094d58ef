package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// An entry whose checkpoint cannot be pushed is not protected, however quiet the server is: the log says that it is
// behind until every place has the checkpoint, and each place gets it whether or not the others take it.
func TestStart_APlaceThatFailsIsTriedAgainAndStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		folder := filepath.Join(t.TempDir(), "not mounted yet")
		l.CheckpointFile = filepath.Join(folder, "checkpoints")
		var told []Checkpoint
		tell, pushed := errors.New("no database"), 0
		l.Tell = func(_ context.Context, c Checkpoint) error {
			told = append(told, c)
			return tell
		}
		l.Pushed = func(context.Context) error { pushed++; return nil }
		l.Start()
		defer l.Close()
		change(t, l, otp.At(time.Now()), "the only one")
		time.Sleep(2 * time.Minute)
		require.NotEmpty(t, told)
		require.Positive(t, pushed)
		require.Greater(t, l.Behind(), 118*time.Second)

		require.NoError(t, os.Mkdir(folder, 0o700))
		time.Sleep(3 * time.Second)
		content, err := os.ReadFile(l.CheckpointFile)
		require.NoError(t, err)
		require.Equal(t, file(told[0]), string(content), "once, though webhooks could not be told yet")
		require.Greater(t, l.Behind(), 118*time.Second)
		tell = nil
		time.Sleep(3 * time.Second)
		require.Less(t, l.Behind(), 2*time.Second)
		n := len(told)
		time.Sleep(time.Hour)
		require.Len(t, told, n)
	})
}

// The entries of the last minute before a quiet time are told too.
func TestStart_TheLastCheckpointIsToldAlsoIfNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		var sizes []int64
		l.Tell = func(_ context.Context, c Checkpoint) error {
			sizes = append(sizes, c.Size)
			return nil
		}
		l.Start()
		defer l.Close()
		for range 3 {
			change(t, l, otp.At(time.Now()), "again")
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, []int64{1}, sizes)
		time.Sleep(time.Hour)
		require.Equal(t, []int64{1, 3}, sizes)
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
