package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/vault/vaulttest"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

var (
	ctx         = context.Background()
	keyringText = crypto.NewKeyringText("test")
	now         = otp.At(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
)

func TestMain(m *testing.M) { sqltest.Main(m) }

// open is one server's log.
func open(t testing.TB, url string) *Log {
	t.Helper()
	store, opened := vaulttest.Open(t, url, keyringText)
	log, err := Open(Options{Store: store, Vault: opened, Log: slog.New(slog.DiscardHandler), CallDays: 30,
		ChangeDays: 400})
	require.NoError(t, err)
	return log
}

// change records a change.
func change(t testing.TB, l *Log, at otp.Millis, details string) {
	t.Helper()
	require.NoError(t, l.store.Change(ctx, func(tx *sql.Tx) error {
		return tx.Record(otp.Change{ID: sql.NewID(), At: at, Kind: otp.PersonChanged, Account: "919551492394",
			Actor: otp.Actor{Kind: "operator"}, Details: map[string]string{"name": details}})
	}))
}

func call(at otp.Millis, account string) Call {
	return Call{Began: at.Time(), Action: "POST /v1/verify", Account: account, Address: netip.MustParseAddr("203.0.113.7"),
		Result: "ok",
		Method: "POST", Status: 200, Took: time.Millisecond}
}

func seal(t testing.TB, l *Log) Checkpoint {
	t.Helper()
	c, err := l.Seal(ctx)
	require.NoError(t, err)
	return c
}

// fill makes a log with changes and calls, sealed one after the other, and returns every checkpoint.
func fill(t testing.TB, l *Log, entries int) (checkpoints []Checkpoint) {
	t.Helper()
	for i := range entries {
		if i%3 == 2 {
			l.Record(call(now+otp.Millis(i), "919551492394"), nil)
		} else {
			change(t, l, now+otp.Millis(i), fmt.Sprint("name ", i))
		}
		checkpoints = append(checkpoints, seal(t, l))
	}
	return checkpoints
}

func file(checkpoints ...Checkpoint) string {
	var text strings.Builder
	for _, c := range checkpoints {
		text.WriteString(c.Note + "\n")
	}
	return text.String()
}

// bySQL changes the database directly, as its owner can.
func bySQL(t testing.TB, url string, statements ...string) {
	t.Helper()
	db := sqltest.Connect(t, url)
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// forget has the statements after which the tree is computed again, from entries that somebody has changed.
var forget = []string{
	`DELETE FROM audit_tiles`, `DELETE FROM audit_terms`,
	`UPDATE audit_tree SET size = 0, root = X'E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855'`,
	`DELETE FROM audit_pages`, `UPDATE changes SET place = NULL`,
}

func TestVerify_NamesTheFirstEntryThatWasTamperedWith(t *testing.T) {
	for name, tt := range map[string]struct {
		statements []string
		place      int64
		problem    string
	}{
		"edited":       {[]string{`UPDATE changes SET details = '{"name":"other"}' WHERE place = 4`}, 4, "changed"},
		"actor edited": {[]string{`UPDATE changes SET actor_kind = 'person' WHERE place = 7`}, 7, "changed"},
		"time edited":  {[]string{`UPDATE changes SET at = at + 1 WHERE place = 6`}, 6, "changed"},
		"key added":    {[]string{`UPDATE changes SET credential_id = id WHERE place = 3`}, 3, "changed"},
		"removed":      {[]string{`DELETE FROM changes WHERE place = 3`}, 3, "removed before its time"},
		"unsealed":     {[]string{`UPDATE changes SET place = NULL WHERE place = 3`}, 3, "removed before its time"},
		"calls removed": {[]string{`UPDATE audit_pages SET calls = NULL WHERE place = 5`}, 5,
			"removed before its time"},
		"calls damaged": {[]string{`UPDATE audit_pages SET calls = X'00' WHERE place = 5`}, 5,
			"removed before its time"},
		"page removed":       {[]string{`DELETE FROM audit_pages WHERE place = 6`}, 6, "missing"},
		"last pages removed": {[]string{`DELETE FROM audit_pages WHERE place >= 9`}, 9, "missing"},
		"reordered": {[]string{`UPDATE changes SET place = 99 WHERE place = 3`,
			`UPDATE changes SET place = 3 WHERE place = 6`, `UPDATE changes SET place = 6 WHERE place = 99`}, 3, "changed"},
		"inserted beyond": {[]string{`UPDATE changes SET place = 12 WHERE place = 10`,
			`UPDATE audit_tree SET size = 10`, `DELETE FROM audit_pages WHERE place >= 10`}, 0, "root"},
		"in the place of call": {[]string{`UPDATE changes SET place = 5 WHERE place = 6`}, 5, "was added"},
		"stub edited": {[]string{`UPDATE audit_pages SET stubs = (SELECT s FROM (SELECT stubs s
			FROM audit_pages WHERE place = 3) x) WHERE place = 4`}, 4, "changed"},
		"page sealed twice": {[]string{`UPDATE audit_pages SET entries = 2 WHERE place = 4`}, 4, "cut off"},
		"tile damaged":      {[]string{`UPDATE audit_tiles SET hashes = X'00'`}, 0, "not the one in the tree"},
		"root edited": {[]string{`UPDATE audit_tree SET root =
			X'0000000000000000000000000000000000000000000000000000000000000000'`}, 0, "root"},
	} {
		t.Run(name, func(t *testing.T) {
			url := migrated.SQLite(t)
			l := open(t, url)
			fill(t, l, 12)
			_, err := l.Verify(ctx, nil, now)
			require.NoError(t, err)
			bySQL(t, url, tt.statements...)
			_, err = l.Verify(ctx, nil, now)
			fault, is := errors.AsType[*Fault](err)
			require.True(t, is, "%v", err)
			require.Equal(t, tt.place, fault.Place, fault.Error())
			require.Contains(t, fault.Problem, tt.problem)
		})
	}
}

// Somebody with the database and the keyring can write a log that verifies. Earlier checkpoints show that. The fault
// names the exact entry if there is a checkpoint for each entry, else the first one after the last checkpoint that
// matches.
func TestVerify_AnEarlierCheckpointFindsATreeThatWasComputedAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		statements []string
		again      int // changes that are added afterwards
		place      int64
	}{
		"edited":  {[]string{`UPDATE changes SET details = '{"name":"other"}' WHERE place = 4`}, 0, 4},
		"removed": {[]string{`DELETE FROM changes WHERE place = 4`}, 4, 4},
		"reordered": {[]string{`UPDATE changes SET at = 1 - at WHERE place IN (3, 4)`,
			`UPDATE changes SET details = '{}' WHERE place = 3`}, 0, 3},
		"inserted": {[]string{`INSERT INTO changes (id, at, kind, actor_kind, address, request_id, esme_address, details)
			VALUES (X'00000000000000000000000000000001', 1, 'session.began', 'person', '', '', '', '')`}, 0, 0},
		"tail cut": {[]string{`DELETE FROM changes WHERE place >= 9`}, 0, 9},
	} {
		t.Run(name, func(t *testing.T) {
			over := func(_ *testing.T, test func(*testing.T, string)) {
				test(t, migrated.SQLite(t))
			}
			if name == "removed" {
				over = migrated.OnBoth
			}
			over(t, func(t *testing.T, url string) {
				l := open(t, url)
				var checkpoints []Checkpoint
				for i := range 12 {
					change(t, l, now, fmt.Sprint("name ", i))
					checkpoints = append(checkpoints, seal(t, l))
				}
				bySQL(t, url, append(tt.statements, forget...)...)
				for i := range tt.again {
					change(t, l, now, fmt.Sprint("again ", i))
				}
				seal(t, l)
				_, err := l.Verify(ctx, nil, now)
				require.NoError(t, err, "the log fits itself")

				_, err = l.Verify(ctx, strings.NewReader(file(checkpoints...)), now)
				fault, is := errors.AsType[*Fault](err)
				require.True(t, is, "%v", err)
				require.Equal(t, tt.place, fault.Place, fault.Error())

				_, err = l.Verify(ctx, strings.NewReader(file(checkpoints[1], checkpoints[11])), now)
				fault, is = errors.AsType[*Fault](err)
				require.True(t, is, "%v", err)
				require.LessOrEqual(t, fault.Place, tt.place, fault.Error())
			})
		})
	}
}

func TestVerify_RefusesCheckpointsOfOthers(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	other := open(t, migrated.SQLite(t))
	ours, theirs := fill(t, l, 3), fill(t, other, 3)
	for name, text := range map[string]string{
		"another log":       theirs[2].Note,
		"edited size":       strings.Replace(ours[2].Note, "\n3\n", "\n2\n", 1),
		"edited time":       strings.Replace(ours[2].Note, "2026", "2025", 1),
		"no signature":      strings.Split(ours[2].Note, "\n\n")[0] + "\n\n",
		"cut signature":     ours[2].Note[:len(ours[2].Note)-9] + "\n",
		"no checkpoint":     "hello\n",
		"binary":            "\x00\x01\xff",
		"a line too many":   strings.Replace(ours[2].Note, "\n3\n", "\n3\n3\n", 1),
		"second is foreign": ours[2].Note + "\n" + theirs[2].Note,
		"no end":            strings.Repeat("x\n", 1<<20),
		"no end of a line":  strings.Repeat("x", 1<<20),
		"only a signature":  ours[2].Note[strings.Index(ours[2].Note, "— "):],
	} {
		_, err := l.Verify(ctx, strings.NewReader(text), now)
		require.Error(t, err, name)
		_, is := errors.AsType[*Fault](err)
		require.False(t, is, "%s: the log itself is in order", name)
	}
	for name, text := range map[string]string{
		"one": ours[1].Note, "all": file(ours...), "none": "", "in any order": file(ours[2], ours[0]),
		"without blank lines between": ours[0].Note + ours[1].Note,
		"with CRLF":                   strings.ReplaceAll(file(ours...), "\n", "\r\n"),
	} {
		_, err := l.Verify(ctx, strings.NewReader(text), now)
		require.NoError(t, err, name)
	}
}

// A change and its entry are one transaction.
func TestChange_DoesNotHappenWithoutItsEntry(t *testing.T) {
	url := migrated.SQLite(t)
	l := open(t, url)
	bySQL(t, url, `CREATE TRIGGER refuse BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'no'); END`)
	invite := sql.Ticket{ID: sql.NewID(), Hash: [32]byte{1}, Purpose: "invite", CreatedAt: now, ExpiresAt: now + otp.Day}
	require.Error(t, l.store.Change(ctx, func(tx *sql.Tx) error {
		if err := tx.InsertTicket(invite); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.PersonInvited})
	}))
	_, err := l.store.People.Ticket(ctx, invite.Hash)
	require.ErrorIs(t, err, sql.ErrNotFound)
}

func TestSeal_TwoServersShareOneLogRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := []*Log{open(t, url), open(t, url)}
		finished := make(chan error, len(servers))
		for _, l := range servers {
			go func() {
				for i := range 40 {
					err := l.store.Change(ctx, func(tx *sql.Tx) error {
						return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.PersonChanged})
					})
					l.Record(call(now, "919551492394"), nil)
					if err == nil && i%4 == 3 {
						_, err = l.Seal(ctx)
					}
					if err != nil {
						finished <- err
						return
					}
				}
				_, err := l.Seal(ctx)
				finished <- err
			}()
		}
		for range servers {
			require.NoError(t, <-finished)
		}
		require.Equal(t, int64(160), seal(t, servers[0]).Size, "each change and call has one place")
		report, err := servers[1].Verify(ctx, nil, now)
		require.NoError(t, err)
		require.Equal(t, int64(160), report.Entries)
		require.Zero(t, report.Removed)
	})
}

// An entry that commits late is sealed late, although its id is older than that of the newest place.
func TestSeal_FindsWhatCommitsLate(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	late := sql.NewID()
	fill(t, l, 3)
	require.NoError(t, l.store.Change(ctx, func(tx *sql.Tx) error {
		return tx.Record(otp.Change{ID: late, At: now - otp.Hour, Kind: otp.PersonChanged})
	}))
	require.Equal(t, int64(4), seal(t, l).Size)
	sealed, err := l.store.Audit.Changes(ctx, 3, 4)
	require.NoError(t, err)
	require.Equal(t, late, sealed[0].ID)
}

func TestSweep_RemovesContentAndKeepsTheProof(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		l := open(t, url)
		old, at := otp.At(time.Now())-31*otp.Day, otp.At(time.Now())
		for range 3 {
			l.Record(call(old, "919551492394"), nil)
			change(t, l, old, "old")
			seal(t, l)
		}
		checkpoint := seal(t, l)
		bySQL(t, url, fmt.Sprintf(`UPDATE audit_pages SET sealed_at = %d`, int64(old)))
		l.Record(call(at, "919551492394"), nil)
		seal(t, l)
		require.NoError(t, l.Sweep(ctx, at))
		report, err := l.Verify(ctx, strings.NewReader(file(checkpoint)), at)
		require.NoError(t, err)
		require.Equal(t, int64(3), report.Removed, "calls of before 30 days, and nothing else")
		require.Equal(t, int64(7), report.Entries)

		require.NoError(t, l.Sweep(ctx, at+370*otp.Day))
		report, err = l.Verify(ctx, strings.NewReader(file(checkpoint)), at+370*otp.Day)
		require.NoError(t, err)
		require.Equal(t, int64(7), report.Removed)
		left, err := l.store.Audit.Changes(ctx, 0, 100)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// The tiles and roots are tlog's, whatever the steps in which the tree grows.
func TestGrow_MakesTheTreeOfRFC6962(t *testing.T) {
	for _, steps := range [][]int{{1}, {2}, {3}, {255}, {256}, {257}, {1, 1, 1, 1, 1}, {255, 1}, {256, 1},
		{100, 156, 600}, {7, 65529}, {65536, 1}, {65000, 1000, 3}} {
		tiles := map[[2]int64][]byte{}
		read := func(level int, number int64) ([]byte, error) { return tiles[[2]int64{int64(level), number}], nil }
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			found := make([]tlog.Hash, len(indexes))
			for i, index := range indexes {
				found[i] = stored[index]
			}
			return found, nil
		})
		var p peaks
		size := int64(0)
		for _, n := range steps {
			leaves := make([]tlog.Hash, n)
			for i := range leaves {
				leaves[i] = tlog.RecordHash([]byte(fmt.Sprint(size + int64(i))))
				more, err := tlog.StoredHashesForRecordHash(size+int64(i), leaves[i], reader)
				require.NoError(t, err)
				stored = append(stored, more...)
				p.add(leaves[i])
			}
			changed, root, err := grow(size, leaves, read)
			require.NoError(t, err)
			size += int64(n)
			want, err := tlog.TreeHash(size, reader)
			require.NoError(t, err)
			require.Equal(t, want, root, "%v", steps)
			require.Equal(t, want, p.root(), "%v", steps)
			for _, tile := range changed {
				tiles[[2]int64{int64(tile.Level), tile.Number}] = tile.Hashes
			}
		}
		proof, err := tlog.ProveRecord(size, size/2, tlog.HashReaderFunc(readTile(read).hashes))
		require.NoError(t, err)
		root := p.root()
		require.NoError(t, tlog.CheckRecord(proof, size, root, size/2, tlog.RecordHash([]byte(fmt.Sprint(size/2)))))
	}
}

// The content of an entry is part of the database's format: another form would break the proofs of all entries.
func TestEntry_KeepsItsForm(t *testing.T) {
	id := otp.ID{1, 2, 3}
	content := ofChange(otp.Change{ID: id, At: now, Kind: otp.PersonChanged, Person: id, Account: "919551492394",
		Credential: id, Details: map[string]string{"b": "2", "a": "<1>"},
		Actor: otp.Actor{Kind: "person", ID: id, Session: id, Address: "203.0.113.7", Request: "req_1"}}).encode()
	require.Equal(t, `{"type":"change","id":"chg_04106000000000000000000000","at":"2026-11-29T12:00:00Z",`+
		`"action":"person.changed",`+
		`"actor":"per_04106000000000000000000000","actor_kind":"person","session":"ses_04106000000000000000000000",`+
		`"address":"203.0.113.7","request_id":"req_1","person":"per_04106000000000000000000000",`+
		`"account":"919551492394","credential":"key_04106000000000000000000000","result":"ok",`+
		`"details":{"a":"\u003c1\u003e","b":"2"}}`,
		string(content))
	s := stubOf(ChangeEntry, now, content)
	require.True(t, s.fits(content))
	require.Equal(t, "77fd50e6404d913912fe144fb0e930c8609ab4fa2fa84bb4d32657fa189e08e1",
		fmt.Sprintf("%x", [32]byte(s.hash())), "SHA-256 of 0, 1, the time in 8 bytes, and the SHA-256 of the content")
}

// Webhooks get checkpoints at most once a minute, and Behind returns how long the log could not be sealed.
func TestStart_TellsOfCheckpointsAndSaysHowFarItIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		var told []Checkpoint
		l.Tell = func(_ context.Context, c Checkpoint) error {
			told = append(told, c)
			return nil
		}
		require.Zero(t, l.Behind())
		l.Start()
		defer l.Close()
		for range 70 {
			change(t, l, otp.At(time.Now()), "again")
			time.Sleep(time.Second)
		}
		require.Len(t, told, 2)
		require.Less(t, l.Behind(), 2*time.Second)
		require.NoError(t, l.store.Close())
		time.Sleep(2 * time.Minute)
		require.Greater(t, l.Behind(), 118*time.Second)
	})
}

// Calls that come while others are sealed wait for the next sealing, because each sealing is a commit that codes would
// wait for.
func TestStart_SealsTwiceASecondHoweverManyCallsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, migrated.SQLite(t))
		var sealings atomic.Int64
		l.Pushed = func(context.Context) error {
			if sealings.Add(1) < 100 {
				l.Record(call(otp.At(time.Now()), "919551492394"), nil)
			}
			return nil
		}
		l.Start()
		l.Record(call(otp.At(time.Now()), "919551492394"), nil)
		time.Sleep(10*time.Second + time.Millisecond)
		require.EqualValues(t, 20, sealings.Load())
		sealings.Store(100)
		l.Close()
		require.Equal(t, int64(21), seal(t, l).Size, "none is left out at the end")
	})
}
