package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Privileges of a server's database user: those for serving, and the additional ones for changing the schema.
var (
	servingPrivileges  = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	changingPrivileges = []string{"CREATE", "ALTER", "INDEX"}
)

func (s *Store) inspectMySQL(ctx context.Context) (c Condition, err error) {
	if err := s.reads.GetContext(ctx, &c.Version, `SELECT VERSION()`); err != nil {
		return c, fmt.Errorf("read the database's version: %w", err)
	}
	if c.CaseBlind, err = s.caseBlindColumns(ctx); err != nil {
		return c, err
	}
	var name, value string
	err = s.reads.QueryRowContext(ctx, `SHOW SESSION STATUS LIKE 'Ssl_cipher'`).Scan(&name, &value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("read whether the connection is encrypted: %w", err)
	}
	c.Encrypted = value != ""
	flush := 1
	err = s.reads.GetContext(ctx, &flush, `SELECT @@GLOBAL.innodb_flush_log_at_trx_commit`)
	if err == nil && flush != 1 {
		c.Forgetful = fmt.Sprintf("innodb_flush_log_at_trx_commit=%d", flush)
	}
	var grants []string
	if err := s.reads.SelectContext(ctx, &grants, `SHOW GRANTS FOR CURRENT_USER`); err != nil {
		return c, fmt.Errorf("read the user's grants: %w", err)
	}
	var schema string
	if err := s.reads.GetContext(ctx, &schema, `SELECT DATABASE()`); err != nil {
		return c, fmt.Errorf("read the schema's name: %w", err)
	}
	c.judgeGrants(grants, schema)
	return c, nil
}

// caseBlindColumns returns the key columns whose collation is case-insensitive.
func (s *Store) caseBlindColumns(ctx context.Context) ([]string, error) {
	var columns []string
	err := s.reads.SelectContext(ctx, &columns, `
		SELECT CONCAT(table_name, '.', column_name, ' (', collation_name, ')') AS key_column
		FROM information_schema.columns
		WHERE table_schema = DATABASE() AND collation_name LIKE '%\_ci'
			AND column_name IN ('esme_address', 'id', 'key_id', 'environment')
			AND table_name IN ('otp_auth_config', 'credentials', 'recipients', 'challenges', 'events', 'keyring_keys', 'sandbox_accounts')`)
	if err != nil {
		return nil, fmt.Errorf("read the key columns' collation: %w", err)
	}
	return columns, nil
}

var grantLine = regexp.MustCompile(`^GRANT (.+) ON (\S+) TO `)

// judgeGrants compares the output of SHOW GRANTS with what a server needs. For a user with a role it checks only the
// direct grants and reports nothing as missing.
func (c *Condition) judgeGrants(grants []string, schema string) {
	held := map[string]bool{}
	throughRole := false
	for _, line := range grants {
		found := grantLine.FindStringSubmatch(line)
		if found == nil {
			throughRole = true
			continue
		}
		scope := strings.NewReplacer("`", "", `\`, "").Replace(found[2])
		privileges := strings.Split(found[1], ", ")
		if strings.Contains(line, "WITH GRANT OPTION") {
			privileges = append(privileges, "GRANT OPTION")
		}
		for _, privilege := range privileges {
			switch {
			case privilege == "USAGE":
			case privilege == "ALL PRIVILEGES":
				for _, each := range slices.Concat(servingPrivileges, changingPrivileges) {
					held[each] = held[each] || scope == "*.*" || scope == schema+".*"
				}
				c.Excess = append(c.Excess, privilege+" on "+scope)
			case scope == schema+".*" && slices.Contains(slices.Concat(servingPrivileges, changingPrivileges), privilege):
				held[privilege] = true
			case strings.HasPrefix(scope, schema+"."): // on single tables
			default:
				if scope == "*.*" {
					held[privilege] = true
				}
				c.Excess = append(c.Excess, privilege+" on "+scope)
			}
		}
	}
	if throughRole {
		return
	}
	for _, privilege := range servingPrivileges {
		if !held[privilege] {
			c.Missing = append(c.Missing, privilege)
		}
	}
	for _, privilege := range changingPrivileges {
		if !held[privilege] {
			c.Unchanging = append(c.Unchanging, privilege)
		}
	}
}
