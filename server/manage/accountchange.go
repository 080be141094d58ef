package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// ManagedAccount is an account as an operator sees it. Broken is why it is out of service, nil
// for one that works.
type ManagedAccount struct {
	otp.Account
	Broken error
}

// List returns every account, broken ones too.
func (c Accounts) List(ctx context.Context) (all []ManagedAccount, err error) {
	err = c.store.Accounts.Each(ctx, c.into(&all))
	return all, err
}

// Page returns up to limit accounts behind an address, in the order of the addresses as texts: all, or those among a
// list that is not nil.
func (c Accounts) Page(ctx context.Context, after string, limit int, among []string) (all []ManagedAccount, err error) {
	err = c.store.Accounts.Page(ctx, after, limit, among, c.into(&all))
	return all, err
}

func (c *core) into(all *[]ManagedAccount) func(otp.Account, error) error {
	return func(row otp.Account, broken error) error {
		if broken == nil {
			_, broken = c.vault.ServletCipher(&row)
		}
		*all = append(*all, ManagedAccount{row, broken})
		return nil
	}
}

// Find returns one account. Refusal: NotFound.
func (c Accounts) Find(ctx context.Context, address string) (ManagedAccount, error) {
	return c.account(ctx, address)
}

// account reads one. Refusal: NotFound.
func (c *core) account(ctx context.Context, address string) (ManagedAccount, error) {
	row, err := c.store.Accounts.Find(ctx, address)
	broken := (*sql.BrokenRow)(nil)
	switch {
	case errors.Is(err, sql.ErrNotFound):
		return ManagedAccount{}, noAccount(address)
	case errors.As(err, &broken):
		return ManagedAccount{row, broken}, nil
	case err != nil:
		return ManagedAccount{}, err
	}
	_, err = c.vault.ServletCipher(&row)
	return ManagedAccount{row, err}, nil
}

func noAccount(address string) error {
	return otp.Refuse(otp.NotFound, "there is no account "+address+"; otpbridge account list shows all")
}

// Version returns a text that changes with an account, and from which nothing can be learned of it.
func (c *core) Version(row *otp.Account) string {
	encoded, err := json.Marshal(row)
	if err != nil {
		panic(err) // every column has JSON
	}
	return fmt.Sprintf("%x", c.vault.Index.Sum("account version", string(encoded)))
}

// Edit is what somebody changes of an account.
type Edit struct {
	Account string
	Match   string   // the Version that the account must still have; empty for any
	Columns []string // that Set writes, cipher_key and cipher_iv among them
	// Set writes the columns over the account as it stands. It may be called several times.
	Set func(*Imported) error
	By  otp.Actor
}

// fixed are the columns that say who and when an account is.
var fixed = []string{"esme_address", "created_at", "updated_at", "access_key", "access_keys"}

// Change writes the columns that an edit names, and no others, and records their names. A broken account may be
// mended by it. It returns the account as it is then. Refusals: NotFound; Outdated; Invalid naming the column.
func (c Accounts) Change(ctx context.Context, e Edit) (changed ManagedAccount, err error) {
	for _, column := range e.Columns {
		if slices.Contains(fixed, column) {
			return changed, otp.RefuseField(column, "cannot be changed")
		}
	}
	if len(e.Columns) == 0 {
		return changed, otp.Refuse(otp.Invalid, "nothing is changed; name a column")
	}
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		row, err := c.locked(tx, e.Account)
		if err != nil {
			return err
		}
		if e.Match != "" && e.Match != c.Version(&row) {
			return otp.Refuse(otp.Outdated, "the account was changed since you read it; read it again, and repeat the change")
		}
		n, before := Imported{Account: row}, row.UpdatedAt
		if err := e.Set(&n); err != nil {
			return err
		}
		columns, err := c.admit(ctx, &n, e.Columns)
		if err != nil {
			return err
		}
		// Every change makes another version, however fast they follow each other.
		n.UpdatedAt = max(otp.At(time.Now()), before+1)
		changed = ManagedAccount{Account: n.Account}
		if _, err := c.store.Accounts.Update(tx, &n.Account, append(slices.Clone(columns), "updated_at")); err != nil {
			return err
		}
		return record(tx, otp.AccountChanged, e.By, e.Account, n.UpdatedAt, "columns", strings.Join(columns, ", "))
	})
	return changed, err
}

// locked reads an account that a transaction decides on, a broken one as far as it can be read. Refusal: NotFound.
func (c *core) locked(tx *sql.Tx, address string) (otp.Account, error) {
	row, err := c.store.Accounts.Lock(tx, address)
	broken := (*sql.BrokenRow)(nil)
	switch {
	case errors.Is(err, sql.ErrNotFound):
		return row, noAccount(address)
	case errors.As(err, &broken):
		return row, nil
	}
	return row, err
}

// admit checks an account of which columns were changed, seals its cipher, and returns the columns to write, sorted.
func (c *core) admit(ctx context.Context, n *Imported, columns []string) ([]string, error) {
	row := &n.Account
	if err := row.Validate(); err != nil {
		return nil, refuseColumn(err)
	}
	if err := c.refuseSettings(row, columns...); err != nil {
		return nil, err
	}
	if err := c.refuseSharedIssuers(ctx, row); err != nil {
		return nil, err
	}
	columns = slices.Clone(columns)
	if slices.Contains(columns, "cipher_key") || slices.Contains(columns, "cipher_iv") {
		if err := c.sealCipher(row, n.CipherKey, n.CipherIV); err != nil {
			return nil, err
		}
		if strings.Contains(n.CipherKey, "~") {
			columns = append(columns, "cipher_iv")
		}
	} else if _, err := c.vault.ServletCipher(row); err != nil {
		return nil, refuseColumn(err)
	}
	slices.Sort(columns)
	return slices.Compact(columns), nil
}

// Delete removes an account with its keys, for good. Confirm is its name, or its address if it has none: whoever
// deletes the wrong one notices. Codes to it are over at once; its history stays for 30 days. Refusals: NotFound;
// Invalid.
func (c Accounts) Delete(ctx context.Context, by otp.Actor, address, confirm string) error {
	defer c.changed()
	return c.store.Change(ctx, func(tx *sql.Tx) error {
		row, err := c.locked(tx, address)
		if err != nil {
			return err
		}
		name := row.Name
		if name == "" {
			name = row.Address
		}
		if confirm != name {
			return otp.RefuseField("confirm", "must be the account's name, or its esme_address if it has no name")
		}
		if _, err := c.store.Accounts.Delete(tx, address); err != nil {
			return err
		}
		return record(tx, otp.AccountDeleted, by, address, otp.At(time.Now()), "name", row.Name)
	})
}
