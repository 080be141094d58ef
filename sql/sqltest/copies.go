package sqltest

import (
	"database/sql"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Copies gives databases that have a schema already. It is made once and copied from then on: migrating takes half
// a second under the race detector and more on MariaDB, a copy some milliseconds.
type Copies struct {
	// Migrate brings the schema of an empty database up to date and leaves nothing open.
	Migrate func(databaseURL string) error

	file, tables sync.Once
	content      []byte // of a SQLite file
	statements   string // that make a schema of MariaDB
	err          error
}

// SQLite gives the URL of a file in a folder of the test's own.
func (c *Copies) SQLite(t testing.TB) string {
	t.Helper()
	return c.At(t, filepath.Join(t.TempDir(), "otp.db"))
}

// At is SQLite with a path that matters to the test. A file that is there stays as it is.
func (c *Copies) At(t testing.TB, path string) string {
	t.Helper()
	c.file.Do(func() { c.content, c.err = c.makeFile() })
	if c.err != nil {
		t.Fatalf("make a database to copy: %v", c.err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return "sqlite:" + path
	}
	if err := os.WriteFile(path, c.content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

func (c *Copies) makeFile() ([]byte, error) {
	folder, err := os.MkdirTemp("", "migrated")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "otp.db")
	if err := c.Migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // SQLite has emptied its log when it closed the file
}

// MariaDB gives the URL of a schema on the server that a package's tests share, over its socket.
func (c *Copies) MariaDB(t testing.TB) string {
	t.Helper()
	s := Shared(t)
	c.tables.Do(func() { c.statements, c.err = c.describe(s, s.Schema(t)) })
	if c.err != nil {
		t.Fatalf("make a schema to copy: %v", c.err)
	}
	made := s.Schema(t)
	db, err := sql.Open("mysql", s.DSN(made)+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(c.statements); err != nil {
		t.Fatalf("copy a schema: %v", err)
	}
	return made
}

// describe migrates an empty schema and gives the statements that make another like it.
func (c *Copies) describe(s *Server, template string) (string, error) {
	if err := c.Migrate(template); err != nil {
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
