package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Caller is who asks: an authenticated credential, its account and the door it came through.
type Caller struct {
	Account     *otp.Account
	Environment otp.Environment
	Door        otp.Door

	cipher *crypto.ServletCipher
}

// account is an account as it is cached: its row, and what was made from it once.
type account struct {
	row    otp.Account
	cipher *crypto.ServletCipher
	found  bool
	broken error // names the column; the account answers nothing but an error
}

// Authenticate resolves the secret that a request presents at a door from peer's address
// (the resolved client address, never a parameter).
//
// Refusals: MissingCredential, UnknownCredential, ExpiredCredential, ForbiddenNetwork with a nil
// Caller; BrokenAccount and FeatureOff with a Caller, so that the door can word its answer for
// the account.
func (e *Engine) Authenticate(ctx context.Context, door otp.Door, secret string, peer netip.Addr) (*Caller, error) {
	if secret == "" {
		return nil, otp.Refuse(otp.MissingCredential, "no credential was presented")
	}
	hash := e.credentialHash(secret)
	credential, err := e.credentials.value(ctx, string(hash[:]))
	if err != nil {
		return nil, err
	}
	if credential.ID.IsZero() || !credential.Enabled {
		return nil, otp.Refuse(otp.UnknownCredential, "the credential is unknown or disabled")
	}
	if credential.ExpiresAt != 0 && otp.At(time.Now()) >= credential.ExpiresAt {
		return nil, otp.Refuse(otp.ExpiredCredential, "the credential has expired")
	}
	if !allowed(&credential, peer) {
		return nil, otp.Refuse(otp.ForbiddenNetwork, "the credential may not be used from this address")
	}
	acc, err := e.accounts.value(ctx, credential.Address)
	if err != nil {
		return nil, err
	}
	if !acc.found || !acc.row.Enabled && acc.broken == nil {
		return nil, otp.Refuse(otp.UnknownCredential, "the account is unknown or disabled")
	}
	caller := &Caller{Account: &acc.row, Environment: credential.Environment, Door: door, cipher: acc.cipher}
	switch {
	case acc.broken != nil:
		return caller, &otp.Error{Kind: otp.BrokenAccount, Message: "the account's settings cannot be used; see the server's log", Err: acc.broken}
	case !acc.row.OTPEnabled:
		return caller, otp.Refuse(otp.FeatureOff, "the account has the OTP feature switched off")
	}
	return caller, nil
}

// credentialHash is what a credential is looked up by. The index key makes a stolen database
// useless for trying out guesses at short, vendor-issued keys.
func (e *Engine) credentialHash(secret string) [32]byte { return e.index.Sum32("credential", secret) }

// loadCredential gives a zero credential for an unknown hash, so that this too is remembered.
func (e *Engine) loadCredential(ctx context.Context, hash string) (sql.Credential, error) {
	credential, err := e.store.Credential(ctx, [32]byte([]byte(hash)))
	if errors.Is(err, sql.ErrNotFound) {
		return sql.Credential{}, nil
	}
	return credential, err
}

// allowed tells whether the credential may be used from peer. A network that cannot be read
// allows nothing and denies everything.
func allowed(credential *sql.Credential, peer netip.Addr) bool {
	for _, network := range credential.DeniedIPs {
		if prefix, err := ParseNetwork(network); err != nil || prefix.Contains(peer) {
			return false
		}
	}
	for _, network := range credential.AllowedIPs {
		if prefix, err := ParseNetwork(network); err == nil && prefix.Contains(peer) {
			return true
		}
	}
	return len(credential.AllowedIPs) == 0
}

// ParseNetwork reads a network in CIDR form or a single address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no address; write one like 203.0.113.7 or a network like 203.0.113.0/24", text)
		}
		return address.Unmap().Prefix(address.Unmap().BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network; write one like 203.0.113.0/24", text)
	}
	return prefix.Masked(), nil
}

// loadAccount reads an account and makes its cipher. A broken row is remembered as broken, and
// logged each time it is loaded, which the cache keeps to once in its time.
func (e *Engine) loadAccount(ctx context.Context, address string) (*account, error) {
	row, err := e.store.Account(ctx, address)
	if errors.Is(err, sql.ErrNotFound) {
		return &account{}, nil
	}
	broken := (*sql.BrokenRow)(nil)
	if err != nil && !errors.As(err, &broken) {
		return nil, err
	}
	acc := &account{row: row, found: true, broken: err}
	if acc.broken == nil {
		acc.cipher, acc.broken = e.servletCipher(&row)
	}
	if acc.broken != nil {
		e.log.ErrorContext(ctx, "account is out of service", "account", address, "error", acc.broken)
	}
	return acc, nil
}

// servletCipher makes the cipher of an account's otp parameter. NULL in cipher_key breaks only
// an account whose cipher needs a key.
func (e *Engine) servletCipher(row *otp.Account) (*crypto.ServletCipher, error) {
	mode, encoding := crypto.CipherMode(row.Cipher), crypto.ParamEncoding(row.Encoding)
	if mode == crypto.CipherNone {
		return crypto.NewServletCipher(mode, encoding, crypto.Secret{}, crypto.Secret{})
	}
	key, err := e.openCipherKey(row)
	if err != nil {
		return nil, err
	}
	iv, err := e.openColumn(row, "cipher_iv", row.SealedCipherIV)
	if err != nil {
		return nil, err
	}
	if !e.options.Sandbox && crypto.SampleKey(key.Bytes()) {
		return nil, errors.New("cipher_key: is the published sample key; give the account one of its own")
	}
	return crypto.NewServletCipher(mode, encoding, key, iv)
}

func (e *Engine) openCipherKey(row *otp.Account) (crypto.Secret, error) {
	return e.openColumn(row, "cipher_key", row.SealedCipherKey)
}

func (e *Engine) openColumn(row *otp.Account, column string, sealed []byte) (crypto.Secret, error) {
	if sealed == nil {
		return crypto.Secret{}, nil
	}
	opened, err := e.keyring.Open(accountAAD(row.Address, column), sealed)
	if err != nil {
		return crypto.Secret{}, fmt.Errorf("%s: %w; it is set by the command line or the API, not with SQL", column, err)
	}
	return crypto.NewSecret(opened), nil
}

// accountAAD ties a sealed column to its row, so that one account's key cannot be moved to another.
func accountAAD(address, column string) []byte {
	return []byte("otp_auth_config/" + address + "/" + column)
}

// DecryptCode reads the servlets' encrypted otp parameter with the account's cipher, and gives
// the empty string for anything that is not exactly 4 to 10 digits, without saying why: a
// reason would be a padding oracle. Value must not be trimmed (a blank can be an eaten plus).
func (c *Caller) DecryptCode(value string) string {
	code, ok := c.cipher.Decrypt(value)
	if !ok {
		return ""
	}
	return code
}
