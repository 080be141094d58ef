package main

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLog_GathersForAMomentAndLetsNoWarningWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := new(output)
		writer := newLogWriter(written)
		log := slog.New(urgent{slog.NewTextHandler(writer, nil), writer}).With("a", 1).WithGroup("g")
		log.Info("first")
		require.Empty(t, written.String())
		time.Sleep(logGathers)
		synctest.Wait()
		require.Contains(t, written.String(), "first")
		log.Info("second")
		log.Warn("third")
		require.Contains(t, written.String(), "second")
		require.Contains(t, written.String(), "third")
		log.Info("last")
		require.NoError(t, writer.Close())
		require.Contains(t, written.String(), "last")
	})
}
