package crypto

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/alexedwards/argon2id"
)

// PasswordCost is the cost of hashing one password. Each hash contains its cost, so the cost may be raised at any
// time: Check reports hashes made with a lower one.
type PasswordCost struct {
	MemoryKiB uint32
	Passes    uint32
}

// DefaultPasswordCost is the second of the settings that the OWASP password storage cheat sheet lists as equally
// strong: 19 MiB and two passes.
var DefaultPasswordCost = PasswordCost{MemoryKiB: 19 << 10, Passes: 2}

// maxPasswordMemory bounds the memory that a stored hash may ask for: a hash planted in the database must not exhaust
// the server's memory.
const maxPasswordMemory = 256 << 10 // KiB

// Passwords hashes and checks passwords with Argon2id (RFC 9106). It works on a few at a time, so that the memory is
// bounded for any number of callers; the others wait.
type Passwords struct {
	params argon2id.Params
	slots  chan struct{}
	nobody string // the hash of an unknown password
}

// NewPasswords returns Passwords that works on atOnce passwords at a time.
func NewPasswords(cost PasswordCost, atOnce int) *Passwords {
	p := &Passwords{
		params: argon2id.Params{Memory: cost.MemoryKiB, Iterations: cost.Passes, Parallelism: 1, SaltLength: 16,
			KeyLength: 32},
		slots: make(chan struct{}, max(1, atOnce)),
	}
	// Random bytes cost nothing to make, and no known password has them as its hash.
	var random [48]byte
	rand.Read(random[:]) // never fails: the runtime stops the process instead
	text := base64.RawStdEncoding.EncodeToString
	p.nobody = fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", cost.MemoryKiB, cost.Passes, text(random[:16]),
		text(random[16:]))
	return p
}

// Hash returns the hash to store for a password. The error is ctx's, if it ends while the call waits.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := p.enter(ctx); err != nil {
		return "", err
	}
	defer p.leave()
	return argon2id.CreateHash(password, &p.params)
}

// Check reports whether password has this hash, and whether the hash is weaker than a new one would be. An empty hash
// means a person who does not exist: the result is false, after the same work.
func (p *Passwords) Check(ctx context.Context, password, hash string) (right, outdated bool, err error) {
	if err := p.enter(ctx); err != nil {
		return false, false, err
	}
	defer p.leave()
	exists := hash != ""
	if !exists {
		hash = p.nobody
	}
	stored, _, _, err := argon2id.DecodeHash(hash)
	if err != nil {
		return false, false, fmt.Errorf("read a password's hash: %w", err)
	}
	if stored.Memory > maxPasswordMemory {
		return false, false, fmt.Errorf("read a password's hash: it asks for %d KiB of memory, more than %d", stored.Memory,
			maxPasswordMemory)
	}
	right, _, err = argon2id.CheckHash(password, hash)
	outdated = stored.Memory < p.params.Memory || stored.Iterations < p.params.Iterations
	return right && exists, outdated, err
}

func (p *Passwords) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other passwords to be checked: %w", ctx.Err())
	}
}

func (p *Passwords) leave() { <-p.slots }
