// Package crypto holds what keeps OTPBridge's secrets: the keyring that seals
// what the database stores, the derivation of codes, the keyed hashes by which
// rows are found, the legacy cipher of the servlets' otp parameter, the keys
// handed to callers, and people's passwords and access tokens.
//
// Three ideas carry it.
//
// No code is at rest. A code is not stored and not even sealed: [Keyring.Code]
// derives it from a key the database does not hold and from three values it does.
// Whoever copies the database gets challenges, and nothing to compute a code with;
// a resend needs no memory, because the same inputs give the same code.
//
// One key, four purposes, never mixed. Every 32-byte key of the keyring is fed
// through HKDF (RFC 5869) into a sealing key, a code key, a key that signs access
// tokens and a check value. The outputs are independent as far as anyone knows how to
// tell, so that the check value may lie in the database in clear, and a weakness in
// the use of one key says nothing about the others. The key itself is forgotten after
// that.
//
// Sealed bytes belong to their row. [Keyring.Seal] binds a ciphertext to what the
// caller passes as additional data, which is the identity of the row and column it
// is stored in. Someone who can write to the database but not read the keyring can
// destroy a value; they cannot copy the cipher key of an account they know over that
// of an account they attack.
//
// # Promises
//
// Sealed bytes that were altered, cut, or moved to another row are refused with
// [ErrSealed]; those of a key that is not on the keyring are refused with
// [ErrUnknownKey] and an error that names the key. Codes are uniform over all values
// of their length, leading zeros included. [ServletCipher.Decrypt] answers anything
// but an encrypted code of 4 to 10 digits with the same bare false, so that there is
// no padding oracle. Types that hold a secret refuse to print it through fmt,
// encoding/json, encoding/xml or log/slog. Everything here is safe for concurrent use once made.
// Only [Passwords] is slow, because guessing is to be slow, and only it waits, for others who
// hash or check a password. It panics only for a caller's bug.
//
// # What it leaves to others
//
// It reads no file, no environment and no clock, and logs nothing: where the keyring
// text comes from, when a code has expired, who may ask, and whether a sample key is
// acceptable today are the caller's questions. It does not compare codes or count
// guesses; a six-digit code is protected by that count alone, and by nothing in this
// package. It does not erase memory: Go gives no means of doing so reliably, and
// a reader of the process's memory has the keyring anyway. And it makes no claim for
// the servlets' cipher, which is a dialect that existing callers speak and hides
// nothing: one block under a fixed key and IV is a lookup table. What protects a code
// on that road is TLS.
package crypto
