package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// BenchmarkCycle measures generate and verify for a new recipient, each answered after its COMMIT, with 64 concurrent
// callers.
func BenchmarkCycle(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkCycle(b, place("sqlite:"+filepath.Join(b.TempDir(), "bench.db"))) })
	b.Run("mariadb", func(b *testing.B) { benchmarkCycle(b, place(sqltest.Shared(b).Schema(b))) })
}

// BenchmarkOutboxCycle measures the same through the outbox and a channel that accepts everything at once.
func BenchmarkOutboxCycle(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkCycle(b, place("sqlite:"+filepath.Join(b.TempDir(), "bench.db")), taking{})
	})
	b.Run("mariadb", func(b *testing.B) { benchmarkCycle(b, place(sqltest.Shared(b).Schema(b)), taking{}) })
}

// taking is a channel that accepts everything and sends nothing.
type taking struct{}

func (taking) Name() string { return "taking" }

func (taking) Waits() bool { return true }

func (taking) Send(context.Context, deliver.Message) deliver.Result {
	return deliver.Result{Outcome: deliver.Sent}
}

func benchmarkCycle(b *testing.B, at place, channels ...deliver.Channel) {
	ctx := context.Background()
	h := openWith(b, at, func(o *engine.Options) {
		if o.FixedCode = "123456"; len(channels) > 0 {
			o.SMS = channels
		}
	})
	caller, err := h.Authenticate(ctx, otp.ServletDoor, "ZGVtby1hY2Nlc3Mta2V5MQ==", peer)
	require.NoError(b, err)
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			target, err := caller.Target(fmt.Sprintf("9190%08d", next.Add(1)), "10.0.0.1", "")
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := h.Generate(ctx, caller, target); err != nil {
				b.Error(err)
				return
			}
			if err := h.Verify(ctx, caller, target, "123456"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
