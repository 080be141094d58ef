package webhook

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// childVariable names the database of a process that a test starts in order to kill it, keyringVariable its keyring.
const (
	childVariable   = "WEBHOOK_TEST_CHILD"
	keyringVariable = "WEBHOOK_TEST_KEYRING"
)

// onLoopback returns a server's webhooks that deliver to this machine.
func onLoopback(url, keyring string) (*house, error) {
	store, err := sql.Open(ctx, url, sql.Options{})
	if err != nil {
		return nil, err
	}
	ring, err := crypto.ParseKeyring(keyring)
	if err != nil {
		return nil, err
	}
	opened, err := vault.Open(ctx, store, ring, true)
	if err != nil {
		return nil, err
	}
	return &house{Webhooks: prepared(Options{Store: store, Vault: opened, Guard: &deliver.Guard{Sandbox: true},
		Look: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})}, nil
}

// child makes events as fast as it can, and delivers them, until it is killed.
func child(url string) {
	h, err := onLoopback(url, os.Getenv(keyringVariable))
	if err != nil {
		panic(err)
	}
	h.start()
	for range 8 {
		go func() {
			for {
				challenge := sql.NewID()
				for _, kind := range []otp.EventKind{otp.EventSent, otp.EventVerified} {
					_ = h.Store.Do(h.operation(challenge, kind)) // what was committed, the database tells
				}
			}
		}()
	}
	select {}
}

// Two servers are killed repeatedly while they work. Every event in the database is then delivered at least once,
// always with the same id and text, and nothing else is. With FULL=1 they are killed ten times during 20,000
// verifications.
func TestDelivery_KillLosesNothing(t *testing.T) {
	rounds, events := 2, 100
	if os.Getenv("FULL") == "1" {
		rounds, events = 10, 2*20_000
	}
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":  func(t *testing.T) string { return migrated.SQLite(t) },
		"mariadb": func(t *testing.T) string { return migrated.MariaDB(t) },
	} {
		t.Run(name, func(t *testing.T) { killed(t, url(t), rounds, events) })
	}
}

// recorded reads the ids of all events directly from the database.
func recorded(t *testing.T, at string) (ids []otp.ID) {
	t.Helper()
	rows, err := sqltest.Connect(t, at).Query("SELECT id FROM events")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		require.NoError(t, rows.Scan(&raw))
		ids = append(ids, otp.ID(raw))
	}
	require.NoError(t, rows.Err())
	return ids
}

func killed(t *testing.T, url string, rounds, least int) {
	var mu sync.Mutex
	texts, times := map[string]string{}, map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return // cut off
		}
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("webhook-id")
		if before, again := texts[id]; again && before != string(text) {
			t.Errorf("%s came with two texts", id)
		}
		texts[id] = string(text)
		times[id]++
	}))
	defer receiver.Close()
	h, err := onLoopback(url, keyringText)
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Store.Close()) }()
	require.NoError(t, ensureAccount(h.Store))
	e, err := h.Create(ctx, me, otp.ID{}, Wish{URL: &receiver.URL, Events: []string{"otp.sent", "otp.verified"}})
	require.NoError(t, err)

	db := sqltest.Connect(t, url)
	for round := 1; round <= rounds; round++ {
		var children []*exec.Cmd
		for range 2 {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), childVariable+"="+url, keyringVariable+"="+keyringText)
			c.Stderr = os.Stderr
			require.NoError(t, c.Start())
			children = append(children, c)
		}
		require.Eventually(t, func() bool {
			var n int
			return db.QueryRow("SELECT COUNT(*) FROM events").Scan(&n) == nil && n >= round*least/rounds
		}, 5*time.Minute, 100*time.Millisecond)
		for _, c := range children {
			require.NoError(t, c.Process.Kill())
			_ = c.Wait()
		}
	}
	// This server claims the endpoint, as a server does when the dead one's lease has expired.
	id, _ := otp.ParseID(EndpointPrefix, e.ID)
	later := otp.At(time.Now()) + otp.Lease
	claimed, err := h.Store.WebhookQueue.Claim(h.process, []otp.ID{id}, later, later+otp.Lease)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	h.start()
	defer h.Close()
	require.Eventually(t, func() bool {
		var waiting int
		if db.QueryRow("SELECT COUNT(*) FROM webhook_events WHERE due_at <= ?",
			time.Now().UnixMilli()).Scan(&waiting) != nil ||
			waiting > 0 { // to be given to the endpoints
			return false
		}
		open, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{State: "pending", Limit: 1})
		return err == nil && len(open) == 0
	}, 5*time.Minute, 100*time.Millisecond)

	committed := map[string]bool{}
	all, err := h.Store.Webhooks.Notices(ctx, id, sql.NoticeQuery{Limit: 1_000_000})
	require.NoError(t, err)
	for _, n := range all {
		text := n.Event.Text("evt")
		require.False(t, committed[text], "an event has two rows")
		committed[text] = true
	}
	events := recorded(t, url)
	require.Len(t, committed, len(events), "what did not happen has a row")
	mu.Lock()
	defer mu.Unlock()
	repeated := 0
	for _, event := range events {
		text := event.Text("evt")
		require.True(t, committed[text], "an event has no row")
		require.NotZero(t, times[text], "an event was not told")
		repeated += times[text] - 1
	}
	require.Len(t, texts, len(events), "something was told that did not happen")
	require.Greater(t, len(events), 20*rounds)
	t.Logf("%d events, half of them verifications, through %d kills of two servers: all told, %d of them again, "+
		"none that did not happen", len(events), rounds, repeated)
}
