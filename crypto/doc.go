// Package crypto protects OTPBridge's secrets: the keyring that seals what the database stores, the derivation of
// codes, the keyed hashes by which rows are found, the legacy cipher of the servlets' otp parameter, the keys for
// callers, and people's passwords and access tokens.
//
// It rests on three decisions.
//
// Codes are not stored, not even sealed. [Keyring.Code] derives a code from a key that the database does not hold and
// from three values that it does. A copy of the database has challenges and nothing to compute their codes with. A
// resend needs no stored code, because the same inputs give the same code.
//
// Each key has four separate uses. Every 32-byte key of the keyring is expanded by HKDF (RFC 5869) into a sealing key,
// a code key, a key that signs access tokens and a check value. The outputs are independent, so the check value may be
// stored in clear, and a weakness in one use does not affect the others. The key itself is not kept after that.
//
// Sealed bytes belong to their row. [Keyring.Seal] binds a ciphertext to its additional data: the identity of the row
// and column that it is stored in. Someone who can write to the database but not read the keyring can destroy a value,
// but cannot copy the cipher key of an account they know to an account they attack.
//
// # Promises
//
// Sealed bytes that were altered, cut, or moved to another row are refused with [ErrSealed]; those of a key that is
// not on the keyring, with an error that wraps [ErrUnknownKey] and names the key. Codes are uniformly distributed over
// all values of their length, including leading zeros. [ServletCipher.Decrypt] returns the same bare false for
// everything except an encrypted code of 4 to 10 digits, so there is no padding oracle. Types that hold a secret
// refuse to print it through fmt, encoding/json, encoding/xml or log/slog. Everything here is safe for concurrent use
// once made. Only [Passwords] is slow, to make guessing slow, and only it waits, for other callers' passwords. The
// package panics only for a caller's bug.
//
// # Left to others
//
// The package reads no file, no environment and no clock, and logs nothing. The caller decides where the keyring text
// comes from, when a code has expired, who may ask, and whether a sample key is acceptable. The package does not
// compare codes or count guesses; only that count protects a six-digit code. It does not erase memory: Go has no
// reliable way to do so, and whoever can read the process's memory has the keyring anyway. The servlets' cipher is
// kept for existing callers and protects nothing: one block under a fixed key and IV is a lookup table. There, only
// TLS protects a code.
package crypto
