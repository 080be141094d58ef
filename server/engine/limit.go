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

// The limits of requests protect capacity, and nothing that is guessed: what guards codes and
// money are rows, decided with the guess or the send. So these may be counted in memory, and may
// be forgotten. They are spread evenly (the generic cell rate algorithm): a key with 1000 a minute
// may make 1000 requests at once, and then one every 60 ms.
//
// Servers that are given one Redis count together. When it cannot be reached each counts for
// itself until it can, which is logged once: then N servers let N times as many requests pass.
// To refuse everything instead would turn the loss of a counter into the loss of the service.

// Quota is how a limit stands after a request.
type Quota struct {
	Limit      int           // how many are allowed at once; 0: there is no limit
	Remaining  int           // how many are left of those now
	Reset      time.Time     // when Remaining is Limit again; in whole seconds, round it up
	Window     time.Duration // in which Limit come back
	RetryAfter time.Duration // of a refused request: when the next one is allowed; likewise
}

// quota is a limit as it is configured.
type quota struct {
	perMinute int
	burst     int // how many at once
}

// quotaOf is the limit of a key's requests: its own, else its account's, else its kind's. An
// account's cannot raise that of a client key, which anybody may have taken from a page.
func quotaOf(key *sql.Credential, account *otp.Account) quota {
	standard := otp.KeyKind(key.Kind).PerMinute()
	var q quota
	switch {
	case key.RequestsPerMinute != nil:
		q.perMinute = *key.RequestsPerMinute
	case account.RequestsPerMinute != nil && (otp.KeyKind(key.Kind) != otp.ClientKey ||
		*account.RequestsPerMinute < standard):
		q.perMinute = *account.RequestsPerMinute
		if account.Burst != nil {
			q.burst = *account.Burst
		}
	default:
		q.perMinute = standard
	}
	if key.Burst != nil {
		q.burst = *key.Burst
	}
	if q.burst <= 0 {
		q.burst = q.perMinute
	}
	if q.perMinute <= 0 {
		return quota{}
	}
	return quota{min(q.perMinute, otp.MaxRate), min(q.burst, otp.MaxRate)} // whatever somebody wrote into the row
}

// CountRequest counts one request of the caller against its key's limit, also if ctx ends meanwhile: whoever
// hangs up has made a request all the same. Without a limit it costs nothing and the Quota is zero.
// Refusal: RateLimited, with the Quota filled in.
func (e *Engine) CountRequest(ctx context.Context, c *Caller) (Quota, error) {
	if c.quota == (quota{}) {
		return Quota{}, nil
	}
	return e.limiter.take(context.WithoutCancel(ctx), c.quota, "key:"+c.Key.ID.Text("key"),
		"the key has made as many requests as it may in this time")
}

// CountFailure counts a refused credential of an address, after Authenticate. Refusal:
// RateLimited, with the Quota filled in, when the address is over the limit; answer that in place
// of the failure.
//
// The limit is never asked before a credential is decided: behind one proxy or carrier live many,
// and a stranger's wrong keys must not stop a key that is right. Guessing needs no such stop. A key
// has 16 characters or more and is no pattern (crypto.Guessable), so that even at a million tries a
// second nobody finds one. What the limit bounds is work: see lookUp.
func (e *Engine) CountFailure(ctx context.Context, peer netip.Addr) (Quota, error) {
	from := otp.HostOf(peer)
	if quota, err := e.limiter.over(from); err != nil {
		return quota, err
	}
	return e.limiter.countFailure(ctx, from)
}

// lookUp finds a credential by its hash. Those of an address over the limit of failures that are
// not cached are looked up a few at once, in the order in which they came, so that a flood of
// unknown keys leaves the database to others, and a right key waits for its turn and no longer.
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

// limiter counts requests.
type limiter struct {
	log      *slog.Logger
	failures quota
	memory   *counters
	shared   *counters // nil: there is no Redis
	client   *redis.Client

	seed      maphash.Seed
	turns     [256]sync.Mutex // by the hash of a key
	restUntil atomic.Int64    // Unix nanoseconds until which Redis is not asked; 0 while it answers

	lookUps [64]chan struct{} // by the hash of a network that is over the limit of failures

	mu      sync.RWMutex
	blocked map[netip.Prefix]time.Time // until when one more failure is one too many
}

// counters are the counts in one store, with an algorithm for each quota that keys have.
type counters struct {
	store      throttled.GCRAStoreCtx
	algorithms sync.Map // quota → *throttled.GCRARateLimiterCtx
}

const (
	// maxCounted bounds what is counted in memory; the longest unused makes room. What is lost
	// then is a count, and whoever makes up that many keys or addresses lost nobody's but theirs.
	maxCounted = 100_000
	// redisPatience bounds what a request waits for Redis, and redisPause is how long it is left
	// alone after it did not answer, but for one request: they must not all wait for what is gone.
	redisPatience = 500 * time.Millisecond
	redisPause    = 2 * time.Second
	// lookUpsAtOnce is how many unknown credentials of a flooded address are looked up at once.
	lookUpsAtOnce = 2
	// casAttempts is how often a count is tried against others who count the same at once.
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

// ProbeRedis counts once in a Redis, as servers do: it shows that the password is right and that
// scripts may run. What it counted expires.
func ProbeRedis(ctx context.Context, redisURL string) error {
	l, err := newLimiter(redisURL, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer l.close()
	_, _, err = l.shared.count(ctx, quota{60, 60}, "probe")
	return err
}

// silent drops the Redis client's own log lines: every error it writes there it returns as well.
type silent struct{}

// Printf implements the client's logger.
func (silent) Printf(context.Context, string, ...any) {}

func (l *limiter) close() {
	if l.client != nil {
		_ = l.client.Close() // nothing is lost: what it counted is in Redis
	}
}

// take counts one request for key and refuses it if that is one too many.
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

// window is the time in which as many requests are allowed as may come at once.
func (q quota) window() time.Duration {
	return time.Minute * time.Duration(q.burst) / time.Duration(q.perMinute)
}

// interval is the time after which one more request is allowed.
func (q quota) interval() time.Duration { return time.Minute / time.Duration(q.perMinute) }

// count asks Redis where there is one and it answers, and else this process's memory.
func (l *limiter) count(ctx context.Context, q quota, key string) (bool, throttled.RateLimitResult, error) {
	if l.shared != nil && !l.resting() {
		limited, state, err := l.countTogether(ctx, q, key)
		if err == nil || ctx.Err() != nil { // the client's doing, not Redis's
			return limited, state, err
		}
	}
	return l.memory.count(ctx, q, key)
}

// errResting is the answer while Redis is left alone.
var errResting = errors.New("the shared counts are not asked for a moment")

// countTogether asks Redis. Of this server's requests with one key one asks at a time: the count
// is compared and swapped, and all but one of those who tried at once would have to try again.
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

// resting reports whether Redis is left alone for now.
func (l *limiter) resting() bool { return time.Now().UnixNano() < l.restUntil.Load() }

// claimAsk is true while Redis answers, and for one request after each pause while it does not.
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

// over refuses an address that is over the limit of failures. It goes by what this server has
// seen, so that a flood costs no trip to Redis for each request: an address that used up its
// failures elsewhere is over it here after one more.
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
		// One more is allowed when all but one have still to come back.
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
