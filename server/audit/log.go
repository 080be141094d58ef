package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"otpbridge/server/files"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// maxGathered is how many calls may wait to be written; further ones are dropped and counted.
const maxGathered = 1 << 15

// Options are what a log needs.
type Options struct {
	Store *sql.Store
	Vault *vault.Vault
	Log   *slog.Logger
	// CallDays and ChangeDays are how long the content of entries is kept.
	CallDays, ChangeDays int
	// CheckpointFile is the file that every checkpoint is appended to; empty for none.
	CheckpointFile string
	// Pushed is called after each checkpoint, to copy other data out of the reach of the database's owner; it may be
	// nil.
	Pushed func(context.Context) error
	// Tell sends a checkpoint to webhooks, once a minute, and by mail; it may be nil.
	Tell func(context.Context, Checkpoint) error
}

// Log is the audit log of one database. It is safe for concurrent use. Every server of a database has one.
type Log struct {
	Options
	store *sql.Store
	key   *key

	sealing sync.Mutex
	pack    packer // guarded by sealing

	mu      sync.Mutex
	calls   []Call
	dropped int
	lists   map[string][]string

	sealed atomic.Pointer[time.Time] // when sealing last succeeded; nil before Start

	wake chan struct{}
	stop chan struct{}
	done sync.WaitGroup
}

// Open returns a log. Without Start it can be read, verified and sealed with Seal.
func Open(o Options) (*Log, error) {
	k, err := newKey(o.Vault.Index)
	if err != nil {
		return nil, fmt.Errorf("derive the audit log's key: %w", err)
	}
	return &Log{Options: o, store: o.Store, key: k, wake: make(chan struct{}, 1), stop: make(chan struct{})}, nil
}

// Origin returns the log's name in its checkpoints.
func (l *Log) Origin() string { return l.key.origin }

// PublicKey returns the key that verifies the checkpoints' signatures, in the form of golang.org/x/mod/sumdb/note.
func (l *Log) PublicKey() string { return l.key.public }

// Call is a request that a door has answered.
type Call struct {
	Began   time.Time
	Took    time.Duration
	Action  string // the servlet's name, or method and route
	Method  string
	Status  int
	Result  string     // ok, fault, or the kind of the refusal
	Request string     // the request's id, in the form that may be logged
	Address netip.Addr // of the peer
	Country string     // of the address, two letters; empty if it is unknown
	Account string     // empty if the caller is unknown
	Key     otp.ID     // of the caller; zero for a person or a stranger
	Actor   otp.Actor  // a person or service account; else zero

	parameters []string
	dropped    int // how many calls were dropped before it
}

func (c Call) entry() Entry {
	e := Entry{
		Type: CallEntry, At: otp.At(c.Began).Time(), Action: c.Action, Method: c.Method, Status: c.Status,
		Result: c.Result, Micros: c.Took.Microseconds(), Request: c.Request, Account: c.Account,
		Parameters: c.parameters, ActorKind: c.Actor.Kind, Country: c.Country,
		Actor: textOf(prefixes[c.Actor.Kind], c.Actor.ID), Session: textOf("ses", c.Actor.Session),
	}
	if c.dropped > 0 {
		e.Details = map[string]string{"calls_dropped": strconv.Itoa(c.dropped)}
	}
	return e
}

// Record adds a call. It never waits. The call is written within a second, and is lost if the server crashes before.
// If too many calls wait, it is dropped, and the next call that is written has the number of dropped ones. names are
// those of the query's parameters and of the body's members, separated by blanks, without values.
func (l *Log) Record(call Call, names []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == maxGathered {
		l.dropped++
		return
	}
	if len(names) > 0 {
		call.parameters = l.list(names)
	}
	l.calls = append(l.calls, call)
	if len(l.calls) == sealCalls {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Behind returns the time since entries were last sealed and a checkpoint pushed; 0 before Start. The metric and the
// alert use it. Entries of that time are kept, but a change of them could not be detected.
func (l *Log) Behind() time.Duration {
	if sealed := l.sealed.Load(); sealed != nil {
		return time.Since(*sealed)
	}
	return 0
}

// Collectors returns the log's metrics, for a registry.
func (l *Log) Collectors() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "otpbridge", Name: "audit_unsealed_seconds",
		Help: "Time since the audit log's entries could last be sealed, a second or less where all is well.",
	}, func() float64 { return l.Behind().Seconds() })}
}

// maxLists is how many lists of parameter names are remembered. Applications use a few.
const maxLists = 512

// list splits names. Calls with the same names share one list, to save memory.
func (l *Log) list(names []byte) []string {
	if list, known := l.lists[string(names)]; known {
		return list
	}
	if l.lists == nil || len(l.lists) == maxLists {
		l.lists = map[string][]string{}
	}
	text := string(names)
	l.lists[text] = strings.Fields(text)
	return l.lists[text]
}

// take returns the calls to seal next.
func (l *Log) take() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped > 0 && len(l.calls) > 0 {
		l.calls[0].dropped = l.dropped
		l.Log.Warn("audit: calls were dropped, more came than could be written", "calls", l.dropped)
		l.dropped = 0
	}
	taken := l.calls[:min(len(l.calls), sealCalls)]
	l.calls = append([]Call(nil), l.calls[len(taken):]...)
	return taken
}

// giveBack keeps calls that could not be sealed for the next try.
func (l *Log) giveBack(calls []Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := maxGathered - len(l.calls)
	if len(calls) > room {
		l.dropped += len(calls) - room
		calls = calls[:room]
	}
	l.calls = append(calls, l.calls...)
}

// Start seals in the background until Close.
func (l *Log) Start() {
	l.done.Go(func() {
		pushed := &pusher{log: l}
		ticker := time.NewTicker(sealEvery)
		defer ticker.Stop()
		looked, swept := time.Time{}, time.Time{}
		for {
			select {
			case <-l.stop:
				l.tend(context.Background(), pushed, true)
				return
			case <-l.wake:
			case <-ticker.C:
			}
			now := time.Now()
			look := now.Sub(looked) >= lookEvery
			if look {
				looked = now
			}
			l.tend(context.Background(), pushed, look)
			if now.Sub(swept) >= sweepEvery {
				swept = now
				if err := l.Sweep(context.Background(), otp.At(now)); err != nil {
					l.Log.Error("audit: what is past its time was not removed", "error", err.Error())
				}
			}
		}
	})
}

// Close seals what waits, and stops what Start started.
func (l *Log) Close() {
	close(l.stop)
	l.done.Wait()
}

// tend seals what waits, and pushes the checkpoints. After a fault the calls are kept, as far as there is room, and
// the changes wait in their table. A fault is logged once until it is over.
func (l *Log) tend(ctx context.Context, p *pusher, look bool) {
	waiting, asked, err := false, look, error(nil)
	if look {
		waiting, err = l.store.Audit.Waiting(ctx)
	}
	for more := true; err == nil && more; {
		calls := l.take()
		if len(calls) == 0 && !waiting {
			if look {
				err = p.again(ctx)
			}
			break
		}
		asked = true
		var tree sql.AuditTree
		if tree, waiting, err = l.seal(ctx, calls, otp.At(time.Now())); err != nil {
			l.giveBack(calls)
			break
		}
		err = p.push(ctx, tree)
		more = waiting || len(calls) == sealCalls // a few new calls wait for the next time
	}
	if asked { // otherwise the database was not used
		p.report(err)
	}
}

// Seal seals everything that waits, and returns the checkpoint.
func (l *Log) Seal(ctx context.Context) (Checkpoint, error) {
	for {
		calls := l.take()
		tree, more, err := l.seal(ctx, calls, otp.At(time.Now()))
		if err != nil {
			l.giveBack(calls)
			return Checkpoint{}, err
		}
		if !more && len(calls) < sealCalls {
			return l.key.sign(tree)
		}
	}
}

// pusher copies checkpoints to places that a writer of the database cannot change. A place that fails keeps no other
// from its copy.
type pusher struct {
	log         *Log
	tree        sql.AuditTree // the latest that this server sealed
	filed, told int64         // the sizes of the last checkpoint in the file, and in the other places
	toldAt      time.Time
	failed      bool
}

// logEvery is the pause between two checkpoints in the server's log and to webhooks. The file gets all of them.
const logEvery = time.Minute

func (p *pusher) push(ctx context.Context, tree sql.AuditTree) error {
	c, err := p.log.key.sign(tree)
	if err != nil {
		return err
	}
	p.tree = tree
	err = errors.Join(p.append(c), p.tell(ctx, c))
	if p.log.Pushed != nil {
		err = errors.Join(err, p.log.Pushed(ctx))
	}
	return err
}

// again pushes the latest checkpoint once more if it did not get everywhere, though nothing new waits: because a place
// failed, or because less than logEvery had passed.
func (p *pusher) again(ctx context.Context) error {
	if p.tree.Size == 0 || !p.failed && (p.told == p.tree.Size || time.Since(p.toldAt) < logEvery) {
		return nil
	}
	return p.push(ctx, p.tree)
}

// append adds a checkpoint to the file, unless it has it.
func (p *pusher) append(c Checkpoint) error {
	if p.log.CheckpointFile == "" || p.filed == c.Size {
		return nil
	}
	file, err := files.Append(p.log.CheckpointFile)
	if err != nil {
		return fmt.Errorf("append a checkpoint: %w", files.Named("OTPBRIDGE_AUDIT_CHECKPOINT_FILE", err))
	}
	if err := errors.Join(files.WriteWhole(file, c.Note+"\n"), file.Close()); err != nil {
		return fmt.Errorf("append a checkpoint: %w", err)
	}
	p.filed = c.Size
	return nil
}

// tell writes a checkpoint to the log and sends it to webhooks, at most once in logEvery.
func (p *pusher) tell(ctx context.Context, c Checkpoint) error {
	now := time.Now()
	if p.told == c.Size || now.Sub(p.toldAt) < logEvery {
		return nil
	}
	p.log.Log.Info("audit checkpoint", "size", c.Size, "note", c.Note)
	if p.log.Tell != nil {
		if err := p.log.Tell(ctx, c); err != nil {
			return fmt.Errorf("tell webhooks of a checkpoint: %w", err)
		}
	}
	p.told, p.toldAt = c.Size, now
	return nil
}

func (p *pusher) report(err error) {
	if now := time.Now(); err == nil || p.log.sealed.Load() == nil {
		p.log.sealed.Store(&now)
	}
	switch {
	case err != nil && !p.failed:
		p.log.Log.Error("audit: entries could not be sealed, or a checkpoint not be pushed", "error", err.Error())
	case err == nil && p.failed:
		p.log.Log.Info("audit: entries are sealed again")
	}
	p.failed = err != nil
}
