package engine

import (
	"context"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Holder acts on accounts by a role instead of by one of an account's keys.
type Holder struct {
	ID          string          // with its type, such as per_0e9k…
	Name        string          // for people
	Accounts    []string        // addresses; nil: all
	Permissions []string        // never contains otp.Everything
	Environment otp.Environment // empty: the default environment
}

// Caller returns the caller for an authenticated holder on an account. An empty address means the holder's only
// account. Refusals: NotFound for an account that is not theirs, or for an empty address if they have several;
// BrokenAccount and FeatureOff with a Caller, as Authenticate.
func (h Holder) Caller(ctx context.Context, e *Engine, address string) (*Caller, error) {
	address, err := e.onlyAccount(ctx, address, h.Accounts)
	if err != nil {
		return nil, err
	}
	acc, err := e.accounts.value(ctx, address)
	if err != nil {
		return nil, err
	}
	if !acc.found || !acc.row.Enabled && acc.broken == nil {
		return nil, notTheirs()
	}
	environment := h.Environment
	if environment == "" {
		environment = e.usualEnvironment()
	}
	row := sql.Credential{Kind: string(otp.TokenKey)}
	return (&Caller{
		Account: &acc.row, Environment: environment, Door: otp.V1Door,
		Key: &KeyInfo{Subject: h.ID, Key: otp.Key{
			// Requests are counted, and matched for idempotency, per account and environment.
			ID:   e.index.Sum("holder", address, string(environment), h.ID),
			Kind: otp.TokenKey, Name: h.Name, Permissions: h.Permissions, Signing: otp.SigningOff,
		}},
		cipher: acc.cipher, settings: acc, quota: quotaOf(&row, &acc.row),
	}).opened()
}

func notTheirs() error {
	return otp.Refuse(otp.NotFound, "must name one of your accounts; GET /api/accounts lists them")
}

// onlyAccount returns address if it is in the list, or the list's only account if address is empty; nil means all
// accounts.
func (e *Engine) onlyAccount(ctx context.Context, address string, theirs []string) (string, error) {
	if theirs == nil {
		if address != "" {
			return address, nil
		}
		var err error
		if theirs, err = e.addresses.value(ctx, ""); err != nil {
			return "", err
		}
	}
	for _, each := range theirs {
		if each == address || address == "" && len(theirs) == 1 {
			return each, nil
		}
	}
	return "", notTheirs()
}

// loadAddresses lists the enabled accounts.
func (e *Engine) loadAddresses(ctx context.Context, _ string) (all []string, err error) {
	err = e.store.Accounts.Each(ctx, func(account otp.Account, broken error) error {
		if account.Enabled || broken != nil {
			all = append(all, account.Address)
		}
		return nil
	})
	return all, err
}
