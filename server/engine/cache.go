package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// cache keeps loaded values for a short, fixed time. Production relies on that time alone for invalidation, on every
// server. Only one caller at a time loads a key.
type cache[K comparable, V any] struct {
	ttl    time.Duration
	load   func(ctx context.Context, key K) (V, error)
	flight singleflight.Group

	mu      sync.RWMutex
	entries map[K]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

// maxCached bounds the entries, so that made-up credentials cannot fill the memory.
const maxCached = 10_000

func newCache[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *cache[K, V] {
	return &cache[K, V]{ttl: ttl, load: load, entries: map[K]cached[V]{}}
}

// value returns the cached or freshly loaded value of key. Errors are not cached. The age of an entry counts from
// before its load began, so the time holds for slow loads too.
func (c *cache[K, V]) value(ctx context.Context, key K) (V, error) {
	if value, found := c.cached(key); found {
		return value, nil
	}
	// Others may wait for this load, so it must not end with the request that began it.
	ctx = context.WithoutCancel(ctx)
	loaded, err, _ := c.flight.Do(fmt.Sprint(key), func() (any, error) {
		started := time.Now()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		value, err := c.load(ctx, key)
		if err == nil {
			c.keep(key, cached[V]{value, started.Add(c.ttl)})
		}
		return value, err
	})
	if err != nil {
		var none V
		return none, err
	}
	return loaded.(V), nil
}

// cached returns the value of key if it is cached.
func (c *cache[K, V]) cached(key K) (V, bool) {
	now := time.Now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	entry, found := c.entries[key]
	return entry.value, found && now.Before(entry.until)
}

func (c *cache[K, V]) keep(key K, entry cached[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	makeRoom(c.entries, maxCached, func(old cached[V]) time.Time { return old.until })
	c.entries[key] = entry
}

// looks is how many entries makeRoom inspects, so that during a flood not every new entry walks through the whole map.
const looks = 64

// makeRoom keeps a map below most entries. It inspects a few random entries and removes the expired ones; if none is
// expired it removes one of the others.
func makeRoom[K comparable, V any](entries map[K]V, most int, until func(V) time.Time) {
	if len(entries) < most {
		return
	}
	now, looked := time.Now(), 0
	for key, old := range entries {
		if looked++; looked > looks {
			break
		}
		if !now.Before(until(old)) {
			delete(entries, key)
		}
	}
	for key := range entries {
		if len(entries) < most {
			return
		}
		delete(entries, key)
	}
}

// forget drops every entry. The sandbox uses it; otherwise a reset would take effect late.
func (c *cache[K, V]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}
