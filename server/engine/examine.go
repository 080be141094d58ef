package engine

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// Examiner looks at a database and a keyring together, and changes neither: it is for those who
// want to know whether a server would start on them.
type Examiner struct{ engine *Engine }

// Examine makes one.
func Examine(options Options) Examiner {
	return Examiner{&Engine{options: options, store: options.Store, keyring: options.Keyring, log: options.Log}}
}

// Keyring tells why a server would refuse the keyring, nil for a keyring that fits.
func (x Examiner) Keyring(ctx context.Context) error {
	_, err := x.engine.compareKeyring(ctx)
	return err
}

// IndexKey tells why a server could not open the key of all look-up hashes; a database that has none
// yet gets one at the first start.
func (x Examiner) IndexKey(ctx context.Context) error {
	sealed, err := x.engine.store.StoredIndexKey(ctx)
	if err != nil || sealed == nil {
		return err
	}
	if _, err := x.engine.keyring.Open(indexKeyRow, sealed); err != nil {
		return fmt.Errorf("open the index key: %w", err)
	}
	return nil
}

// Remains tells what of a sandbox keeps a production server from starting.
func (x Examiner) Remains(ctx context.Context) ([]string, error) {
	return x.engine.store.SandboxRemains(ctx)
}

// Accounts lists every account and why it is out of service.
func (x Examiner) Accounts(ctx context.Context) ([]ManagedAccount, error) {
	return x.engine.Accounts(ctx)
}

// Keyless lists the accounts that have no key which works.
func (x Examiner) Keyless(ctx context.Context, now otp.Millis) ([]string, error) {
	return x.engine.store.Keyless(ctx, int64(now))
}
