// Package vault seals, opens and hashes values of the database.
//
// It has the keyring and the index key of one database. It defines the additional data of every sealed value, which
// names the value's row, so that a value that was copied to another row cannot be opened. All packages above use it to
// store secrets and to look them up.
//
// Package crypto does the sealing and hashing, and package sql stores the values.
package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Vault has the keys of one database. It is safe for concurrent use.
type Vault struct {
	Keyring *crypto.Keyring
	Index   *crypto.IndexKey // of look-up hashes; it survives rotations of the keyring
	Sandbox bool             // accepts published and weak cipher keys

	store *sql.Store
}

// Open compares the keyring with the database, and reads the database's index key, or makes it on the first start.
// Error: KeyringError if the keyring does not match the database.
func Open(ctx context.Context, store *sql.Store, keyring *crypto.Keyring, sandbox bool) (*Vault, error) {
	v := Unopened(store, keyring, sandbox)
	if err := v.RegisterKeyring(ctx); err != nil {
		return nil, err
	}
	fresh := keyring.Seal(indexKeyRow, crypto.RandomIndexKey().Bytes())
	sealed, err := store.Keyring.IndexKey(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("read the index key: %w", err)
	}
	if v.Index, err = v.openIndexKey(sealed); err != nil {
		return nil, err
	}
	return v, store.Accounts.SealSafeLists(ctx)
}

// Unopened returns a vault without the index key, which only seals and opens. It does not change the database.
func Unopened(store *sql.Store, keyring *crypto.Keyring, sandbox bool) *Vault {
	v := &Vault{Keyring: keyring, Sandbox: sandbox, store: store}
	store.Accounts.Keep(v.sealSafeList, v.openSafeList)
	return v
}

func (v *Vault) openIndexKey(sealed []byte) (*crypto.IndexKey, error) {
	key, err := v.Keyring.Open(indexKeyRow, sealed)
	if err != nil {
		return nil, fmt.Errorf("open the index key: %w", err)
	}
	return crypto.NewIndexKey(crypto.NewSecret(key)), nil
}

// CheckIndexKey returns why the index key cannot be opened. It is no error if there is none yet: the first start makes
// it.
func (v *Vault) CheckIndexKey(ctx context.Context) error {
	sealed, err := v.store.Keyring.StoredIndexKey(ctx)
	if err != nil || sealed == nil {
		return err
	}
	_, err = v.openIndexKey(sealed)
	return err
}

// KeyringError names the key that is missing or wrong in the keyring. A person has to change the keyring.
type KeyringError struct{ error }

// CheckKeyring compares the keyring with the check values in the database. Error: KeyringError.
func (v *Vault) CheckKeyring(ctx context.Context) error {
	_, err := v.compareKeyring(ctx)
	return err
}

// RegisterKeyring does what CheckKeyring does, and records the primary key in the database if that is missing. The
// check is needed because a server without a key would refuse right codes as wrong.
func (v *Vault) RegisterKeyring(ctx context.Context) error {
	stored, err := v.compareKeyring(ctx)
	if err != nil {
		return err
	}
	// Record only the primary key, which seals new values. Recording the others would bring back a key that a
	// rotation has just retired, as long as one server still has its line.
	id := v.Keyring.Primary()
	if stored[id] != nil {
		return nil
	}
	check, err := v.Keyring.Check(id)
	if err != nil {
		return fmt.Errorf("check keyring: %w", err)
	}
	if err := v.store.Keyring.InsertCheck(ctx, id, check, time.Now().UnixMilli()); err != nil {
		return fmt.Errorf("store the keyring's check value: %w", err)
	}
	return nil
}

// compareKeyring returns the check values in the database, after comparing the keyring with them.
func (v *Vault) compareKeyring(ctx context.Context) (map[string][]byte, error) {
	stored, err := v.store.Keyring.Checks(ctx)
	if err != nil {
		return nil, err
	}
	for id, check := range stored {
		have, err := v.Keyring.Check(id)
		if errors.Is(err, crypto.ErrUnknownKey) {
			return nil, KeyringError{fmt.Errorf("the keyring lacks key %q, which protects data in this database; add its "+
				"line back", id)}
		}
		if err != nil {
			return nil, fmt.Errorf("check keyring: %w", err)
		}
		if !slices.Equal(have, check) {
			return nil, KeyringError{fmt.Errorf("the keyring's key %q is not the one that protects data in this database; "+
				"put the former key back under this id, and give new keys new ids", id)}
		}
	}
	return stored, nil
}

// CredentialHash returns the hash by which a credential is looked up. It uses the index key, so that a stolen database
// is useless for guessing short, vendor-issued keys.
func (v *Vault) CredentialHash(secret string) [32]byte { return v.Index.Sum32("credential", secret) }

// RecipientHash returns the id under which an account's recipient is stored; identity is deliver.Identity's.
func (v *Vault) RecipientHash(account string, environment otp.Environment, identity string) otp.ID {
	return v.Index.Sum("recipient", account, string(environment), identity)
}

// UserHash returns the id by which the history of an application's user is found; user is otp.UserOf its metadata.
func (v *Vault) UserHash(account string, environment otp.Environment, user string) otp.ID {
	return v.Index.Sum("user", account, string(environment), user)
}

// PrefixCounter returns the id of the counter of an account's sends to numbers with a prefix.
func (v *Vault) PrefixCounter(account string, environment otp.Environment, prefix string) otp.ID {
	return v.Index.Sum("prefix", account, string(environment), prefix)
}

// SpendCounter returns the id of the counter of an account's spend on the day of a time, in UTC.
func (v *Vault) SpendCounter(account string, environment otp.Environment, at otp.Millis) otp.ID {
	return v.Index.Sum("spend", account, string(environment), at.Time().Format(time.DateOnly))
}

// SealCipher seals an account's servlet key and IV into its row. It skips those that are zero.
func (v *Vault) SealCipher(row *otp.Account, key, iv crypto.Secret) {
	if !key.IsZero() {
		row.SealedCipherKey = v.Keyring.Seal(accountColumn(row.Address, "cipher_key"), key.Bytes())
	}
	if !iv.IsZero() {
		row.SealedCipherIV = v.Keyring.Seal(accountColumn(row.Address, "cipher_iv"), iv.Bytes())
	}
}

func (v *Vault) sealSafeList(address string, text []byte) []byte {
	return v.Keyring.Seal(accountColumn(address, "safe_list"), text)
}

// openSafeList opens what sealSafeList sealed. The error names the column.
func (v *Vault) openSafeList(address string, sealed []byte) ([]byte, error) {
	opened, err := v.openColumn(&otp.Account{Address: address}, "safe_list", sealed)
	return opened.Bytes(), err
}

// CipherKey opens an account's cipher key; it is zero if there is none. The error names the column.
func (v *Vault) CipherKey(row *otp.Account) (crypto.Secret, error) {
	return v.openColumn(row, "cipher_key", row.SealedCipherKey)
}

// CipherIV opens an account's IV, as CipherKey does the key.
func (v *Vault) CipherIV(row *otp.Account) (crypto.Secret, error) {
	return v.openColumn(row, "cipher_iv", row.SealedCipherIV)
}

func (v *Vault) openColumn(row *otp.Account, column string, sealed []byte) (crypto.Secret, error) {
	if sealed == nil {
		return crypto.Secret{}, nil
	}
	opened, err := v.Keyring.Open(accountColumn(row.Address, column), sealed)
	if err != nil {
		return crypto.Secret{}, fmt.Errorf("%s: %w; it is set by the command line or the API, not with SQL", column, err)
	}
	return crypto.NewSecret(opened), nil
}

// ServletCipher returns the cipher of an account's otp parameter. NULL in cipher_key is an error only if the account's
// cipher needs a key. The error names the column.
func (v *Vault) ServletCipher(row *otp.Account) (*crypto.ServletCipher, error) {
	mode, encoding := crypto.CipherMode(row.Cipher), crypto.ParamEncoding(row.Encoding)
	if mode == crypto.CipherNone {
		return crypto.NewServletCipher(mode, encoding, crypto.Secret{}, crypto.Secret{})
	}
	key, err := v.CipherKey(row)
	if err != nil {
		return nil, err
	}
	iv, err := v.CipherIV(row)
	if err != nil {
		return nil, err
	}
	if err := v.RefuseCipherKey(key); err != nil {
		return nil, err
	}
	return crypto.NewServletCipher(mode, encoding, key, iv)
}

// RefuseCipherKey refuses in production a servlet cipher key that is published or easy to guess.
func (v *Vault) RefuseCipherKey(key crypto.Secret) error {
	if weakness := crypto.WeakCipherKey(key.Bytes()); weakness != "" && !v.Sandbox {
		return fmt.Errorf("cipher_key: %s; give the account one of its own", weakness)
	}
	return nil
}

// SigningSecret opens the secret that a credential's requests are signed with.
func (v *Vault) SigningSecret(row *sql.Credential) (crypto.Secret, error) {
	secret, err := v.Keyring.Open(Signing(row.ID), row.SigningSecret)
	if err != nil {
		return crypto.Secret{}, fmt.Errorf("credential %s: signing_secret: %w", row.ID.Text("key"), err)
	}
	return crypto.NewSecret(secret), nil
}
