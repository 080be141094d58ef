// Package migrated gives tests databases that have the program's schema.
package migrated

import (
	"context"
	"testing"

	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

var copies = sqltest.Copies{Migrate: func(databaseURL string) error {
	opened, err := sql.Open(context.Background(), databaseURL, sql.Options{})
	if err != nil {
		return err
	}
	return opened.Close()
}}

// SQLite gives the URL of a file in a folder of the test's own.
func SQLite(t testing.TB) string { t.Helper(); return copies.SQLite(t) }

// At is SQLite with a path that matters to the test. A file that is there stays as it is.
func At(t testing.TB, path string) string { t.Helper(); return copies.At(t, path) }

// MariaDB gives the URL of a schema on the server that a package's tests share, over its socket.
func MariaDB(t testing.TB) string { t.Helper(); return copies.MariaDB(t) }

// OnBoth runs a test over each database.
func OnBoth(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("mariadb", func(t *testing.T) { test(t, MariaDB(t)) })
}
