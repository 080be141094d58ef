package sql

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

var ctx = context.Background()

// noon is a literal moment for tests that need no clock.
const noon = otp.Millis(1_772_366_400_000)

func openTest(t testing.TB, databaseURL string, options Options) *Store {
	t.Helper()
	s, err := Open(ctx, databaseURL, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestMain(m *testing.M) { sqltest.Main(m) }

var migrated = sqltest.Copies{Migrate: func(databaseURL string) error {
	s, err := Open(ctx, databaseURL, Options{})
	if err != nil {
		return err
	}
	return s.Close()
}}

// onBoth runs a test on each database, given the URL of one with the schema.
func onBoth(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, migrated.At(t, filepath.Join(t.TempDir(), "odd # name?.db"))) })
	t.Run("mariadb", func(t *testing.T) { test(t, migrated.MariaDB(t)) })
}

// onEmpty is onBoth with an empty database.
func onEmpty(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "odd # name?.db")) })
	t.Run("mariadb", func(t *testing.T) { test(t, sqltest.Shared(t).Schema(t)) })
}

func fresh(t testing.TB) *Store {
	return openTest(t, migrated.SQLite(t), Options{Sandbox: true})
}

// onFresh is onBoth with an open sandbox store.
func onFresh(t *testing.T, test func(t *testing.T, s *Store)) {
	onBoth(t, func(t *testing.T, databaseURL string) { test(t, openTest(t, databaseURL, Options{Sandbox: true})) })
}

// id returns a time-ordered id of the given moment.
func id(at otp.Millis, n int) (made otp.ID) {
	binary.BigEndian.PutUint64(made[:8], uint64(at)<<16)
	binary.BigEndian.PutUint64(made[8:], uint64(n))
	return made
}

var lastID struct {
	sync.Mutex
	n int
}

func nextID() otp.ID {
	lastID.Lock()
	defer lastID.Unlock()
	lastID.n++
	return id(otp.At(time.Now()), lastID.n)
}

var policy = otp.Policy{Length: 6, TTL: 5 * otp.Minute, MaxAttempts: 3, MaxRegenerations: 3,
	Limits: []otp.Limit{{Span: otp.Minute, Max: 10}}}

// generate returns an operation like the engine's.
func generate(recipient, slot otp.ID, p otp.Policy, now otp.Millis) (*Operation, *otp.Challenge) {
	made := &otp.Challenge{}
	challenge := otp.Challenge{ID: nextID(), Slot: slot, KeyID: "k", Nonce: nextID(), Channels: otp.SMS}
	op := &Operation{Event: nextID(), Account: "1", Recipient: recipient, Slot: slot, Now: now}
	op.Decide = func(s *State) error {
		*made = challenge
		if err := otp.Generate(s.Recipient, s.Mailbox, s.Challenge, made, p, s.Now); err != nil {
			return err
		}
		if s.Recipient.Version == 0 && s.Recipient.Sealed == nil {
			s.Recipient.Account, s.Recipient.Environment, s.Recipient.Sealed = "1", otp.Live, []byte("sealed")
		}
		s.Insert(made)
		s.Record(otp.Event{ID: op.Event, At: s.Now, Account: "1", Environment: otp.Live, Kind: otp.EventSent,
			Challenge: made.ID, Recipient: recipient, Send: 1})
		return nil
	}
	return op, made
}

func verify(recipient, slot otp.ID, right bool, now otp.Millis) *Operation {
	op := &Operation{Event: nextID(), Account: "1", Recipient: recipient, Slot: slot, Now: now}
	op.Decide = func(s *State) error {
		err := otp.Verify(s.Recipient, s.Challenge, otp.ClosedIsCompared, right, s.Now)
		if err == nil || otp.KindOf(err) == otp.WrongCode {
			s.Record(otp.Event{ID: op.Event, At: s.Now, Account: "1", Environment: otp.Live, Kind: otp.EventWrong,
				Challenge: s.Challenge.ID, Recipient: recipient})
		}
		return err
	}
	return op
}

func count(t testing.TB, s *Store, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, s.reads.Get(&n, query, args...))
	return n
}

func TestDo_WritesEachRowOnceAndAnswersAfterCommit(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		op, made := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM recipients WHERE seq = 1 AND version = 1`))
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges WHERE id = ? AND version = 1`, made.ID[:]))
		require.NoError(t, s.Do(verify(recipient, slot, true, noon)))
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM recipients WHERE version = 1`),
			"a right guess leaves the recipient alone")
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges WHERE version = 2 AND used_at IS NOT NULL`))
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM events`))
	})
}

func TestDo_ManyGeneratesOfOneSlotInABatchLeaveOneChallengeNotReplaced(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		lifted := policy
		lifted.Limits = nil
		var operations []*Operation
		for range 40 {
			op, _ := generate(recipient, slot, lifted, noon)
			operations = append(operations, op)
		}
		s.commit(operations)
		for _, op := range operations {
			require.NoError(t, op.err)
		}
		require.Equal(t, 40, count(t, s, `SELECT COUNT(*) FROM challenges`))
		require.Equal(t, 40, count(t, s, `SELECT seq FROM challenges WHERE replaced_at IS NULL`), "the last one")
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges WHERE replaced_at IS NULL`))
		require.Equal(t, 1, count(t, s, `SELECT version FROM recipients`), "forty applications, one write")
	})
}

func TestDo_APanicIsItsOwnOperationsAlone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		before, _ := generate(recipient, slot, policy, noon)
		panics := &Operation{Event: nextID(), Account: "1", Recipient: recipient, Slot: slot, Now: noon}
		panics.Decide = func(s *State) error {
			s.Recipient.Run, s.Challenge.Wrong = 99, 99
			s.Record(otp.Event{ID: panics.Event})
			panic("boom")
		}
		after := verify(recipient, slot, false, noon)
		s.commit([]*Operation{before, panics, after})
		require.NoError(t, before.err)
		require.ErrorContains(t, panics.err, "boom")
		require.Zero(t, otp.KindOf(panics.err), "a fault, not a refusal")
		require.Equal(t, 2, after.err.(*otp.Error).Remaining, "what the panicking rule had written is gone")
		require.Equal(t, 1, count(t, s, `SELECT run FROM recipients`))
	})
}

func TestDo_ARefusalChangesNothingEvenIfItsRuleDid(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient := nextID()
		op := &Operation{Event: nextID(), Account: "1", Recipient: recipient, Slot: nextID(), Now: noon}
		op.Decide = func(s *State) error {
			s.Recipient.Seq, s.Recipient.UpdatedAt = 7, noon
			return otp.Refuse(otp.OverLimit, "")
		}
		require.Equal(t, otp.OverLimit, otp.KindOf(s.Do(op)))
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM recipients`)+count(t, s, `SELECT COUNT(*) FROM events`))
	})
}

func TestDo_OneOperationsBadDataDoesNotFailItsBatch(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		good, _ := generate(nextID(), nextID(), policy, noon)
		bad, _ := generate(nextID(), nextID(), policy, noon)
		decide := bad.Decide
		bad.Decide = func(s *State) error {
			err := decide(s)
			s.inserted.KeyID = string(make([]byte, 10))
			s.Recipient.Sealed = nil // NOT NULL
			return err
		}
		other, _ := generate(nextID(), nextID(), policy, noon)
		s.commit([]*Operation{good, bad, other})
		require.NoError(t, good.err)
		require.NoError(t, other.err)
		require.Error(t, bad.err)
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM challenges`))
	})
}

func TestCommit_ARowThatChangedUnderTheGuardSendsTheBatchRoundAgain(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		op, _ := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		runs := 0
		wrong := verify(recipient, slot, false, noon)
		decide := wrong.Decide
		wrong.Decide = func(state *State) error {
			if runs++; runs == 1 {
				state.Recipient.Version += 5 // as if another server had written since the load
			}
			return decide(state)
		}
		require.Equal(t, 2, s.Do(wrong).(*otp.Error).Remaining)
		require.Equal(t, 2, runs)
		require.Equal(t, 1, count(t, s, `SELECT wrong FROM challenges`), "charged once")
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM events`))
	})
}

func TestCommit_GivesUpAfterTenTries(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		op, _ := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		runs := 0
		wrong := verify(recipient, slot, false, noon)
		decide := wrong.Decide
		wrong.Decide = func(state *State) error {
			runs++
			state.Recipient.Version += 5
			return decide(state)
		}
		require.ErrorIs(t, s.Do(wrong), errGuard)
		require.Equal(t, maxTries, runs)
		require.Zero(t, count(t, s, `SELECT wrong FROM challenges`))
	})
}

// After a COMMIT whose answer was lost the batch is run again; its events show that it happened.
func TestRunBatch_ARetryFindsItsEventsAndRepeatsNothing(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		op, _ := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		wrong := verify(recipient, slot, false, noon)
		again := func(retry bool) {
			require.NoError(t, s.writer.transaction(ctx, s.dialect.begin, func(w *session) error {
				return s.runBatch(w, []*Operation{wrong}, retry)
			}))
		}
		again(false)
		again(true)
		again(true)
		require.Equal(t, 2, wrong.err.(*otp.Error).Remaining, "the same attempt keeps its answer")
		require.Equal(t, 1, count(t, s, `SELECT wrong FROM challenges`))
		require.Equal(t, 1, count(t, s, `SELECT run FROM recipients`))
	})
}

func TestDo_AFullQueueRefusesBeforeAnythingIsCharged(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		s.writing.Lock() // the consumer is stuck in its batch
		var waiting sync.WaitGroup
		var refused, done int
		var mu sync.Mutex
		for range QueueLength + maxBatch + 100 {
			waiting.Go(func() {
				op, _ := generate(nextID(), nextID(), policy, noon)
				err := s.Do(op)
				mu.Lock()
				defer mu.Unlock()
				if otp.KindOf(err) == otp.Overloaded {
					refused++
				} else if err == nil {
					done++
				}
			})
		}
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return refused >= 100 }, 10*time.Second,
			time.Millisecond)
		s.writing.Unlock()
		waiting.Wait()
		require.Equal(t, QueueLength+maxBatch+100, refused+done)
		require.Equal(t, done, count(t, s, `SELECT COUNT(*) FROM challenges`))
	})
}

func TestClose_CommitsWhatIsQueuedAndRefusesWhatComesLater(t *testing.T) {
	onBoth(t, func(t *testing.T, path string) {
		s, err := Open(ctx, path, Options{})
		require.NoError(t, err)
		var waiting sync.WaitGroup
		results := make(chan error, 200)
		for range 200 {
			waiting.Go(func() {
				op, _ := generate(nextID(), nextID(), policy, noon)
				results <- s.Do(op)
			})
		}
		require.NoError(t, s.Close())
		waiting.Wait()
		close(results)
		committed := 0
		for err := range results {
			if err == nil {
				committed++
			} else {
				require.ErrorIs(t, err, ErrClosed)
			}
		}
		require.NoError(t, s.Close(), "closing twice does no harm")
		require.Equal(t, committed, count(t, openTest(t, path, Options{}), `SELECT COUNT(*) FROM events`))
	})
}

func TestDo_TimeNeverRunsBackwardsForARow(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		op, _ := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		var seen otp.Millis
		lagging := verify(recipient, slot, false, noon-otp.Minute)
		decide := lagging.Decide
		lagging.Decide = func(state *State) error { seen = state.Now; return decide(state) }
		require.Error(t, s.Do(lagging))
		require.Equal(t, noon, seen)
	})
}

func TestClock_MovesInsideTheOperationAndGoesBackOnlyByReset(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot := nextID(), nextID()
		seen := func() (now otp.Millis) {
			op := &Operation{Event: nextID(), Account: "1", Recipient: recipient, Slot: slot, Now: noon}
			op.Decide = func(state *State) error { now = state.Now; return nil }
			require.NoError(t, s.Do(op))
			return now
		}
		set := func(account string, offset time.Duration) bool {
			moved, err := s.Sandbox.SetClock(ctx, account, offset)
			require.NoError(t, err)
			return moved
		}
		require.Equal(t, noon, seen())
		require.True(t, set("1", time.Minute))
		require.Equal(t, noon+otp.Minute, seen())
		require.True(t, set("", time.Hour))
		require.Equal(t, noon+otp.Hour, seen(), "the larger of the two")
		require.True(t, set("2", 9*time.Hour))
		require.Equal(t, noon+otp.Hour, seen(), "another account's clock is its own")
		require.False(t, set("1", time.Second))
		require.False(t, set("3", -time.Second), "not even a clock that was never set goes back")
		require.NoError(t, s.Sandbox.Reset(ctx, "1"))
		require.Equal(t, noon+otp.Hour, seen())
		require.NoError(t, s.Sandbox.Reset(ctx, ""))
		require.Equal(t, noon, seen())
	})
}

// The report on the migration begins anew like everything else.
func TestReset_RemovesTheCountsOfCalls(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for _, account := range []string{"1", "2"} {
			require.NoError(t, s.Calls.Add(ctx, nextID(), []CallCount{{Calls: 1, LastAt: noon,
				CallKey: CallKey{Hour: noon, Account: account, Door: "v1", Name: "x", Kind: "ok"}}}, noon))
		}
		require.NoError(t, s.Sandbox.Reset(ctx, "1"))
		left, err := s.Calls.Totals(ctx, noon, nil)
		require.NoError(t, err)
		require.Equal(t, []CallTotal{{Account: "2", Door: "v1", Calls: 1}}, left)
		require.NoError(t, s.Sandbox.Reset(ctx, ""))
		left, err = s.Calls.Totals(ctx, noon, nil)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestOpen_TwoAtOnceOnOneNewFileBothFindTheSchema(t *testing.T) {
	onEmpty(t, func(t *testing.T, path string) {
		var opening sync.WaitGroup
		errs := make(chan error, 8)
		for range 8 {
			opening.Go(func() {
				s, err := Open(ctx, path, Options{})
				if err == nil {
					err = s.Close()
				}
				errs <- err
			})
		}
		opening.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	})
}

func TestOpen_NamesASchemeItDoesNotKnow(t *testing.T) {
	_, err := Open(ctx, "postgres://user:secret@host/db", Options{})
	require.ErrorContains(t, err, `"postgres"`)
	require.NotContains(t, err.Error(), "secret")
}

func TestAccount_PlainSQLRowsHaveDefaultsAndBrokenOnesNameTheirColumn(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		exec := func(query string) error {
			return s.write(ctx, func(w *session) error { return w.control(ctx, query) })
		}
		require.NoError(t, exec(`INSERT INTO otp_auth_config (esme_address) VALUES (10000000000009)`))
		require.NoError(t, exec(`ALTER TABLE otp_auth_config ADD COLUMN vendor_notes TEXT`))
		broken := map[string]struct{ column, change string }{
			"21": {"otp_length", `otp_length = 0`}, "22": {"otp_ttl_seconds", `otp_ttl_seconds = -5`},
			"23": {"otp_length", `otp_length = 'six'`}, "24": {"departments", `departments = '{'`},
			"25": {"enabled", `enabled = 7`}, "26": {"countries", `countries = 'IN;AE'`},
			"31": {"countries", "countries = '\u0131N'"}, "32": {"countries", "countries = 'A\u017f'"},
			"33": {"servlet_types", "servlet_types = 'verification,pa\u017fsword_reset'"},
			"34": {"servlet_types", "servlet_types = 'verification,transact\u0130on'"},
			"27": {"message_overrides", `message_overrides = '["x"]'`}, "28": {"max_attempts", `max_attempts = 'many'`},
			"41": {"message_overrides", `message_overrides = '{"error":"a","error":"b"}'`}, "42": {"departments",
				`departments = '["a",null]'`},
			"43": {"templates", `templates = '{"a":null}'`}, "44": {"cors_allowed_origins", `cors_allowed_origins = '[null]'`},
			"45": {"prices", `prices = '{"IN":1,"IN":1000000}'`}, "46": {"prices", `prices = '{"IN":null}'`},
		}
		for address, row := range broken {
			require.NoError(t, exec(`INSERT INTO otp_auth_config (esme_address) VALUES (`+address+`)`))
			// A server with typed columns refuses a word in place of a number; SQLite accepts it.
			if err := exec(`UPDATE otp_auth_config SET ` + row.change + ` WHERE esme_address = '` + address + `'`); err != nil {
				require.NotEqual(t, "sqlite", s.dialect.name)
				require.NoError(t, exec(`DELETE FROM otp_auth_config WHERE esme_address IN (`+address+`)`))
				delete(broken, address)
			}
		}

		account, err := s.Accounts.Find(ctx, "10000000000009")
		require.NoError(t, err)
		require.Equal(t, otp.DefaultAccount("10000000000009"), account)

		for address, row := range broken {
			_, err := s.Accounts.Find(ctx, address)
			var fault *BrokenRow
			require.ErrorAs(t, err, &fault, address)
			require.ErrorContains(t, err, row.column)
		}
		_, err = s.Accounts.Find(ctx, "29")
		require.ErrorIs(t, err, ErrNotFound)
		seen, faults := 0, 0
		require.NoError(t, s.Accounts.Each(ctx, func(_ otp.Account, err error) error {
			seen++
			if err != nil {
				faults++
			}
			return nil
		}))
		require.Equal(t, len(broken)+1, seen)
		require.Equal(t, len(broken), faults)
		require.GreaterOrEqual(t, faults, 6)
	})
}

// Databases pad texts with blanks, fold them or refuse some; an account is found by its own address alone.
func TestAccounts_AreFoundByTheirOwnAddressAlone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		require.NoError(t, addTo(s, otp.DefaultAccount("77"), nil, false))
		for _, address := range []string{"77 ", "77   ", " 77", "77\t", "77\x00", "77\n", "077", "77.0", "7７", "７７",
			"77\u00a0", "77\xff", "\xff", "\xed\xa0\x80", "", strings.Repeat("7", 300), "77' OR '1'='1"} {
			_, err := s.Accounts.Find(ctx, address)
			require.ErrorIs(t, err, ErrNotFound, "%q", address)
			_, err = changing(s, func(tx *Tx) (bool, error) {
				_, err := s.Accounts.Lock(tx, address)
				require.ErrorIs(t, err, ErrNotFound, "%q", address)
				return true, nil
			})
			require.NoError(t, err)
			_, err = s.People.ByEmail(ctx, address)
			require.ErrorIs(t, err, ErrNotFound, "%q", address)
		}
	})
}

func TestInsertAccount_RoundTripsEveryColumn(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		profile, five, text := otp.LiveProfile, 5, "x"
		account := otp.DefaultAccount("77")
		account.Name, account.Profile, account.StrictHTTP = "Bank", &profile, true
		account.Overrides = map[string]string{"exhausted": "Max no of  tries"}
		account.MaxAttempts, account.RequestsPerMinute, account.Burst = &five, &five, &five
		account.Departments, account.DepartmentMode = []string{"a", "b"}, otp.DepartmentRequired
		account.SealedCipherKey, account.SealedCipherIV = []byte{0, 1, 255}, []byte{9}
		account.SMSChannels, account.EmailTemplate, account.DLTEntityID = &text, &text, &text
		account.CreatedAt, account.UpdatedAt = noon, noon
		expires := Credential{ID: nextID(), Address: "77", Kind: "access_key", Environment: otp.Test, Hash: [32]byte{1},
			LastFour: "last",
			Name: "till " +
				"4", Permissions: []string{"send:otp"}, AllowedIPs: []string{"10.0.0.0/8"}, DeniedIPs: []string{"10.1.0.0/16"},
			AllowedOrigins: []string{"https://a.example"}, RequestsPerMinute: &five, Burst: &five, Signing: "required",
			SigningSecret: []byte{0, 255},
			Enabled:       true, ExpiresAt: noon, RevokedAt: noon, Successor: id(noon, 7), CreatedAt: noon, Version: 1}
		require.NoError(t, addTo(s, account, []Credential{expires}, true))
		read, err := s.Accounts.Find(ctx, "77")
		require.NoError(t, err)
		require.Equal(t, account, read)
		credential, err := s.Credentials.ByHash(ctx, [32]byte{1})
		require.NoError(t, err)
		require.Equal(t, expires, credential)
		_, err = s.Credentials.ByHash(ctx, [32]byte{2})
		require.ErrorIs(t, err, ErrNotFound)

		other := otp.DefaultAccount("78")
		require.ErrorIs(t, addTo(s, account, nil, true), ErrTaken)
		require.ErrorIs(t, addTo(s, other, []Credential{expires}, true), ErrTaken, "a secret in use")
		_, err = s.Accounts.Find(ctx, "78")
		require.ErrorIs(t, err, ErrNotFound, "all or nothing")
	})
}

func TestCredential_AnUnreadableNetworkListAllowsNobody(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		require.NoError(t, s.write(ctx, func(w *session) error {
			return w.exec(ctx,
				`INSERT INTO credentials (id, esme_address, kind, hash, allowed_ips, created_at) VALUES (?, '1', 'access_key', ?, '10.0.0.1', 0)`,
				make([]byte, 16), make([]byte, 32))
		}))
		_, err := s.Credentials.ByHash(ctx, [32]byte{})
		require.ErrorContains(t, err, "allowed_ips")
	})
}

func TestIndexKey_TheFirstServerWinsAndAllGetItsKey(t *testing.T) {
	onBoth(t, func(t *testing.T, path string) {
		stores := []*Store{openTest(t, path, Options{}), openTest(t, path, Options{})}
		keys := make([]string, 16)
		var racing sync.WaitGroup
		for i := range keys {
			racing.Go(func() {
				key, err := stores[i%2].Keyring.IndexKey(ctx, []byte(fmt.Sprint("key", i)))
				if err == nil {
					keys[i] = string(key)
				}
			})
		}
		racing.Wait()
		for _, key := range keys {
			require.Equal(t, keys[0], key)
			require.NotEmpty(t, key)
		}
	})
}

func TestSweep_RemovesWhatNoRuleLooksAtAndNothingElse(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		account := otp.DefaultAccount("1")
		account.RetentionDays = 2
		require.NoError(t, addTo(s, account, nil, true))
		add := func(made otp.Millis, n int) (recipient, challenge otp.ID) {
			op, c := generate(id(0, n), nextID(), policy, made)
			op.Event = id(made, 2*n)
			decide := op.Decide
			op.Decide = func(state *State) error {
				err := decide(state)
				c.ID = id(made, 2*n+1)
				state.event.ID = op.Event
				state.Insert(c)
				return err
			}
			require.NoError(t, s.Do(op))
			return op.Recipient, c.ID
		}
		now := noon + 10*otp.Day
		ages := []otp.Millis{
			0, 5*otp.Minute + otp.Hour, 5*otp.Minute + otp.Hour + 1, otp.Day, otp.Day + 1, 2 * otp.Day, 2*otp.Day +
				1, 5 * otp.Day,
		}
		for n, age := range ages {
			add(now-age, n)
		}
		for n := range 2 * sweepChunk { // several chunks of old ones
			add(now-6*otp.Day, 100+n)
		}
		lockedFor := id(0, 7)
		require.NoError(t, s.write(ctx, func(w *session) error {
			return w.exec(ctx, `UPDATE recipients SET locked_until = ? WHERE hash = ?`, int64(now+1), lockedFor[:])
		}))
		swept, err := s.Sweep(ctx, now)
		require.NoError(t, err)
		require.Equal(t, Swept{Challenges: 6 + 2*sweepChunk, Recipients: 3 + 2*sweepChunk, Events: 2 + 2*sweepChunk}, swept)
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM challenges`))
		require.Equal(t, 5, count(t, s, `SELECT COUNT(*) FROM recipients`), "the locked one stays")
		require.Equal(t, 6, count(t, s, `SELECT COUNT(*) FROM events`))
		swept, err = s.Sweep(ctx, now)
		require.NoError(t, err)
		require.Zero(t, swept)
	})
}

// A long history that is kept must not be read completely by every sweep.
func TestSweep_GoesOnWhereItEndedInsteadOfReadingEverythingAgain(t *testing.T) {
	s := fresh(t)
	now := noon + 40*otp.Day
	const kept, gone = sweepIdle*sweepChunk + 2*sweepChunk, 7
	require.NoError(t, s.write(ctx, func(w *session) error {
		var events script
		var args []driver.Value
		insert := func(at otp.Millis, n int) {
			made := id(at, n)
			args = append(args, made[:], int64(at), "1", "live", "sent", "servlet", made[:], made[:], int64(1), int64(1), nil,
				int64(0), nil, nil, nil)
		}
		for n := range kept {
			insert(now-29*otp.Day, n)
		}
		for n := range gone { // after them in the order of ids, dead by their account's shorter retention
			insert(now-28*otp.Day, kept+n)
		}
		events.insert(eventFields.layout(s.dialect.insert), args)
		return w.play(ctx, &events)
	}))
	account := otp.DefaultAccount("2")
	account.RetentionDays = 1
	require.NoError(t, addTo(s, account, nil, true))
	require.NoError(t, s.write(ctx, func(w *session) error {
		return w.exec(ctx, `UPDATE events SET esme_address = '2' WHERE at = ?`, int64(now-28*otp.Day))
	}))
	swept, err := s.Sweep(ctx, now)
	require.NoError(t, err)
	require.Zero(t, swept.Events, "they are not reached yet")
	swept, err = s.Sweep(ctx, now)
	require.NoError(t, err)
	require.Equal(t, gone, swept.Events)
	require.True(t, s.walks[2].next.IsZero(), "the next sweep begins anew")
}

// People read the table of accounts in a terminal.
func TestAccount_SealedColumnsAreKeptAsText(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		account := otp.DefaultAccount("10000000000009")
		account.SealedCipherKey, account.SealedCipherIV = []byte{1, 0x1b, '[', '2', 'J', 0xff, 0}, []byte{}
		require.NoError(t, addTo(s, account, nil, false))
		read, err := s.Accounts.Find(ctx, account.Address)
		require.NoError(t, err)
		require.Equal(t, account, read)
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM otp_auth_config WHERE cipher_key = 'ARtbMkr/AA=='`))

		raw := []byte{1, 2, 'k', '1', 0xfe}
		require.NoError(t, s.write(ctx, func(w *session) error {
			return w.exec(ctx, `UPDATE otp_auth_config SET cipher_key = ?, cipher_iv = NULL`, raw)
		}))
		read, err = s.Accounts.Find(ctx, account.Address)
		require.NoError(t, err)
		require.Equal(t, raw, read.SealedCipherKey, "what is no base64 is taken as it stands")
		require.Nil(t, read.SealedCipherIV)
	})
}

func FuzzWindow_IsReadBackAsItWasWritten(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 4, 6, 0x80})
	f.Add(encodeWindow(otp.Window{noon, noon, noon + 1}))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		w, err := decodeWindow(encoded)
		if err != nil {
			return
		}
		again, err := decodeWindow(encodeWindow(w))
		if err != nil || len(again) != len(w) {
			t.Fatalf("%v became %v: %v", w, again, err)
		}
		for i := range w {
			if w[i] != again[i] {
				t.Fatalf("%v became %v", w, again)
			}
		}
	})
}

func TestPlay_WritesAnyNumberOfRowsWithAHandfulOfStatements(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for rows := range 3*maxInsert + 2 {
			err := s.write(ctx, func(w *session) error {
				var args []driver.Value
				for i := range rows {
					args = append(args, fmt.Sprint(rows, "-", i), []byte("0123456789abcdef"), int64(i))
				}
				var writes script
				writes.insert(newLayout(s.dialect.insert, "keyring_keys", "id, check_value, created_at"), args)
				return w.play(ctx, &writes)
			})
			require.NoError(t, err)
			require.Equal(t, rows, count(t, s, `SELECT COUNT(*) FROM keyring_keys WHERE id LIKE ?`, fmt.Sprint(rows, "-%")))
		}
		require.Less(t, len(s.writer.statements), 12)
	})
}

// Every byte is stored unchanged, even if values are sent inside the statement.
func TestPlay_KeepsEveryByte(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		every := make([]byte, 512)
		for i := range every {
			every[i] = byte(i)
		}
		text := `'; DROP TABLE events; -- \ " % \0 ` + "\x00\n\r\x1a é"
		require.NoError(t, s.write(ctx, func(w *session) error {
			var writes script
			writes.insert(newLayout(s.dialect.insert, "index_key", "id, sealed"), []driver.Value{int64(9), every})
			writes.insert(newLayout(s.dialect.insert, "keyring_keys", "id, check_value, created_at"),
				[]driver.Value{text[:32], every[:16], int64(-1)})
			writes.guard(`UPDATE index_key SET sealed = ? WHERE id = ? AND sealed = ?`, every[:300], int64(9), every)
			return w.play(ctx, &writes)
		}))
		var sealed []byte
		require.NoError(t, s.reads.Get(&sealed, `SELECT sealed FROM index_key WHERE id = 9`))
		require.Equal(t, every[:300], sealed)
		checks, err := s.Keyring.Checks(ctx)
		require.NoError(t, err)
		require.Equal(t, every[:16], checks[text[:32]])
	})
}

func TestClockSkew_IsSmallOnOneMachine(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		skew, err := s.ClockSkew(ctx)
		require.NoError(t, err)
		require.Less(t, skew.Abs(), time.Second)
		s.dialect.now = "SELECT 1000"
		skew, err = s.ClockSkew(ctx)
		require.NoError(t, err)
		require.Less(t, skew, -time.Hour, "a clock of 1970")
	})
}

func TestWrite_RollsBackOnAnError(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		boom := errors.New("boom")
		require.ErrorIs(t, s.write(ctx, func(w *session) error {
			if err := w.exec(ctx, `INSERT INTO index_key (id, sealed) VALUES (5, 'x')`); err != nil {
				return err
			}
			return boom
		}), boom)
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM index_key`))
	})
}

// addTo adds an account as a sandbox does.
func addTo(s *Store, account otp.Account, credentials []Credential, throwaway bool) error {
	_, err := changing(s, func(tx *Tx) (bool, error) {
		return true, s.Accounts.Add(tx, &Seeded{Account: account, Credentials: credentials}, throwaway)
	})
	return err
}
