package manage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// NewKey describes a credential to make. The doors also accept ip_whitelist and ip_allowlist as names of allowed_ips.
type NewKey struct {
	Account     string
	Name        string          // for people, up to 200 characters
	Kind        otp.KeyKind     // empty: otp.SecretKey
	Environment otp.Environment // empty: live, or test in a sandbox

	Permissions       []string    // of otp.Permissions; empty: those of the kind
	AllowedIPs        []string    // addresses and networks; empty allows every address
	DeniedIPs         []string    // win over AllowedIPs
	AllowedOrigins    []string    // required of a client key, like https://www.example.com
	RequestsPerMinute *int        // 1–1,000,000; nil: the account's, else the kind's
	Burst             *int        // 1–1,000,000 at once; nil: as many as in a minute
	ExpiresAt         *time.Time  // nil: never
	Signing           otp.Signing // empty: off

	// Import is an existing key, so that an integration can keep it. It must be 16 to 512 printable ASCII
	// characters without blanks, not easy to guess and not published; if it begins like an API key, its
	// checksum must be right. Empty makes a new key.
	Import string

	Disabled bool // stored, but not accepted

	throwaway bool       // for a throwaway account of a sandbox: the key may have expired already, for tests
	owner     string     // the account's name
	ends      otp.Millis // when the key that is being changed ends
	field     string     // the door's name of Import; empty: import
}

const (
	// minImport is the least length of an imported key. A key is the only secret, so it must not be guessable: 16
	// hexadecimal characters have 64 bits. There is no exception; replace a shorter key by a new one.
	minImport = 16
	// maxGrace bounds how long a rotated key stays valid, so that a typing error does not keep it for ever.
	maxGrace = 90 * 24 * time.Hour
	maxList  = 100 // entries of each list
)

// newCredential makes every credential: for the command line, the API, an import of accounts and the sandbox. It
// checks n, and returns the row, which the caller has to store, and its secrets. The error names the first wrong
// field.
func (c *core) newCredential(n NewKey, now time.Time) (row sql.Credential, secret, signing crypto.Secret, err error) {
	if n.Kind == "" {
		n.Kind = otp.SecretKey
	}
	if n.Environment == "" {
		n.Environment = otp.Live
		if c.sandbox {
			n.Environment = sandboxEnvironment
		}
	}
	if n.Signing == "" {
		n.Signing = otp.SigningOff
	}
	if err := c.checkKey(&n, now); err != nil {
		return row, secret, signing, err
	}
	row = sql.Credential{
		ID: sql.NewID(), Address: n.Account, Kind: string(n.Kind), Name: n.Name, Environment: n.Environment,
		Permissions: n.Permissions, AllowedIPs: n.AllowedIPs, DeniedIPs: n.DeniedIPs, AllowedOrigins: n.AllowedOrigins,
		RequestsPerMinute: n.RequestsPerMinute, Burst: n.Burst, Signing: string(n.Signing), Enabled: !n.Disabled,
		CreatedAt: otp.At(now), Version: 1,
	}
	if n.ExpiresAt != nil {
		row.ExpiresAt = otp.At(*n.ExpiresAt)
	}
	secret, signing = c.giveSecrets(&row, n.Import)
	return row, secret, signing, nil
}

// giveSecrets makes a row's secret, unless one is imported, and its signing secret if it needs one. It sets the hash
// and the sealed value in the row.
func (c *core) giveSecrets(row *sql.Credential, imported string) (secret, signing crypto.Secret) {
	text := imported
	switch kind := otp.KeyKind(row.Kind); {
	case imported != "":
	case kind == otp.AccessKey:
		text = crypto.NewAccessKey()
	default:
		text = crypto.NewAPIKey(string(row.Environment), kind.Code())
	}
	row.Hash, row.LastFour = c.vault.CredentialHash(text), crypto.LastFour(text)
	row.SigningSecret = nil
	if otp.Signing(row.Signing) != otp.SigningOff {
		signing = c.giveSigning(row)
	}
	return crypto.NewSecret([]byte(text)), signing
}

// checkKey returns an error that names the first wrong field. It rewrites origins to the form of browsers.
func (c *core) checkKey(n *NewKey, now time.Time) error {
	if !slices.Contains(otp.KeyKinds(), n.Kind) {
		return fmt.Errorf("kind: %q does not exist; there are %s", n.Kind, otp.Joined(otp.KeyKinds()))
	}
	if !slices.Contains(otp.Environments(), n.Environment) {
		return fmt.Errorf("environment: %q does not exist; there are %s", n.Environment, otp.Joined(otp.Environments()))
	}
	if !slices.Contains([]otp.Signing{otp.SigningOff, otp.SigningOptional, otp.SigningRequired}, n.Signing) {
		return fmt.Errorf("signing: %q does not exist; there are off, optional and required", n.Signing)
	}
	if err := otp.CheckName(n.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if err := n.checkLists(); err != nil {
		return err
	}
	for _, rate := range []struct {
		field string
		value *int
	}{{"requests_per_minute", n.RequestsPerMinute}, {"burst", n.Burst}} {
		if rate.value != nil && (*rate.value < 1 || *rate.value > otp.MaxRate) {
			return fmt.Errorf("%s: %d is not from 1 to %d", rate.field, *rate.value, otp.MaxRate)
		}
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(now) && !n.throwaway && otp.At(*n.ExpiresAt) != n.ends {
		return fmt.Errorf("expires_at: %s has passed", n.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if n.ExpiresAt != nil && otp.At(*n.ExpiresAt) > otp.LastMoment {
		return errors.New("expires_at: must be in the year 9999 or before, in UTC")
	}
	return c.checkImport(n)
}

// checkLists checks what narrows the key's use, and writes its origins in their one spelling.
func (n *NewKey) checkLists() error {
	for _, list := range []struct {
		field   string
		entries []string
	}{{"permissions", n.Permissions}, {"allowed_ips", n.AllowedIPs}, {"denied_ips", n.DeniedIPs}, {"allowed_origins",
		n.AllowedOrigins}} {
		if err := checkList(list.field, list.entries); err != nil {
			return err
		}
	}
	if err := n.Kind.CheckPermissions(n.Permissions); err != nil {
		return err
	}
	if err := checkNetworks("allowed_ips", n.AllowedIPs); err != nil {
		return err
	}
	if err := checkNetworks("denied_ips", n.DeniedIPs); err != nil {
		return err
	}
	if n.Kind == otp.ClientKey && len(n.AllowedOrigins) == 0 {
		return errors.New("allowed_origins: a client key needs the origins of the pages that it is for, such as " +
			"https://www.example.com")
	}
	n.AllowedOrigins = slices.Clone(n.AllowedOrigins)
	for i, text := range n.AllowedOrigins {
		origin, err := otp.ParseOrigin(text)
		if err != nil {
			return fmt.Errorf("allowed_origins[%d]: %w", i, err)
		}
		n.AllowedOrigins[i] = origin
	}
	return nil
}

// checkList checks a list that narrows what a key may do. The caller may have meant that an empty list allows nothing,
// but a missing list allows everything.
func checkList(field string, entries []string) error {
	if len(entries) > maxList {
		return fmt.Errorf("%s: has %d entries; at most %d", field, len(entries), maxList)
	}
	if entries != nil && len(entries) == 0 {
		return fmt.Errorf("%s: is an empty list; leave it out where nothing is to be narrowed", field)
	}
	if err := otp.FitsDocument(entries); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

func checkNetworks(field string, list []string) error {
	for i, text := range list {
		if _, err := otp.ParseNetwork(text); err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return nil
}

// checkImport checks an imported key, and never quotes it. It checks every imported key without exception, also those
// that vendors issued and those of a sandbox's accounts.
func (c *core) checkImport(n *NewKey) error {
	if n.Import == "" {
		return nil
	}
	field := n.field
	if field == "" {
		field = "import"
	}
	if err := c.strongKey(n); err != nil {
		return fmt.Errorf("%s: the key %w", field, err)
	}
	return nil
}

// strongKey refuses a key that can be guessed, that no request could carry, or that would never be looked up. A key
// must not be guessable because there is no second secret.
func (c *core) strongKey(n *NewKey) error {
	key := n.Import
	switch {
	case len(key) < minImport:
		return fmt.Errorf("is %d characters long, and must be %d to %d: a shorter one can be guessed; make a fresh one "+
			"instead", len(key), minImport, otp.MaxCredential)
	case !c.sandbox && crypto.PublishedKey(key):
		return errors.New("is published, in the documents or as a demo account's, so that all the world knows it; make a " +
			"fresh one instead")
	case len(key) > otp.MaxCredential:
		return fmt.Errorf("is %d characters long, and must be at most %d", len(key), otp.MaxCredential)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("has a blank or a character that is not printable ASCII, and no header could carry it unchanged")
	case strings.HasPrefix(key, crypto.APIKeyPrefix):
		if err := n.checkAPIKey(); err != nil {
			return err
		}
	}
	if why := crypto.Guessable(key, n.Account, n.owner); why != "" {
		return fmt.Errorf("is easy to guess: %s; make a fresh one instead", why)
	}
	return nil
}

// checkAPIKey refuses a key that begins like an API key but has a wrong checksum, kind or environment.
func (n *NewKey) checkAPIKey() error {
	environment, code, ok := crypto.CheckAPIKey(n.Import)
	switch {
	case !ok:
		return fmt.Errorf("starts with %s and is mistyped or cut short: its checksum does not fit", crypto.APIKeyPrefix)
	case code != n.Kind.Code():
		return fmt.Errorf("says of itself that it is of the kind %q, and %s is asked for", code, n.Kind)
	case environment != string(n.Environment):
		return fmt.Errorf("says of itself that its environment is %s, and %s is asked for", environment, n.Environment)
	}
	return nil
}
