package sql

import (
	"context"
	"fmt"
)

// Condition describes a database's configuration and health, for operators.
type Condition struct {
	Version string
	// CaseBlind are key columns with a case-insensitive collation, which servers refuse.
	CaseBlind []string
	// Damage is what the database's own check found, empty for nothing.
	Damage string
	// Forgetful names the setting that can lose an acknowledged write, empty for none.
	Forgetful string
	// Encrypted reports whether this connection is encrypted; always true for a file.
	Encrypted bool
	// Missing and Excess are privileges that a server needs and lacks, or has and does not need. Unchanging are
	// missing privileges that only schema changes need.
	Missing, Excess, Unchanging []string
}

// Inspect returns the condition of the database and changes nothing.
func (s *Store) Inspect(ctx context.Context) (Condition, error) {
	return s.dialect.inspect(s, ctx)
}

// Keyless lists the accounts that cannot be used: without a credential that is enabled and has not ended at now.
func (a *Accounts) Keyless(ctx context.Context, now int64) ([]string, error) {
	var accounts []string
	err := a.store.reads.SelectContext(ctx, &accounts, `
		SELECT a.esme_address
		FROM otp_auth_config a
		WHERE NOT EXISTS (
			SELECT 1 FROM credentials c
			WHERE c.esme_address = a.esme_address AND c.enabled = 1 AND c.revoked_at IS NULL
				AND (c.expires_at IS NULL OR c.expires_at > ?))
		ORDER BY a.esme_address`, now)
	if err != nil {
		return nil, fmt.Errorf("look for accounts without a key: %w", err)
	}
	return accounts, nil
}
