package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"otpbridge/server/otp"
)

// Options configure a store. The zero value is for production.
type Options struct {
	// Sandbox makes every operation read its account's clock offset.
	Sandbox bool
	// SweepEvery is the interval of sweeps; with 0, only calls of Sweep sweep.
	SweepEvery time.Duration
	// Schema says what to do with a schema that is not this program's; by default it is brought up to date.
	Schema SchemaPolicy

	// State is a folder, outside everything that a backup of the database contains, in which the store records its
	// commits, to detect that a backup was restored. If empty, it cannot.
	State string
	// Committed is called with the events of each committed batch, before its callers are answered. It must be quick
	// and must not keep them. May be nil.
	Committed func([]otp.Event)

	url  string
	file *databaseFile // what openSQLite opened; nil otherwise
}

// Store is safe for concurrent use. Several stores, in one process or many, may share a database.
type Store struct {
	Accounts     *Accounts
	Credentials  *Credentials
	Challenges   *Challenges
	Deliveries   *Deliveries
	Claims       *Claims
	Keyring      *Keyring
	Sandbox      *Sandbox
	People       *People
	Services     *ServiceAccounts
	Passkeys     Passkeys
	Webhooks     *Webhooks
	WebhookQueue *WebhookQueue
	Tests        *TestRecipients
	Audit        *Audit
	Guards       *Guards
	Calls        *Calls
	Statistics   *Statistics
	Shadows      *Shadows
	Alerts       *Alerts
	Privacy      *Privacy

	options Options
	dialect dialect
	reads   *sqlx.DB

	writing sync.Mutex   // held while the writer is used, by a batch or a single write
	single  sync.Mutex   // held by the single write whose turn it is
	alone   atomic.Int64 // single writes, waiting or in progress
	writer  *writer
	witness *witness // nil if the options name no folder for it

	restored *Restore // what the start found
	outdated chan struct{}
	outdate  sync.Once

	readiness readiness

	sweeping   sync.Mutex
	walks      []*walk
	noticeWalk [2]otp.ID // where the next sweep of notices continues: endpoint and id

	queue   *queue
	waiters sync.Pool // of the channels on which callers wait
	batch   *batch    // the writer's
	metrics *metrics
	closing sync.RWMutex // write-locked once, when the queue closes
	closed  bool
	stop    chan struct{}
	done    sync.WaitGroup
}

// start returns the store and takes over three handles: for writing, for reading, and for schema changes.
func start(ctx context.Context, d dialect, writes *sql.DB, reads *sqlx.DB, schema *sql.DB, options Options) (*Store,
	error) {
	s := &Store{
		options: options,
		dialect: d,
		reads:   reads,
		writer:  &writer{db: writes, pipelines: d.pipelines, file: options.file},
		walks:   walks(),
		waiters: sync.Pool{New: func() any { return make(chan struct{}, 1) }},
		batch:   newBatch(d.insert),
		stop:    make(chan struct{}),

		outdated: make(chan struct{}),
	}
	s.Accounts, s.Credentials, s.Claims = &Accounts{store: s}, &Credentials{s}, &Claims{s}
	s.Challenges, s.Deliveries = &Challenges{s}, &Deliveries{s}
	s.Keyring, s.Sandbox = &Keyring{s}, &Sandbox{s}
	s.People, s.Services, s.Webhooks, s.Tests = &People{s}, &ServiceAccounts{s}, newWebhooks(s), &TestRecipients{s}
	s.Audit, s.Guards = &Audit{s}, &Guards{s}
	s.Calls, s.Statistics, s.Shadows = &Calls{s}, &Statistics{s}, &Shadows{s}
	s.Alerts, s.WebhookQueue = &Alerts{s}, &WebhookQueue{s}
	s.Privacy = &Privacy{s}
	s.metrics = newMetrics(s)
	s.queue = newQueue(s.metrics.refused)
	if err := s.settleSchema(ctx, schema); err != nil {
		return nil, errors.Join(err, writes.Close(), reads.Close())
	}
	if err := s.callWitness(ctx); err != nil {
		return nil, errors.Join(err, s.witness.close(), writes.Close(), reads.Close())
	}
	s.done.Add(1)
	go s.commitBatches()
	if options.SweepEvery > 0 {
		s.done.Add(1)
		go s.keepSweeping(options.SweepEvery)
	}
	return s, nil
}

// migrate applies the missing migrations. Two servers that start at once both try. If the database has no lock for
// that, the loser finds a busy database or an existing table, and nothing left to do in its next try.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	files, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if s.dialect.locker != nil {
		locker, err := s.dialect.locker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithLocker(locker))
	}
	provider, err := goose.NewProvider(s.dialect.goose, db, files, options...)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil || try == 5 || s.dialect.locker != nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(jitter(try))
	}
}

// Close commits what is queued, refuses later operations and closes the database.
func (s *Store) Close() error {
	s.closing.Lock()
	if s.closed {
		s.closing.Unlock()
		return nil
	}
	s.closed = true
	s.queue.close()
	close(s.stop)
	s.closing.Unlock()
	s.done.Wait()

	s.writing.Lock()
	defer s.writing.Unlock()
	return errors.Join(s.writer.close(), s.reads.Close(), s.witness.close())
}

// ClockSkew returns how far the database's clock is ahead of this machine's, 0 if they are the same clock. Nothing
// else asks the database for the time.
func (s *Store) ClockSkew(ctx context.Context) (time.Duration, error) {
	if s.dialect.now == "" {
		return 0, nil
	}
	before := time.Now()
	var millis int64
	if err := s.reads.GetContext(ctx, &millis, s.dialect.now); err != nil {
		return 0, fmt.Errorf("read the database's clock: %w", err)
	}
	// The answer was made somewhere between the question and its arrival.
	between := before.Add(time.Since(before) / 2)
	return time.UnixMilli(millis).Sub(between), nil
}

// Queued returns how many operations wait for their batch, and how many guesses may wait at the database's current
// speed.
func (s *Store) Queued() (waiting, length int) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.waiting(), s.queue.length(Verifying)
}

// exec is write for one statement.
func (s *Store) exec(ctx context.Context, text string, args ...driver.Value) error {
	return s.write(ctx, func(w *session) error { return w.exec(ctx, text, args...) })
}

// write runs do in its own transaction, between two batches. Single writes queue among themselves, so that a batch
// never waits for more than one.
func (s *Store) write(ctx context.Context, do func(w *session) error) error {
	s.alone.Add(1)
	defer s.alone.Add(-1)
	s.single.Lock()
	defer s.single.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	for try := 1; ; try++ {
		err := s.transact(ctx, func(w *session) error {
			if err := do(w); err != nil {
				return err
			}
			var mark script
			s.witness.advance(&mark)
			return w.play(ctx, &mark)
		})
		switch {
		case err == nil || s.dialect.taken(err):
			return err
		case s.fate(err) != again || try == maxTries:
			s.readiness.gaveUp()
			return err
		}
		time.Sleep(jitter(try))
	}
}
