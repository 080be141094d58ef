package sqltest

import (
	"database/sql"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Copies makes databases that already have a schema. The schema is made once and then copied: migrating takes half a
// second under the race detector and more on MariaDB, a copy some milliseconds.
type Copies struct {
	// Migrate brings the schema of an empty database up to date and leaves nothing open.
	Migrate func(databaseURL string) error

	file struct {
		once    sync.Once
		content []byte
		err     error
	}
	schema struct {
		once       sync.Once
		statements string
		err        error
	}
}

// SQLite returns the URL of a new file in a folder for the test.
func (c *Copies) SQLite(t testing.TB) string {
	t.Helper()
	return c.At(t, filepath.Join(t.TempDir(), "otp.db"))
}

// At is SQLite with a given path. An existing file is not changed.
func (c *Copies) At(t testing.TB, path string) string {
	t.Helper()
	c.file.once.Do(func() { c.file.content, c.file.err = c.makeFile() })
	if c.file.err != nil {
		t.Fatalf("make a database to copy: %v", c.file.err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return "sqlite:" + path
	}
	if err := os.WriteFile(path, c.file.content, 0o600); err != nil {
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
	return os.ReadFile(path) // SQLite emptied its log when it closed the file
}

// MariaDB returns the URL of a new schema on the package's shared server, over its socket.
func (c *Copies) MariaDB(t testing.TB) string {
	t.Helper()
	s := Shared(t)
	c.schema.once.Do(func() { c.schema.statements, c.schema.err = c.describe(s, s.Schema(t)) })
	if c.schema.err != nil {
		t.Fatalf("make a schema to copy: %v", c.schema.err)
	}
	made := s.Schema(t)
	db, err := sql.Open("mysql", s.DSN(made)+"?multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(c.schema.statements); err != nil {
		t.Fatalf("copy a schema: %v", err)
	}
	return made
}

// describe migrates an empty schema and returns the statements that create another like it.
func (c *Copies) describe(s *Server, template string) (string, error) {
	if err := c.Migrate(template); err != nil {
		return "", err
	}
	name := path.Base(s.DSN(template))
	tables, err := s.tables(name)
	if err != nil {
		return "", err
	}
	var statements []string
	for _, table := range tables {
		from := "`" + name + "`.`" + table + "`"
		statements = append(statements, "CREATE TABLE `"+table+"` LIKE "+from, "INSERT INTO `"+table+"` SELECT * FROM "+from)
	}
	return strings.Join(statements, ";\n"), nil
}

// tables lists the tables of a schema.
func (s *Server) tables(schema string) (names []string, err error) {
	db, err := sql.Open("mysql", fmt.Sprintf("root@unix(%s)/", s.socket()))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = ?`, schema)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
