package crypto

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// indexKeySize is the security strength of HMAC-SHA-256, in bytes: a longer key adds nothing.
const indexKeySize = 32

// IndexKey is the key of every hash by which a row is found: recipient, slot, credential. A plain hash does not hide a
// phone number, because all numbers of a country can be hashed in minutes. A keyed hash tells nothing to someone who
// only has the database.
//
// It is not a key of the keyring, but a random secret stored sealed under it, so rotating the keyring changes no hash.
type IndexKey struct {
	redacted
	mac *macPool
}

// NewIndexKey panics if the secret is not 32 bytes long: a secret of another length is not an index key, and
// continuing with it would orphan every row.
func NewIndexKey(secret Secret) *IndexKey {
	if secret.Len() != indexKeySize {
		panic("crypto: NewIndexKey called with a secret that is not 32 bytes")
	}
	return &IndexKey{mac: newMACPool(secret.Bytes())}
}

// RandomIndexKey returns a new secret for NewIndexKey, to be sealed and stored.
func RandomIndexKey() Secret {
	var raw [indexKeySize]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return NewSecret(raw[:])
}

// Sum returns the first 16 bytes of Sum32. That is enough for a table's key: among 10^9 rows, two share a hash with a
// probability of 10^-21, and nobody can search for such a pair without the key.
func (k *IndexKey) Sum(purpose string, parts ...string) [16]byte {
	sum := k.Sum32(purpose, parts...)
	return [16]byte(sum[:])
}

// Sum32 returns the HMAC-SHA-256 of a purpose and any number of parts, which may hold any bytes and may be empty.
//
// Each of them is preceded by its length in 8 bytes, big-endian. This encoding is injective: read from the left, the
// first 8 bytes say where the purpose ends, the next 8 where the first part ends, and so on, so the message determines
// the purpose, the parts and their number. With a separator instead, parts that contain it would be ambiguous: ("a|b",
// "c") would find the row of ("a", "b|c").
func (k *IndexKey) Sum32(purpose string, parts ...string) [sha256.Size]byte {
	state := k.mac.take()
	defer k.mac.give(state)
	state.message = appendCounted(state.message, purpose)
	for _, part := range parts {
		state.message = appendCounted(state.message, part)
	}
	state.compute()
	return state.sum
}

func appendCounted(message []byte, part string) []byte {
	message = binary.BigEndian.AppendUint64(message, uint64(len(part)))
	return append(message, part...)
}
