package privacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

var (
	ctx         = context.Background()
	keyringText = crypto.NewKeyringText("test")
	operator    = otp.Actor{Kind: "operator"}
)

func TestMain(m *testing.M) { sqltest.Main(m) }

// onBoth runs a test over each database.
func onBoth(t *testing.T, test func(t *testing.T, h *house)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, migrated.SQLite(t)))
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, migrated.MariaDB(t)))
	})
}

// house is a server without doors.
type house struct {
	*Privacy
	engine *engine.Engine
	manage *manage.Manager
	url    string
	closed bool
}

func open(t testing.TB, at string) *house {
	t.Helper()
	opened, err := store.Open(ctx, at, store.Options{Sandbox: true})
	require.NoError(t, err)
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	m, err := manage.Open(ctx, manage.Options{Store: opened, Keyring: keyring, Sandbox: true})
	require.NoError(t, err)
	inbox := deliver.NewInbox()
	channels := []deliver.Channel{inbox}
	e, err := engine.New(ctx, engine.Options{Store: opened, Vault: m.Vault(), Keyring: keyring, SMS: channels,
		Email: channels, Sandbox: true, Inbox: inbox, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	p, err := New(Options{Store: opened, Vault: m.Vault(), Log: slog.New(slog.DiscardHandler),
		CallDays: 30, ChangeDays: 400})
	require.NoError(t, err)
	opened.Webhooks.Text = func(*store.Telling, otp.NoticeType, otp.ID) store.Text {
		return store.Text{Masked: []byte("sealed"), Whole: []byte("sealed")}
	}
	h := &house{Privacy: p, engine: e, manage: m, url: at}
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	if !h.closed {
		h.closed = true
		h.engine.Close()
		h.Store.Close()
	}
}

// application returns a new account's caller of the JSON API.
func (h *house) application(t testing.TB) *engine.Caller {
	t.Helper()
	account := otp.DefaultAccount("")
	account.EmailEnabled, account.SendsPerMinute, account.SendsPerHour, account.SendsPerDay = true, 0, 0, 0
	_, credentials, err := h.manage.Sandbox.CreateAccount(ctx, manage.NewAccount{Account: account})
	require.NoError(t, err)
	caller, err := h.engine.Authenticate(ctx, otp.ServletDoor, credentials.AccessKey, netip.MustParseAddr("127.0.0.1"))
	require.NoError(t, err)
	same := *in(caller, otp.Live)
	same.Door = otp.V1Door
	return &same
}

func in(c *engine.Caller, environment otp.Environment) *engine.Caller {
	same := *c
	same.Environment = environment
	return &same
}

// send sends a code; user and email may be empty.
func (h *house) send(t testing.TB, c *engine.Caller, to, email, method, user string) engine.Challenge {
	t.Helper()
	target, err := c.TargetOf(to, "", email, nil)
	require.NoError(t, err)
	s := engine.Send{Target: target, Method: method}
	if user != "" {
		s.Metadata = json.RawMessage(fmt.Sprintf(`{"user_id":%q,"order":"sentinel-order"}`, user))
	}
	made, err := h.engine.Send(ctx, c, s)
	require.NoError(t, err)
	return made
}

// fill makes a history for an application's user: sends of every kind, a repeated request, a resend and guesses.
func (h *house) fill(t testing.TB, c *engine.Caller, number, mailbox, user string) {
	t.Helper()
	h.send(t, c, number, "", "sms", user)
	h.send(t, c, number, mailbox, "email", user)
	h.send(t, c, mailbox, "", "email", user)
	target, err := c.TargetOf(number, "", mailbox, nil)
	require.NoError(t, err)
	once := func(key string, do func(id otp.ID) (engine.Challenge, error)) {
		_, _, err := h.engine.Once(ctx, c.Key.ID, string(c.Environment)+user+key, [32]byte{1},
			func(id otp.ID) (engine.Answer, error) {
				made, err := do(id)
				return engine.Answer{Status: 200, Body: []byte(made.ID.Text("otp") + number)}, err
			}, nil)
		require.NoError(t, err)
	}
	once("send", func(id otp.ID) (engine.Challenge, error) {
		return h.engine.Send(ctx, c, engine.Send{Target: target, Method: "sms", Fallback: []string{"email"}, Challenge: id,
			Metadata: json.RawMessage(fmt.Sprintf(`{"user_id":%q}`, user))})
	})
	once("resend", func(id otp.ID) (engine.Challenge, error) {
		return h.engine.ResendNamed(ctx, c, engine.Named{Target: target}, "", id)
	})
	require.Equal(t, otp.WrongCode, otp.KindOf(h.engine.Verify(ctx, c, target, "")))
}

// listen makes an endpoint for an account, so that each event makes a notice.
func (h *house) listen(t testing.TB, c *engine.Caller) {
	t.Helper()
	require.NoError(t, h.Store.Change(ctx, func(tx *store.Tx) error {
		err := h.Store.Webhooks.Insert(tx, store.Endpoint{ID: store.NewID(), Account: c.Account.Address,
			Environment: string(c.Environment), URL: "https://hooks.example.com/secret-path", Events: []string{"*"},
			Format: "standard", SignatureHeader: "X-OTP-Signature", Recipients: "full", Secret: []byte("sealed"), Version: 1,
			CreatedAt: 1, UpdatedAt: 1})
		if err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: store.NewID(), At: 1, Kind: otp.WebhookCreated, Actor: operator})
	}))
}

// tables lists those of a database.
func tables(t testing.TB, db *sqlx.DB) (names []string) {
	t.Helper()
	rows, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`)
	if err != nil {
		rows, err = db.Query(`SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`)
	}
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		names = append(names, name)
	}
	return names
}

// dump returns every row of the database, sorted, without those of some tables.
func (h *house) dump(t testing.TB, without ...string) (lines []string) {
	t.Helper()
	db := sqltest.Connect(t, h.url)
	for _, table := range tables(t, db) {
		if slices.Contains(without, table) {
			continue
		}
		rows, err := db.Query(`SELECT * FROM ` + table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]sql.RawBytes, len(columns))
			targets := make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			require.NoError(t, rows.Scan(targets...))
			line := table
			for i, value := range values {
				line += fmt.Sprintf("|%s=%q", columns[i], value)
			}
			lines = append(lines, line)
		}
		require.NoError(t, rows.Close())
	}
	slices.Sort(lines)
	return lines
}

// tell distributes notices to webhooks.
func (h *house) tell(t testing.TB) {
	t.Helper()
	for more := true; more; {
		var err error
		more, _, err = h.Store.Webhooks.Distribute(ctx, otp.At(time.Now()))
		require.NoError(t, err)
	}
}

// kept are the tables in which an erasure leaves rows, or to which every commit writes. webhook_events has the ids of
// events until the code would have expired.
var kept = []string{"erasures", "changes", "webhook_events", "server_marks", "counters", "key_days", "goose_db_version"}

func (h *house) export(t testing.TB, a Asked) (document struct {
	History  []exported `json:"history"`
	Webhooks []tale     `json:"webhooks"`
	Complete bool       `json:"complete"`
}) {
	t.Helper()
	var text strings.Builder
	require.NoError(t, h.Export(ctx, operator, a, &text))
	require.NoError(t, json.Unmarshal([]byte(text.String()), &document), text.String())
	require.True(t, document.Complete)
	return document
}

const (
	someUser    = "user-sentinel/1"
	someNumber  = "+919551492394"
	someMailbox = "jane.sentinel@example.com"
)

// newBytes returns the values that are only in the rows of after.
func newBytes(before, after []string) (fresh []string) {
	for _, line := range after {
		if !slices.Contains(before, line) {
			fresh = append(fresh, line)
		}
	}
	return fresh
}

func TestErase_NothingIsLeftAndNobodyElseIsTouched(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		mine, other := h.application(t), h.application(t)
		h.listen(t, mine)
		h.listen(t, other)
		h.fill(t, mine, "+919551492395", "john@example.com", "another user")
		h.fill(t, other, someNumber, someMailbox, someUser)
		h.fill(t, in(mine, otp.Test), someNumber, someMailbox, someUser)
		h.tell(t)
		before := h.dump(t, kept...)

		h.fill(t, mine, someNumber, someMailbox, someUser)
		h.tell(t)
		full := h.dump(t, kept...)
		require.Greater(t, len(newBytes(before, full)), 15)
		for name, id := range map[string]string{"user": someUser, "number": someNumber, "mailbox": someMailbox} {
			found := h.export(t, Asked{mine.Account.Address, otp.Live, id})
			require.NotEmpty(t, found.History, name)
			require.NotEmpty(t, found.Webhooks, name)
		}
		made, err := h.Erase(ctx, operator, Asked{mine.Account.Address, otp.Live, someUser})
		require.NoError(t, err)
		require.Equal(t, int64(4), made.Says.Erased["challenges"])
		require.Equal(t, int64(2), made.Says.Erased["recipients"], "the number and the mailbox, which nobody else uses")
		require.Equal(t, int64(2), made.Says.Erased["stored_answers"])
		require.Positive(t, made.Says.Erased["webhook_deliveries"])

		left := newBytes(before, h.dump(t, kept...))
		for _, line := range left {
			require.True(t, strings.HasPrefix(line, "recipients|") && strings.Contains(line, `|sealed=""|mask=""|`), line)
		}
		require.Len(t, left, 2)
		require.Empty(t, newBytes(h.dump(t, kept...), before), "nobody else's row was changed")
		for _, id := range []string{someUser, someNumber, someMailbox} {
			found := h.export(t, Asked{mine.Account.Address, otp.Live, id})
			require.Empty(t, found.History)
			require.Empty(t, found.Webhooks)
		}
		require.NotEmpty(t, h.export(t, Asked{other.Account.Address, otp.Live, someUser}).History)
		require.NotEmpty(t, h.export(t, Asked{mine.Account.Address, otp.Test, someMailbox}).History)
		for _, sentinel := range []string{"sentinel", someNumber, someNumber[1:], "jane"} {
			require.NotContains(t, strings.Join(h.dump(t), "\n"), sentinel, "audit log and ledger included")
		}
		// A person who comes back is served and has data again.
		again := h.send(t, mine, someNumber, "", "sms", someUser)
		_, err = h.engine.Status(ctx, mine, again.ID)
		require.NoError(t, err)
		require.Equal(t, someNumber, h.export(t, Asked{mine.Account.Address, otp.Live, someUser}).History[0].Recipient)
	})
}

// Deleted data is overwritten and the write-ahead log is emptied; SQLite would keep both.
func TestErase_TheFilesHoldNothingOfIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "otp.db")
	h := open(t, migrated.At(t, path))
	c := h.application(t)
	h.listen(t, c)
	h.fill(t, c, "+919551492395", "john@example.com", "another user")
	before := h.dump(t, kept...)
	h.fill(t, c, someNumber, someMailbox, someUser)
	db := sqltest.Connect(t, h.url)
	var secrets [][]byte
	for _, query := range []string{`SELECT sealed FROM recipients`, `SELECT mailbox FROM challenges WHERE mailbox IS NOT NULL`,
		`SELECT mailbox FROM events WHERE mailbox IS NOT NULL`, `SELECT answer FROM idempotency_keys`} {
		rows, err := db.Query(query)
		require.NoError(t, err)
		for rows.Next() {
			var value []byte
			require.NoError(t, rows.Scan(&value))
			if !strings.Contains(strings.Join(before, "\n"), fmt.Sprintf("%q", value)) {
				secrets = append(secrets, value)
			}
		}
		require.NoError(t, rows.Close())
	}
	require.NoError(t, db.Close())
	require.Greater(t, len(secrets), 6)
	_, err := h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, someUser})
	require.NoError(t, err)
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		for _, secret := range secrets {
			require.False(t, strings.Contains(string(content), string(secret)), "in the file otp.db%s", suffix)
		}
	}
}

func TestErase_WhatIsErasedIsWhatTheIDNames(t *testing.T) {
	for name, tt := range map[string]struct {
		id           string
		gone, stays  int // sends
		unsubscribed bool
	}{
		"a user's":                        {id: "u1", gone: 2, stays: 4},
		"a number's":                      {id: "+919551492394", gone: 2, stays: 4},
		"in another spelling":             {id: "+91 95514-92394", gone: 2, stays: 4},
		"a mailbox's, and mails to it":    {id: "Jane@Example.COM", gone: 2, stays: 4},
		"a number as a user_id":           {id: "42", gone: 1, stays: 5},
		"digits are no number":            {id: "919551492394", stays: 6},
		"national digits are none either": {id: "9551492394", stays: 6},
		"user ids are exact":              {id: "U1", stays: 6},
		"and have no spaces cut off":      {id: "u1 ", stays: 6},
		"nobody's":                        {id: "nobody", stays: 6},
		"a mailbox that cannot be one":    {id: "jane@", stays: 6},
		"a number too long":               {id: "+9195514923940000", stays: 6},
		"a mailbox as a user_id":          {id: "jane@example.org", gone: 1, stays: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, migrated.SQLite(t))
			c := h.application(t)
			h.send(t, c, "+919551492394", "", "sms", "u1")
			h.send(t, c, "+919551492394", "jane@example.com", "email", "jane@example.org")
			h.send(t, c, "jane@example.com", "", "email", "")
			h.send(t, c, "+919551492395", "john@example.com", "email", "u1")
			h.send(t, c, "+919551492396", "", "sms", "")
			target, err := c.TargetOf("+919551492397", "", "", nil)
			require.NoError(t, err)
			_, err = h.engine.Send(ctx, c, engine.Send{Target: target, Method: "sms",
				Metadata: json.RawMessage(`{"user_id":42,"User_ID":"u1"}`)})
			require.NoError(t, err)
			made, err := h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, tt.id})
			require.NoError(t, err)
			require.Equal(t, int64(tt.gone), made.Says.Erased["challenges"])
			var left int
			require.NoError(t, sqltest.Connect(t, h.url).QueryRow(`SELECT COUNT(*) FROM events WHERE kind = 'sent'`).Scan(&left))
			require.Equal(t, tt.stays, left)
		})
	}
}

func TestErase_TheCertificateSaysSoAndNobodyCanChangeIt(t *testing.T) {
	t.Parallel()
	h := open(t, migrated.SQLite(t))
	c := h.application(t)
	h.fill(t, c, someNumber, someMailbox, someUser)
	made, err := h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, someUser})
	require.NoError(t, err)
	says, err := h.Verify(made.Certificate)
	require.NoError(t, err)
	require.Equal(t, made.Says, says)
	require.Equal(t, made.ID, says.ID)
	require.Equal(t, c.Account.Address, says.Audience)
	require.WithinDuration(t, time.Now(), time.Unix(says.ErasedAt, 0), time.Minute)
	require.Len(t, says.Remains, 4)
	require.Equal(t, says.ErasedAt+24*60*60, says.Remains[0].Until, "a lock is over by then")
	require.NotContains(t, made.Certificate+fmt.Sprint(says), "sentinel")

	parts := strings.Split(made.Certificate, ".")
	for name, forged := range map[string]string{
		"nothing": "", "another text": "abc", "no signature": parts[0] + "." + parts[1] + ".",
		"another signature": parts[0] + "." + parts[1] + "." + parts[2][1:] + "A",
		"another body":      parts[0] + "." + parts[1][1:] + "." + parts[2],
		"two of them":       made.Certificate + made.Certificate,
		"unsigned":          "eyJhbGciOiJub25lIn0." + parts[1] + ".",
	} {
		_, err := h.Verify(forged)
		require.Equal(t, otp.Invalid, otp.KindOf(err), name)
	}
	other := open(t, migrated.SQLite(t))
	_, err = other.Verify(made.Certificate)
	require.Equal(t, otp.Invalid, otp.KindOf(err), "another installation's")
}

func TestAsked_RefusesWhatNamesNobody(t *testing.T) {
	t.Parallel()
	h := open(t, migrated.SQLite(t))
	c := h.application(t)
	for _, tt := range []struct {
		asked Asked
		kind  otp.Kind
	}{
		{Asked{c.Account.Address, otp.Live, ""}, otp.Invalid},
		{Asked{c.Account.Address, otp.Live, strings.Repeat("a", 1025)}, otp.Invalid},
		{Asked{c.Account.Address, "prod", someUser}, otp.Invalid},
		{Asked{"000", otp.Live, someUser}, otp.NotFound},
		{Asked{"", otp.Live, someUser}, otp.NotFound},
	} {
		_, err := h.Erase(ctx, operator, tt.asked)
		require.Equal(t, tt.kind, otp.KindOf(err))
		_, err = h.Count(ctx, operator, tt.asked)
		require.Equal(t, tt.kind, otp.KindOf(err))
		err = h.Export(ctx, operator, tt.asked, nil)
		require.Equal(t, tt.kind, otp.KindOf(err))
	}
}

// An account may stop sending to a country, and what it sent there before can still be erased, in each spelling that it
// was sent to in.
func TestAsked_FindsNumbersOfEveryCountry(t *testing.T) {
	for _, spelling := range []string{"+447400123456", "+44 7400 123-456", "+44 0 7400 123456"} {
		sent, err := deliver.NormalNumber(spelling, []string{"GB"})
		require.NoError(t, err)
		require.Equal(t, sent, recipientOf(spelling), spelling)
	}
}

// A person's number in a setting of the account goes too; a beginning of numbers stays.
func TestErase_TakesTheNumberOffTheSafeList(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		h := open(t, url)
		c := h.application(t)
		list := []string{"+919551492394", "+91955149", "+919551492395"}
		_, err := h.manage.Accounts.Change(ctx, manage.Edit{Account: c.Account.Address, Columns: []string{"safe_list"},
			By: operator, Set: func(n *manage.Imported) error { n.SafeList = list; return nil }})
		require.NoError(t, err)
		listed := func() []string {
			account, err := h.Store.Accounts.Find(ctx, c.Account.Address)
			require.NoError(t, err)
			return account.SafeList
		}
		made, err := h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, "+91 95514 92394"})
		require.NoError(t, err)
		require.EqualValues(t, 1, made.Says.Erased["safe_list"])
		require.Equal(t, list[1:], listed())
		made, err = h.Erase(ctx, operator, Asked{c.Account.Address, otp.Live, "someone"})
		require.NoError(t, err)
		require.Zero(t, made.Says.Erased["safe_list"])
		require.Equal(t, list[1:], listed())

		_, err = h.manage.Accounts.Change(ctx, manage.Edit{Account: c.Account.Address, Columns: []string{"safe_list"},
			By: operator, Set: func(n *manage.Imported) error { n.SafeList = list; return nil }})
		require.NoError(t, err)
		again, err := h.Reapply(ctx, operator, "")
		require.NoError(t, err)
		require.EqualValues(t, 1, again.Erased.SafeList, "a backup brought it back")
		require.Equal(t, list[1:], listed())
	})
}

// Each table is in a class of the report, or holds nothing about people: who adds one decides.
func TestReport_NamesEveryTableWithDataOfPeople(t *testing.T) {
	h := open(t, migrated.SQLite(t))
	of := map[string]string{
		"events": "history", "recipients": "recipients", "shadows": "recipients", "challenges": "challenges",
		"deliveries": "deliveries", "webhook_deliveries": "webhook_deliveries", "webhook_texts": "webhook_deliveries",
		"webhook_events": "webhook_deliveries", "idempotency_keys": "stored_answers", "test_recipients": "test_recipients",
		"otp_auth_config": "test_recipients", "changes": "audit_changes", "audit_pages": "audit_calls",
		"audit_terms": "audit_calls", "calls": "calls", "key_days": "calls", "credentials": "calls", "alerts": "alerts",
		"persons": "people", "sessions": "people", "refresh_tokens": "people", "tickets": "people", "factors": "people",
		"backup_codes": "people", "ceremonies": "people", "guesses": "people", "owners": "people",
		"checklist_reviews": "people", "service_accounts": "people", "erasures": "the ledger",
	}
	for _, nobodys := range strings.Fields("audit_tiles audit_tree counters goose_db_version index_key keyring_keys " +
		"nonces outbox_watermarks restores sandbox_accounts server_marks signing_keys statistics webhook_endpoints " +
		"webhook_version") {
		of[nobodys] = ""
	}
	report, err := h.Report(ctx, operator, func(string) bool { return true })
	require.NoError(t, err)
	held := map[string]bool{"": true, "the ledger": true}
	for _, class := range report.Held {
		held[class.Class] = true
	}
	var tables []string
	require.NoError(t, sqltest.Connect(t, h.url).Select(&tables,
		`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`))
	require.Greater(t, len(tables), 30)
	for _, table := range tables {
		class, decided := of[table]
		require.True(t, decided, "%s: does it hold data of people?", table)
		require.True(t, held[class], "%s: the report has no class %s", table, class)
	}
}
