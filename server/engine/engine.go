// Package engine is what happens. Whatever door a request came through, the same functions
// authenticate it, count it, decide it and have its message delivered; doors only translate.
//
// It promises that a decision is the guarded write that carries it, committed before the answer
// is given; that a charge survives everything after it, the client hanging up included; that
// Verify returns a nil error for the right code only; and that codes, recipients and cipher keys
// are derived, sealed or hashed before they reach the store. The rules themselves are in otp,
// tables in sql, protection in crypto, and every wording belongs to a door.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Options are what an engine works with.
type Options struct {
	Store   *sql.Store
	Keyring *crypto.Keyring
	// SMS and Email are the channels in order of preference; without one nothing can be sent.
	SMS, Email []deliver.Channel
	// Files are what the channels of accounts may name a file of.
	Files deliver.Files
	// DeliveryWait bounds how long generate and resend wait for a channel's outcome; with 0 they
	// answer at once.
	DeliveryWait time.Duration
	Log          *slog.Logger

	// TendOutbox is the pause between two looks for deliveries whose server is gone, and at the
	// leases of this one's; 0 leaves both to calls of TakeOver.
	TendOutbox time.Duration
	Cost       Cost

	// RedisURL names the Redis in which servers that share a database count requests together;
	// empty counts in this process alone.
	RedisURL string
	// AuthFailuresPerMinute bounds how often an address may present a credential that is
	// refused; 0 is no limit.
	AuthFailuresPerMinute int

	// Guard makes the requests to addresses that customers set; nil opens nothing but public addresses.
	Guard *deliver.Guard

	// Sandbox enables everything below and the sandbox's calls; production has none of it.
	Sandbox bool
	Inbox   *deliver.Inbox
	Faults  *deliver.Faults
	// TestRecipients stand in front of accounts' own channels too.
	TestRecipients deliver.TestRecipients
	// RelayRecipients are whom messages of the inbox may be relayed to.
	RelayRecipients deliver.RelayRecipients
	// FixedCode replaces every derived code of its length.
	FixedCode string
}

// Engine is safe for concurrent use.
type Engine struct {
	options     Options
	store       *sql.Store
	keyring     *crypto.Keyring
	index       *crypto.IndexKey
	log         *slog.Logger
	credentials *cache[[32]byte, *credential]
	accounts    *cache[string, *account]
	origins     *cache[string, []string]
	issuers     *cache[string, map[string][]string]
	keySets     *keySets
	signingKeys *cache[string, []receiptKey]
	simulated   []deliver.Channel // of the test environment in production
	lists       channelLists
	limiter     *limiter
	inFlight    inFlight
	metrics     *metrics
	strange     strange

	noncesFrom otp.Millis // requests signed before it are refused

	process otp.ID // names this process in the outbox
	leases  leases
	sending sync.WaitGroup  // messages on their way to a channel, and who tends the outbox
	closing context.Context // begin nothing more
	close   context.CancelFunc
	cut     context.Context // end what is under way
	cutOff  context.CancelFunc
}

// Close lets what is being handed to providers come to its end for a moment and cuts it off then,
// as unknown. What waits to be tried again is left to other servers or to the next start. It returns
// when all has ended, and comes before the store's Close.
func (e *Engine) Close() {
	e.close()
	grace := time.AfterFunc(handOverGrace, e.cutOff)
	e.sending.Wait()
	grace.Stop()
	e.cutOff()
	e.limiter.close()
}

// New checks the keyring against the database, takes the index key from it (or makes it, on the
// first start) and, in a sandbox, seeds the demo accounts.
func New(ctx context.Context, options Options) (*Engine, error) {
	if !options.Sandbox && (options.FixedCode != "" || len(options.TestRecipients) > 0 || len(options.RelayRecipients) > 0 || options.Inbox != nil || options.Faults != nil) {
		return nil, errors.New("a fixed code, recipients of tests and relays, the inbox and faults exist in a sandbox only")
	}
	e, err := attach(ctx, options)
	if err != nil {
		return nil, err
	}
	if options.Sandbox {
		if err := e.seedDemo(ctx); err != nil {
			e.Close()
			return nil, fmt.Errorf("make the demo accounts: %w", err)
		}
	}
	if options.TendOutbox > 0 {
		e.sending.Go(func() { e.tend(options.TendOutbox) })
	}
	return e, nil
}

// attach is New without what only a server does.
func attach(ctx context.Context, options Options) (*Engine, error) {
	if options.Guard == nil {
		options.Guard = &deliver.Guard{Sandbox: options.Sandbox}
	}
	e := &Engine{options: options, store: options.Store, keyring: options.Keyring, log: options.Log}
	e.closing, e.close = context.WithCancel(context.Background())
	e.cut, e.cutOff = context.WithCancel(context.Background())
	e.process, e.leases.held, e.lists.lists, e.metrics = randomID(), map[otp.ID]otp.Millis{}, map[[2]string][]deliver.Channel{}, newMetrics()
	if err := e.checkKeyring(ctx); err != nil {
		return nil, err
	}
	if err := e.loadIndexKey(ctx); err != nil {
		return nil, err
	}
	if err := e.loadNoncesFrom(ctx); err != nil {
		return nil, err
	}
	// Half a second keeps the promise that a revoked key stops within one; three keep the five
	// that a change of settings may take.
	e.credentials = newCache(500*time.Millisecond, e.loadCredential)
	e.accounts = newCache(3*time.Second, e.loadAccount)
	e.origins = newCache(3*time.Second, e.loadOrigins)
	e.issuers = newCache(3*time.Second, e.loadIssuers)
	e.keySets = newKeySets(e.options.Guard, e.log)
	e.signingKeys = newCache(signingKeysAge, e.loadSigningKeys)
	e.simulated = []deliver.Channel{deliver.NewInbox()}
	if err := e.makeSigningKey(ctx); err != nil {
		return nil, err
	}
	limiter, err := newLimiter(options.RedisURL, options.AuthFailuresPerMinute, options.Log)
	if err != nil {
		return nil, err
	}
	e.limiter = limiter
	return e, nil
}

// checkKeyring proves that every key which has protected something in this database is at hand
// and is the same key. Starting without one would answer right codes as wrong.
func (e *Engine) checkKeyring(ctx context.Context) error {
	stored, err := e.compareKeyring(ctx)
	if err != nil {
		return err
	}
	// Only the primary protects anything new. To record the others as well would bring a key back
	// that a rotation has just retired, as long as one server still has its line.
	id := e.keyring.Primary()
	if stored[id] != nil {
		return nil
	}
	check, err := e.keyring.Check(id)
	if err != nil {
		return fmt.Errorf("check keyring: %w", err)
	}
	if err := e.store.InsertKeyCheck(ctx, id, check, time.Now().UnixMilli()); err != nil {
		return fmt.Errorf("store the keyring's check value: %w", err)
	}
	return nil
}

// KeyringError says which key a keyring lacks or has wrong. It stays until somebody changes the
// keyring.
type KeyringError struct{ error }

// compareKeyring compares the keyring with the check values in the database, and answers those.
func (e *Engine) compareKeyring(ctx context.Context) (map[string][]byte, error) {
	stored, err := e.store.KeyChecks(ctx)
	if err != nil {
		return nil, err
	}
	for id, check := range stored {
		have, err := e.keyring.Check(id)
		if errors.Is(err, crypto.ErrUnknownKey) {
			return nil, KeyringError{fmt.Errorf("the keyring lacks key %q, which protects data in this database; add its line back", id)}
		}
		if err != nil {
			return nil, fmt.Errorf("check keyring: %w", err)
		}
		if !slices.Equal(have, check) {
			return nil, KeyringError{fmt.Errorf("the keyring's key %q is not the one that protects data in this database; "+
				"put the former key back under this id, and give new keys new ids", id)}
		}
	}
	return stored, nil
}

var indexKeyRow = []byte("index_key")

// loadIndexKey opens the key of all look-up hashes. It is stored sealed, so that the keyring can
// rotate while hashes stay as they are.
func (e *Engine) loadIndexKey(ctx context.Context) error {
	fresh := e.keyring.Seal(indexKeyRow, crypto.RandomIndexKey().Bytes())
	sealed, err := e.store.IndexKey(ctx, fresh)
	if err != nil {
		return fmt.Errorf("read the index key: %w", err)
	}
	key, err := e.keyring.Open(indexKeyRow, sealed)
	if err != nil {
		return fmt.Errorf("open the index key: %w", err)
	}
	e.index = crypto.NewIndexKey(crypto.NewSecret(key))
	return nil
}

// Check is one condition of readiness.
type Check struct {
	Name string
	Err  error
	Note string // what to read in place of "ok"; it is no reason not to be ready
}

// Ready tests what the engine needs to serve. Overload is not part of it: all servers of a database
// have it at once, and a balancer would take them all out.
func (e *Engine) Ready(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return []Check{
		{Name: "database", Err: e.store.Ready(ctx)},
		{Name: "clock", Err: e.checkClock(ctx)},
		{Name: "keyring", Err: e.checkKeyring(ctx)},
		{Name: "queue", Note: e.queueNote()},
	}
}

// queueNote returns what is worth reading about the queue, empty while little waits.
func (e *Engine) queueNote() string {
	if waiting, length := e.store.Queued(); waiting > length/2 {
		return fmt.Sprintf("busy, %d of %d operations waiting", waiting, length)
	}
	return ""
}

// checkClock compares this machine's clock with the database's, both unmoved by any sandbox.
// Servers that share a database decide about each other's rows, so their clocks must agree.
func (e *Engine) checkClock(ctx context.Context) error {
	skew, err := e.store.ClockSkew(ctx)
	if err == nil && skew.Abs() > time.Second {
		return fmt.Errorf("this machine's clock is %v off the database's; synchronise both with NTP", skew.Round(time.Millisecond))
	}
	return err
}

// RefuseSandboxRemains tells what keeps this database and keyring from serving in production.
func (e *Engine) RefuseSandboxRemains(ctx context.Context) error {
	var faults []error
	if ids := e.keyring.SampleIDs(); len(ids) > 0 {
		faults = append(faults, fmt.Errorf("keyring key %q is the published sample key; make a new one", ids[0]))
	}
	remains, err := e.store.SandboxRemains(ctx)
	if err != nil {
		return err
	}
	if len(remains) > 0 {
		faults = append(faults, fmt.Errorf("a sandbox was run on this database (%d accounts or clocks of its own); "+
			"use a database that no sandbox has used", len(remains)))
	}
	err = e.store.Accounts(ctx, func(row otp.Account, _ error) error {
		if key, err := e.openCipherKey(&row); err == nil {
			switch weak := crypto.WeakCipherKey(key.Bytes()); {
			case crypto.SampleKey(key.Bytes()):
				faults = append(faults, fmt.Errorf("account %s uses the published sample cipher key; give it one of its own", row.Address))
			case weak != "":
				faults = append(faults, fmt.Errorf("account %s has a cipher key that %s; give it another one", row.Address, weak))
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	for _, key := range crypto.PublishedKeys() {
		row, err := e.store.Credential(ctx, e.credentialHash(key))
		switch {
		case errors.Is(err, sql.ErrNotFound):
		case err != nil:
			return errors.Join(append(faults, err)...)
		case row.Enabled && row.RevokedAt == 0:
			faults = append(faults, fmt.Errorf("key %s of account %s is published in documents of this project; revoke it",
				row.ID.Text("key"), row.Address))
		}
	}
	return errors.Join(faults...)
}
