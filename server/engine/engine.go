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

// Options configure an engine.
type Options struct {
	Store   *sql.Store
	Keyring *crypto.Keyring
	// Vault is the database's vault if it is open already; with nil, New opens it with Keyring.
	Vault *vault.Vault
	// SMS and Email are the channels in order of preference; an empty list sends nothing.
	SMS, Email []deliver.Channel
	// Files are the files that accounts' channels may refer to.
	Files deliver.Files
	// Blocked returns how long callers at an address are refused, 0 for not at all; nil refuses nobody.
	Blocked func(netip.Addr) time.Duration
	// DeliveryWait bounds how long generate and resend wait for a channel's outcome; with 0 they answer at once.
	DeliveryWait time.Duration
	Log          *slog.Logger

	// TendOutbox is the interval at which the engine looks for deliveries of dead servers and renews its own leases;
	// with 0 it does so only when TakeOver is called.
	TendOutbox time.Duration
	Cost       Cost

	// RedisURL names the Redis in which servers with a common database count requests together; if empty, each process
	// counts for itself.
	RedisURL string
	// AuthFailuresPerMinute bounds how often an address may present a refused credential; 0 is no limit.
	AuthFailuresPerMinute int

	// Guard makes the requests to addresses that customers set; nil allows public addresses only.
	Guard *deliver.Guard

	// Sandbox enables the options below and the sandbox's calls; production has none of them.
	Sandbox bool
	Inbox   *deliver.Inbox
	Faults  *deliver.Faults
	// TestRecipients take precedence over accounts' own channels too.
	TestRecipients deliver.TestRecipients
	// RelayRecipients are the recipients that inbox messages may be relayed to.
	RelayRecipients deliver.RelayRecipients
	// FixedCode replaces every derived code of its length.
	FixedCode string
}

// Engine is safe for concurrent use.
type Engine struct {
	Admission *Admission
	Limits    *Limits
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
	origins     *cache[string, map[string]Pages]
	issuers     *cache[string, map[string][]string]
	addresses   *cache[string, []string] // of all accounts, under the empty key
	keySets     *keySets
	signingKeys *cache[string, []vault.SigningKey]
	simulated   []deliver.Channel // of the test and dev environments in production
	lists       channelLists
	limiter     *limiter
	metrics     *metrics
	strange     strange
	uses        uses

	noncesFrom otp.Millis // requests signed before it are refused

	process otp.ID // names this process in the outbox
	leases  leases
	sending sync.WaitGroup  // hand-overs in progress, and the goroutine that tends the outbox
	closing context.Context // when done: begin nothing more
	close   context.CancelFunc
	cut     context.Context // when done: stop what is in progress
	cutOff  context.CancelFunc
}

// Close waits a moment for hand-overs in progress, then cuts them off with outcome unknown. Deliveries that wait for
// another try are left to other servers or the next start. Then it writes the key use statistics. It returns when all
// has ended; call it before the store's Close.
func (e *Engine) Close() {
	e.close()
	grace := time.AfterFunc(handOverGrace, e.cutOff)
	e.sending.Wait()
	grace.Stop()
	e.cutOff()
	e.tellUses(context.Background())
	e.limiter.close()
}

// New checks the keyring against the database and loads the index key, or makes it on the first start.
func New(ctx context.Context, options Options) (*Engine, error) {
	if !options.Sandbox && (options.FixedCode != "" || len(options.TestRecipients) > 0 ||
		len(options.RelayRecipients) > 0 || options.Inbox != nil || options.Faults != nil) {
		return nil, errors.New("a fixed code, recipients of tests and relays, the inbox and faults exist in a sandbox only")
	}
	if options.Guard == nil {
		options.Guard = &deliver.Guard{Sandbox: options.Sandbox}
	}
	e := &Engine{options: options, store: options.Store, keyring: options.Keyring, log: options.Log}
	e.Admission, e.Limits = &Admission{store: options.Store}, &Limits{e}
	e.Inbox, e.Faults = &Inbox{e}, options.Faults
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
	// 500 ms: a revoked key must stop working within one second. 3 s: settings may take effect within five.
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
	Note string // shown in place of "ok"; the check still passes
	// Measured is what was measured, for people; empty for nothing.
	Measured string
}

// Ready tests what the engine needs to serve. Overload is not tested: it affects all servers of a database at once,
// and a load balancer would remove them all.
func (e *Engine) Ready(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return []Check{
		{Name: "database", Err: e.store.Ready(ctx)},
		e.checkClock(ctx),
		{Name: "keyring", Err: e.vault.RegisterKeyring(ctx)},
		e.checkQueue(),
	}
}

// checkQueue notes a queue that is more than half full.
func (e *Engine) checkQueue() Check {
	waiting, length := e.store.Queued()
	c := Check{Name: "queue", Measured: fmt.Sprintf("%d of %d operations waiting", waiting, length)}
	if waiting > length/2 {
		c.Note = "busy, " + c.Measured
	}
	return c
}

// checkClock compares this machine's clock with the database's, without sandbox offsets. Servers that share a database
// decide about each other's rows, so their clocks must agree.
func (e *Engine) checkClock(ctx context.Context) Check {
	skew, err := e.store.ClockSkew(ctx)
	if err != nil {
		return Check{Name: "clock", Err: err}
	}
	skew = skew.Round(time.Millisecond)
	c := Check{Name: "clock", Measured: skew.String() + " off the database's clock"}
	if skew.Abs() > time.Second {
		c.Err = fmt.Errorf("this machine's clock is %v off the database's; synchronise both with NTP", skew)
	}
	return c
}

// Fault is one injected failure, under the name that doors know it by.
type Fault = deliver.Fault

// Forget makes changes to accounts and credentials visible on this server at once.
func (e *Engine) Forget() {
	e.credentials.forget()
	e.accounts.forget()
	e.addresses.forget()
}
