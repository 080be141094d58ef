package sql

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// reopened is a store that is closed and opened again on the same database, like a restarted server.
type reopened struct {
	*Store
	t       *testing.T
	url     string
	options Options
}

func (r *reopened) restart(between ...func()) {
	r.t.Helper()
	if r.Store != nil {
		require.NoError(r.t, r.Close())
	}
	for _, do := range between {
		do()
	}
	s, err := Open(ctx, r.url, r.options)
	require.NoError(r.t, err)
	r.Store = s
}

// onRestarted runs a test with a store whose state is in a separate folder.
func onRestarted(t *testing.T, test func(t *testing.T, r *reopened)) {
	onBoth(t, func(t *testing.T, url string) {
		r := &reopened{t: t, url: url, options: Options{Sandbox: true, State: filepath.Join(t.TempDir(), "state")}}
		r.restart()
		defer func() { require.NoError(t, r.Close()) }()
		test(t, r)
	})
}

// A code that was used after the backup, one whose attempts were used up, and one that was live all the time are all
// rejected after the restore.
func TestOpen_EndsTheCodesOfARestoredBackup(t *testing.T) {
	onRestarted(t, func(t *testing.T, r *reopened) {
		now := otp.At(time.Now())
		used, spent, live := [2]otp.ID{nextID(), nextID()}, [2]otp.ID{nextID(), nextID()}, [2]otp.ID{nextID(), nextID()}
		for _, who := range [][2]otp.ID{used, spent, live} {
			op, _ := generate(who[0], who[1], policy, now)
			require.NoError(t, r.Do(op))
		}
		var restore func()
		r.restart(func() { restore = sqltest.Backup(t, r.url) })
		require.Nil(t, r.Restored(), "a restart restores nothing")
		require.NoError(t, r.Do(verify(used[0], used[1], true, now)))
		for range policy.MaxAttempts {
			require.Error(t, r.Do(verify(spent[0], spent[1], false, now)))
		}

		r.restart(restore)
		require.NotNil(t, r.Restored())
		require.Equal(t, 3, r.Restored().Ended)
		for _, who := range [][2]otp.ID{used, spent, live} {
			require.Equal(t, otp.Canceled, otp.KindOf(r.Do(verify(who[0], who[1], true, now))))
		}
		op, _ := generate(used[0], used[1], policy, now)
		require.NoError(t, r.Do(op), "new codes are as good as ever")
		r.restart()
		require.Nil(t, r.Restored(), "it is found once")
		require.NoError(t, r.Do(verify(used[0], used[1], true, now)))
		found, err := r.Restores(ctx, 0)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, 3, found[0].Ended)
		require.LessOrEqual(t, found[0].From, found[0].Until)
	})
}

// What a person used up or ended after the backup lets nobody in after it was restored: a session, a link, the answer
// to a passkey's question, a code of an app. A backup code does, and the documents say so.
func TestOpen_EndsTheLoginsOfARestoredBackup(t *testing.T) {
	onRestarted(t, func(t *testing.T, r *reopened) {
		now := otp.At(time.Now())
		step := int64(now / otp.Second / stepSeconds)
		person := Person{ID: nextID(), Email: "ada@shop.example", Name: "Ada", Role: "owner", Version: 1, CreatedAt: now,
			UpdatedAt: now}
		login := Session{ID: nextID(), Person: person.ID, CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
			ExpiresAt: now + otp.Day}
		link := Ticket{ID: nextID(), Hash: [32]byte{1}, Purpose: "recovery", Person: person.ID, CreatedAt: now,
			ExpiresAt: now + otp.Day}
		asked := Ceremony{ID: nextID(), Data: []byte("{}"), ExpiresAt: now + otp.Hour}
		app := Factor{ID: nextID(), Person: person.ID, Kind: "totp", Name: "app", CreatedAt: now, ConfirmedAt: now,
			LastStep: step - 2, CredentialHash: [32]byte{2}}
		change := func(do func(tx *Tx) error) {
			t.Helper()
			require.NoError(t, r.Change(ctx, func(tx *Tx) error {
				if err := do(tx); err != nil {
					return err
				}
				return tx.Record(otp.Change{ID: NewID(), At: now, Kind: otp.SessionBegan})
			}))
		}
		change(func(tx *Tx) error {
			return errors.Join(tx.InsertPerson(person), tx.InsertSession(login, [32]byte{3}), tx.InsertTicket(link),
				r.Passkeys.InsertCeremony(tx, asked), tx.InsertFactor(app), tx.ReplaceBackupCodes(person.ID, [][32]byte{{4}}, now))
		})
		// use reports which of them let somebody in.
		use := func() (good []string) {
			now := otp.At(time.Now())
			for _, way := range []struct {
				name string
				use  func(tx *Tx) (bool, error)
			}{
				{"session", func(tx *Tx) (bool, error) { return tx.EndSession(person.ID, login.ID, now) }},
				{"link", func(tx *Tx) (bool, error) { _, used, err := tx.UseTicket(link.Hash, now); return used, err }},
				{"question", func(tx *Tx) (bool, error) { return r.Passkeys.UseCeremony(tx, asked.ID, now) }},
				{"code", func(tx *Tx) (bool, error) { return tx.UseStep(person.ID, app.ID, step, now) }},
				{"the next code", func(tx *Tx) (bool, error) { return tx.UseStep(person.ID, app.ID, step+1, now) }},
				{"backup code", func(tx *Tx) (bool, error) { return tx.UseBackupCode(person.ID, [32]byte{4}, now) }},
			} {
				change(func(tx *Tx) error {
					used, err := way.use(tx)
					if used {
						good = append(good, way.name)
					}
					return err
				})
			}
			return good
		}
		var restore func()
		r.restart(func() { restore = sqltest.Backup(t, r.url) })
		require.Len(t, use(), 6)
		require.Empty(t, use())
		r.restart(restore)
		require.NotNil(t, r.Restored())
		require.Equal(t, []string{"backup code"}, use())
	})
}

// Other things that can happen to database and state between two starts.
func TestOpen_TellsARestoredDatabaseFromOthers(t *testing.T) {
	states := func(t *testing.T, r *reopened) []string {
		found, err := filepath.Glob(filepath.Join(r.options.State, "*"))
		require.NoError(t, err)
		return found
	}
	commit := func(t *testing.T, r *reopened) {
		op, _ := generate(nextID(), nextID(), policy, otp.At(time.Now()))
		require.NoError(t, r.Do(op))
	}
	overwrite := func(t *testing.T, r *reopened, change func(text []byte) []byte) {
		for _, path := range states(t, r) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, change(text), 0o600))
		}
	}
	for _, c := range []struct {
		name     string
		between  func(t *testing.T, r *reopened, restore func())
		restored bool
	}{
		{"nothing", func(*testing.T, *reopened, func()) {}, false},
		{"restored", func(_ *testing.T, _ *reopened, restore func()) { restore() }, true},
		{"a backup of the very moment", func(t *testing.T, r *reopened, _ func()) { sqltest.Backup(t, r.url)() }, false},
		{"no state", func(t *testing.T, r *reopened, _ func()) { require.NoError(t, os.RemoveAll(r.options.State)) }, false},
		{"restored, and no state", func(t *testing.T, r *reopened, restore func()) {
			restore()
			require.NoError(t, os.RemoveAll(r.options.State))
		}, false},
		{"state cut off", func(t *testing.T, r *reopened, _ func()) {
			overwrite(t, r, func(text []byte) []byte { return text[:len(text)/2] })
		}, true},
		{"state with another number", func(t *testing.T, r *reopened, _ func()) {
			overwrite(t, r, func(text []byte) []byte { text[50] ^= 1; return text })
		}, true},
		{"state of zeros after a power cut", func(t *testing.T, r *reopened, _ func()) {
			overwrite(t, r, func(text []byte) []byte { return make([]byte, len(text)) })
		}, true},
		{"state that goes on", func(t *testing.T, r *reopened, _ func()) {
			overwrite(t, r, func(text []byte) []byte { return append(text, '\n') })
		}, true},
		{"state of another server beside it", func(t *testing.T, r *reopened, _ func()) {
			path := states(t, r)[0]
			text := testimony{server: NewID(), mark: 7}.text()
			require.NoError(t, os.WriteFile(path[:len(path)-1]+"9", text, 0o600))
		}, true},
		{"the clock set back", func(t *testing.T, r *reopened, _ func()) {
			overwrite(t, r, func(text []byte) []byte {
				said, err := parseTestimony(text)
				require.NoError(t, err)
				said.at += 365 * otp.Day
				return said.text()
			})
		}, false},
		{"marks that were swept", func(t *testing.T, r *reopened, _ func()) {
			s, err := Open(ctx, r.url, Options{})
			require.NoError(t, err)
			require.NoError(t, s.write(ctx, func(w *session) error { return w.exec(ctx, `DELETE FROM server_marks`) }))
			require.NoError(t, s.Close())
		}, true},
		{"events that were swept", func(t *testing.T, r *reopened, _ func()) {
			s, err := Open(ctx, r.url, Options{})
			require.NoError(t, err)
			require.NoError(t, s.write(ctx, func(w *session) error { return w.exec(ctx, `DELETE FROM events`) }))
			require.NoError(t, s.Close())
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onRestarted(t, func(t *testing.T, r *reopened) {
				commit(t, r)
				var restore func()
				r.restart(func() { restore = sqltest.Backup(t, r.url) })
				commit(t, r)
				r.restart(func() { c.between(t, r, restore) })
				require.Equal(t, c.restored, r.Restored() != nil)
				commit(t, r)
				require.Len(t, states(t, r), 1)
			})
		})
	}
}

// A restore under a running server is found by its next write, which is not answered.
func TestDo_NoticesARestoreUnderARunningServer(t *testing.T) {
	r := &reopened{t: t, url: migrated.MariaDB(t), options: Options{State: t.TempDir()}}
	r.restart()
	op, _ := generate(nextID(), nextID(), policy, noon)
	require.NoError(t, r.Do(op))
	restore := sqltest.Backup(t, r.url)
	op, _ = generate(nextID(), nextID(), policy, noon)
	require.NoError(t, r.Do(op))
	restore()
	for range 3 {
		op, _ = generate(nextID(), nextID(), policy, noon)
		require.ErrorIs(t, r.Do(op), ErrRestored)
		require.ErrorIs(t, r.Ready(ctx), ErrRestored)
		require.ErrorIs(t, r.Keyring.InsertCheck(ctx, "k", []byte("check"), 0), ErrRestored)
	}
	r.restart()
	require.NotNil(t, r.Restored())
	op, _ = generate(nextID(), nextID(), policy, noon)
	require.NoError(t, r.Do(op))
	require.NoError(t, r.Close())
}

// Servers that share a folder have a file each; the next start reads all of them.
func TestOpen_ServersOfOneFolderHaveAFileEach(t *testing.T) {
	onRestarted(t, func(t *testing.T, r *reopened) {
		second, err := Open(ctx, r.url, r.options)
		require.NoError(t, err)
		elsewhere, err := Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "other.db"), r.options)
		require.NoError(t, err)
		require.NoError(t, elsewhere.Close())
		for _, s := range []*Store{r.Store, second} {
			op, _ := generate(nextID(), nextID(), policy, noon)
			require.NoError(t, s.Do(op))
		}
		require.NoError(t, second.Close())
		var restore func()
		r.restart(func() { restore = sqltest.Backup(t, r.url) })
		require.Nil(t, r.Restored())

		second, err = Open(ctx, r.url, r.options)
		require.NoError(t, err)
		op, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, second.Do(op), "after the backup, and by this server alone")
		require.NoError(t, second.Close())
		r.restart(restore)
		require.NotNil(t, r.Restored())
	})
}

func FuzzParseTestimony(f *testing.F) {
	f.Add([]byte(testimony{server: id(noon, 1), mark: 42, at: noon}.text()))
	f.Add([]byte("otpbridge 1 "))
	f.Fuzz(func(t *testing.T, text []byte) {
		said, err := parseTestimony(text)
		if err == nil {
			require.Equal(t, string(text), string(said.text()), "one text for one meaning")
		}
	})
}
