package privacy

import (
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	store "otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// reader reads an export, and measures the memory in use with every part.
type reader struct {
	parts, bytes int
	most         uint64
	stops        int // after so many parts; 0 for never
}

var errStopped = errors.New("the client stopped")

func (r *reader) Write(part []byte) (int, error) {
	if r.parts == r.stops && r.stops > 0 {
		return 0, errStopped
	}
	r.parts, r.bytes = r.parts+1, r.bytes+len(part)
	r.most = max(r.most, sqltest.LiveHeap())
	return len(part), nil
}

// An export needs the memory of a page, however long a history is. With FULL=1 that has a hundred thousand events.
func TestExport_StreamsInFlatMemory(t *testing.T) {
	const most = 256 << 10
	events := 5000
	if os.Getenv("FULL") == "1" {
		events = 100_000
	}
	h := open(t, migrated.SQLite(t))
	c := h.application(t)
	h.send(t, c, someNumber, "", "sms", someUser)
	db := sqltest.Connect(t, h.url)
	_, err := db.Exec(`
		INSERT INTO events (id, at, esme_address, environment, kind, door, recipient_hash, challenge_id, send, channels,
			remaining, summary, user_hash)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		SELECT randomblob(16), at, esme_address, environment, kind, door, recipient_hash, randomblob(16), send, channels,
			remaining, summary, user_hash
		FROM events, n
		WHERE kind = 'sent'`, events)
	require.NoError(t, err)
	// Metadata is sealed for its challenge, so the copies have none.
	_, err = db.Exec(`UPDATE events SET summary = NULL`)
	require.NoError(t, err)
	asked := Asked{c.Account.Address, otp.Live, someUser}
	_ = sqltest.LiveHeap() // what is garbage by now may take two rounds
	before, whole := sqltest.LiveHeap(), &reader{}
	require.NoError(t, h.Export(ctx, operator, asked, whole))
	require.Greater(t, whole.parts, events/100)
	require.Greater(t, whole.bytes, 100*events)
	require.Less(t, int64(whole.most)-int64(before), int64(most))
	t.Logf("%d parts, %d KiB; %d KiB more in use", whole.parts, whole.bytes>>10, (int64(whole.most)-int64(before))>>10)

	stopped := &reader{stops: 3}
	require.ErrorIs(t, h.Export(ctx, operator, asked, stopped), errStopped)
	require.Equal(t, 3, stopped.parts, "nothing is read for who does not take it")
}

// Several callers erase one person at once while the log is verified: the data is destroyed once, and each gets a
// certificate.
func TestErase_OfOnePersonAtOnceRace(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		c := h.application(t)
		for range 3 {
			h.fill(t, c, someNumber, someMailbox, someUser)
		}
		asked := Asked{c.Account.Address, otp.Live, someUser}
		found, err := h.Count(ctx, operator, asked)
		require.NoError(t, err)
		log, err := audit.Open(audit.Options{Store: h.Store, Vault: h.manage.Vault(), Log: slog.New(slog.DiscardHandler),
			CallDays: 30, ChangeDays: 400})
		require.NoError(t, err)
		done := make(chan Erasure, 3)
		for range cap(done) {
			go func() {
				made, err := h.Erase(ctx, operator, asked)
				if err != nil {
					t.Error(err)
				}
				done <- made
			}()
		}
		var events int64
		ids := map[string]bool{}
		for range cap(done) {
			_, err := log.Seal(ctx)
			require.NoError(t, err)
			_, err = log.Verify(ctx, nil, otp.At(time.Now()))
			require.NoError(t, err)
			made := <-done
			events += made.Says.Erased["events"]
			ids[made.ID] = true
			_, err = h.Verify(made.Certificate)
			require.NoError(t, err)
		}
		require.Len(t, ids, cap(done))
		require.EqualValues(t, found.Events, events)
		require.Empty(t, h.export(t, asked).History)
	})
}

// Any server finishes an interrupted erasure when it is old enough that no server works on it, and its certificate is
// appended to the file.
func TestResume_FinishesAndPushes(t *testing.T) {
	t.Parallel()
	h := open(t, migrated.SQLite(t))
	h.LedgerFile = t.TempDir() + "/pushed.erasures"
	c := h.application(t)
	h.fill(t, c, someNumber, someMailbox, someUser)
	asked := Asked{c.Account.Address, otp.Live, someUser}
	s, err := h.subject(ctx, asked)
	require.NoError(t, err)
	now := otp.At(time.Now())
	begun := store.Erasure{ID: store.NewID(), Account: s.Account, Environment: string(s.Environment), User: s.User,
		Recipient: s.Recipient, At: now}
	require.NoError(t, h.Store.Change(ctx, func(tx *store.Tx) error {
		if err := h.Store.Privacy.Begin(tx, begun); err != nil {
			return err
		}
		return note(tx, otp.PrivacyErasing, operator, &s, now, nil)
	}))
	pushed := func() []ledgerLine {
		require.NoError(t, h.Push(ctx))
		lines, err := readLedger(h.LedgerFile)
		require.NoError(t, err)
		return lines
	}
	n, err := h.Resume(ctx, now+interrupted)
	require.NoError(t, err)
	require.Zero(t, n, "it may still go on")
	require.Empty(t, pushed(), "what is not done is not certified")
	n, err = h.Resume(ctx, now+interrupted+1)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Empty(t, h.export(t, asked).History)
	n, err = h.Resume(ctx, now+interrupted+1)
	require.NoError(t, err)
	require.Zero(t, n)

	_, err = h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, "another"})
	require.NoError(t, err)
	require.Len(t, pushed(), 2)
	require.Len(t, pushed(), 2, "each once")
	require.Equal(t, begun.ID, pushed()[0].id)
	h.pushed, h.last = nil, otp.ID{} // as another server, or this one after it was started again
	require.Len(t, pushed(), 2)
	behind, err := Behind(ctx, h.Store, h.LedgerFile)
	require.NoError(t, err)
	require.Zero(t, behind)
}

// A person of another account is not found, and the call writes nothing, also not into the ledger.
func TestErase_AForeignAccountChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, migrated.SQLite(t))
	mine, other := h.application(t), h.application(t)
	h.fill(t, other, someNumber, someMailbox, someUser)
	before := h.dump(t, "erasures", "changes")
	for _, id := range []string{someUser, someNumber, someMailbox} {
		made, err := h.Erase(ctx, operator, Asked{mine.Account.Address, otp.Live, id})
		require.NoError(t, err, "an account may erase whom it does not know: nothing says who others know")
		require.Zero(t, made.Says.Erased["events"])
		require.Zero(t, made.Says.Erased["recipients"])
	}
	require.Equal(t, before, h.dump(t, "erasures", "changes"))
	all := h.dump(t)
	_, err := h.Erase(ctx, operator, Asked{"10000000000009", otp.Live, someUser})
	require.Equal(t, otp.NotFound, otp.KindOf(err))
	require.Equal(t, all, h.dump(t))
}

// Sends from before the hashes were stored are found by their content.
func TestErase_FindsWhatHasNoHashes(t *testing.T) {
	t.Parallel()
	h := open(t, migrated.SQLite(t))
	c := h.application(t)
	h.fill(t, c, someNumber, someMailbox, someUser)
	h.fill(t, c, "+919551492395", "john@example.com", "another")
	db := sqltest.Connect(t, h.url)
	for _, statement := range []string{
		`UPDATE events SET user_hash = NULL, mailbox_hash = NULL`,
		`UPDATE goose_db_version SET tstamp = '2020-01-01 00:00:00' WHERE version_id = 1`,
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	asked := Asked{c.Account.Address, otp.Live, someUser}
	require.NotEmpty(t, h.export(t, asked).History)
	made, err := h.Erase(ctx, operator, asked)
	require.NoError(t, err)
	require.EqualValues(t, 4, made.Says.Erased["challenges"])
	require.Empty(t, h.export(t, asked).History)
	var left int
	require.NoError(t, db.QueryRow(`SELECT COUNT(*) FROM events WHERE kind = 'sent' AND send = 1`).Scan(&left))
	require.Equal(t, 4, left, "the other's")
}
