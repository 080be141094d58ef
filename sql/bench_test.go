package sql

import (
	"path/filepath"
	"testing"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// BenchmarkDo measures the store's part of a cycle for a new recipient: the operations of a generate and of a
// validate, with 64 concurrent callers.
func BenchmarkDo(b *testing.B) { benchmarkDo(b, 0) }

// BenchmarkDo_Webhooks measures the same for an account with three endpoints that subscribe to everything.
func BenchmarkDo_Webhooks(b *testing.B) { benchmarkDo(b, 3) }

func benchmarkDo(b *testing.B, endpoints int) {
	b.Run("sqlite", func(b *testing.B) {
		benchmarkStore(b, "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), endpoints)
	})
	b.Run("mariadb", func(b *testing.B) { benchmarkStore(b, sqltest.Shared(b).Schema(b), endpoints) })
}

func benchmarkStore(b *testing.B, databaseURL string, endpoints int) {
	s := openTest(b, databaseURL, Options{})
	for range endpoints {
		listen(b, s, "*")
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			// Recipients and slots are hashes, so the benchmark's must not be in order either.
			recipient, slot := scattered(nextID()), scattered(nextID())
			op, _ := generate(recipient, slot, policy, noon)
			if err := s.Do(op); err != nil {
				b.Error(err)
				return
			}
			if err := s.Do(verify(recipient, slot, true, noon)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// scattered moves an id away from its neighbours: its last bytes come first, multiplied.
func scattered(id otp.ID) otp.ID {
	for i, j := 0, len(id)-1; i < j; i, j = i+1, j-1 {
		id[i], id[j] = id[j]*167, id[i]
	}
	return id
}
