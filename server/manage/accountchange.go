package manage

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// ManagedAccount is an account as an operator sees it. Broken says why it is out of service; nil if it is not.
type ManagedAccount struct {
	otp.Account
	Broken error

	servlets int64 // the calls of its servlets, if they were counted to sort by them
}

// State returns active, disabled, feature off or broken.
func (m *ManagedAccount) State() string {
	switch {
	case m.Broken != nil:
		return "broken"
	case !m.Enabled:
		return "disabled"
	case !m.OTPEnabled:
		return "feature off"
	}
	return "active"
}

// List returns every account, also broken ones.
func (c Accounts) List(ctx context.Context) ([]ManagedAccount, error) {
	var all []ManagedAccount
	err := c.store.Accounts.Each(ctx, func(row otp.Account, broken error) error {
		all = append(all, c.managed(row, broken))
		return nil
	})
	return all, err
}

// Addresses returns the address of every account, without reading the settings.
func (c Accounts) Addresses(ctx context.Context) ([]string, error) {
	return c.store.Accounts.Addresses(ctx)
}

// Find returns one account. Refusal: NotFound.
func (c Accounts) Find(ctx context.Context, address string) (ManagedAccount, error) {
	return c.account(ctx, address)
}

// account reads one account. Refusal: NotFound.
func (c *core) account(ctx context.Context, address string) (ManagedAccount, error) {
	row, err := c.store.Accounts.Find(ctx, address)
	broken := (*sql.BrokenRow)(nil)
	switch {
	case errors.Is(err, sql.ErrNotFound):
		return ManagedAccount{}, noAccount(address)
	case err != nil && !errors.As(err, &broken):
		return ManagedAccount{}, err
	}
	return c.managed(row, err), nil
}

func noAccount(address string) error {
	return otp.Refuse(otp.NotFound, "there is no account "+address+"; otpbridge account list shows all")
}

// Version returns a number that changes whenever the account changes, also by SQL. It reveals nothing about the
// account.
func (c *core) Version(row *otp.Account) int64 {
	encoded, err := json.Marshal(row)
	if err != nil {
		panic(err) // every column has JSON
	}
	sum := c.vault.Index.Sum("account version", string(encoded))
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// Edit is a change of an account.
type Edit struct {
	Account string
	Match   func(version int64) error // refuses a Version other than the one that was read; nil accepts all
	Columns []string                  // that Set sets; may include cipher_key and cipher_iv
	// Set sets the columns on the current account. It may be called several times.
	Set func(*Imported) error
	By  otp.Actor
}

// fixed are the members that Change does not change: identity, times and access keys.
var fixed = []string{"esme_address", "created_at", "updated_at", "access_key", "access_keys"}

// Change writes the columns of an edit, and no others, and records their names. It can repair a broken account. It
// returns the changed account. Refusals: NotFound; Invalid, which names the column; those of Match and Set.
func (c Accounts) Change(ctx context.Context, e Edit) (changed ManagedAccount, err error) {
	for _, column := range e.Columns {
		if slices.Contains(fixed, column) {
			return changed, otp.RefuseField(column, "cannot be changed")
		}
		if slices.Contains(bridgeColumns, column) {
			return changed, otp.RefuseField(column, "is changed by a cut-over, which all servers make at the same moment")
		}
	}
	if len(e.Columns) == 0 {
		return changed, otp.Refuse(otp.Invalid, "nothing is changed; name a column")
	}
	return c.change(ctx, e, otp.AccountChanged)
}

// change is Change for any column. It records a change of the given kind.
func (c *core) change(ctx context.Context, e Edit, kind otp.ChangeKind) (changed ManagedAccount, err error) {
	defer c.changed()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		row, err := c.locked(tx, e.Account)
		if err != nil {
			return err
		}
		if e.Match != nil {
			if err := e.Match(c.Version(&row)); err != nil {
				return err
			}
		}
		n, before := Imported{Account: row}, row.UpdatedAt
		if err := e.Set(&n); err != nil {
			return err
		}
		columns, err := c.admit(ctx, &n, e.Columns)
		if err != nil {
			return err
		}
		// Two changes within a millisecond must also differ in version.
		n.UpdatedAt = max(otp.At(time.Now()), before+1)
		changed = ManagedAccount{Account: n.Account}
		if _, err := c.store.Accounts.Update(tx, &n.Account, append(slices.Clone(columns), "updated_at")); err != nil {
			return err
		}
		return record(tx, kind, e.By, e.Account, n.UpdatedAt, "columns", strings.Join(columns, ", "))
	})
	return changed, err
}

// locked reads and locks an account in a transaction; a broken account as far as it can be read. Refusal: NotFound.
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

// admit checks an account after columns were changed, seals its cipher, and returns the columns to write, sorted.
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
	for column, text := range map[string]string{"cipher_key": n.CipherKey, "cipher_iv": n.CipherIV} {
		if text == "" && slices.Contains(columns, column) { // or the former one would stay, and the change seem made
			return nil, otp.RefuseField(column, "is empty; give it in base64 or hex")
		}
	}
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

// Delete removes an account and its keys for good. confirm must be its name, or its address if it has no name, so that
// nobody deletes the wrong one. Its codes end at once; its history stays for 30 days. Refusals: NotFound; Invalid.
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

// bridgeColumns decide who answers an account's servlet calls.
var bridgeColumns = []string{"bridge_mode", "bridge_before", "cut_over_at", "cut_over_before"}

// maxAhead is how far in the future a cut-over can be.
const maxAhead = 366 * 24 * time.Hour

// CutOver sets the mode that an account has from a time on, by the account's clock. The zero time means as early as
// every server can know of it: ten seconds from now. It replaces a change that was set for later, and returns the
// changed account. Refusals: NotFound; Invalid for a time that is too near or more than a year away, for a mode
// without an upstream_url, and shortly before another change; those of match, which may be nil.
func (c Accounts) CutOver(ctx context.Context, by otp.Actor, account string, mode otp.BridgeMode, at time.Time,
	match func(version int64) error) (ManagedAccount, error) {
	ahead := time.Duration(0)
	if c.sandbox {
		var err error
		if _, ahead, err = c.store.Sandbox.Clock(ctx, account); err != nil {
			return ManagedAccount{}, err
		}
	}
	edit := Edit{Account: account, By: by, Columns: bridgeColumns, Match: match}
	edit.Set = func(n *Imported) error {
		now := otp.At(time.Now().Add(ahead))
		moment := now + otp.CutOverLead
		if !at.IsZero() {
			moment = otp.At(at)
		}
		switch {
		case moment < now+otp.CutOverLead:
			return otp.RefuseField("at", fmt.Sprintf("must be at least %v ahead, so that every server knows of it; without it "+
				"the change comes as soon as it can", otp.CutOverLead.Duration()))
		case moment > now+otp.Millis(maxAhead.Milliseconds()):
			return otp.RefuseField("at", "must be within a year")
		case n.CutOverAt != nil && *n.CutOverAt > now && *n.CutOverAt <= now+otp.CutOverLead:
			return otp.Refuse(otp.Invalid, fmt.Sprintf("a change is about to happen, in %v; ask again after it",
				(*n.CutOverAt-now).Duration().Round(time.Second)))
		}
		before := n.Handling(now).Mode
		if n.CutOverAt != nil && *n.CutOverAt <= now && n.ChangesSides() {
			n.CutOverBefore = n.CutOverAt
		}
		n.BridgeBefore, n.Bridge, n.CutOverAt = &before, mode, &moment
		return nil
	}
	return c.change(ctx, edit, otp.AccountCutOver)
}
