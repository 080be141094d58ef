package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Keyring is the set of keys that protect everything at rest. Its first key, the primary, is used for everything new;
// the others open what was made with them. So a key is rotated without downtime: put a new line first, restart or
// reload every server, seal the old rows again (SealedUnder finds them), and remove the old line once nothing uses it.
//
// A Keyring does not change once made. Make one with ParseKeyring; the zero value has no key and panics when asked to
// seal.
type Keyring struct {
	redacted
	ids  []string // primary first, then in the order of the text
	keys map[string]*ringKey

	// bound holds buffers for additional data, see additionalData.
	bound sync.Pool
}

// ringKey holds what is derived from one key. The key itself is not kept, because it is not needed any more and cannot
// leak then.
type ringKey struct {
	sealing cipher.AEAD
	code    *macPool
	token   []byte // signs access tokens
	check   []byte
	sample  bool

	weakness string // what makes it no random key; empty for nothing
}

// ErrUnknownKey is wrapped by an error that names the id.
var ErrUnknownKey = errors.New("not on the keyring")

const (
	ringKeySize = 32 // AES-256, and the full security strength of HMAC-SHA-256
	checkSize   = 16
	maxIDLength = 32 // a sealed value stores its length in one byte

	labelSeal  = "otpbridge seal v1"
	labelCode  = "otpbridge code v1"
	labelToken = "otpbridge access token v1"
	labelCheck = "otpbridge check v1"
)

// ParseKeyring reads a keyring in its text form, one key a line:
//
//	# made 2026-01-05
//	2026-01 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
//
// The id is 1 to 32 of the characters A-Z a-z 0-9 . _ -, the key is 32 bytes in standard base64. Blank lines and lines
// that start with # are ignored. The first key is the primary.
//
// An error names the line and the remedy, and quotes nothing: in a line with swapped fields, or a key cut in two, a
// part of the key would look like an id.
func ParseKeyring(text string) (*Keyring, error) {
	ring := &Keyring{keys: make(map[string]*ringKey)}
	lineOfID := make(map[string]int)
	lineOfKey := make(map[[ringKeySize]byte]int)

	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("keyring line %d: %d fields where an id and a key belong: "+
				"write both on one line with a blank between them, and comments on lines of their own", number, len(fields))
		}
		id := fields[0]
		if !ValidKeyID(id) {
			return nil, fmt.Errorf("keyring line %d: the id is not 1 to 32 of A-Z a-z 0-9 . _ -: "+
				"choose another; the id comes first, the key second", number)
		}
		if first, taken := lineOfID[id]; taken {
			return nil, fmt.Errorf("keyring line %d: the id is that of line %d: give one of them another", number, first)
		}
		raw, err := decodeRingKey(fields[1])
		if err != nil {
			return nil, fmt.Errorf("keyring line %d: %w", number, err)
		}
		// The same key under two ids would look like a rotation without being one.
		if first, taken := lineOfKey[raw]; taken {
			return nil, fmt.Errorf("keyring line %d: the key is that of line %d: make a new one or remove the line", number,
				first)
		}
		key, err := newRingKey(raw[:])
		if err != nil {
			return nil, fmt.Errorf("keyring line %d: %w", number, err)
		}

		lineOfID[id], lineOfKey[raw] = number, number
		ring.ids = append(ring.ids, id)
		ring.keys[id] = key
	}
	if len(ring.ids) == 0 {
		return nil, errors.New("keyring holds no key: give it a line with an id, a blank, and 32 random bytes in base64")
	}
	return ring, nil
}

// ValidKeyID reports whether id may name a key: 1 to 32 of A-Z a-z 0-9 . _ -.
func ValidKeyID(id string) bool {
	if len(id) < 1 || len(id) > maxIDLength {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// decodeRingKey refuses what cannot be a random key. In general a weak key cannot be told from a random one, but
// people do use placeholders of zeros.
func decodeRingKey(text string) (raw [ringKeySize]byte, err error) {
	b, err := strictBase64.DecodeString(text)
	if err != nil || len(b) != ringKeySize {
		return raw, errors.New("the key is not 32 bytes in standard base64 (44 characters, = at the end): " +
			"make one with `head -c 32 /dev/urandom | base64`")
	}
	if bytes.Count(b, b[:1]) == len(b) {
		return raw, errors.New("the key is one byte 32 times, a placeholder: make one with `head -c 32 /dev/urandom | " +
			"base64`")
	}
	return [ringKeySize]byte(b), nil
}

// strictBase64 refuses a text whose last character has unused bits set. Encoders never write that, so it was mistyped.
var strictBase64 = base64.StdEncoding.Strict()

func newRingKey(raw []byte) (*ringKey, error) {
	sealing, err := hkdf.Key(sha256.New, raw, nil, labelSeal, ringKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the sealing key: %w", err)
	}
	code, err := hkdf.Key(sha256.New, raw, nil, labelCode, ringKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the code key: %w", err)
	}
	token, err := hkdf.Key(sha256.New, raw, nil, labelToken, ringKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive the access token key: %w", err)
	}
	check, err := hkdf.Key(sha256.New, raw, nil, labelCheck, checkSize)
	if err != nil {
		return nil, fmt.Errorf("derive the check value: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("prepare the sealing key: %w", err)
	}
	// The library draws the nonce, so our code cannot repeat one.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("prepare the sealing key: %w", err)
	}
	return &ringKey{sealing: aead, code: newMACPool(code), token: token, check: check, sample: SampleKey(raw),
		weakness: WeakCipherKey(raw)}, nil
}

// NewKeyringText returns a new keyring with one random key: a line with its line end, so that the lines of an older
// keyring can be appended. It panics if the id is not a ValidKeyID.
func NewKeyringText(id string) string {
	if !ValidKeyID(id) {
		panic("crypto: NewKeyringText called with an id that ValidKeyID refuses")
	}
	var raw [ringKeySize]byte
	rand.Read(raw[:]) // never fails: the runtime stops the process instead
	return id + " " + base64.StdEncoding.EncodeToString(raw[:]) + "\n"
}

// Primary returns the id of the key that is used for everything new.
func (k *Keyring) Primary() string {
	if len(k.ids) == 0 {
		return ""
	}
	return k.ids[0]
}

// IDs returns the ids of all keys, the primary first.
func (k *Keyring) IDs() []string { return slices.Clone(k.ids) }

// Has reports whether the keyring holds a key with this id.
func (k *Keyring) Has(id string) bool { return k.keys[id] != nil }

// SampleIDs returns the ids of keys that are sample keys (see SampleKey). They work, because a demo may use them;
// production refuses to start with one.
func (k *Keyring) SampleIDs() []string {
	var ids []string
	for _, id := range k.ids {
		if k.keys[id].sample {
			ids = append(ids, id)
		}
	}
	return ids
}

// Weakness is the id of the first key that is no random one, but a pattern, or a text that others
// know or would try, and what it is; empty for a keyring without one. Samples are weak too.
func (k *Keyring) Weakness() (id, what string) {
	for _, id := range k.ids {
		if what := k.keys[id].weakness; what != "" {
			return id, what
		}
	}
	return "", ""
}

// Check returns the 16-byte check value of a key. The database stores one for each key in use, so that a server that
// was started with a wrong key under the right id finds out before it sends codes that cannot be verified. The value
// is an HKDF output with a separate label: it can only be used to confirm a guess of the whole 256-bit key.
//
// The error wraps ErrUnknownKey and names the id.
func (k *Keyring) Check(id string) ([]byte, error) {
	key, err := k.key(id)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(key.check), nil
}

func (k *Keyring) key(id string) (*ringKey, error) {
	if key := k.keys[id]; key != nil {
		return key, nil
	}
	return nil, unknownKey(id)
}

func unknownKey(id string) error { return fmt.Errorf("key %q is %w", id, ErrUnknownKey) }
