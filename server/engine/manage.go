package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Attach is New for a command beside the servers: it checks the keyring as they do and has no
// demo accounts made, so that a command which was pointed at the wrong database, or took it for a
// sandbox, leaves nothing in it that production would refuse.
func Attach(ctx context.Context, options Options) (*Engine, error) { return attach(ctx, options) }

// Imported is an account as a vendor hands it out: any columns, the cipher's key and IV in clear
// as base64 or hex, or together as "iv~key", and the access keys that integrations already have.
type Imported struct {
	otp.Account
	CipherKey  string         `json:"cipher_key"`
	CipherIV   string         `json:"cipher_iv"`
	AccessKey  string         `json:"access_key"` // one, for short
	AccessKeys []NewAccessKey `json:"access_keys"`
}

// Missing names the secrets that an import needs and does not have.
func (n *Imported) Missing() []string {
	var missing []string
	switch {
	case n.Cipher == "none":
	case n.CipherKey == "":
		missing = append(missing, "cipher_key")
	case n.Cipher == "aes-cbc" && n.CipherIV == "" && !strings.Contains(n.CipherKey, "~"):
		missing = append(missing, "cipher_iv")
	}
	return missing
}

// MakeSecrets makes up what Missing names, and an access key if there is none.
func (n *Imported) MakeSecrets() {
	for _, name := range n.Missing() {
		if name == "cipher_key" {
			n.CipherKey = randomBase64(32)
		}
		if n.CipherIV == "" && n.Cipher == "aes-cbc" {
			n.CipherIV = randomBase64(16)
		}
	}
	if n.AccessKey == "" && len(n.AccessKeys) == 0 {
		n.AccessKey = crypto.NewAccessKey()
	}
}

func randomBase64(size int) string {
	raw := make([]byte, size)
	rand.Read(raw) // never fails: crypto/rand ends the process instead
	return base64.StdEncoding.EncodeToString(raw)
}

// ImportedAccount is an account as Import made it, or would.
type ImportedAccount struct {
	Account otp.Account
	Keys    []Key
}

// Import adds accounts for good: all of them in one transaction, or none. With check nothing is
// written. Refusals name the account by its esme_address, and its place where there are several:
// Invalid naming the column too; AccountExists when an address or a key is taken, also by another
// of the list.
func (e *Engine) Import(ctx context.Context, list []Imported, check bool) ([]ImportedAccount, error) {
	now := time.Now()
	made := make([]sql.Seeded, 0, len(list))
	shown := make([]ImportedAccount, 0, len(list))
	used := inUse{}
	for i := range list {
		account, _, err := e.newAccount(&list[i], otp.Live, now, false)
		if err == nil {
			err = used.add(ctx, e, &account)
		}
		if err != nil {
			return nil, placed(err, i, list)
		}
		made = append(made, account)
		shown = append(shown, ImportedAccount{account.Account, keysOf(account.Credentials, otp.At(now))})
	}
	if check {
		return shown, nil
	}
	err := e.store.AddAccounts(ctx, made)
	if errors.Is(err, sql.ErrTaken) {
		return nil, otp.Refuse(otp.AccountExists, "an account or an access key of the list was added by somebody else meanwhile; nothing was made, try again")
	}
	return shown, err
}

// placed says which account of a list an error is about.
func placed(err error, i int, list []Imported) error {
	which, rest := "account "+clipped(list[i].Address)+": ", ""
	if len(list) > 1 {
		rest = fmt.Sprintf(" (account %d of %d; none was made)", i+1, len(list))
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		said := *refusal
		said.Message = which + refusal.Message + rest
		return &said
	}
	return fmt.Errorf("%s%w%s", which, err, rest)
}

// clipped keeps what landed in the wrong column, which may be a key, out of messages.
func clipped(address string) string {
	if !otp.ValidAddress(address) {
		return "without a usable esme_address"
	}
	return address
}

// newAccount is the one way in which an account comes to be, for an import as for the sandbox. It
// checks what is asked for, and gives the account's row and those of its keys, which are not
// stored yet, and the keys' secrets.
func (e *Engine) newAccount(n *Imported, environment otp.Environment, now time.Time, throwaway bool) (sql.Seeded, []crypto.Secret, error) {
	refuse := func(err error) (sql.Seeded, []crypto.Secret, error) {
		return sql.Seeded{Account: n.Account}, nil, err
	}
	row := n.Account
	row.CreatedAt, row.UpdatedAt = otp.At(now), otp.At(now)
	if err := row.Validate(); err != nil {
		return refuse(otp.Refuse(otp.Invalid, err.Error()))
	}
	if err := e.refuseSettings(&row); err != nil {
		return refuse(err)
	}
	if missing := n.Missing(); len(missing) > 0 {
		return refuse(otp.Refuse(otp.Invalid, missing[0]+": is missing; give it in base64 or hex, or cipher_key as 'iv~key'"))
	}
	if err := e.sealCipher(&row, n.CipherKey, n.CipherIV); err != nil {
		return refuse(err)
	}
	account := sql.Seeded{Account: row}
	var secrets []crypto.Secret
	for _, asked := range n.keys() {
		asked.Account, asked.owner, asked.Environment, asked.throwaway = row.Address, row.Name, environment, throwaway
		key, secret, _, err := e.newCredential(asked.NewKey, now)
		if err != nil {
			return refuse(otp.Refuse(otp.Invalid, asked.place+err.Error()))
		}
		account.Credentials, secrets = append(account.Credentials, key), append(secrets, secret)
	}
	return account, secrets, nil
}

// askedKey is an access key of an import, and what stands before its members' names.
type askedKey struct {
	NewKey
	place string
}

// keys are the access keys that an import brings, in order.
func (n *Imported) keys() (asked []askedKey) {
	if n.AccessKey != "" {
		asked = append(asked, askedKey{NewKey{Kind: AccessKey, Import: n.AccessKey, field: "access_key"}, ""})
	}
	for i, key := range n.AccessKeys {
		asked = append(asked, askedKey{NewKey{
			Kind: AccessKey, Import: key.Key, AllowedIPs: key.AllowedIPs, ExpiresAt: key.ExpiresAt,
			disabled: key.Enabled != nil && !*key.Enabled, field: "key",
		}, fmt.Sprintf("access_keys[%d].", i)})
	}
	return asked
}

// inUse remembers the addresses and keys of a list.
type inUse struct {
	addresses map[string]bool
	hashes    map[[32]byte]bool
}

// add refuses an account of which something is there already, in the database or before it in the
// list.
func (t *inUse) add(ctx context.Context, e *Engine, account *sql.Seeded) error {
	if t.addresses == nil {
		t.addresses, t.hashes = map[string]bool{}, map[[32]byte]bool{}
	}
	address := account.Account.Address
	if t.addresses[address] {
		return otp.Refuse(otp.Invalid, "account "+address+" is in the file twice")
	}
	t.addresses[address] = true
	if err := e.refuseSharedIssuers(ctx, &account.Account); err != nil {
		return err
	}
	broken := (*sql.BrokenRow)(nil)
	switch _, err := e.store.Account(ctx, address); {
	case err == nil || errors.As(err, &broken):
		return otp.Refuse(otp.AccountExists, "account "+address+" exists; change it with account set, or give the new one another esme_address")
	case !errors.Is(err, sql.ErrNotFound):
		return err
	}
	for i := range account.Credentials {
		key := &account.Credentials[i]
		if t.hashes[key.Hash] {
			return otp.Refuse(otp.AccountExists, "two of the access keys are the same; give each once")
		}
		t.hashes[key.Hash] = true
		switch _, err := e.store.Credential(ctx, key.Hash); {
		case err == nil:
			return otp.Refuse(otp.AccountExists, "the access key "+ending(key.LastFour)+" is in use; every key belongs to one account")
		case !errors.Is(err, sql.ErrNotFound):
			return err
		}
	}
	return nil
}

func ending(lastFour string) string {
	if lastFour == "" {
		return "given"
	}
	return "that ends in " + lastFour
}

// sealCipher puts an account's key and IV into its row, and proves that a cipher can be made of
// them. Where the cipher is none, there is nothing to seal.
func (e *Engine) sealCipher(row *otp.Account, keyText, ivText string) error {
	if row.Cipher == "none" && keyText == "" && ivText == "" {
		return nil
	}
	key, iv, err := cipherSecrets(keyText, ivText)
	if err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	if err := e.refuseCipherKey(key); err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	for column, secret := range map[string]crypto.Secret{"cipher_key": key, "cipher_iv": iv} {
		if secret.IsZero() {
			continue
		}
		sealed := e.keyring.Seal(accountAAD(row.Address, column), secret.Bytes())
		if column == "cipher_key" {
			row.SealedCipherKey = sealed
		} else {
			row.SealedCipherIV = sealed
		}
	}
	if row.Cipher == "none" {
		return nil
	}
	if _, err := e.servletCipher(row); err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	return nil
}

// cipherSecrets reads a key and an IV, apart or as "iv~key". What is not given stays unset.
func cipherSecrets(keyText, ivText string) (key, iv crypto.Secret, err error) {
	if strings.Contains(keyText, "~") {
		if ivText != "" {
			return key, iv, errors.New("cipher_key: holds an IV of its own, and cipher_iv is given too; leave one out")
		}
		if key, iv, err = crypto.ParseKeyPair(keyText); err != nil {
			return key, iv, fmt.Errorf("cipher_key: %w", err)
		}
		return key, iv, nil
	}
	if keyText != "" {
		if key, err = crypto.ParseKeyText(keyText); err != nil {
			return key, iv, fmt.Errorf("cipher_key: %w", err)
		}
	}
	if ivText != "" {
		if iv, err = crypto.ParseKeyText(ivText); err != nil {
			return key, iv, fmt.Errorf("cipher_iv: %w", err)
		}
	}
	return key, iv, nil
}

// ManagedAccount is an account as an operator sees it. Broken is why it is out of service, nil
// for one that works.
type ManagedAccount struct {
	otp.Account
	Broken error
}

// Accounts lists every account, broken ones too.
func (e *Engine) Accounts(ctx context.Context) ([]ManagedAccount, error) {
	var all []ManagedAccount
	err := e.store.Accounts(ctx, func(row otp.Account, broken error) error {
		if broken == nil {
			_, broken = e.servletCipher(&row)
		}
		all = append(all, ManagedAccount{row, broken})
		return nil
	})
	return all, err
}

// ManagedAccount reads one. Refusal: NotFound.
func (e *Engine) ManagedAccount(ctx context.Context, address string) (ManagedAccount, error) {
	row, err := e.store.Account(ctx, address)
	broken := (*sql.BrokenRow)(nil)
	switch {
	case errors.Is(err, sql.ErrNotFound):
		return ManagedAccount{}, otp.Refuse(otp.NotFound, "there is no account "+address+"; otpbridge account list shows all")
	case errors.As(err, &broken):
		return ManagedAccount{row, broken}, nil
	case err != nil:
		return ManagedAccount{}, err
	}
	_, err = e.servletCipher(&row)
	return ManagedAccount{row, err}, nil
}

// CipherSecrets are an account's key and IV in clear, in base64 and empty where there is none.
func (e *Engine) CipherSecrets(row *otp.Account) (key, iv string, err error) {
	opened := [2]crypto.Secret{}
	for i, column := range []struct {
		name   string
		sealed []byte
	}{{"cipher_key", row.SealedCipherKey}, {"cipher_iv", row.SealedCipherIV}} {
		if opened[i], err = e.openColumn(row, column.name, column.sealed); err != nil {
			return "", "", err
		}
	}
	return base64.StdEncoding.EncodeToString(opened[0].Bytes()), base64.StdEncoding.EncodeToString(opened[1].Bytes()), nil
}

// Change writes the columns that were changed in n, the cipher's key and IV among them, and no
// others. A broken account may be mended by it. Refusals: NotFound; Invalid naming the column.
func (e *Engine) Change(ctx context.Context, n Imported, columns []string) error {
	row := n.Account
	if err := row.Validate(); err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	if err := e.refuseSettings(&row, columns...); err != nil {
		return err
	}
	if err := e.refuseSharedIssuers(ctx, &row); err != nil {
		return err
	}
	if slices.Contains(columns, "cipher_key") || slices.Contains(columns, "cipher_iv") {
		if err := e.sealCipher(&row, n.CipherKey, n.CipherIV); err != nil {
			return err
		}
		if strings.Contains(n.CipherKey, "~") {
			columns = append(columns, "cipher_iv")
		}
	} else if _, err := e.servletCipher(&row); err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	row.UpdatedAt = otp.At(time.Now())
	columns = append(columns, "updated_at")
	slices.Sort(columns)
	err := e.store.UpdateAccount(ctx, &row, slices.Compact(columns))
	if errors.Is(err, sql.ErrNotFound) {
		return otp.Refuse(otp.NotFound, "the account was removed meanwhile")
	}
	return err
}

// Person is a recipient as an operator sees it: enough to help, too little to send or log in.
type Person struct {
	Account     string          `json:"esme_address"`
	Environment otp.Environment `json:"environment"`
	Mask        string          `json:"recipient"`
	LockedFor   time.Duration   `json:"-"`
	LockedUntil *time.Time      `json:"locked_until"` // nil: not locked
	Failures    int             `json:"failures_last_hour"`
	Run         int             `json:"failures_in_a_row"`
	Minute      int             `json:"sends_last_minute"`
	Hour        int             `json:"sends_last_hour"`
	Day         int             `json:"sends_last_day"`
	Challenges  []Outline       `json:"challenges"`
}

// Outline is a challenge without its code or anything that leads to it.
type Outline struct {
	ID            string    `json:"id"`
	State         string    `json:"state"` // live, used, expired, canceled, replaced or exhausted
	CreatedAt     time.Time `json:"created_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	Wrong         int       `json:"wrong"`
	MaxAttempts   int       `json:"max_attempts"`
	Sends         int       `json:"sends"`
	Regenerations int       `json:"regenerations"`
}

// Find gives the recipient of an account that a number in any of its spellings, or a mailbox,
// names. Refusals: NotFound; Invalid.
func (e *Engine) Find(ctx context.Context, address string, environment otp.Environment, to string) (Person, error) {
	caller, hash, err := e.recipientOf(ctx, address, environment, to)
	if err != nil {
		return Person{}, err
	}
	now, err := e.now(ctx, address)
	if err != nil {
		return Person{}, err
	}
	recipient, challenges, err := e.store.Recipient(ctx, hash)
	if errors.Is(err, sql.ErrNotFound) {
		return Person{}, otp.Refuse(otp.NotFound, "nothing is known of this recipient: nothing was sent to it in the "+
			string(environment)+" environment of account "+address+" for a day, and it is not locked")
	}
	if err != nil {
		return Person{}, err
	}
	person := Person{
		Account: caller.Account.Address, Environment: environment, Mask: recipient.Mask,
		LockedFor: recipient.LockedFor(now), Failures: recipient.Failures.Within(otp.Hour, now), Run: recipient.Run,
		Minute: recipient.Sends.Within(otp.Minute, now), Hour: recipient.Sends.Within(otp.Hour, now),
		Day: recipient.Sends.Within(otp.Day, now), Challenges: []Outline{},
	}
	if person.LockedFor > 0 {
		until := (now + otp.Span(person.LockedFor)).Time()
		person.LockedUntil = &until
	}
	for i := range challenges {
		if c := &challenges[i]; !c.Forgotten(now) {
			person.Challenges = append(person.Challenges, Outline{
				ID: c.ID.Text("otp"), State: state(c, now), CreatedAt: c.CreatedAt.Time(), ExpiresAt: c.ExpiresAt.Time(),
				Wrong: c.Wrong, MaxAttempts: c.MaxAttempts, Sends: c.Sends, Regenerations: c.Regenerations,
			})
		}
	}
	return person, nil
}

func state(c *otp.Challenge, now otp.Millis) string {
	switch {
	case c.ReplacedAt != 0:
		return "replaced"
	case c.CanceledAt != 0:
		return "canceled"
	case c.Wrong >= c.MaxAttempts:
		return "exhausted"
	case c.UsedAt != 0:
		return "used"
	case now >= c.ExpiresAt:
		return "expired"
	}
	return "live"
}

// Unlock lifts both locks of a recipient, and records that it did. Refusals: NotFound; Invalid,
// also for a recipient that is not locked, whose budget is not to be filled up by the way.
func (e *Engine) Unlock(ctx context.Context, address string, environment otp.Environment, to string) (event otp.ID, err error) {
	_, hash, err := e.recipientOf(ctx, address, environment, to)
	if err != nil {
		return otp.ID{}, err
	}
	op := &sql.Operation{
		Event: sql.NewID(), Account: address, Recipient: hash, Now: otp.At(time.Now()),
		Slot: randomID(), // of no challenge
		Rank: sql.Verifying,
	}
	op.Decide = func(s *sql.State) error {
		if s.Recipient.Version == 0 {
			return otp.Refuse(otp.NotFound, "nothing is known of this recipient, so it is not locked")
		}
		if s.Recipient.LockedFor(s.Now) == 0 {
			return otp.Refuse(otp.Invalid, "the recipient is not locked; nothing was changed")
		}
		s.Recipient.Unlock(s.Now)
		s.Record(otp.Event{
			ID: op.Event, At: s.Now, Account: address, Environment: environment,
			Kind: otp.EventUnlocked, Door: otp.CommandLine, Recipient: hash,
		})
		return nil
	}
	return op.Event, e.store.Do(op)
}

// recipientOf finds what a recipient is stored under, broken accounts included.
func (e *Engine) recipientOf(ctx context.Context, address string, environment otp.Environment, to string) (*Caller, otp.ID, error) {
	managed, err := e.ManagedAccount(ctx, address)
	if err != nil {
		return nil, otp.ID{}, err
	}
	caller := &Caller{Account: &managed.Account, Environment: environment, Door: otp.CommandLine}
	to = strings.TrimSpace(to)
	if strings.Contains(to, "@") {
		to, err = normalMailbox(to)
	} else {
		to, err = NormalNumber(to, managed.Countries)
	}
	if err != nil {
		return nil, otp.ID{}, err
	}
	return caller, e.recipientHash(caller, to), nil
}

// now is the moment the rules of an account use.
func (e *Engine) now(ctx context.Context, address string) (otp.Millis, error) {
	now := time.Now()
	if !e.options.Sandbox {
		return otp.At(now), nil
	}
	_, effective, err := e.store.ClockOffset(ctx, address)
	return otp.At(now.Add(effective)), err
}
