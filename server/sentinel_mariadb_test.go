package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/sql/sqltest"
)

// The same calls and the same search, for what a thief of a MariaDB server gets: a dump of every table, and every file
// of its data folder, after a power cut and after a shutdown.
func TestSentinel_NothingSecretIsInAMariaDBsDumpOrFilesFault(t *testing.T) {
	l := new(ledger)
	database := sqltest.Own(t)
	address := database.Schema(t)
	w := new(witness)
	ring := crypto.NewKeyringText("k1")
	ringKey, err := base64.StdEncoding.DecodeString(strings.Fields(ring)[1])
	require.NoError(t, err)
	w.add(bytesSentinel("keyring", ringKey))
	c := startChild(t, t.TempDir(), "OTPBRIDGE_KEYRING="+ring, "OTPBRIDGE_LOG_LEVEL=debug",
		"OTPBRIDGE_TRUSTED_PROXIES=127.0.0.1",
		"OTPBRIDGE_DATABASE_URL="+address, "OTPBRIDGE_DELIVERY_WAIT=300ms")
	w.everyServlet(c)
	w.everySandboxCall(c)
	w.everyMalformedRequest(c)
	for _, m := range c.messages("limit=500") {
		if len(m.Code) == 10 {
			w.add(digitsSentinel("code", m.Code))
		}
	}
	c.kill()
	require.Greater(t, len(w.sentinels), 150)
	l.inject(len(w.sentinels))
	l.acknowledge(strings.Count(c.log.String(), "msg=request"))

	db := sqltest.Connect(t, address)
	places := dump(t, db)
	for _, table := range []string{"otp_auth_config", "credentials", "recipients", "challenges", "events", "index_key",
		"keyring_keys"} {
		l.equal(true, len(places["table "+table]) > 0, "the dump has rows of %s", table)
	}
	places["the log"] = []byte(c.log.String())
	w.searchAll(l, places)
	database.Kill()
	files := dataFiles(t, database)
	l.equal(true, len(files["ib_logfile0"]) > 0, "the log of writes was searched")
	w.searchAll(l, files)
	require.NoError(t, database.Start())
	database.Stop()
	files = dataFiles(t, database)
	for _, name := range []string{"recipients.ibd", "challenges.ibd", "events.ibd", "credentials.ibd",
		"otp_auth_config.ibd"} {
		l.equal(true, len(files[name]) > 0, "%s was searched", name)
	}
	w.searchAll(l, files)

	// The search finds a planted value in the dump and in the files.
	require.NoError(t, database.Start())
	_, err = db.Exec("CREATE TABLE planted (value LONGBLOB NOT NULL)")
	require.NoError(t, err)
	for _, s := range w.sentinels {
		_, err := db.Exec("INSERT INTO planted (value) VALUES (?)", []byte(" "+s.value()+" "))
		require.NoError(t, err)
	}
	places = dump(t, db)
	database.Stop()
	for place, planted := range map[string][]byte{
		"the dump":  places["table planted"],
		"the files": dataFiles(t, database)["planted.ibd"],
	} {
		l.equal(len(w.sentinels), len(leaks(planted, w.sentinels)), "sentinels planted and found in %s", place)
	}
	l.report(t)
}

// searchAll looks through each place for every sentinel.
func (w *witness) searchAll(l *ledger, places map[string][]byte) {
	read := 0
	for place, content := range places {
		read += len(content)
		l.recheck(1)
		for _, found := range leaks(content, w.sentinels) {
			l.violate("%s in %s", found, place)
		}
	}
	l.note("%d places searched, %d KiB", len(places), read>>10)
}

// dump reads every table of the schema, row after row and byte by byte.
func dump(t *testing.T, db *sqlx.DB) map[string][]byte {
	t.Helper()
	var tables []string
	require.NoError(t,
		db.Select(&tables, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`))
	dumped := map[string][]byte{}
	for _, table := range tables {
		rows, err := db.Queryx("SELECT * FROM " + table)
		require.NoError(t, err)
		var text bytes.Buffer
		for rows.Next() {
			values, err := rows.SliceScan()
			require.NoError(t, err)
			for _, value := range values {
				if raw, isBytes := value.([]byte); isBytes {
					text.Write(raw)
				} else {
					fmt.Fprint(&text, value)
				}
				text.WriteByte('\t')
			}
			text.WriteByte('\n')
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		dumped["table "+table] = text.Bytes()
	}
	return dumped
}

// dataFiles returns all files below the server's data folder, by name, without empty pages, of which a new redo log
// consists.
func dataFiles(t *testing.T, database *sqltest.Server) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(database.Data(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[entry.Name()] = append(files[entry.Name()], withoutEmptyPages(content)...)
		return err
	}))
	return files
}

func withoutEmptyPages(content []byte) []byte {
	const page = 4096
	empty := make([]byte, page)
	kept := content[:0]
	for len(content) > 0 {
		next := content[:min(page, len(content))]
		if !bytes.Equal(next, empty) {
			kept = append(kept, next...)
		}
		content = content[len(next):]
	}
	return kept
}
