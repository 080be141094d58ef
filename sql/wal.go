package sql

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// writeAheadLog is the file in which SQLite's commits are before they are in the database file.
// The store has the disk confirm it by itself, rather than let SQLite do so inside every COMMIT
// (synchronous=FULL), because a COMMIT holds up everything behind it: so the next batch is decided
// while the disk still confirms the last.
//
// That promises no less. What a commit builds on stands before it in the same file, each frame has
// a checksum over all before it, and recovery ends at the first that does not fit. So a log that
// was confirmed up to some commit brings back that commit and all it builds on, and nobody is
// answered before theirs is confirmed. synchronous=NORMAL does the rest as FULL does it: the log is
// confirmed before it is copied into the database file, that file before the log begins anew, and
// the new beginning before anything follows it (SQLite, "Write-Ahead Logging", and wal.c).
//
// It is safe for concurrent use. A nil one belongs to a database whose COMMIT is durable by itself.
type writeAheadLog struct {
	path string
	sync func(*os.File) error // asks the disk: (*os.File).Sync
	took prometheus.Observer  // seconds

	written atomic.Int64 // commits that are in the file
	broken  atomic.Pointer[error]

	mu        sync.Mutex // held while the disk confirms
	file      *os.File   // nil before the first connection
	confirmed int64      // commits that are on disk
}

// errUnconfirmed is the end of a store whose disk did not confirm its log. The system may have
// dropped the pages that it could not write, and call another try a success without them (fsync(2)
// on Linux). Whatever was committed behind them would be lost with them.
var errUnconfirmed = errors.New("the disk did not confirm the write-ahead log; nothing is decided any more until this server is started again")

// follow opens the file that a new connection writes. If the connection before it was the last to
// the database, SQLite has copied the old file, confirmed the copy and deleted the file.
func (l *writeAheadLog) follow() error {
	if l == nil {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the write-ahead log, which needs a database on a local disk: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // nothing was written through it
	}
	l.file = file
	return nil
}

// wrote notes a commit.
func (l *writeAheadLog) wrote() {
	if l != nil {
		l.written.Add(1)
	}
}

// fault is why nothing may be committed any more, nil if all is well.
func (l *writeAheadLog) fault() error {
	if l != nil {
		if broken := l.broken.Load(); broken != nil {
			return *broken
		}
	}
	return nil
}

// confirm returns when every commit that was noted before the call is on disk. Where that is so
// already it costs nothing.
func (l *writeAheadLog) confirm() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	written := l.written.Load()
	if err := l.fault(); err != nil || l.confirmed == written {
		return err
	}
	began := time.Now()
	err := l.sync(l.file)
	l.took.Observe(time.Since(began).Seconds())
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnconfirmed, err)
		l.broken.Store(&err)
		return err
	}
	l.confirmed = written
	return nil
}

func (l *writeAheadLog) close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// confirmer has the disk confirm batches that are committed, and then answers their callers.
type confirmer struct {
	log       *writeAheadLog
	committed chan []*Operation
	spare     chan []*Operation // lists whose operations are answered, to be used again
	open      atomic.Int64      // operations that are committed and not answered
	progress  chan struct{}     // holds a token when open has become less
	done      chan struct{}
}

func newConfirmer(log *writeAheadLog) *confirmer {
	c := &confirmer{
		log: log, committed: make(chan []*Operation, 1), spare: make(chan []*Operation, 3),
		progress: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// run confirms as many batches at once as were committed while the disk confirmed those before.
func (c *confirmer) run() {
	defer close(c.done)
	var batches [][]*Operation
	for batch := range c.committed {
		batches = append(batches[:0], batch)
	more:
		for {
			select {
			case batch, open := <-c.committed:
				if !open {
					break more
				}
				batches = append(batches, batch)
			default:
				break more
			}
		}
		err := c.log.confirm()
		for _, batch := range batches {
			c.answer(batch, err)
		}
	}
}

// answer lets the callers of a batch go on. If the disk failed them nobody knows whether what was
// decided for them will last, and a refusal is no better founded than a success.
func (c *confirmer) answer(batch []*Operation, err error) {
	for _, op := range batch {
		if err != nil {
			op.err = fmt.Errorf("commit operation: %w", err)
		}
		op.done <- struct{}{}
	}
	c.open.Add(-int64(len(batch)))
	select {
	case c.progress <- struct{}{}:
	default:
	}
	clear(batch)
	select {
	case c.spare <- batch[:0]:
	default:
	}
}

// take gives the confirmer a batch, and gives an empty list in return.
func (c *confirmer) take(batch []*Operation) []*Operation {
	c.open.Add(int64(len(batch)))
	c.committed <- batch
	select {
	case list := <-c.spare:
		return list
	default:
		return make([]*Operation, 0, maxBatch)
	}
}

// close returns when all is answered.
func (c *confirmer) close() {
	close(c.committed)
	<-c.done
}
