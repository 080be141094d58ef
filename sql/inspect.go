package sql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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

// MissingColumns lists the tables and columns that the migrations make and the database lacks, as table or
// table.column. Additional ones are ignored.
func (s *Store) MissingColumns(ctx context.Context) (missing []string, err error) {
	wanted, err := wantedColumns()
	if err != nil {
		return nil, fmt.Errorf("make a schema to compare with: %w", err)
	}
	there, err := s.columns(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the tables' columns: %w", err)
	}
	lacking := ""
	for _, column := range wanted {
		table, _, _ := strings.Cut(column, ".")
		switch {
		case slices.Contains(there, column) || table == lacking:
		case !slices.ContainsFunc(there, func(have string) bool { return strings.HasPrefix(have, table+".") }):
			lacking = table
			missing = append(missing, table)
		default:
			missing = append(missing, column)
		}
	}
	return missing, nil
}

// wantedColumns returns the columns of a new database, made in memory once. They have the same names in every dialect.
var wantedColumns = sync.OnceValues(func() (columns []string, err error) {
	fresh, db, err := sqliteMemory()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := fresh.migrate(context.Background(), db); err != nil {
		return nil, err
	}
	return fresh.columns(context.Background())
})

// columns lists every table.column in lower case, sorted.
func (s *Store) columns(ctx context.Context) (columns []string, err error) {
	err = s.reads.SelectContext(ctx, &columns, s.dialect.columns)
	for i := range columns {
		columns[i] = strings.ToLower(columns[i])
	}
	slices.Sort(columns)
	return columns, err
}
