package sqltest

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
)

// Backup copies a database, a schema of the shared MariaDB or a closed SQLite file. restore puts the copy back in its
// place.
func Backup(t testing.TB, databaseURL string) (restore func()) {
	t.Helper()
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		return backupFile(t, path)
	}
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	from, to := strings.Trim(parsed.Path, "/"), fmt.Sprintf("backup%d", Shared(t).schemas.Add(1))
	copyTables(t, from, to)
	return func() { copyTables(t, to, from) }
}

func backupFile(t testing.TB, path string) (restore func()) {
	content := map[string][]byte{}
	for _, suffix := range []string{"", "-wal"} {
		if bytes, err := os.ReadFile(path + suffix); err == nil {
			content[suffix] = bytes
		}
	}
	return func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
			if content[suffix] != nil {
				if err := os.WriteFile(path+suffix, content[suffix], 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// copyTables makes a schema a copy of another, as loading a dump does: every table is dropped and created again.
func copyTables(t testing.TB, from, to string) {
	t.Helper()
	s := Shared(t)
	tables, err := s.tables(from)
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{"CREATE DATABASE IF NOT EXISTS " + to + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"}
	for _, table := range tables {
		statements = append(statements,
			fmt.Sprintf("DROP TABLE IF EXISTS %s.%s", to, table),
			fmt.Sprintf("CREATE TABLE %s.%s LIKE %s.%s", to, table, from, table),
			fmt.Sprintf("INSERT INTO %s.%s SELECT * FROM %s.%s", to, table, from, table))
	}
	if err := s.Exec(statements...); err != nil {
		t.Fatal(err)
	}
}
