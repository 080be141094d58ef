package engine_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

func sqlite(t testing.TB) place { return place("sqlite:" + t.TempDir() + "/a.db") }

func TestTake_TellsExactlyHowTheLimitStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, sqlite(t))
		_, secret := newKey(t, h, manage.NewKey{RequestsPerMinute: one(5)})
		caller := v1Caller(t, h, secret)
		for left := 4; left >= 0; left-- {
			quota, err := h.Limits.CountRequest(background, caller)
			require.NoError(t, err)
			require.Equal(t, engine.Quota{
				Limit: 5, Remaining: left, Reset: time.Now().Add(time.Duration(5-left) * 12 * time.Second).UTC(),
				Window: time.Minute,
			}, quota)
		}
		for range 3 {
			quota, err := h.Limits.CountRequest(background, caller)
			require.Equal(t, otp.RateLimited, otp.KindOf(err))
			require.Equal(t, engine.Quota{Limit: 5, Reset: time.Now().Add(time.Minute).UTC(), Window: time.Minute,
				RetryAfter: 12 * time.Second}, quota)
			require.Equal(t, 12*time.Second, err.(*otp.Error).RetryAfter)
		}
		time.Sleep(12*time.Second - time.Nanosecond)
		_, err := h.Limits.CountRequest(background, caller)
		require.Equal(t, otp.RateLimited, otp.KindOf(err))
		time.Sleep(time.Nanosecond)
		quota, err := h.Limits.CountRequest(background, caller)
		require.NoError(t, err)
		require.Zero(t, quota.Remaining)
		time.Sleep(time.Minute)
		quota, err = h.Limits.CountRequest(background, caller)
		require.NoError(t, err)
		require.Equal(t, 4, quota.Remaining)
	})
}

// A key's own limit comes first, then its account's, then its kind's.
func TestTake_WhoseLimitItIs(t *testing.T) {
	at := sqlite(t)
	h := open(t, at)
	limit := func(secret string) string {
		h := open(t, at)
		quota, err := h.Limits.CountRequest(background, v1Caller(t, h, secret))
		require.NoError(t, err)
		return fmt.Sprint(quota.Limit, " in ", quota.Window)
	}
	origins := []string{"https://a.example"}
	_, secret := newKey(t, h, manage.NewKey{})
	_, own := newKey(t, h, manage.NewKey{RequestsPerMinute: one(600), Burst: one(20)})
	_, burst := newKey(t, h, manage.NewKey{Burst: one(100)})
	_, client := newKey(t, h, manage.NewKey{Kind: otp.ClientKey, AllowedOrigins: origins})
	_, bigClient := newKey(t, h, manage.NewKey{Kind: otp.ClientKey, AllowedOrigins: origins, RequestsPerMinute: one(120)})
	const access = "ZGVtby1hY2Nlc3Mta2V5MQ=="

	_, seven := newKey(t, h, manage.NewKey{RequestsPerMinute: one(7)})
	require.Equal(t, "1000 in 1m0s", limit(secret))
	require.Equal(t, "7 in 1m0s", limit(seven))
	require.Equal(t, "20 in 2s", limit(own))
	require.Equal(t, "100 in 6s", limit(burst))
	require.Equal(t, "60 in 1m0s", limit(client))
	require.Equal(t, "120 in 1m0s", limit(bigClient))
	require.Equal(t, "0 in 0s", limit(access), "access keys have none")

	bySQL(t, h, `UPDATE otp_auth_config SET requests_per_minute = 300, burst = 30`)
	require.Equal(t, "30 in 6s", limit(secret))
	require.Equal(t, "20 in 2s", limit(own))
	require.Equal(t, "100 in 20s", limit(burst))
	require.Equal(t, "60 in 1m0s", limit(client), "an account cannot raise a client key's")
	require.Equal(t, "30 in 6s", limit(access))
	bySQL(t, h, `UPDATE otp_auth_config SET requests_per_minute = 6, burst = NULL`)
	require.Equal(t, "6 in 1m0s", limit(client), "and can lower it")
	bySQL(t, h, `UPDATE credentials SET requests_per_minute = 2000000000, burst = -1`)
	require.Equal(t, "1000000 in 1m0s", limit(secret), "more than a key can be given")
}

func TestTake_WithoutALimitCostsNothing(t *testing.T) {
	h := open(t, sqlite(t))
	caller := authenticate(t, h, "ZGVtby1hY2Nlc3Mta2V5MQ==")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := h.Limits.CountRequest(background, caller); err != nil {
			t.Error(err)
		}
		if caller.May(otp.PermitSend) != nil {
			t.Error("an access key may send")
		}
	}))
}

func TestTakeRace_ExactlyAsManyAsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, sqlite(t))
		_, secret := newKey(t, h, manage.NewKey{})
		caller := v1Caller(t, h, secret)
		var mu sync.Mutex
		left := map[int]int{}
		refused := 0
		for range 20 {
			atOnce(64, func(int) error {
				quota, err := h.Limits.CountRequest(background, caller)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused++
				} else {
					left[quota.Remaining]++
				}
				return err
			})
		}
		require.Equal(t, 280, refused)
		require.Len(t, left, 1000, "each remaining count once")
	})
}

// The limit of failures counts per assigned network, not per address in it.
func TestAuthenticationFailed_SixtyAMinuteForAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openWith(t, sqlite(t), func(o *engine.Options) { o.AuthFailuresPerMinute = 60 })
		from := func(n int) netip.Addr {
			return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:7::%x", n+1))
		}
		for n := range 60 {
			quota, err := h.Limits.CountFailure(background, from(n))
			require.NoError(t, err)
			require.Equal(t, 59-n, quota.Remaining)
			require.Equal(t, 60, quota.Limit)
		}
		quota, err := h.Limits.CountFailure(background, from(60))
		require.Equal(t, otp.RateLimited, otp.KindOf(err))
		require.Equal(t, engine.Quota{Limit: 60, Reset: time.Now().Add(time.Minute).UTC(), Window: time.Minute,
			RetryAfter: time.Second}, quota)
		_, err = h.Limits.CountFailure(background, from(61))
		require.Equal(t, otp.RateLimited, otp.KindOf(err), "one that had begun before")
		_, err = h.Limits.CountFailure(background, netip.MustParseAddr("2001:db8:0:8::1"))
		require.NoError(t, err, "another network")
		time.Sleep(time.Second)
		_, err = h.Limits.CountFailure(background, from(62))
		require.NoError(t, err)
		_, err = h.Limits.CountFailure(background, from(63))
		require.Equal(t, otp.RateLimited, otp.KindOf(err))

		mapped, plain := netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.1")
		for range 30 {
			for _, peer := range []netip.Addr{mapped, plain} {
				_, err := h.Limits.CountFailure(background, peer)
				require.NoError(t, err)
			}
		}
		_, err = h.Limits.CountFailure(background, plain)
		require.Equal(t, otp.RateLimited, otp.KindOf(err), "two spellings of one address")
		_, err = h.Limits.CountFailure(background, netip.MustParseAddr("192.0.2.2"))
		require.NoError(t, err)
	})
}

func TestAuthenticationFailed_ZeroIsNoLimit(t *testing.T) {
	h := open(t, sqlite(t))
	for range 1000 {
		_, err := h.Limits.CountFailure(background, peer)
		require.NoError(t, err)
	}
	_, err := h.Limits.CountFailure(background, peer)
	require.NoError(t, err)
}

// lockedBuffer may be written while it is read.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestTake_ServersWithOneRedisCountTogether(t *testing.T) {
	redis := miniredis.RunT(t)
	redis.SetTime(time.Now())
	redis.RequireUserAuth("keeper", "hunter2hunter2")
	at := sqlite(t)
	var log lockedBuffer
	shared := func(o *engine.Options) {
		o.RedisURL = "redis://keeper:hunter2hunter2@" + redis.Addr() + "/0"
		o.AuthFailuresPerMinute = 3
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	}
	servers := [2]house{openWith(t, at, shared), openWith(t, at, shared)}
	_, secret := newKey(t, servers[0], manage.NewKey{RequestsPerMinute: one(40)})
	callers := [2]*engine.Caller{v1Caller(t, servers[0], secret), v1Caller(t, servers[1], secret)}
	take := func(i int) error { _, err := servers[i%2].Limits.CountRequest(background, callers[i%2]); return err }
	passed := func(n int) (count int) {
		for _, err := range atOnce(n, take) {
			if err == nil {
				count++
				continue
			}
			require.Equal(t, otp.RateLimited, otp.KindOf(err), "%v", err)
		}
		return count
	}
	require.Equal(t, 40, passed(64))
	require.NotContains(t, log.String(), "level=ERROR")
	for range 3 {
		_, err := servers[0].Limits.CountFailure(background, peer)
		require.NoError(t, err)
	}
	_, err := servers[1].Limits.CountFailure(background, peer)
	require.Equal(t, otp.RateLimited, otp.KindOf(err), "failures are counted together too")
	_, err = servers[1].Limits.CountFailure(background, peer)
	require.Equal(t, otp.RateLimited, otp.KindOf(err))
	redis.SetTime(time.Now().Add(5 * time.Minute))
	redis.FastForward(5 * time.Minute)
	require.Equal(t, 40, passed(64))

	redis.SetError("LOADING Redis is loading the dataset in memory")
	require.GreaterOrEqual(t, passed(128), 80, "each server counts for itself, and nobody is locked out")
	require.Equal(t, 2, strings.Count(log.String(), "level=ERROR"), "once for each server and outage: %s", log.String())
	require.NotContains(t, log.String(), "hunter2")
	redis.SetError("")
	redis.SetTime(time.Now().Add(10 * time.Minute))
	require.Eventually(t, func() bool {
		_ = take(0)
		_ = take(1)
		return strings.Count(log.String(), "Redis answers again") == 2
	}, 20*time.Second, 50*time.Millisecond)
}

// Requests do not wait for a dead Redis: one tries from time to time for all.
func TestTake_ARedisThatIsGoneHoldsNobodyUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	defer listener.Close()
	h := openWith(t, sqlite(t), func(o *engine.Options) { o.RedisURL = "redis://" + listener.Addr().String() })
	_, secret := newKey(t, h, manage.NewKey{RequestsPerMinute: one(300)})
	caller := v1Caller(t, h, secret)
	passed := 0
	for range 320 {
		if _, err := h.Limits.CountRequest(background, caller); err == nil {
			passed++
		}
	}
	require.GreaterOrEqual(t, passed, 300)
	require.Less(t, passed, 320, "the limit holds, on this server")
}

func TestNew_RefusesARedisURLWithoutQuotingIt(t *testing.T) {
	h := open(t, sqlite(t))
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	_, err = engine.New(background, engine.Options{Store: h.store, Keyring: keyring, Sandbox: true,
		RedisURL: "redis://u:hunter2hunter2@host:x/0"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

// A right key is accepted from an address that strangers flood, at both doors, also when this server first sees it and
// while the flood goes on. A wrong key never is.
func TestAuthenticate_ARightKeyIsLetInFromAFloodedAddress(t *testing.T) {
	h := openWith(t, sqlite(t), func(o *engine.Options) { o.AuthFailuresPerMinute = 3 })
	for _, from := range []string{"192.0.2.1", "::ffff:192.0.2.2", "2001:db8:0:7::1", "::1", "fe80::1%eth0"} {
		peer := netip.MustParseAddr(from)
		for range 4 {
			_, _ = h.Limits.CountFailure(background, peer)
		}
		_, err := h.Limits.CountFailure(background, peer)
		require.Equal(t, otp.RateLimited, otp.KindOf(err), from)
		for _, door := range []otp.Door{otp.ServletDoor, otp.V1Door} {
			_, fresh := newKey(t, h, manage.NewKey{})
			let := 0
			for n, err := range atOnce(64, func(n int) error {
				secret := fmt.Sprintf("wrong-key-of-nobody-%s-%s-%d", from, door, n)
				if n%8 == 0 {
					secret = fresh
				}
				_, err := h.Authenticate(background, door, secret, peer)
				return err
			}) {
				if err == nil {
					let++
					continue
				}
				require.Equal(t, otp.UnknownCredential, otp.KindOf(err), "%d: %v", n, err)
			}
			require.Equal(t, 8, let, "%s at %s", from, door)
		}
	}
}
