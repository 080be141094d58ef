package engine

import (
	"context"

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
