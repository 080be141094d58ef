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

// Key sets of issuers are fetched when a token needs them, and cached. A token that names an unknown key may be the
// first after a rotation, or forged. So the set is fetched again, but at most once a minute; until then other tokens
// are checked against the cached set.
const (
	keySetAge     = 5 * time.Minute // after which a set is fetched again
	keySetEnd     = time.Hour       // after which a set that could not be fetched again is not used
	keySetPause   = time.Minute     // between two requests for a set
	keySetTimeout = 3 * time.Second // of a request, while a caller waits
	maxKeySet     = 1 << 20         // bytes
	maxKeySets    = 1000            // cached
)

// keySets are the published key sets, by URL.
type keySets struct {
	fetch func(ctx context.Context, url string) ([]byte, error)
	log   *slog.Logger

	mu   sync.Mutex
	sets map[string]*keySet
}

// keySet is one published key set.
type keySet struct {
	mu    sync.Mutex
	keys  *crypto.JWTKeys // nil: none was ever read
	read  time.Time       // when keys were requested
	tried time.Time       // time of the last request
	under chan struct{}   // closed when the request in progress ends; nil: none
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

// find returns the keys at a URL, with the key of this id if the set has it. Refusal: Overloaded while there are none.
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

// look returns the current keys. under is the request to wait for, if it may bring the missing key; mine is true for
// the one caller who has to make it.
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

// ask fetches a set. If that fails the previous set stays.
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
	// Others wait for it, so it must not end with the request that began it.
	text, err := s.fetch(context.WithoutCancel(ctx), url)
	if err == nil {
		keys, err = crypto.ParseKeySet(text)
	}
	if err != nil {
		shown, _, _ := strings.Cut(url, "?") // the query may hold a secret
		s.log.WarnContext(ctx, "the key set of an issuer of tokens cannot be read", "jwks_url", shown, "error", err)
	}
}
