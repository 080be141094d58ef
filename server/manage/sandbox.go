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

// Sandbox makes throwaway accounts, moves clocks and resets a sandbox.
type Sandbox struct{ *core }

// sandboxEnvironment is the environment of every credential that a sandbox generates. It is the same for all, so that
// a code of an access key can be verified with an API key of the same account.
const sandboxEnvironment = otp.Test

// NewAccessKey describes an access key of a new account. Its members are those of NewKey.
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

// NewAccount describes a throwaway account: any columns, key and IV in clear as base64 or hex. Start from
// otp.DefaultAccount("") and decode JSON over Account. An empty address, key or IV is generated.
type NewAccount struct {
	Account    otp.Account
	CipherKey  string // or "iv~key"
	CipherIV   string
	AccessKeys []NewAccessKey // empty: one is generated
}

// Credentials are an account's secrets in clear, as the sandbox shows them.
type Credentials struct {
	Address   string       `json:"esme_address"`
	AccessKey string       `json:"access_key"`
	APIKey    string       `json:"api_key"`
	CipherKey string       `json:"cipher_key"` // base64
	CipherIV  string       `json:"cipher_iv"`
	Profile   *otp.Profile `json:"message_profile"`
}

// The demo accounts' cipher key and IV. They are published with the protocol's test vectors, so production refuses
// them.
const (
	sampleKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	sampleIV  = "8PHy8/T19vf4+fr7/P3+/w=="
)

// demo returns the two accounts that every sandbox starts with.
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

// DemoCredentials returns the credentials of the two demo accounts.
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

// SeedDemo makes the demo accounts that do not exist yet.
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

// CreateAccount makes a throwaway account with its own clock. Refusals: Invalid, which names the column; AccountExists
// if the address or a key is taken.
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

// SeedError is an error in one of the accounts of a seed.
type SeedError struct {
	Index int // from 0
	Err   error
}

// Error implements error.
func (s *SeedError) Error() string { return fmt.Sprintf("accounts[%d]: %v", s.Index, s.Err) }

// Unwrap returns the cause.
func (s *SeedError) Unwrap() error { return s.Err }

// ResetTo resets everything, as Reset("") does, and makes throwaway accounts in the same transaction. A refusal
// changes nothing. Refusals: those of CreateAccount, Invalid as a *SeedError.
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

// throwaway prepares a throwaway account. Anybody who reaches the sandbox can ask for one.
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

// taken turns the store's error for an address or key in use into a refusal.
func taken(err error) error {
	if errors.Is(err, sql.ErrTaken) {
		return otp.Refuse(otp.AccountExists, "esme_address or an access key is taken")
	}
	return err
}

// prepare makes the rows of an account and its credentials, and generates missing values. It returns them and the
// credentials in clear.
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

// Clock returns the offset of account ("": of all accounts), and the time that the rules use: the real time plus the
// larger of the account's offset and the common one. Refusal: NotFound.
func (c Sandbox) Clock(ctx context.Context, account string) (offset time.Duration, now time.Time, err error) {
	if err := c.known(ctx, account); err != nil {
		return 0, time.Time{}, err
	}
	offset, effective, err := c.store.Sandbox.Clock(ctx, account)
	return offset, time.Now().Add(effective).UTC(), err
}

// MaxClock is how far a clock can be ahead: a hundred years.
const MaxClock = 100 * 365 * 24 * time.Hour

// AdvanceClock moves a clock forward from its current time. The common clock ("") also moves the accounts' clocks that
// are ahead of it. Refusals: NotFound; Invalid beyond MaxClock.
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

// SetClock sets a clock's offset from the real time. Refusals: NotFound; ClockBackwards for a lower one.
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

// Reset removes an account's challenges, recipients, messages and clock offset. For "" it removes those of all
// accounts, and the throwaway accounts. Refusal: NotFound.
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

// ListAccounts returns every account without its secrets: keys are stored as hashes, and cipher keys sealed.
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

// refuseStrangers refuses channels of a throwaway account that lead to other machines. Anybody who reaches a sandbox
// can make such an account, and could otherwise let the server call addresses that only the server reaches.
func refuseStrangers(row *otp.Account) error {
	for column, urls := range map[string]*string{"sms_channels": row.SMSChannels, "email_channels": row.EmailChannels} {
		if urls != nil && !deliver.Local(*urls) {
			return refuseColumn(errors.New(column + ": of an account that is made here must lead to loopback or be inbox: or " +
				"discard:; set others on the command line or for the whole server"))
		}
	}
	return nil
}

// Encrypt returns a code in the encrypted form that the servlets expect from an account's integration. Refusals:
// NotFound, Invalid for a text that is not a code, BrokenAccount.
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

// Cipher returns the cipher of an account's otp parameter. Refusals: NotFound, BrokenAccount.
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
