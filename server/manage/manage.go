// Package manage creates, changes and lists accounts, credentials and recipients, and rotates the keyring. The command
// line, the management API and the sandbox use it.
//
// It promises that every account and every credential passes the same checks, whoever creates it; that a refused call
// has changed nothing; and that secrets are sealed or hashed before they are stored. Servers see a change of a
// credential within one second, and a change of settings within five.
//
// Package engine handles codes, and package people handles people. The doors write the answers.
package manage

import (
	"context"
	"errors"
	"fmt"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Options are what a Manager works with.
type Options struct {
	Store   *sql.Store
	Keyring *crypto.Keyring
	SMS     []deliver.Channel // the server's channels, for test messages; may be nil
	Email   []deliver.Channel // the same
	Files   deliver.Files     // that channels of accounts may name
	Guard   *deliver.Guard    // of addresses that accounts name; nil allows public ones only
	Sandbox bool
	// Changed is called after a change of a credential or an account, so that a server in this process sees it at
	// once; it may be nil.
	Changed func()
}

// Manager has one field for each kind of object that it manages. It is safe for concurrent use.
type Manager struct {
	Accounts   Accounts
	Keys       Keys
	Recipients Recipients
	Tests      TestRecipients
	Guards     Guards
	Messages   Messages
	Keyring    Keyring
	Sandbox    Sandbox

	*core
}

// core is shared by the fields of a Manager.
type core struct {
	store   *sql.Store
	vault   *vault.Vault
	files   deliver.Files
	sms     []deliver.Channel
	email   []deliver.Channel
	guard   *deliver.Guard
	sandbox bool
	changed func()
	calls   callTotals
}

// Vault returns the vault that Open opened, for other packages.
func (m *Manager) Vault() *vault.Vault { return m.vault }

// Open returns a Manager, and checks the keyring against the database as a server does. It does not make demo
// accounts, so that a command with the wrong database or mode leaves nothing that production would refuse.
func Open(ctx context.Context, options Options) (*Manager, error) {
	opened, err := vault.Open(ctx, options.Store, options.Keyring, options.Sandbox)
	if err != nil {
		return nil, err
	}
	return newManager(opened, options), nil
}

func newManager(opened *vault.Vault, options Options) *Manager {
	if options.Changed == nil {
		options.Changed = func() {}
	}
	if options.Guard == nil {
		options.Guard = &deliver.Guard{Sandbox: options.Sandbox}
	}
	c := &core{guard: options.Guard, store: options.Store, vault: opened, files: options.Files, sms: options.SMS,
		email: options.Email, sandbox: options.Sandbox,
		changed: options.Changed}
	return &Manager{Accounts{c}, Keys{c}, Recipients{c}, TestRecipients{c}, Guards{c}, Messages{c}, Keyring{c}, Sandbox{c},
		c}
}

// RefuseSandboxRemains returns an error that names what a sandbox left in this database and keyring and production
// must not use.
func (m *Manager) RefuseSandboxRemains(ctx context.Context) error {
	var faults []error
	if ids := m.vault.Keyring.SampleIDs(); len(ids) > 0 {
		faults = append(faults, fmt.Errorf("keyring key %q is the published sample key; make a new one", ids[0]))
	} else if id, what := m.vault.Keyring.Weakness(); what != "" {
		faults = append(faults, fmt.Errorf("keyring key %q %s; make a random one with otpbridge keyring add, put it first "+
			"with keyring promote, and rotate", id, what))
	}
	remains, err := m.store.Sandbox.Remains(ctx)
	if err != nil {
		return err
	}
	if len(remains) > 0 {
		faults = append(faults, fmt.Errorf("a sandbox was run on this database (%d accounts or clocks of its own); "+
			"use a database that no sandbox has used", len(remains)))
	}
	err = m.store.Accounts.Each(ctx, func(row otp.Account, _ error) error {
		if key, err := m.vault.CipherKey(&row); err == nil {
			switch weak := crypto.WeakCipherKey(key.Bytes()); {
			case crypto.SampleKey(key.Bytes()):
				faults = append(faults, fmt.Errorf("account %s uses the published sample cipher key; give it one of its own",
					row.Address))
			case weak != "":
				faults = append(faults, fmt.Errorf("account %s has a cipher key that %s; give it another one", row.Address, weak))
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(append(faults, err)...)
	}
	for _, key := range crypto.PublishedKeys() {
		row, err := m.store.Credentials.ByHash(ctx, m.vault.CredentialHash(key))
		switch {
		case errors.Is(err, sql.ErrNotFound):
		case err != nil:
			return errors.Join(append(faults, err)...)
		case row.Enabled && row.RevokedAt == 0:
			faults = append(faults, fmt.Errorf("key %s of account %s is published in documents of this project; revoke it",
				row.ID.Text("key"), row.Address))
		}
	}
	return errors.Join(faults...)
}

// Examiner checks a database and a keyring together and changes neither. It answers whether a server would start on
// them.
type Examiner struct{ *core }

// Examine returns an Examiner.
func Examine(options Options) Examiner {
	return Examiner{newManager(vault.Unopened(options.Store, options.Keyring, options.Sandbox), options).core}
}

// Keyring returns why a server would refuse the keyring, nil if it would not.
func (x Examiner) Keyring(ctx context.Context) error { return x.vault.CheckKeyring(ctx) }

// IndexKey returns why a server could not open the index key, nil if it could.
func (x Examiner) IndexKey(ctx context.Context) error { return x.vault.CheckIndexKey(ctx) }

// Remains returns what a sandbox left that keeps a production server from starting.
func (x Examiner) Remains(ctx context.Context) ([]string, error) { return x.store.Sandbox.Remains(ctx) }

// Accounts returns every account, with the reason for each that is out of service.
func (x Examiner) Accounts(ctx context.Context) ([]ManagedAccount, error) {
	return Accounts(x).List(ctx)
}

// Unsealable returns the keys whose signing secret cannot be opened: it is damaged, or was copied from another row.
func (x Examiner) Unsealable(ctx context.Context) (ids []string, err error) {
	rows, err := x.store.Credentials.List(ctx, "")
	for i := range rows {
		if rows[i].Signing == string(otp.SigningOff) {
			continue
		}
		if _, err := x.vault.SigningSecret(&rows[i]); err != nil {
			ids = append(ids, rows[i].ID.Text("key"))
		}
	}
	return ids, err
}

// Keyless returns the accounts without a valid key.
func (x Examiner) Keyless(ctx context.Context, now otp.Millis) ([]string, error) {
	return x.store.Accounts.Keyless(ctx, int64(now))
}
