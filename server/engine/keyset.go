package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

// The key sets that issuers publish are asked for when a token needs them, and kept. A token that names an unknown
// key may be the first after a rotation, or made up: so the set is asked for again, but once a minute at most,
// and everybody else is judged by what is known.
const (
	keySetAge     = 5 * time.Minute // after which a set is asked for anew
	keySetEnd     = time.Hour       // after which a set that cannot be had anew is good for nothing
	keySetPause   = time.Minute     // between two requests for a set
	keySetTimeout = 3 * time.Second // of a request, which somebody waits for
	maxKeySet     = 1 << 20         // bytes
	maxKeySets    = 1000            // kept
)

// keySets are the published key sets, by their URLs.
type keySets struct {
	fetch func(ctx context.Context, url string) ([]byte, error)
	log   *slog.Logger

	mu   sync.Mutex
	sets map[string]*keySet
}

// keySet is one of them.
type keySet struct {
	mu    sync.Mutex
	keys  *crypto.JWTKeys // nil: none were ever read
	read  time.Time       // when keys were asked for
	tried time.Time       // when they were asked for last
	under chan struct{}   // closed when the request under way has ended; nil: there is none
}

func newKeySets(guard *deliver.Guard, log *slog.Logger) *keySets {
	client := guard.Client(keySetTimeout)
	fetch := func(ctx context.Context, url string) ([]byte, error) {
		return deliver.Fetch(ctx, client, url, maxKeySet)
	}
	return &keySets{fetch: fetch, log: log, sets: map[string]*keySet{}}
}

func (s *keySets) at(url string) *keySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, found := s.sets[url]
	if !found {
		makeRoom(s.sets, maxKeySets, func(*keySet) time.Time { return time.Now().Add(time.Hour) })
		set = &keySet{}
		s.sets[url] = set
	}
	return set
}

// find returns the keys at a URL, with that of the id if they have it. Refusal: Overloaded while there are none.
func (s *keySets) find(ctx context.Context, url, id string) (*crypto.JWTKeys, error) {
	set := s.at(url)
	for waited := false; ; waited = true {
		keys, under, mine := set.look(id, time.Now())
		switch {
		case mine:
			s.ask(ctx, set, url)
		case under != nil && !waited:
			select {
			case <-under:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case keys == nil:
			return nil, &otp.Error{Kind: otp.Overloaded, RetryAfter: keySetPause,
				Message: "the keys of the token's issuer cannot be read at the moment; try again later"}
		default:
			return keys, nil
		}
	}
}

// look returns what is known now. Under is the request to wait for, if it may bring what is missing; mine is true
// for the one caller who is to make it.
func (s *keySet) look(id string, now time.Time) (keys *crypto.JWTKeys, under chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := now.Sub(s.read)
	if s.keys != nil && age < keySetEnd {
		keys = s.keys
	}
	switch {
	case keys != nil && keys.Has(id) && age < keySetAge:
		return keys, nil, false
	case s.under != nil:
		if keys != nil && keys.Has(id) {
			return keys, nil, false
		}
		return keys, s.under, false
	case s.tried.IsZero() || now.Sub(s.tried) >= keySetPause:
		s.tried, s.under = now, make(chan struct{})
		return keys, nil, true
	}
	return keys, nil, false
}

// ask reads a set. A set that cannot be read leaves the former one in its place.
func (s *keySets) ask(ctx context.Context, set *keySet, url string) {
	var keys *crypto.JWTKeys
	defer func() {
		set.mu.Lock()
		defer set.mu.Unlock()
		if keys != nil {
			set.keys, set.read = keys, set.tried
		}
		close(set.under)
		set.under = nil
	}()
	// Others wait for it, so it does not end with the request that began it.
	text, err := s.fetch(context.WithoutCancel(ctx), url)
	if err == nil {
		keys, err = crypto.ParseKeySet(text)
	}
	if err != nil {
		shown, _, _ := strings.Cut(url, "?") // which may hold a secret
		s.log.WarnContext(ctx, "the key set of an issuer of tokens cannot be read", "jwks_url", shown, "error", err)
	}
}
