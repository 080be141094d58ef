// Package engine authenticates callers, decides codes and delivers messages. Every door calls the same functions.
//
// It promises four things. A decision counts only once its guarded write has committed, and the answer comes after
// that. A charge stays charged, whatever happens next: a client that hangs up, a crash, a failed answer. Verify returns
// a nil error for the right code only. Codes and recipients are derived, sealed or hashed before they reach the store.
//
// The rules are in otp, the tables in sql, accounts and keys in manage. Each door words its own answers.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Options are what an engine works with.
type Options struct {
	Store   *sql.Store
	Keyring *crypto.Keyring
	// Vault is the database's, where it is open already; nil has New open it with Keyring.
	Vault *vault.Vault
	// SMS and Email are the channels in order of preference; without one nothing can be sent.
	SMS, Email []deliver.Channel
	// Files are what the channels of accounts may name a file of.
	Files deliver.Files
	// Blocked returns for how long callers at an address are refused, 0 for not at all; nil refuses nobody.
	Blocked func(netip.Addr) time.Duration
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
	Admission *Admission
	Inbox     *Inbox          // of a sandbox
	Faults    *deliver.Faults // nil in production

	options     Options
	store       *sql.Store
	keyring     *crypto.Keyring
	vault       *vault.Vault
	index       *crypto.IndexKey
	log         *slog.Logger
	credentials *cache[[32]byte, *credential]
	accounts    *cache[string, *account]
	origins     *cache[string, []string]
	issuers     *cache[string, map[string][]string]
	addresses   *cache[string, []string] // of all accounts, by the empty key
	keySets     *keySets
	signingKeys *cache[string, []vault.SigningKey]
	simulated   []deliver.Channel // of the test environment in production
	lists       channelLists
	limiter     *limiter
	metrics     *metrics
	strange     strange
	uses        uses

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
// as unknown. What waits to be tried again is left to other servers or to the next start. Then it writes
// how keys were used. It returns when all has ended, and comes before the store's Close.
func (e *Engine) Close() {
	e.close()
	grace := time.AfterFunc(handOverGrace, e.cutOff)
	e.sending.Wait()
	grace.Stop()
	e.cutOff()
	e.tellUses(context.Background())
	e.limiter.close()
}

// New checks the keyring against the database and takes the index key from it, or makes it on the first start.
func New(ctx context.Context, options Options) (*Engine, error) {
	if !options.Sandbox && (options.FixedCode != "" || len(options.TestRecipients) > 0 ||
		len(options.RelayRecipients) > 0 || options.Inbox != nil || options.Faults != nil) {
		return nil, errors.New("a fixed code, recipients of tests and relays, the inbox and faults exist in a sandbox only")
	}
	if options.Guard == nil {
		options.Guard = &deliver.Guard{Sandbox: options.Sandbox}
	}
	e := &Engine{options: options, store: options.Store, keyring: options.Keyring, log: options.Log}
	e.Admission, e.Inbox, e.Faults = &Admission{store: options.Store}, &Inbox{e}, options.Faults
	e.closing, e.close = context.WithCancel(context.Background())
	e.cut, e.cutOff = context.WithCancel(context.Background())
	e.process, e.leases.held, e.lists.lists, e.metrics = randomID(), map[otp.ID]otp.Millis{},
		map[[2]string][]deliver.Channel{}, newMetrics()
	e.vault = options.Vault
	if e.vault == nil {
		opened, err := vault.Open(ctx, options.Store, options.Keyring, options.Sandbox)
		if err != nil {
			return nil, err
		}
		e.vault = opened
	}
	e.index, e.uses.all = e.vault.Index, map[otp.ID]*use{}
	if err := e.loadNoncesFrom(ctx); err != nil {
		return nil, err
	}
	// Half a second keeps the promise that a revoked key stops within one; three keep the five
	// that a change of settings may take.
	e.credentials = newCache(500*time.Millisecond, e.loadCredential)
	e.accounts = newCache(3*time.Second, e.loadAccount)
	e.origins = newCache(3*time.Second, e.loadOrigins)
	e.issuers = newCache(3*time.Second, e.loadIssuers)
	e.addresses = newCache(3*time.Second, e.loadAddresses)
	e.keySets = newKeySets(e.options.Guard, e.log)
	e.signingKeys = newCache(vault.ReceiptKeysAge, e.loadSigningKeys)
	e.simulated = []deliver.Channel{deliver.NewInbox()}
	if err := e.vault.EnsureSigningKey(ctx); err != nil {
		return nil, err
	}
	limiter, err := newLimiter(options.RedisURL, options.AuthFailuresPerMinute, options.Log)
	if err != nil {
		return nil, err
	}
	e.limiter = limiter
	if options.TendOutbox > 0 {
		e.sending.Go(func() { e.tend(options.TendOutbox) })
		e.sending.Go(e.keepUses)
	}
	return e, nil
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
		{Name: "keyring", Err: e.vault.RegisterKeyring(ctx)},
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
		return fmt.Errorf("this machine's clock is %v off the database's; synchronise both with NTP",
			skew.Round(time.Millisecond))
	}
	return err
}
