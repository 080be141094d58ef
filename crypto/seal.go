package crypto

import (
	"errors"
	"fmt"
)

// The sealed form, in order:
//
//	1 byte    version, 1
//	1 byte    length of the key's id
//	1–32      the key's id
//	12        nonce
//	n         ciphertext, as long as the plaintext
//	16        tag
//
// AES-256-GCM under the sealing key of that id. What it authenticates besides the
// ciphertext is the first three fields followed by the caller's additional data; the
// three say how long they are, so no pair of header and data can pass for another.

const (
	sealVersion = 1
	nonceSize   = 12
	tagSize     = 16
)

// ErrSealed says that bytes are not what Seal made for this row: malformed, altered, or
// moved. Which of them is not told apart, because GCM cannot tell either.
var ErrSealed = errors.New("sealed bytes are malformed, were altered, or belong to another row")

// Seal encrypts plaintext under the primary key. The additional data aad is the
// identity of the place where the result will be stored (table, row, column) and must
// be given again to open it.
//
// The nonce is random. NIST SP 800-38D section 8.3 allows 2^32 messages for a key that
// way, after which two of them share a nonce with a probability of about 2^-33; such a
// pair would give away the difference of their plaintexts, and let altered ones pass.
// At ten million sealed values a day that is more than a year, so rotate the primary
// once a year on a busy system.
func (k *Keyring) Seal(aad []byte, plaintext []byte) []byte {
	if len(k.ids) == 0 {
		panic("crypto: Seal called on a Keyring that ParseKeyring did not make")
	}
	id := k.ids[0]
	sealed := make([]byte, 0, 2+len(id)+nonceSize+len(plaintext)+tagSize)
	sealed = append(sealed, sealVersion, byte(len(id)))
	sealed = append(sealed, id...)

	bound := k.additionalData(sealed, aad)
	defer k.bound.Put(bound)
	return k.keys[id].sealing.Seal(sealed, nil, plaintext, *bound)
}

// Open is the inverse of Seal. It answers ErrSealed for bytes that Seal did not make
// with this aad, and an error that wraps ErrUnknownKey and names the id for those of a
// key that the keyring lacks.
func (k *Keyring) Open(aad []byte, sealed []byte) ([]byte, error) {
	header, body, err := splitSealed(sealed)
	if err != nil {
		return nil, err
	}
	id := header[2:]
	key := k.keys[string(id)]
	if key == nil {
		return nil, fmt.Errorf("open sealed bytes: %w", unknownKey(string(id)))
	}

	bound := k.additionalData(header, aad)
	defer k.bound.Put(bound)
	plaintext, err := key.sealing.Open(nil, nil, body, *bound)
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}

// SealedUnder is the id of the key that bytes say they were sealed under, for finding
// what a rotation has yet to seal again. Only Open proves that they say the truth. The
// error is ErrSealed.
func SealedUnder(sealed []byte) (id string, err error) {
	header, _, err := splitSealed(sealed)
	if err != nil {
		return "", err
	}
	return string(header[2:]), nil
}

// splitSealed separates what names the key from what the cipher made. It insists on an
// id that a keyring could hold, because the id of an unknown key ends up in errors.
func splitSealed(sealed []byte) (header, body []byte, err error) {
	if len(sealed) < 2 || sealed[0] != sealVersion {
		return nil, nil, ErrSealed
	}
	headerSize := 2 + int(sealed[1])
	if len(sealed) < headerSize+nonceSize+tagSize || !ValidKeyID(string(sealed[2:headerSize])) {
		return nil, nil, ErrSealed
	}
	return sealed[:headerSize], sealed[headerSize:], nil
}

// additionalData joins header and aad in a pooled buffer, which the caller gives back.
// It is pooled because the cipher takes it through an interface, where it would be
// allocated anew for every value sealed or opened.
func (k *Keyring) additionalData(header, aad []byte) *[]byte {
	bound, ok := k.bound.Get().(*[]byte)
	if !ok {
		bound = new([]byte)
	}
	*bound = append(append((*bound)[:0], header...), aad...)
	return bound
}
