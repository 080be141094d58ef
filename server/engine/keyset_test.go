package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// publisher answers requests for a key set as the test sets it.
type publisher struct {
	mu    sync.Mutex
	ids   []string // nil: it does not answer
	takes time.Duration
	asked int
}

func (p *publisher) fetch(context.Context, string) ([]byte, error) {
	p.mu.Lock()
	p.asked++
	ids, takes := p.ids, p.takes
	p.mu.Unlock()
	time.Sleep(takes)
	if ids == nil {
		return nil, errors.New("was not reached")
	}
	var keys []string
	for _, id := range ids {
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, id,
			base64.RawURLEncoding.EncodeToString(make([]byte, 32))))
	}
	return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`), nil
}

func (p *publisher) set(takes time.Duration, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids, p.takes = ids, takes
}

func publishing() (*publisher, *keySets) {
	p := &publisher{}
	return p, &keySets{fetch: p.fetch, log: slog.New(slog.DiscardHandler), sets: map[string]*keySet{}}
}

func TestKeySets_AreAskedForOnceAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sets := publishing()
		p.set(0, "a")
		has := func(id string) bool {
			keys, err := sets.find(t.Context(), "u", id)
			require.NoError(t, err)
			return keys.Has(id)
		}
		require.True(t, has("a"))
		p.set(0, "a", "b")
		for i := range 1000 {
			require.False(t, has(fmt.Sprint("made up ", i)))
		}
		require.False(t, has("b"), "the set was asked for a moment ago")
		require.Equal(t, 1, p.asked)
		time.Sleep(time.Minute)
		require.True(t, has("b"), "a new key is found within a minute")
		require.Equal(t, 2, p.asked)
		for range 10 {
			for i := range 100 {
				require.False(t, has(fmt.Sprint("made up ", i)))
			}
			time.Sleep(6 * time.Second)
		}
		require.Equal(t, 2, p.asked)
		p.set(0, "b")
		time.Sleep(5 * time.Minute)
		require.False(t, has("a"), "a key that was withdrawn is good for five minutes at most")
	})
}

func TestKeySets_OutliveAnIssuerThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sets := publishing()
		for range 10 {
			_, err := sets.find(t.Context(), "u", "a")
			require.Equal(t, otp.Overloaded, otp.KindOf(err))
		}
		require.Equal(t, 1, p.asked)
		p.set(0, "a")
		time.Sleep(time.Minute)
		began := time.Now()
		keys, err := sets.find(t.Context(), "u", "a")
		require.NoError(t, err)
		require.True(t, keys.Has("a"))
		p.set(3 * time.Second)
		for time.Since(began) < 59*time.Minute {
			_, err := sets.find(t.Context(), "u", "a")
			require.NoError(t, err)
			time.Sleep(30 * time.Second)
		}
		require.LessOrEqual(t, p.asked, 2+55)
		time.Sleep(5 * time.Minute)
		_, err = sets.find(t.Context(), "u", "a")
		require.Equal(t, otp.Overloaded, otp.KindOf(err), "keys that nobody has confirmed for an hour are not believed")
	})
}

func TestKeySets_OneRequestServesAllWhoWaitRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sets := publishing()
		p.set(2*time.Second, "a")
		began := time.Now()
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				keys, err := sets.find(t.Context(), "u", "a")
				if err != nil || !keys.Has("a") {
					t.Error("no key", err)
				}
			})
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Millisecond)
		_, err := sets.find(gone, "u", "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		all.Wait()
		require.Equal(t, 1, p.asked)
		require.Equal(t, 2*time.Second, time.Since(began))

		// While a set is fetched again, callers that need no new key use the old one.
		time.Sleep(10 * time.Minute)
		began = time.Now()
		all.Go(func() { _, _ = sets.find(t.Context(), "u", "b") })
		time.Sleep(time.Millisecond)
		_, err = sets.find(t.Context(), "u", "a")
		require.NoError(t, err)
		require.Equal(t, time.Millisecond, time.Since(began))
		all.Wait()
	})
}

func TestKeySets_AreBoundedInNumber(t *testing.T) {
	p, sets := publishing()
	p.set(0, "a")
	for i := range maxKeySets + 50 {
		_, err := sets.find(t.Context(), fmt.Sprint(i), "a")
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(sets.sets), maxKeySets)
}
