package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Keyring rotates the keyring, and the key of receipts.
//
// A key is rotated while servers run. Every sealed value names its key, so a walk over all values finds those under
// former keys, opens them and seals them again. It replaces a value only if it has not changed since it was read, and
// changes nothing else in the row. So a walk may run beside servers and other walks, may be interrupted, and may be
// repeated. Codes are not sealed but derived from a key. A code that was sent needs the former key until its challenge
// is forgotten, at most an hour and a half after the last server uses the new key.
type Keyring struct{ *core }

// KeyUse is how much a key of the keyring or of the database is still needed.
type KeyUse struct {
	ID       string         `json:"id"`
	Primary  bool           `json:"primary"`
	Held     bool           `json:"held"`     // in the current keyring
	Recorded bool           `json:"recorded"` // servers refuse to start without it
	Sealed   map[string]int `json:"sealed"`   // values sealed under it, by column
	Codes    int            `json:"codes"`    // challenges whose code is derived from it
}

// Uses returns how many rows need the key.
func (k KeyUse) Uses() int {
	uses := k.Codes
	for _, n := range k.Sealed {
		uses += n
	}
	return uses
}

// Removable reports whether the key may be removed from every keyring.
func (k KeyUse) Removable() bool { return !k.Primary && !k.Recorded && k.Uses() == 0 }

// Uses returns every key and how much it is needed: first the keyring's, in its order. It reads every sealed value.
func (c Keyring) Uses(ctx context.Context) ([]KeyUse, error) {
	recorded, err := c.store.Keyring.Checks(ctx)
	if err != nil {
		return nil, err
	}
	uses := map[string]*KeyUse{}
	of := func(id string) *KeyUse {
		if uses[id] == nil {
			uses[id] = &KeyUse{ID: id, Sealed: map[string]int{}}
		}
		return uses[id]
	}
	for i, id := range c.vault.Keyring.IDs() {
		of(id).Held, of(id).Primary = true, i == 0
	}
	for id := range recorded {
		of(id).Recorded = true
	}
	derived, err := c.store.Keyring.CountDerived(ctx)
	if err != nil {
		return nil, err
	}
	for id, n := range derived {
		of(id).Codes = n
	}
	for _, column := range sql.SealedColumns() {
		err := c.store.Keyring.WalkSealed(ctx, column, func(row sql.SealedRow) ([]byte, error) {
			// A damaged value needs no key. Its account is reported as broken elsewhere.
			if id, err := crypto.SealedUnder(row.Value); err == nil {
				of(id).Sealed[column.Name()]++
			}
			return nil, nil
		}, func(int) {})
		if err != nil {
			return nil, err
		}
	}
	var all []KeyUse
	for _, id := range c.vault.Keyring.IDs() {
		all = append(all, *uses[id])
		delete(uses, id)
	}
	for _, use := range uses {
		all = append(all, *use)
	}
	slices.SortFunc(all[len(c.vault.Keyring.IDs()):], func(a, b KeyUse) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// Resealing is the progress of a rotation.
type Resealing struct {
	Column   string
	Looked   int // values read in this column
	Resealed int // of these, sealed again
}

// Reseal seals every value under the primary key, and retires the former keys that nothing needs any more. It returns
// the ids of those keys, and calls progress after every chunk. The audit log records who did it, before anything is
// changed.
//
// A value that cannot be opened stops it with an error that names the row: the key that the row names must not be
// removed.
func (c Keyring) Reseal(ctx context.Context, by otp.Actor, progress func(Resealing)) (retired []string, err error) {
	primary := c.vault.Keyring.Primary()
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		return record(tx, otp.KeyringRotated, by, "", otp.At(time.Now()), "primary", primary)
	})
	if err != nil {
		return nil, err
	}
	for _, column := range sql.SealedColumns() {
		at := Resealing{Column: column.Name()}
		err := c.store.Keyring.WalkSealed(ctx, column, func(row sql.SealedRow) ([]byte, error) {
			id, err := crypto.SealedUnder(row.Value)
			if err != nil || id == primary {
				return nil, nil
			}
			aad := vault.Row(column, row.Names)
			plain, err := c.vault.Keyring.Open(aad, row.Value)
			if err != nil {
				return nil, err
			}
			at.Resealed++
			return c.vault.Keyring.Seal(aad, plain), nil
		}, func(looked int) {
			at.Looked = looked
			progress(at)
		})
		if err != nil {
			return nil, fmt.Errorf("seal anew: %w", err)
		}
	}
	if _, err := c.store.Sweep(ctx, otp.At(time.Now())); err != nil {
		return nil, err
	}
	// Count last and with new reads: a server with another primary key may have sealed values meanwhile, which
	// need that key.
	uses, err := c.Uses(ctx)
	if err != nil {
		return nil, err
	}
	for i := range uses {
		if use := &uses[i]; !use.Primary && use.Recorded && use.Uses() == 0 {
			err := c.store.Change(ctx, func(tx *sql.Tx) error {
				if err := c.store.Keyring.RemoveCheck(tx, use.ID); err != nil {
					return err
				}
				return record(tx, otp.KeyringKeyRetired, by, "", otp.At(time.Now()), "key", use.ID)
			})
			if err != nil {
				return retired, fmt.Errorf("forget key %q: %w", use.ID, err)
			}
			retired = append(retired, use.ID)
		}
	}
	return retired, nil
}

// ReplaceReceiptKey replaces the key that signs receipts; see vault.Vault.ReplaceSigningKey.
func (c Keyring) ReplaceReceiptKey(ctx context.Context, by otp.Actor, compromised bool) (vault.ReplacedKey,
	error) {
	return c.vault.ReplaceSigningKey(ctx, by, compromised)
}
