package crypto

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A code has 4 to 10 digits: a shorter one could be guessed within the attempts that people need, a longer one is hard
// to type.
const (
	minDigits = 4
	maxDigits = 10
)

// Code derives the code of a challenge, 4 to 10 digits with leading zeros. The same arguments give the same code as
// long as the key is on the keyring.
//
// It is HMAC-SHA-256, with the code key of keyID, of challengeID ‖ nonce ‖ slot, turned into digits by number. The
// nonce is random, so that a challenge id that occurs twice (a restored backup, a cloned database) gives another code.
// The slot ties the code to account, recipient and binding, so that a challenge row moved to another slot has another
// code. All three have a fixed length, so different challenges never give the same 48 bytes.
//
// The error wraps ErrUnknownKey and names the id if the keyring lacks it, or says that digits is out of range.
func (k *Keyring) Code(keyID string, challengeID [16]byte, nonce [16]byte, slot [16]byte, digits int) (string, error) {
	key, err := k.key(keyID)
	if err != nil {
		return "", fmt.Errorf("derive a code: %w", err)
	}
	if digits < minDigits || digits > maxDigits {
		return "", fmt.Errorf("derive a code: %d digits asked for, want %d to %d", digits, minDigits, maxDigits)
	}

	state := key.code.take()
	defer key.code.give(state)
	state.message = append(state.message, challengeID[:]...)
	state.message = append(state.message, nonce[:]...)
	state.message = append(state.message, slot[:]...)
	state.compute()

	n := number(state, powersOfTen[digits])
	var text [maxDigits]byte
	for i := digits - 1; i >= 0; i-- {
		text[i] = '0' + byte(n%10)
		n /= 10
	}
	return string(text[:digits]), nil
}

// powersOfTen is indexed by the number of digits.
var powersOfTen = [maxDigits + 1]uint64{
	4: 1e4, 5: 1e5, 6: 1e6, 7: 1e7, 8: 1e8, 9: 1e9, 10: 1e10,
}

// number turns the MAC in state into a number below modulus, all equally likely. In the rare case that no word of the
// MAC can be used, it continues with the MAC of the MAC. That message has 32 bytes and a challenge's has 48, so the
// result is not the code of another challenge.
func number(state *macState, modulus uint64) uint64 {
	for {
		if n, ok := sample(&state.sum, modulus); ok {
			return n
		}
		state.message = append(state.message[:0], state.sum[:]...)
		state.compute()
	}
}

// sample does rejection sampling over the four big-endian 64-bit words of a MAC. modulus does not divide 2^64, so a
// plain remainder would make small numbers more likely. Words at or above the largest multiple of modulus are skipped.
// With ten digits that happens to one word in 10^9.
func sample(sum *[32]byte, modulus uint64) (n uint64, ok bool) {
	surplus := math.MaxUint64%modulus + 1 // would be modulus if it divided 2^64, which a power of ten does not
	limit := math.MaxUint64 - surplus     // the largest word that is used
	for i := 0; i < len(sum); i += 8 {
		if word := binary.BigEndian.Uint64(sum[i:]); word <= limit {
			return word % modulus, true
		}
	}
	return 0, false
}
