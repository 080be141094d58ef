// Package migrated gives tests databases that have the program's schema. It is made once in a process and copied
// from then on: migrating takes half a second under the race detector, a copy of a file some milliseconds.
package migrated

import (
	"context"
	"database/sql"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	store "otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// SQLite gives the URL of a new SQLite file in a folder of the test's own.
func SQLite(t testing.TB) string {
	t.Helper()
	return At(t, filepath.Join(t.TempDir(), "otp.db"))
}

// At is SQLite with a path that matters to the test. A file that is there stays as it is.
func At(t testing.TB, path string) string {
	t.Helper()
	content, err := file()
	if err != nil {
		t.Fatalf("make a database to copy: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return "sqlite:" + path
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

var file = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "migrated")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "otp.db")
	if err := migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // SQLite has emptied its log when it closed the file
})

func migrate(databaseURL string) error {
	opened, err := store.Open(context.Background(), databaseURL, store.Options{})
	if err != nil {
		return err
	}
	return opened.Close()
}

var tables struct {
	sync.Once
	statements string
	err        error
}

// MariaDB gives the URL of a new schema on the server that a package's tests share, over its socket.
func MariaDB(t testing.TB) string {
	t.Helper()
	s := sqltest.Shared(t)
	tables.Do(func() { tables.statements, tables.err = describe(s, s.Schema(t)) })
	if tables.err != nil {
		t.Fatalf("make a schema to copy: %v", tables.err)
	}
	made := s.Schema(t)
	db, err := sql.Open("mysql", s.DSN(made)+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(tables.statements); err != nil {
		t.Fatalf("copy a schema: %v", err)
	}
	return made
}

// describe migrates an empty schema and gives the statements that make another like it.
func describe(s *sqltest.Server, template string) (string, error) {
	if err := migrate(template); err != nil {
		return "", err
	}
	db, err := sql.Open("mysql", s.DSN(template))
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := path.Base(s.DSN(template))
	rows, err := db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = ?`, name)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var statements []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return "", err
		}
		from := "`" + name + "`.`" + table + "`"
		statements = append(statements, "CREATE TABLE `"+table+"` LIKE "+from, "INSERT INTO `"+table+"` SELECT * FROM "+from)
	}
	return strings.Join(statements, ";\n"), rows.Err()
}
