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
	// maxCounts bounds what is told apart between two writes; calls beyond it are counted without their address.
	maxCounts = 2000
	// writeEvery is the pause between two writes, and what a server that is killed has not counted at most.
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

// counted is what calls are counted by in memory, where addresses are no texts yet.
type counted struct {
	sql.CallKey
	peer netip.Addr
}

// NewTally makes one that writes until Close.
func NewTally(store *sql.Store, log *slog.Logger) *Tally {
	t := &Tally{store: store, log: log, counts: map[counted]*sql.CallCount{}, stop: make(chan struct{})}
	rand.Read(t.server[:]) // never fails: crypto/rand ends the process instead
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

// Note counts a call of a peer that ended at now, took so long and was answered with so many bytes. Its key needs
// neither hour nor address.
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

// Write writes what was counted since the last time. What cannot be written is lost, and logged.
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
