package engine

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Caller is who asks: an authenticated credential, its account and the door it came through.
type Caller struct {
	Account     *otp.Account
	Environment otp.Environment
	Door        otp.Door
	Key         *KeyInfo

	cipher   *crypto.ServletCipher
	settings *account   // as it is cached; nil for a caller that nobody authenticated
	peer     netip.Addr // of a client key, else not valid
	muted    bool       // its sends reach simulated channels alone
	quota    quota      // what CountRequest counts against; zero for no limit
}

// KeyInfo is what may be known of a credential. Callers share it for as long as it is cached, so nobody changes it.
type KeyInfo struct {
	otp.Key

	Subject string // of a token: whom its issuer made it for

	signingSecret crypto.Secret
	use           *use // nil for a token
}

// account is an account as it is cached: its row, and what was made from it once.
type account struct {
	row     otp.Account
	cipher  *crypto.ServletCipher
	sms     []deliver.Channel // nil: the server's
	email   []deliver.Channel // the same
	issuers []vault.Issuer
	catalog *deliver.Catalog
	// rehearsals are the test recipients by number.
	rehearsals map[string]testRecipient
	found      bool
	broken     error // names the column; the account answers nothing but an error
}

// credential is a credential as it is cached: its row, and what was made from it once.
type credential struct {
	row             sql.Credential
	info            KeyInfo
	allowed, denied networks
	found           bool
}

// Authenticate resolves the secret that a request presents at a door from peer's address
// (the resolved client address, never a parameter). All kinds of keys are good at all doors, except
// that the servlets refuse read-only and client keys, and keys whose requests must be signed. The JSON API takes
// tokens of the account's issuers too.
//
// Refusals: MissingCredential, also for what cannot be a credential; UnknownCredential;
// ExpiredCredential; RateLimited for an address that is blocked; ForbiddenNetwork, Forbidden and BadSignature, only for a secret that is
// right; all with a nil Caller. BrokenAccount and FeatureOff with a Caller, so that the door can word its answer for
// the account.
func (e *Engine) Authenticate(ctx context.Context, door otp.Door, secret string, peer netip.Addr) (*Caller, error) {
	if e.options.Blocked != nil {
		if left := e.options.Blocked(peer); left > 0 {
			return nil, &otp.Error{Kind: otp.RateLimited, Message: "this address did what an attack does and is refused for " +
				"a while; ask the operator", RetryAfter: left}
		}
	}
	if door == otp.V1Door {
		if caller, err := e.authenticateToken(ctx, secret); caller != nil || err != nil {
			return caller, err
		}
	}
	if !plausible(secret) {
		return nil, otp.Refuse(otp.MissingCredential,
			"no credential was presented, or none that could be one: a mistyped key, perhaps")
	}
	cred, err := e.lookUp(ctx, e.vault.CredentialHash(secret), peer)
	if err != nil {
		return nil, err
	}
	if !cred.found && looksLikeToken(secret) {
		return nil, unknownToken(secret)
	}
	if !cred.found || !cred.row.Enabled || cred.row.RevokedAt != 0 {
		return nil, otp.Refuse(otp.UnknownCredential, "the credential is unknown, revoked or disabled")
	}
	acc, err := e.accounts.value(ctx, cred.row.Address)
	if err != nil {
		return nil, err
	}
	now := otp.At(time.Now())
	switch {
	case !acc.found || !acc.row.Enabled && acc.broken == nil:
		return nil, otp.Refuse(otp.UnknownCredential, "the account is unknown or disabled")
	case cred.row.ExpiresAt != 0 && now >= cred.row.ExpiresAt:
		return nil, otp.Refuse(otp.ExpiredCredential, "the credential has expired")
	case !cred.allows(peer):
		return nil, otp.Refuse(otp.ForbiddenNetwork, "the credential may not be used from this address")
	case door == otp.ServletDoor && (cred.info.Kind == otp.ReadOnlyKey || cred.info.Kind == otp.ClientKey):
		return nil, otp.Refuse(otp.Forbidden, "a "+string(cred.info.Kind)+" key can not call a servlet")
	case door == otp.ServletDoor && cred.info.Signing == otp.SigningRequired:
		return nil, otp.Refuse(otp.BadSignature, "the key's requests must be signed, which a servlet has no headers for")
	}
	cred.info.use.call(peer, now)
	caller := &Caller{
		Account: &acc.row, Environment: cred.row.Environment, Door: door, Key: &cred.info,
		cipher: acc.cipher, settings: acc, quota: quotaOf(&cred.row, &acc.row),
	}
	if cred.info.Kind == otp.ClientKey {
		caller.peer = peer
	}
	return caller.opened()
}

// opened returns the caller, with a refusal if the account cannot be worked with.
func (c *Caller) opened() (*Caller, error) {
	switch {
	case c.settings.broken != nil:
		return c, &otp.Error{Kind: otp.BrokenAccount,
			Message: "the account's settings cannot be used; see the server's log", Err: c.settings.broken}
	case !c.Account.OTPEnabled:
		return c, otp.Refuse(otp.FeatureOff, "the account has the OTP feature switched off")
	}
	return c, nil
}

// plausible reports whether text can be a credential at all. One that looks like an API key and
// whose check does not fit is a slip of the keyboard or a key that was cut short; saying so
// helps its owner, and tells others nothing that they could not compute.
func plausible(text string) bool {
	if text == "" || len(text) > otp.MaxCredential && !looksLikeToken(text) {
		return false
	}
	if !strings.HasPrefix(text, crypto.APIKeyPrefix) {
		return true
	}
	_, _, ok := crypto.CheckAPIKey(text)
	return ok
}

// loadCredential gives a credential that is not found for an unknown hash, so that this too is
// remembered.
func (e *Engine) loadCredential(ctx context.Context, hash [32]byte) (*credential, error) {
	row, err := e.store.Credentials.ByHash(ctx, hash)
	if errors.Is(err, sql.ErrNotFound) {
		return &credential{}, nil
	}
	if err != nil {
		return nil, err
	}
	cred := &credential{row: row, found: true, info: KeyInfo{Key: row.Key(), use: e.uses.of(row.ID)}}
	cred.allowed, cred.denied = readNetworks(row.AllowedIPs), readNetworks(row.DeniedIPs)
	if cred.info.Signing != otp.SigningOff {
		if cred.info.signingSecret, err = e.vault.SigningSecret(&row); err != nil {
			return nil, err
		}
	}
	return cred, nil
}

// networks is a list of networks as it is cached.
type networks struct {
	prefixes []netip.Prefix
	listed   bool // something is, be it readable or not
	broken   bool // one cannot be read
}

func readNetworks(texts []string) networks {
	n := networks{listed: len(texts) > 0}
	for _, text := range texts {
		prefix, err := otp.ParseNetwork(text)
		if err != nil {
			n.broken = true
			continue
		}
		n.prefixes = append(n.prefixes, prefix)
	}
	return n
}

func (n *networks) contain(peer netip.Addr) bool {
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// allows reports whether the credential may be used from peer. A network that cannot be read
// allows nothing and denies everything.
func (c *credential) allows(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("") // no network contains an address with a zone
	if c.denied.broken || c.denied.contain(peer) {
		return false
	}
	return !c.allowed.listed || c.allowed.contain(peer)
}

// loadAccount reads an account and makes its cipher. A broken row is remembered as broken, and
// logged each time it is loaded, which the cache keeps to once in its time.
func (e *Engine) loadAccount(ctx context.Context, address string) (*account, error) {
	row, err := e.store.Accounts.Find(ctx, address)
	if errors.Is(err, sql.ErrNotFound) {
		return &account{}, nil
	}
	broken := (*sql.BrokenRow)(nil)
	if err != nil && !errors.As(err, &broken) {
		return nil, err
	}
	acc := &account{row: row, found: true, broken: err}
	if acc.broken == nil {
		acc.cipher, acc.broken = e.vault.ServletCipher(&row)
	}
	if acc.broken == nil {
		acc.broken = e.furnish(acc)
	}
	if acc.rehearsals, err = e.loadTestRecipients(ctx, address); err != nil {
		return nil, err
	}
	if acc.broken != nil {
		e.log.ErrorContext(ctx, "account is out of service", "account", address, "error", acc.broken)
	}
	return acc, nil
}

// UnreadableReason says why DecryptCode cannot read value, for a sandbox's inspector. In production it is
// empty: whoever reads the log could decrypt captured parameters by sending altered ones.
func (e *Engine) UnreadableReason(c *Caller, value string) string {
	if !e.options.Sandbox {
		return ""
	}
	return c.cipher.Reason(value)
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
