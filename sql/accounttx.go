package sql

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Lock is Find inside a transaction that will decide on the account; it locks the row.
func (a *Accounts) Lock(tx *Tx, address string) (account otp.Account, err error) {
	err = ErrNotFound
	readErr := tx.query(tx.ctx, `SELECT `+accountColumnList()+` FROM otp_auth_config WHERE esme_address = ?`+
		tx.store.dialect.lock, []driver.Value{address}, func(found row) error {
		values := make([]sql.NullString, len(found))
		for i := range found {
			if err := values[i].Scan(found[i]); err != nil {
				return err
			}
		}
		if account, err = a.read(values); account.Address != address { // as in Find
			account, err = otp.Account{}, ErrNotFound
		}
		return nil
	})
	if readErr != nil {
		return account, fmt.Errorf("read account: %w", readErr)
	}
	return account, err
}

// Insert adds accounts with their credentials, without a sandbox mark.
func (a *Accounts) Insert(tx *Tx, accounts []Seeded) error {
	for i := range accounts {
		if err := a.add(tx, &accounts[i].Account, accounts[i].Credentials); err != nil {
			return err
		}
	}
	return nil
}

// Update writes only the named columns of account. It reports false if there is no such row. An unknown column is a
// caller's bug.
func (a *Accounts) Update(tx *Tx, account *otp.Account, columns []string) (bool, error) {
	a.sealSafeList(account)
	var set []string
	var args []driver.Value
	for _, column := range accountColumns {
		if slices.Contains(columns, column.name) {
			set, args = append(set, column.name+" = ?"), append(args, column.write(account))
		}
	}
	if len(set) != len(columns) {
		panic("sql: Accounts.Update was given a column that otp_auth_config does not have")
	}
	return tx.changed(`UPDATE otp_auth_config SET `+strings.Join(set, ", ")+` WHERE esme_address = ?`,
		append(args, account.Address)...)
}

// Delete removes an account, its credentials and its webhooks. Its history stays as long as history without an account
// does.
func (a *Accounts) Delete(tx *Tx, address string) (bool, error) {
	if err := tx.countEndpoints(); err != nil {
		return false, err
	}
	for _, table := range []string{"credentials", "test_recipients", "sandbox_accounts", "webhook_endpoints", "shadows"} {
		if err := tx.exec(tx.ctx, `DELETE FROM `+table+` WHERE esme_address = ?`, address); err != nil {
			return false, err
		}
	}
	return tx.changed(`DELETE FROM otp_auth_config WHERE esme_address = ?`, address)
}

// SharedWith returns who holds rights for one account by its address, even if the account does not exist: a person or
// an invitation by mailbox, a service account by name. It is empty if nobody does; rights for all accounts do not
// count.
func (a *Accounts) SharedWith(ctx context.Context, address string, now otp.Millis) (string, error) {
	const lists = `accounts IS NOT NULL`
	people, err := persons.find(ctx, a.store, lists)
	if err != nil {
		return "", err
	}
	for _, p := range people {
		if slices.Contains(p.Accounts, address) {
			return p.Email, nil
		}
	}
	services, err := serviceAccounts.find(ctx, a.store, lists+` AND revoked_at IS NULL`)
	if err != nil {
		return "", err
	}
	for _, s := range services {
		if slices.Contains(s.Accounts, address) {
			return "service account " + s.Name, nil
		}
	}
	invited, err := tickets.find(ctx, a.store, lists+` AND used_at IS NULL AND expires_at > ?`, int64(now))
	if err != nil {
		return "", err
	}
	for _, t := range invited {
		if slices.Contains(t.Accounts, address) {
			return cmp.Or(t.Email, "an invitation"), nil
		}
	}
	return "", nil
}
