package crypto

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// macPool computes HMAC-SHA-256 under one key. Each request needs several. A new HMAC costs six allocations and hashes
// the padded key twice; a pooled one costs none and starts from the hashed key (FIPS 198-1, section 6).
type macPool struct {
	states sync.Pool
}

// macState is one HMAC in progress. The caller appends to message, calls compute and reads the result in sum. Both are
// fields because arguments of the hash.Hash interface would be allocated for every call.
type macState struct {
	hash    hash.Hash
	message []byte
	sum     [sha256.Size]byte
}

func newMACPool(key []byte) *macPool {
	key = bytes.Clone(key)
	return &macPool{states: sync.Pool{New: func() any {
		return &macState{hash: hmac.New(sha256.New, key), message: make([]byte, 0, 128)}
	}}}
}

// take returns a state with an empty message, to be given back after use.
func (p *macPool) take() *macState {
	state := p.states.Get().(*macState)
	state.message = state.message[:0]
	return state
}

func (p *macPool) give(state *macState) { p.states.Put(state) }

func (s *macState) compute() {
	s.hash.Reset()
	s.hash.Write(s.message)
	s.hash.Sum(s.sum[:0])
}
