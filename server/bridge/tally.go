package bridge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

const (
	// maxCounts is how many separate counts are kept between two writes; further calls are counted without address.
	maxCounts = 2000
	// writeEvery is the pause between two writes. A server that is killed loses the counts of this time at most.
	writeEvery = 20 * time.Second
)

// Tally counts the calls of accounts in memory and writes the counts in batches. It is safe for concurrent use.
type Tally struct {
	store  *sql.Store
	log    *slog.Logger
	server otp.ID

	mu     sync.Mutex
	counts map[counted]*sql.CallCount
	stop   chan struct{}
	done   sync.WaitGroup
}

// counted is the key of a count in memory, where addresses are not texts yet.
type counted struct {
	sql.CallKey
	peer netip.Addr
}

// NewTally returns a tally that writes to the store until Close.
func NewTally(store *sql.Store, log *slog.Logger) *Tally {
	t := &Tally{store: store, log: log, counts: map[counted]*sql.CallCount{}, stop: make(chan struct{})}
	rand.Read(t.server[:]) // never returns an error; crypto/rand ends the process instead
	t.done.Go(func() {
		ticker := time.NewTicker(writeEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.Write()
			case <-t.stop:
				t.Write()
				return
			}
		}
	})
	return t
}

// Close writes what is left.
func (t *Tally) Close() {
	close(t.stop)
	t.done.Wait()
}

// Note counts a call of a peer that ended at now and took took; the answer had so many bytes. Note sets the hour and
// the address of call.
func (t *Tally) Note(call sql.CallKey, peer netip.Addr, now time.Time, took time.Duration, bytes int) {
	at := otp.At(now)
	call.Hour = at - at%otp.Hour
	key := counted{call, peer.Unmap().WithZone("")}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[key] == nil && len(t.counts) >= maxCounts {
		key.peer = netip.Addr{}
		if t.counts[key] == nil && len(t.counts) >= 2*maxCounts {
			return
		}
	}
	n := t.counts[key]
	if n == nil {
		n = &sql.CallCount{CallKey: call}
		t.counts[key] = n
	}
	n.Calls++
	n.Micros += took.Microseconds()
	n.Bytes += int64(bytes)
	n.LastAt = at
}

// Write writes the counts since the last time. Counts that cannot be written are lost, and logged.
func (t *Tally) Write() {
	t.mu.Lock()
	counts := make([]sql.CallCount, 0, len(t.counts))
	for key, n := range t.counts {
		if key.peer.IsValid() {
			n.Address = key.peer.String()
		}
		counts = append(counts, *n)
	}
	clear(t.counts)
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), writeEvery)
	defer cancel()
	if err := t.store.Calls.Add(ctx, t.server, counts, otp.At(time.Now())); err != nil {
		t.log.Warn("calls were not counted for the migration report", "error", err)
	}
}
