package crypto

import (
	"errors"
	"fmt"
)

// The format of sealed bytes, in order:
//
//	1 byte    version, 1
//	1 byte    length of the key's id
//	1–32      the key's id
//	12        nonce
//	n         ciphertext, as long as the plaintext
//	16        tag
//
// The cipher is AES-256-GCM with the sealing key of that id. It authenticates the ciphertext, the first three fields
// and the caller's additional data; the fields contain their lengths, so the boundary between them and the data is
// unambiguous.

const (
	sealVersion = 1
	nonceSize   = 12
	tagSize     = 16
)

// ErrSealed says that bytes are not what Seal made for this row: malformed, altered, or moved. GCM cannot tell which.
var ErrSealed = errors.New("sealed bytes are malformed, were altered, or belong to another row")

// Seal encrypts plaintext under the primary key. The additional data aad identifies the place where the result will be
// stored (table, row, column); Open needs the same aad.
//
// The nonce is random. NIST SP 800-38D section 8.3 allows 2^32 messages per key, after which two of them share a nonce
// with a probability of about 2^-33. Such a pair would reveal the difference of their plaintexts and allow forgeries.
// At ten million sealed values a day the limit is reached after more than a year, so a busy system should rotate the
// primary once a year.
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

// Open is the inverse of Seal. The error is ErrSealed for bytes that Seal did not make with this aad. For a key that
// the keyring lacks, it wraps ErrUnknownKey and names the id.
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

// SealedUnder returns the id of the key that sealed bytes name, to find what a rotation still has to seal again. Only
// Open proves that the id is true. The error is ErrSealed.
func SealedUnder(sealed []byte) (id string, err error) {
	header, _, err := splitSealed(sealed)
	if err != nil {
		return "", err
	}
	return string(header[2:]), nil
}

// splitSealed separates the header with the key's id from the body. It requires a valid id, because the id of an
// unknown key is shown in errors.
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

// additionalData joins header and aad in a pooled buffer, which the caller gives back. The cipher takes it through an
// interface, so without the pool it would be allocated for every value.
func (k *Keyring) additionalData(header, aad []byte) *[]byte {
	bound, ok := k.bound.Get().(*[]byte)
	if !ok {
		bound = new([]byte)
	}
	*bound = append(append((*bound)[:0], header...), aad...)
	return bound
}
