package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/throttled/throttled/v2"
	goredisstore "github.com/throttled/throttled/v2/store/goredisstore.v9"
	"github.com/throttled/throttled/v2/store/memstore"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Request limits protect capacity, not secrets: codes and money are protected by rows that are decided with the guess
// or the send. So requests may be counted in memory, and the counts may be lost. The limits use the generic cell rate
// algorithm: a key with 1000 a minute may make 1000 requests at once, and then one every 60 ms.
//
// Servers with the same Redis count together. While it cannot be reached each server counts for itself, which is
// logged once; then N servers allow N times as many requests. Refusing everything instead would turn the loss of a
// counter into the loss of the service.

// Quota is the state of a limit after a request.
type Quota struct {
	Limit      int           // requests allowed at once; 0: no limit
	Remaining  int           // how many of those are left now
	Reset      time.Time     // when Remaining is Limit again; round up to whole seconds
	Window     time.Duration // the time in which Limit requests are allowed again
	RetryAfter time.Duration // of a refused request: when the next one is allowed; round up likewise
}

// quota is a limit as configured.
type quota struct {
	perMinute int
	burst     int // requests at once
}

// quotaOf returns the limit of a key's requests: its own, else its account's, else its kind's. An account's limit
// cannot raise that of a client key, which anybody can copy from a web page.
func quotaOf(key *sql.Credential, account *otp.Account) quota {
	standard := otp.KeyKind(key.Kind).PerMinute()
	var q quota
	switch {
	case key.RequestsPerMinute != nil:
		q.perMinute = *key.RequestsPerMinute
	case account.RequestsPerMinute != nil && (otp.KeyKind(key.Kind) != otp.ClientKey ||
		*account.RequestsPerMinute < standard):
		q.perMinute = *account.RequestsPerMinute
		q.burst = otp.ValueOr(account.Burst, 0)
	default:
		q.perMinute = standard
	}
	if q.burst = otp.ValueOr(key.Burst, q.burst); q.burst <= 0 {
		q.burst = q.perMinute
	}
	if q.perMinute <= 0 {
		return quota{}
	}
	return quota{min(q.perMinute, otp.MaxRate), min(q.burst, otp.MaxRate)} // whatever the row says
}

// Limits counts requests.
type Limits struct{ engine *Engine }

// CountRequest counts one request of the caller against its key's limit, even if ctx ends meanwhile: a client that
// hangs up has still made a request. Without a limit it does nothing and returns a zero Quota. Refusal: RateLimited,
// with the Quota filled in.
func (l *Limits) CountRequest(ctx context.Context, c *Caller) (Quota, error) {
	if c.quota == (quota{}) {
		return Quota{}, nil
	}
	return l.engine.limiter.take(context.WithoutCancel(ctx), c.quota, "key:"+c.Key.ID.Text("key"),
		"the key has made as many requests as it may in this time")
}

// CountFailure counts a refused credential of an address, after Authenticate. Refusal: RateLimited, with the Quota
// filled in, if the address is over the limit; the door answers with that instead of the failure.
//
// The limit is never checked before a credential is decided: many callers may share one proxy or carrier, and a
// stranger's wrong keys must not stop a right key. The limit is not needed against guessing: a key has 16 characters
// or more and is not a pattern (crypto.Guessable), so a million tries a second do not find one. The limit bounds the
// work; see lookUp.
func (l *Limits) CountFailure(ctx context.Context, peer netip.Addr) (Quota, error) {
	from := otp.HostOf(peer)
	if quota, err := l.engine.limiter.over(from); err != nil {
		return quota, err
	}
	return l.engine.limiter.countFailure(ctx, from)
}

// lookUp finds a credential by its hash. For an address over the limit of failures, credentials that are not cached
// are looked up a few at a time, in order of arrival. So a flood of unknown keys leaves the database to others, and a
// right key only waits for its turn.
func (e *Engine) lookUp(ctx context.Context, hash [32]byte, peer netip.Addr) (*credential, error) {
	if cred, found := e.credentials.cached(hash); found {
		return cred, nil
	}
	from := otp.HostOf(peer)
	if _, err := e.limiter.over(from); err == nil {
		return e.credentials.value(ctx, hash)
	}
	turn := e.limiter.lookUps[maphash.Comparable(e.limiter.seed, from)%uint64(len(e.limiter.lookUps))]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-turn }()
	return e.credentials.value(ctx, hash)
}

// limiter holds the counts.
type limiter struct {
	log      *slog.Logger
	failures quota
	memory   *counters
	shared   *counters // nil: no Redis
	client   *redis.Client

	seed      maphash.Seed
	turns     [256]sync.Mutex // by the hash of a key
	restUntil atomic.Int64    // Unix nanoseconds until which Redis is not used; 0 while it answers

	lookUps [64]chan struct{} // by the hash of a network that is over the limit of failures

	mu      sync.RWMutex
	blocked map[netip.Prefix]time.Time // until when one more failure is refused
}

// counters are the counts in one store, with one algorithm per quota in use.
type counters struct {
	store      throttled.GCRAStoreCtx
	algorithms sync.Map // quota → *throttled.GCRARateLimiterCtx
}

const (
	// maxCounted bounds the counts in memory; the least recently used is evicted. A flood of made-up keys or addresses
	// evicts only its own counts.
	maxCounted = 100_000
	// redisPatience bounds how long a request waits for Redis. redisPause is how long Redis is not used after it did
	// not answer, except by one request at a time, so that not every request waits for it.
	redisPatience = 500 * time.Millisecond
	redisPause    = 2 * time.Second
	// lookUpsAtOnce is how many unknown credentials of a flooded address are looked up concurrently.
	lookUpsAtOnce = 2
	// casAttempts is how often a count is retried against concurrent requests with the same key.
	casAttempts = 200
)

func newLimiter(redisURL string, failuresPerMinute int, log *slog.Logger) (*limiter, error) {
	l := &limiter{log: log, seed: maphash.MakeSeed(), blocked: map[netip.Prefix]time.Time{}}
	l.failures = quota{failuresPerMinute, failuresPerMinute}
	for i := range l.lookUps {
		l.lookUps[i] = make(chan struct{}, lookUpsAtOnce)
	}
	store, err := memstore.NewCtx(maxCounted)
	if err != nil {
		return nil, fmt.Errorf("make the counts of requests: %w", err)
	}
	l.memory = &counters{store: store}
	if redisURL == "" {
		return l, nil
	}
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		// The error may quote the URL, which may hold a password.
		return nil, errors.New("the Redis URL cannot be read; write redis://user:password@host:6379/0, with special " +
			"characters of the password percent-encoded")
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = redisPatience, redisPatience, redisPatience
	options.PoolTimeout, options.MaxRetries, options.ContextTimeoutEnabled = redisPatience, -1, true
	options.DialerRetries, options.DisableIdentity = 1, true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(silent{})
	l.client = redis.NewClient(options)
	shared, err := goredisstore.NewCtx(l.client, "otpbridge:")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the shared counts of requests: %w", err), l.client.Close())
	}
	l.shared = &counters{store: shared}
	return l, nil
}

// ProbeRedis counts once in a Redis, as servers do. This checks that the password is right and that scripts may run.
// The count expires.
func ProbeRedis(ctx context.Context, redisURL string) error {
	l, err := newLimiter(redisURL, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer l.close()
	_, _, err = l.shared.count(ctx, quota{60, 60}, "probe")
	return err
}

// silent drops the Redis client's own log lines: it also returns every error that it logs.
type silent struct{}

// Printf implements the client's logger.
func (silent) Printf(context.Context, string, ...any) {}

func (l *limiter) close() {
	if l.client != nil {
		_ = l.client.Close() // nothing is lost: the counts are in Redis
	}
}

// take counts one request for key and refuses it if it exceeds the limit.
func (l *limiter) take(ctx context.Context, q quota, key, refusal string) (Quota, error) {
	limited, state, err := l.count(ctx, q, key)
	if err != nil {
		return Quota{}, err
	}
	stand := Quota{
		Limit: q.burst, Remaining: state.Remaining, Reset: time.Now().Add(state.ResetAfter).UTC(),
		Window: q.window(),
	}
	if !limited {
		return stand, nil
	}
	stand.RetryAfter = state.RetryAfter
	return stand, &otp.Error{Kind: otp.RateLimited, Message: refusal, RetryAfter: stand.RetryAfter}
}

// window returns the time in which a full burst is allowed again.
func (q quota) window() time.Duration {
	return time.Minute * time.Duration(q.burst) / time.Duration(q.perMinute)
}

// interval returns the time after which one more request is allowed.
func (q quota) interval() time.Duration { return time.Minute / time.Duration(q.perMinute) }

// count uses Redis if there is one and it answers, else this process's memory.
func (l *limiter) count(ctx context.Context, q quota, key string) (bool, throttled.RateLimitResult, error) {
	if l.shared != nil && !l.resting() {
		limited, state, err := l.countTogether(ctx, q, key)
		if err == nil || ctx.Err() != nil { // the client's doing, not Redis's
			return limited, state, err
		}
	}
	return l.memory.count(ctx, q, key)
}

// errResting is returned while Redis is not used after a failure.
var errResting = errors.New("the shared counts are not asked for a moment")

// countTogether counts in Redis. This server sends the requests of one key one at a time: the count is compared and
// swapped, and concurrent tries would all but one have to be repeated.
func (l *limiter) countTogether(ctx context.Context, q quota, key string) (bool, throttled.RateLimitResult, error) {
	turn := &l.turns[maphash.String(l.seed, key)%uint64(len(l.turns))]
	turn.Lock()
	defer turn.Unlock()
	if !l.claimAsk() {
		return false, throttled.RateLimitResult{}, errResting
	}
	patience, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	limited, state, err := l.shared.count(patience, q, key)
	switch {
	case err == nil:
		if l.restUntil.Swap(0) != 0 {
			l.log.Info("Redis answers again; requests are counted together with other servers")
		}
	case ctx.Err() == nil:
		if l.restUntil.Swap(time.Now().Add(redisPause).UnixNano()) == 0 {
			l.log.Error("Redis does not answer; until it does, each server counts requests for itself", "error", err)
		}
	}
	return limited, state, err
}

// resting reports whether Redis is not used for now.
func (l *limiter) resting() bool { return time.Now().UnixNano() < l.restUntil.Load() }

// claimAsk reports true while Redis answers; while it does not, it reports true for one request after each pause.
func (l *limiter) claimAsk() bool {
	until, now := l.restUntil.Load(), time.Now()
	return until == 0 || now.UnixNano() >= until && l.restUntil.CompareAndSwap(until, now.Add(redisPause).UnixNano())
}

func (c *counters) count(ctx context.Context, q quota, key string) (bool, throttled.RateLimitResult, error) {
	algorithm, found := c.algorithms.Load(q)
	if !found {
		made, err := throttled.NewGCRARateLimiterCtx(c.store,
			throttled.RateQuota{MaxRate: throttled.PerMin(q.perMinute), MaxBurst: q.burst - 1})
		if err != nil {
			return false, throttled.RateLimitResult{}, fmt.Errorf("limit requests: %w", err)
		}
		made.SetMaxCASAttemptsLimit(casAttempts)
		algorithm, _ = c.algorithms.LoadOrStore(q, made)
	}
	return algorithm.(*throttled.GCRARateLimiterCtx).RateLimitCtx(ctx, key, 1)
}

// over refuses an address that is over the limit of failures. It uses what this server has seen, so that a flood does
// not cost a Redis call per request: an address that used up its failures at another server is refused here after one
// more.
func (l *limiter) over(from netip.Prefix) (Quota, error) {
	if l.failures.perMinute <= 0 {
		return Quota{}, nil
	}
	l.mu.RLock()
	until, found := l.blocked[from]
	l.mu.RUnlock()
	now := time.Now()
	if !found || !now.Before(until) {
		return Quota{}, nil
	}
	return l.tooManyFailures(now, until)
}

func (l *limiter) countFailure(ctx context.Context, from netip.Prefix) (Quota, error) {
	if l.failures.perMinute <= 0 {
		return Quota{}, nil
	}
	stand, err := l.take(ctx, l.failures, "failed:"+from.String(), tooManyFailures)
	if err != nil && otp.KindOf(err) != otp.RateLimited {
		return stand, err
	}
	if stand.Remaining == 0 {
		// One more is allowed when all but one are allowed again.
		l.block(from, stand.Reset.Add(-l.failures.interval()*time.Duration(l.failures.burst-1)))
	}
	return stand, err
}

const tooManyFailures = "too many credentials from this address were refused; correct the credential, and try again " +
	"later"

func (l *limiter) tooManyFailures(now, until time.Time) (Quota, error) {
	q := l.failures
	stand := Quota{
		Limit: q.burst, Reset: until.Add(q.interval() * time.Duration(q.burst-1)).UTC(),
		Window: q.window(), RetryAfter: until.Sub(now),
	}
	return stand, &otp.Error{Kind: otp.RateLimited, Message: tooManyFailures, RetryAfter: stand.RetryAfter}
}

func (l *limiter) block(from netip.Prefix, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.blocked[from].Add(time.Minute).Before(now) {
		l.log.Warn("an address is over the limit of refused credentials; keys that are right are let in all the same",
			"network", from.String(), "per_minute", l.failures.perMinute)
	}
	makeRoom(l.blocked, maxCounted, func(ended time.Time) time.Time { return ended })
	l.blocked[from] = until
}
