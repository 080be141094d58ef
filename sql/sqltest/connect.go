package sqltest

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

// Connect opens a database directly, as an operator does. While the store writes to a SQLite file, it waits. Idle
// connections are not kept: they would outlive a killed database, and the driver logs that.
func Connect(t testing.TB, databaseURL string) *sqlx.DB {
	t.Helper()
	driver, source := "mysql", ""
	if path, isFile := strings.CutPrefix(databaseURL, "sqlite:"); isFile {
		uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "_pragma=busy_timeout(10000)"}
		driver, source = "sqlite", uri.String()
	} else {
		parsed, err := url.Parse(databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		address := "tcp(" + parsed.Host + ")"
		if socket := parsed.Query().Get("socket"); socket != "" {
			address = "unix(" + socket + ")"
		}
		source = "root@" + address + parsed.Path
	}
	db, err := sqlx.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(0)
	t.Cleanup(func() { db.Close() })
	return db
}
