package manage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Accounts creates, lists, changes and deletes accounts.
type Accounts struct{ *core }

// Imported is an account as a vendor hands it out: any columns, the cipher's key and IV in clear as base64
// or hex, separate or as "iv~key", and the access keys that integrations already have.
type Imported struct {
	otp.Account
	CipherKey  string         `json:"cipher_key"`
	CipherIV   string         `json:"cipher_iv"`
	AccessKey  string         `json:"access_key"` // short for one of AccessKeys
	AccessKeys []NewAccessKey `json:"access_keys"`
}

// Missing returns the names of the secrets that an import needs and does not have.
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

// MakeSecrets generates the secrets that Missing names, and an access key if there is none.
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
	rand.Read(raw) // never returns an error; crypto/rand ends the process instead
	return base64.StdEncoding.EncodeToString(raw)
}

// ImportedAccount is an account that Import made, or would make.
type ImportedAccount struct {
	Account otp.Account
	Keys    []Key
}

// Import adds permanent accounts, all in one transaction or none. With check it writes nothing. by is the caller, for
// the history. Refusals name the account's esme_address and, in a list, its place: Invalid, which names the column;
// AccountExists if an address or a key is taken, also by another account of the list.
func (c Accounts) Import(ctx context.Context, by otp.Actor, list []Imported, check bool) ([]ImportedAccount, error) {
	now := time.Now()
	made := make([]sql.Seeded, 0, len(list))
	shown := make([]ImportedAccount, 0, len(list))
	used := inUse{}
	for i := range list {
		account, _, err := c.newAccount(&list[i], otp.Live, now, false)
		if err == nil {
			err = used.add(ctx, c.core, &account)
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
	defer c.changed()
	err := c.store.Change(ctx, func(tx *sql.Tx) error {
		for i := range made {
			if err := recordAccount(tx, by, &made[i]); err != nil {
				return err
			}
		}
		return c.store.Accounts.Insert(tx, made)
	})
	if errors.Is(err, sql.ErrTaken) {
		return nil, otp.Refuse(otp.AccountExists,
			"an account or an access key of the list was added by somebody else meanwhile; nothing was made, try again")
	}
	return shown, err
}

// recordAccount adds a new account, and each of its keys, to the history.
func recordAccount(tx *sql.Tx, by otp.Actor, made *sql.Seeded) error {
	err := record(tx, otp.AccountCreated, by, made.Account.Address, made.Account.CreatedAt,
		"name", made.Account.Name, "access_keys", strconv.Itoa(len(made.Credentials)))
	for i := 0; i < len(made.Credentials) && err == nil; i++ {
		row := &made.Credentials[i]
		err = recordKey(tx, otp.KeyCreated, by, row, row.CreatedAt, described(row)...)
	}
	return err
}

// record adds a change of an account to the history: name, value, name, value.
func record(tx *sql.Tx, kind otp.ChangeKind, by otp.Actor, account string, at otp.Millis, details ...string) error {
	c := otp.Change{ID: sql.NewID(), At: at, Kind: kind, Actor: by, Account: account, Details: map[string]string{}}
	for i := 0; i+1 < len(details); i += 2 {
		c.Details[details[i]] = details[i+1]
	}
	return tx.Record(c)
}

// placed adds to an error which account of a list it is about.
func placed(err error, i int, list []Imported) error {
	if len(list) == 1 && !otp.ValidAddress(list[i].Address) {
		return err // it is about the address
	}
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

// clipped returns an address for messages. It does not quote an invalid one, which may be a key in the wrong column.
func clipped(address string) string {
	if !otp.ValidAddress(address) {
		return "without a usable esme_address"
	}
	return address
}

// newAccount makes every account, for an import and for the sandbox. It checks n, and returns the rows of the account
// and its keys, which the caller has to store, and the keys' secrets.
func (c *core) newAccount(n *Imported, environment otp.Environment, now time.Time, throwaway bool) (sql.Seeded,
	[]crypto.Secret, error) {
	refuse := func(err error) (sql.Seeded, []crypto.Secret, error) {
		return sql.Seeded{Account: n.Account}, nil, err
	}
	row := n.Account
	row.CreatedAt, row.UpdatedAt = otp.At(now), otp.At(now)
	if err := row.Validate(); err != nil {
		return refuse(refuseColumn(err))
	}
	if err := c.refuseSettings(&row); err != nil {
		return refuse(err)
	}
	if missing := n.Missing(); len(missing) > 0 {
		return refuse(refuseColumn(errors.New(missing[0] +
			": is missing; give it in base64 or hex, or cipher_key as 'iv~key'")))
	}
	if err := c.sealCipher(&row, n.CipherKey, n.CipherIV); err != nil {
		return refuse(err)
	}
	account := sql.Seeded{Account: row}
	var secrets []crypto.Secret
	for _, asked := range n.keys() {
		asked.Account, asked.owner, asked.Environment, asked.throwaway = row.Address, row.Name, environment, throwaway
		key, secret, _, err := c.newCredential(asked.NewKey, now)
		if err != nil {
			return refuse(asked.refusal(err))
		}
		account.Credentials, secrets = append(account.Credentials, key), append(secrets, secret)
	}
	return account, secrets, nil
}

// askedKey is an access key of an import. place is the prefix of its members' names in refusals.
type askedKey struct {
	NewKey
	place string
}

// refusal turns an error about one of the key's members into a refusal that names its place in the import.
func (a askedKey) refusal(err error) error {
	refusal := *refuseMember(err)
	if a.place != "" {
		list, index, _ := strings.Cut(strings.TrimSuffix(a.place, "]."), "[")
		refusal.Message, refusal.Path = a.place+refusal.Message, "/"+index+"/"+refusal.Field+refusal.Path
		refusal.Field = list
	}
	return &refusal
}

// keys returns the access keys of an import, in order.
func (n *Imported) keys() (asked []askedKey) {
	if n.AccessKey != "" {
		asked = append(asked, askedKey{NewKey{Kind: otp.AccessKey, Import: n.AccessKey, field: "access_key"}, ""})
	}
	for i, key := range n.AccessKeys {
		asked = append(asked, askedKey{NewKey{
			Kind: otp.AccessKey, Import: key.Key, Name: key.Name, Permissions: key.Permissions, AllowedIPs: key.AllowedIPs,
			DeniedIPs: key.DeniedIPs, AllowedOrigins: key.AllowedOrigins, RequestsPerMinute: key.RequestsPerMinute,
			Burst: key.Burst, ExpiresAt: key.ExpiresAt, Disabled: key.Enabled != nil && !*key.Enabled, field: "key",
		}, fmt.Sprintf("access_keys[%d].", i)})
	}
	return asked
}

// inUse holds the addresses and keys of a list so far.
type inUse struct {
	addresses map[string]bool
	hashes    map[[32]byte]bool
}

// add refuses an account if its address or a key exists already, in the database or earlier in the list.
func (t *inUse) add(ctx context.Context, c *core, account *sql.Seeded) error {
	if t.addresses == nil {
		t.addresses, t.hashes = map[string]bool{}, map[[32]byte]bool{}
	}
	address := account.Account.Address
	if t.addresses[address] {
		return otp.Refuse(otp.Invalid, "account "+address+" is in the file twice")
	}
	t.addresses[address] = true
	if err := c.refuseSharedIssuers(ctx, &account.Account); err != nil {
		return err
	}
	broken := (*sql.BrokenRow)(nil)
	switch _, err := c.store.Accounts.Find(ctx, address); {
	case err == nil || errors.As(err, &broken):
		return otp.Refuse(otp.AccountExists, "account "+address+" exists; change it with account set, or give the new one "+
			"another esme_address")
	case !errors.Is(err, sql.ErrNotFound):
		return err
	}
	// People of a former account with this address must not see the new one.
	switch who, err := c.store.Accounts.SharedWith(ctx, address, account.Account.CreatedAt); {
	case err != nil:
		return err
	case who != "":
		return otp.Refuse(otp.AccountExists, "account "+address+" was deleted and is still among the accounts of "+who+
			", who would see the new one; take it out there, or give the new one another esme_address")
	}
	for i := range account.Credentials {
		key := &account.Credentials[i]
		if t.hashes[key.Hash] {
			return otp.Refuse(otp.AccountExists, "two of the access keys are the same; give each once")
		}
		t.hashes[key.Hash] = true
		switch _, err := c.store.Credentials.ByHash(ctx, key.Hash); {
		case err == nil:
			return otp.Refuse(otp.AccountExists, "the access key "+ending(key.LastFour)+" is in use; every key belongs to "+
				"one account")
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

// sealCipher seals an account's key and IV into its row, and checks that they make a cipher. It does nothing if the
// account's cipher is none.
func (c *core) sealCipher(row *otp.Account, keyText, ivText string) error {
	if row.Cipher == "none" && keyText == "" && ivText == "" {
		return nil
	}
	key, iv, err := readCipher(keyText, ivText)
	if err != nil {
		return refuseColumn(err)
	}
	if err := c.vault.RefuseCipherKey(key); err != nil {
		return refuseColumn(err)
	}
	c.vault.SealCipher(row, key, iv)
	if row.Cipher == "none" {
		return nil
	}
	if _, err := c.vault.ServletCipher(row); err != nil {
		return refuseColumn(err)
	}
	return nil
}

// readCipher parses a key and an IV, separate or as "iv~key". One that is missing stays unset.
func readCipher(keyText, ivText string) (key, iv crypto.Secret, err error) {
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

// cipherSecrets returns an account's key and IV in clear, in base64; each is empty if there is none.
func (c *core) cipherSecrets(row *otp.Account) (key, iv string, err error) {
	opened, err := c.vault.CipherKey(row)
	if err != nil {
		return "", "", err
	}
	openedIV, err := c.vault.CipherIV(row)
	if err != nil {
		return "", "", err
	}
	return base64.StdEncoding.EncodeToString(opened.Bytes()), base64.StdEncoding.EncodeToString(openedIV.Bytes()), nil
}

// CipherSecrets returns an account's key and IV in clear, in base64; each is empty if there is none.
func (c Accounts) CipherSecrets(row *otp.Account) (key, iv string, err error) {
	return c.cipherSecrets(row)
}

// refuseSettings refuses invalid values in the given columns of an account, or in all if none is given, and settings
// with which it could not send.
func (c *core) refuseSettings(row *otp.Account, columns ...string) error {
	if err := row.Fits(columns...); err != nil {
		return refuseColumn(err)
	}
	if err := deliver.CheckAccount(row, c.sandbox, c.files); err != nil {
		return refuseColumn(err)
	}
	if row.UpstreamURL != nil {
		if _, err := c.guard.ParseBase(*row.UpstreamURL); err != nil {
			return refuseColumn(fmt.Errorf("upstream_url: %w", err))
		}
	}
	if _, err := vault.ReadIssuers(row.JWTIssuers, c.guard.Check); err != nil {
		return refuseColumn(err)
	}
	return nil
}

// refuseColumn turns an error about a column's value into a refusal, which names the column if the error begins with
// it.
func refuseColumn(err error) error {
	refusal := otp.Refuse(otp.Invalid, strings.ReplaceAll(err.Error(), "\n", "; "))
	name := refusal.Message[:len(refusal.Message)-len(strings.TrimLeft(refusal.Message, "abcdefghijklmnopqrstuvwxyz_"))]
	if slices.ContainsFunc(otp.Columns(), func(c otp.Column) bool { return c.Name == name }) {
		refusal.Field = name
	}
	return refusal
}

// refuseSharedIssuers refuses token issuers that another account accepts already: a token's account would be unclear.
func (c *core) refuseSharedIssuers(ctx context.Context, row *otp.Account) error {
	if len(row.JWTIssuers) == 0 {
		return nil
	}
	return c.store.Accounts.Each(ctx, func(other otp.Account, _ error) error {
		for i := range row.JWTIssuers {
			taken := slices.ContainsFunc(other.JWTIssuers, func(entry otp.JWTIssuer) bool {
				return entry.Issuer == row.JWTIssuers[i].Issuer && entry.Audience == row.JWTIssuers[i].Audience
			})
			if taken && other.Address != row.Address {
				// It does not say which account: the caller may not see it.
				return &otp.Error{Kind: otp.Invalid, Field: "jwt_issuers", Path: fmt.Sprintf("/%d/audience", i),
					Message: fmt.Sprintf("jwt_issuers[%d].audience: another account takes tokens of this issuer and audience; "+
						"give each account an audience of its own", i)}
			}
		}
		return nil
	})
}
