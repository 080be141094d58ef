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

// NewKey asks for a credential. In the doors' JSON, ip_whitelist and ip_allowlist are other
// names of allowed_ips, which the doors resolve.
type NewKey struct {
	Account     string
	Name        string          // for people, up to 200 characters
	Kind        otp.KeyKind     // empty: otp.SecretKey
	Environment otp.Environment // empty: live, in a sandbox test

	Permissions       []string    // of otp.Permissions; empty: those of the kind
	AllowedIPs        []string    // addresses and networks; empty allows every address
	DeniedIPs         []string    // win over AllowedIPs
	AllowedOrigins    []string    // required of a client key, like https://www.example.com
	RequestsPerMinute *int        // 1–1,000,000; nil: the account's, else the kind's
	Burst             *int        // 1–1,000,000 at once; nil: as many as a minute's
	ExpiresAt         *time.Time  // nil: never
	Signing           otp.Signing // empty: off

	// Import is a key that exists, to be taken as it is, so that an integration keeps the one it
	// has. It must be 16 to 512 printable ASCII characters without blanks, not easy to guess, not
	// published, and right by its own checksum if it begins like an API key. Empty makes a fresh one.
	Import string

	Disabled bool // kept, and good for nothing

	throwaway bool       // of an account of a sandbox's API: the key may have expired already, which tests try
	owner     string     // the account's name
	ends      otp.Millis // when the key that is changed ends
	field     string     // what the door calls Import; empty: import
}

const (
	// minImport keeps keys out that can be guessed: whoever guesses gets no second secret asked.
	// With 16 characters even hexadecimal ones hold 64 bits. There is no exception; a shorter key
	// is exchanged for a fresh one.
	minImport = 16
	// maxGrace keeps a rotated key from living on for ever by a slip.
	maxGrace = 90 * 24 * time.Hour
	maxList  = 100 // entries of each list
)

// newCredential is the one way in which a credential comes to be, whoever asks: the command line,
// an import of accounts, the sandbox. It checks what is asked for and gives the row, which is not
// stored yet, and its secrets. The error names the first field that is wrong.
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

// giveSecrets makes a row's secret, unless one is imported, and its signing secret if it needs
// one, and puts what is kept of them into the row.
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

// checkKey names the first field that is wrong, and writes origins as browsers do.
func (c *core) checkKey(n *NewKey, now time.Time) error {
	if !slices.Contains(otp.KeyKinds(), n.Kind) {
		return fmt.Errorf("kind: %q does not exist; there are %s", n.Kind, joined(otp.KeyKinds()))
	}
	if !slices.Contains(otp.Environments(), n.Environment) {
		return fmt.Errorf("environment: %q does not exist; there are %s", n.Environment, joined(otp.Environments()))
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
	return c.checkImport(n)
}

// checkLists checks what narrows the key's use, and writes its origins in their one spelling.
func (n *NewKey) checkLists() error {
	for _, list := range []struct {
		field   string
		entries []string
	}{{"permissions", n.Permissions}, {"allowed_ips", n.AllowedIPs}, {"denied_ips", n.DeniedIPs}, {"allowed_origins",
		n.AllowedOrigins}} {
		if len(list.entries) > maxList {
			return fmt.Errorf("%s: has %d entries; at most %d", list.field, len(list.entries), maxList)
		}
		// Whoever made the list empty may have meant that nothing is allowed; without one, all is.
		if list.entries != nil && len(list.entries) == 0 {
			return fmt.Errorf("%s: is an empty list; leave it out where nothing is to be narrowed", list.field)
		}
		if err := otp.FitsDocument(list.entries); err != nil {
			return fmt.Errorf("%s: %w", list.field, err)
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

func joined[T ~string](names []T) string {
	var texts []string
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

func checkNetworks(field string, list []string) error {
	for i, text := range list {
		if _, err := otp.ParseNetwork(text); err != nil {
			return fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return nil
}

// checkImport checks a key that is brought along, and never quotes it. It is the one check for every way in
// which a key comes in, and has no exception: neither for keys that vendors issued, nor for a sandbox's accounts.
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

// strongKey refuses a key that can be guessed, as no second secret goes with it, that no request could
// present, or that would never be looked up.
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

// checkAPIKey refuses a key that begins like an API key and is not the one that it says it is.
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
