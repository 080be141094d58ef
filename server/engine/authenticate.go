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

// Caller is an authenticated credential, its account and the door it came through.
type Caller struct {
	Account     *otp.Account
	Environment otp.Environment
	Door        otp.Door
	Key         *KeyInfo

	cipher   *crypto.ServletCipher
	settings *account   // as cached; nil for a caller that was not authenticated
	peer     netip.Addr // of a client key; invalid for other keys
	muted    bool       // it sends to simulated channels only
	quota    quota      // the limit that CountRequest counts against; zero for none
}

// KeyInfo is everything about a credential except its secrets. Callers share it while it is cached, so it must not be
// changed.
type KeyInfo struct {
	otp.Key

	Subject string // of a token: the subject it was issued to

	signingSecret crypto.Secret
	use           *use // nil for a token
}

// account is a cached account: its row and what was parsed from it.
type account struct {
	row     otp.Account
	cipher  *crypto.ServletCipher
	sms     []deliver.Channel // nil: the server's
	email   []deliver.Channel // nil: the server's
	issuers []vault.Issuer
	catalog *deliver.Catalog
	// rehearsals holds the test recipients by number.
	rehearsals map[string]testRecipient
	found      bool
	broken     error // names the column; every call is answered with an error
}

// credential is a cached credential: its row and what was parsed from it.
type credential struct {
	row             sql.Credential
	info            KeyInfo
	allowed, denied networks
	found           bool
}

// Authenticate resolves the secret that a request presents at a door. peer is the resolved client address, never a
// parameter. Every kind of key works at every door, except that the servlets refuse read-only and client keys, and
// keys whose requests must be signed. The JSON API also accepts tokens of the account's issuers.
//
// Refusals with a nil Caller: MissingCredential, also for a malformed credential; UnknownCredential;
// ExpiredCredential; RateLimited for a blocked address; ForbiddenNetwork, Forbidden and BadSignature, only if the
// secret is right. Refusals with a Caller, so that the door can word its answer for the account: BrokenAccount,
// FeatureOff.
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

// opened returns the caller, with a refusal if its account cannot be used.
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

// plausible reports whether text can be a credential. A text that looks like an API key and has a wrong check sum was
// mistyped or cut short. Saying so helps its owner, and tells others nothing that they could not compute.
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

// loadCredential reads a credential by its hash. For an unknown hash it returns a credential with found false, so that
// this result is cached too.
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

// networks is a cached list of networks.
type networks struct {
	prefixes []netip.Prefix
	listed   bool // the list is not empty, readable or not
	broken   bool // at least one entry cannot be read
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

// allows reports whether the credential may be used from peer. A network that cannot be read allows no address in the
// allow list, and denies every address in the deny list.
func (c *credential) allows(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("") // no network contains an address with a zone
	if c.denied.broken || c.denied.contain(peer) {
		return false
	}
	return !c.allowed.listed || c.allowed.contain(peer)
}

// loadAccount reads an account and makes its cipher. A broken row is cached as broken, and logged each time it is
// loaded, so at most once per cache period.
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

// UnreadableReason says why DecryptCode cannot read value, for a sandbox's inspector. In production it is empty:
// someone who can read the log could decrypt captured parameters by sending modified ones.
func (e *Engine) UnreadableReason(c *Caller, value string) string {
	if !e.options.Sandbox {
		return ""
	}
	return c.cipher.Reason(value)
}

// DecryptCode decrypts the servlets' otp parameter with the account's cipher. It returns the empty string for anything
// other than exactly 4 to 10 digits, without a reason: a reason would be a padding oracle. value must not be trimmed,
// because a blank can be a decoded plus.
func (c *Caller) DecryptCode(value string) string {
	code, ok := c.cipher.Decrypt(value)
	if !ok {
		return ""
	}
	return code
}

// May returns nil if the caller's key has a permission, one of otp.Permissions. Refusal: Forbidden.
func (c *Caller) May(permission string) error {
	if c.Key.Kind.May(c.Key.Permissions, permission) {
		c.Key.use.permit(permission)
		return nil
	}
	return otp.Refuse(otp.Forbidden, "this "+string(c.Key.Kind)+" key lacks the permission "+permission)
}

// FromOrigin returns nil if the caller's key may be used from a web page of origin, the request's Origin header, empty
// if there is none. A client key works only from the origins in its list; for other keys a list only keeps other pages
// out. A client that is not a browser can claim any origin: the check keeps a client key out of other sites' pages and
// does not protect it otherwise. Refusal: ForbiddenOrigin.
func (c *Caller) FromOrigin(origin string) error {
	if origin == "" && c.Key.Kind != otp.ClientKey || slices.Contains(c.Key.AllowedOrigins, origin) {
		return nil
	}
	if len(c.Key.AllowedOrigins) == 0 && c.Key.Kind != otp.ClientKey {
		return nil
	}
	return otp.Refuse(otp.ForbiddenOrigin, "the key may not be used from this origin; add it to the key's "+
		"allowed_origins, written like https://www.example.com")
}
