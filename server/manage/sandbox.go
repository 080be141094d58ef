package manage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Sandbox makes throwaway accounts, moves clocks and resets.
type Sandbox struct{ *core }

// sandboxEnvironment is the environment of every credential that a sandbox makes up: one, so
// that a code generated with an access key can be verified with an API key of the same account.
const sandboxEnvironment = otp.Test

// NewAccessKey is one access key asked for with an account. Its members are those of NewKey.
type NewAccessKey struct {
	Key               string     `json:"key"`
	Name              string     `json:"name"`
	Permissions       []string   `json:"permissions"`
	AllowedIPs        []string   `json:"allowed_ips"`
	DeniedIPs         []string   `json:"denied_ips"`
	AllowedOrigins    []string   `json:"allowed_origins"`
	RequestsPerMinute *int       `json:"requests_per_minute"`
	Burst             *int       `json:"burst"`
	ExpiresAt         *time.Time `json:"expires_at"`
	Enabled           *bool      `json:"enabled"`
}

// NewAccount asks for a throwaway account: any columns, key and IV in clear as base64 or hex.
// Start from otp.DefaultAccount("") and decode JSON over Account. An empty address, key or IV
// is made up.
type NewAccount struct {
	Account    otp.Account
	CipherKey  string // or "iv~key"
	CipherIV   string
	AccessKeys []NewAccessKey // empty: one is made
}

// Credentials is what the sandbox tells of one account, in clear.
type Credentials struct {
	Address   string       `json:"esme_address"`
	AccessKey string       `json:"access_key"`
	APIKey    string       `json:"api_key"`
	CipherKey string       `json:"cipher_key"` // base64
	CipherIV  string       `json:"cipher_iv"`
	Profile   *otp.Profile `json:"message_profile"`
}

// The demo accounts' cipher key and IV are published with the protocol's test vectors; production
// refuses them.
const (
	sampleKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	sampleIV  = "8PHy8/T19vf4+fr7/P3+/w=="
)

// demo is the two accounts that every sandbox starts with.
func demo() []NewAccount {
	documented, live := otp.Documented, otp.LiveProfile
	first, second := otp.DefaultAccount("10000000000001"), otp.DefaultAccount("10000000000002")
	first.Name, first.Profile, first.EmailEnabled = "Demo, documented profile", &documented, true
	second.Name, second.Profile, second.PlainValidation, second.EmailEnabled = "Demo, live profile", &live, true, true
	return []NewAccount{
		{first, sampleKey, sampleIV, []NewAccessKey{{Key: "ZGVtby1hY2Nlc3Mta2V5MQ=="}}},
		{second, sampleKey, sampleIV, []NewAccessKey{{Key: "ZGVtby1hY2Nlc3Mta2V5Mg=="}}},
	}
}

var demoAPIKeys = []string{
	"otpb_test_sk_3S59TEkdOgZ8jjhSxuHwbQrpyXxII3v72aEZ2o",
	"otpb_test_sk_xyWKBcjhZ3UgaDW2yXkaid5K5AAnDKP51p7gmM",
}

// DemoCredentials are those of the two demo accounts.
func (c Sandbox) DemoCredentials() []Credentials {
	var all []Credentials
	for i, account := range demo() {
		all = append(all, Credentials{
			Address: account.Account.Address, AccessKey: account.AccessKeys[0].Key, APIKey: demoAPIKeys[i],
			CipherKey: sampleKey, CipherIV: sampleIV, Profile: account.Account.Profile,
		})
	}
	return all
}

// SeedDemo makes the demo accounts that are not there yet.
func (c Sandbox) SeedDemo(ctx context.Context) error {
	for i, account := range demo() {
		made, _, err := c.prepare(account, demoAPIKeys[i])
		if err != nil {
			return err
		}
		err = c.store.Change(ctx, func(tx *sql.Tx) error {
			if err := c.store.Accounts.Add(tx, &made, false); err != nil {
				return err
			}
			return recordAccount(tx, Operator().Actor, &made)
		})
		if err != nil && !errors.Is(err, sql.ErrTaken) {
			return err
		}
	}
	return nil
}

// CreateAccount makes a throwaway account with its own clock. Refusals: Invalid naming the
// column; AccountExists when the address or a key is taken.
func (c Sandbox) CreateAccount(ctx context.Context, n NewAccount) (otp.Account, Credentials, error) {
	made, credentials, err := c.throwaway(n)
	if err != nil {
		return n.Account, Credentials{}, err
	}
	defer c.changed()
	err = taken(c.store.Change(ctx, func(tx *sql.Tx) error {
		if err := c.store.Accounts.Add(tx, &made, true); err != nil {
			return err
		}
		return recordAccount(tx, Operator().Actor, &made)
	}))
	return made.Account, credentials, err
}

// SeedError is what is wrong with one of the accounts of a seed.
type SeedError struct {
	Index int // from 0
	Err   error
}

// Error implements error.
func (s *SeedError) Error() string { return fmt.Sprintf("accounts[%d]: %v", s.Index, s.Err) }

// Unwrap gives the cause to errors.Is and errors.As.
func (s *SeedError) Unwrap() error { return s.Err }

// ResetTo is Reset without an account that makes throwaway accounts in the same transaction: after a
// refusal nothing has changed. Refusals: those of CreateAccount, Invalid as a *SeedError.
func (c Sandbox) ResetTo(ctx context.Context, seed []NewAccount) ([]otp.Account, []Credentials, error) {
	if len(seed) == 0 {
		return nil, nil, c.Reset(ctx, "")
	}
	rows, accounts := make([]sql.Seeded, len(seed)), make([]otp.Account, len(seed))
	credentials := make([]Credentials, len(seed))
	for i, n := range seed {
		var err error
		if rows[i], credentials[i], err = c.throwaway(n); err != nil {
			return nil, nil, &SeedError{i, err}
		}
		accounts[i] = rows[i].Account
	}
	defer c.changed()
	err := taken(c.store.Change(ctx, func(tx *sql.Tx) error {
		if err := c.store.Sandbox.ResetTo(tx, rows); err != nil {
			return err
		}
		for i := range rows {
			if err := recordAccount(tx, Operator().Actor, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil {
		return nil, nil, err
	}
	return accounts, credentials, nil
}

// throwaway prepares an account that anybody who reaches the sandbox asks for.
func (c *core) throwaway(n NewAccount) (sql.Seeded, Credentials, error) {
	if n.Account.Address == "" {
		address, err := rand.Int(rand.Reader, big.NewInt(1e14))
		if err != nil {
			return sql.Seeded{}, Credentials{}, err
		}
		n.Account.Address = fmt.Sprintf("9%014d", address)
	}
	if err := refuseStrangers(&n.Account); err != nil {
		return sql.Seeded{}, Credentials{}, err
	}
	return c.prepare(n, crypto.NewAPIKey(string(sandboxEnvironment), "sk"))
}

// taken makes the store's word for an address or key in use a refusal.
func taken(err error) error {
	if errors.Is(err, sql.ErrTaken) {
		return otp.Refuse(otp.AccountExists, "esme_address or an access key is taken")
	}
	return err
}

// prepare makes the rows of an account and its credentials, making up what is not given, and what
// its owner is told of them.
func (c *core) prepare(n NewAccount, apiKey string) (sql.Seeded, Credentials, error) {
	asked := Imported{Account: n.Account, CipherKey: n.CipherKey, CipherIV: n.CipherIV, AccessKeys: n.AccessKeys}
	if asked.CipherKey == "" {
		asked.CipherKey = randomBase64(32)
	}
	if asked.CipherIV == "" && !strings.Contains(asked.CipherKey, "~") {
		asked.CipherIV = randomBase64(16)
	}
	if len(asked.AccessKeys) == 0 {
		asked.AccessKeys = []NewAccessKey{{}}
	}
	now := time.Now()
	made, secrets, err := c.newAccount(&asked, sandboxEnvironment, now, true)
	if err != nil {
		return sql.Seeded{}, Credentials{}, err
	}
	key, _, _, err := c.newCredential(NewKey{Account: n.Account.Address, Environment: sandboxEnvironment, Import: apiKey,
		throwaway: true}, now)
	if err != nil {
		return sql.Seeded{}, Credentials{}, err
	}
	made.Credentials = append([]sql.Credential{key}, made.Credentials...)
	cipherKey, cipherIV, err := c.cipherSecrets(&made.Account)
	return made, Credentials{
		Address: made.Account.Address, AccessKey: string(secrets[0].Bytes()), APIKey: apiKey,
		CipherKey: cipherKey, CipherIV: cipherIV, Profile: made.Account.Profile,
	}, err
}

// Clock tells the offset set for account ("" = for all), and the moment the rules use: the real
// time moved by the larger of the account's and everyone's offset. Refusal: NotFound.
func (c Sandbox) Clock(ctx context.Context, account string) (offset time.Duration, now time.Time, err error) {
	if err := c.known(ctx, account); err != nil {
		return 0, time.Time{}, err
	}
	offset, effective, err := c.store.Sandbox.Clock(ctx, account)
	return offset, time.Now().Add(effective).UTC(), err
}

// MaxClock is how far a clock can be ahead: a hundred years.
const MaxClock = 100 * 365 * 24 * time.Hour

// AdvanceClock moves a clock forward from what it shows; everyone's takes those that are ahead along.
// Refusals: NotFound; Invalid beyond MaxClock.
func (c Sandbox) AdvanceClock(ctx context.Context, account string, by time.Duration) error {
	if err := c.known(ctx, account); err != nil {
		return err
	}
	moved, err := c.store.Sandbox.AdvanceClock(ctx, account, by, MaxClock)
	if err == nil && !moved {
		return otp.RefuseField("advance", "would put the clock more than a hundred years ahead; reset takes it back")
	}
	return err
}

// SetClock sets an absolute offset. Refusals: NotFound; ClockBackwards for a lower one.
func (c Sandbox) SetClock(ctx context.Context, account string, offset time.Duration) error {
	if err := c.known(ctx, account); err != nil {
		return err
	}
	moved, err := c.store.Sandbox.SetClock(ctx, account, offset)
	if err == nil && !moved {
		return otp.Refuse(otp.ClockBackwards, "offset is lower than the one that is set; reset takes a clock back")
	}
	return err
}

// Reset removes an account's challenges, recipients, messages and offset; without account
// everything, throwaway accounts too. Refusal: NotFound.
func (c Sandbox) Reset(ctx context.Context, account string) error {
	if err := c.known(ctx, account); err != nil {
		return err
	}
	defer c.changed()
	return c.store.Sandbox.Reset(ctx, account)
}

// Listed is one account as the sandbox lists it.
type Listed struct {
	otp.Account
	Throwaway bool   `json:"throwaway"`       // the next reset removes it
	Fault     string `json:"fault,omitempty"` // why the row cannot be used
}

// ListAccounts lists every account, its secrets left out: keys are kept as hashes and cipher keys sealed.
func (c Sandbox) ListAccounts(ctx context.Context) ([]Listed, error) {
	throwaway, err := c.store.Sandbox.Throwaway(ctx)
	if err != nil {
		return nil, err
	}
	var listed []Listed
	err = c.store.Accounts.Each(ctx, func(account otp.Account, broken error) error {
		row := Listed{Account: account, Throwaway: slices.Contains(throwaway, account.Address)}
		if broken != nil {
			row.Fault = errors.Unwrap(broken).Error()
		}
		listed = append(listed, row)
		return nil
	})
	return listed, err
}

func (c *core) known(ctx context.Context, account string) error {
	if account == "" {
		return nil
	}
	_, err := c.store.Accounts.Find(ctx, account)
	if errors.Is(err, sql.ErrNotFound) {
		return otp.Refuse(otp.NotFound, "account is unknown")
	}
	if broken := (*sql.BrokenRow)(nil); errors.As(err, &broken) {
		return nil
	}
	return err
}

// refuseStrangers keeps the channels of accounts that anybody who reaches a sandbox can ask for to
// this machine: else anybody could have the server make requests to wherever only the server gets.
func refuseStrangers(row *otp.Account) error {
	for column, urls := range map[string]*string{"sms_channels": row.SMSChannels, "email_channels": row.EmailChannels} {
		if urls != nil && !deliver.Local(*urls) {
			return otp.Refuse(otp.Invalid, column+": of an account that is made here must lead to loopback or be inbox: or "+
				"discard:; set others on the command line or for the whole server")
		}
	}
	return nil
}

// Encrypt returns a code as the servlets take it from an account's integration, for whoever tries calls in a
// sandbox. Refusals: NotFound, Invalid for what is no code, BrokenAccount.
func (c Sandbox) Encrypt(ctx context.Context, account, code string) (string, error) {
	cipher, err := c.Cipher(ctx, account)
	if err != nil {
		return "", err
	}
	text, err := cipher.Encrypt(code)
	if err != nil {
		return "", otp.RefuseField("code", err.Error())
	}
	return text, nil
}

// Cipher returns that of an account's parameter otp. Refusals: NotFound, BrokenAccount.
func (c Sandbox) Cipher(ctx context.Context, address string) (*crypto.ServletCipher, error) {
	found, err := c.account(ctx, address)
	if err != nil {
		return nil, err
	}
	if found.Broken != nil {
		return nil, otp.Refuse(otp.BrokenAccount, found.Broken.Error())
	}
	return c.vault.ServletCipher(&found.Account)
}
