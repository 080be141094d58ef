package webhook

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/server/vault/vaulttest"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		child(url)
		return
	}
	sqltest.Main(m)
}

var ctx = context.Background()

// me is a caller who may do everything with the account.
var me = Asker{Account: "4711", Actor: otp.Actor{Kind: "operator"}, Full: true}

// onBoth runs a test in a bubble of fake time on each database. look is the pause between two searches for due
// notices: each needs a query, and tests run over days.
func onBoth(t *testing.T, look time.Duration, test func(t *testing.T, h *house)) {
	bubble := func(t *testing.T, url string) {
		synctest.Test(t, func(t *testing.T) { test(t, open(t, url, look)) })
	}
	t.Run("sqlite", func(t *testing.T) { bubble(t, migrated.SQLite(t)) })
	if look > time.Second {
		return // what takes days is the same on both
	}
	t.Run("mariadb", func(t *testing.T) { bubble(t, migrated.MariaDB(t)) })
}

// house is a server's webhooks, with receivers instead of a network.
type house struct {
	*Webhooks
	url string
	net *network
}

// network answers requests by their host, as receivers.
type network struct {
	mu        sync.Mutex
	receivers map[string]*receiver
}

// receiver is one endpoint's server. answer gets the number of a request, from 1, and returns status and headers; nil
// accepts all.
type receiver struct {
	answer func(n int, r *http.Request) (status int, header http.Header)
	takes  time.Duration
	drips  bool // answers with a body of a byte a second that never ends

	mu  sync.Mutex
	got []delivered
}

type delivered struct {
	at     time.Time
	header http.Header
	text   string
	body   body
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	to := n.receivers[r.URL.Host]
	n.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	got := delivered{at: time.Now(), header: r.Header.Clone(), text: string(raw)}
	if err := json.Unmarshal(raw, &got.body); err != nil {
		return nil, err
	}
	to.mu.Lock()
	to.got = append(to.got, got)
	number := len(to.got)
	to.mu.Unlock()
	if to.takes > 0 { // a timer that is due at once can crash the runtime in a bubble under the race detector
		select {
		case <-time.After(to.takes):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, header := http.StatusNoContent, http.Header{}
	if to.answer != nil {
		status, header = to.answer(number, r)
	}
	answered := &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("thanks")),
		Request: r}
	if to.drips {
		answered.Body = io.NopCloser(drip{r.Context()})
	}
	return answered, nil
}

// drip is a body of a byte a second, until its request is given up.
type drip struct{ request context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p, "."), nil
	case <-d.request.Done():
		return 0, d.request.Err()
	}
}

// all returns what a receiver has got so far.
func (r *receiver) all() []delivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivered(nil), r.got...)
}

var keyringText = crypto.NewKeyringText("test")

func open(t testing.TB, url string, look time.Duration) *house {
	t.Helper()
	store, opened := vaulttest.Open(t, url, keyringText)
	opened.Sandbox = true
	h := &house{url: url, net: &network{receivers: map[string]*receiver{}}}
	h.Webhooks = prepared(Options{Store: store, Vault: opened, Guard: &deliver.Guard{}, Look: look,
		Log: slog.New(slog.DiscardHandler)})
	h.client = func() *http.Client { return &http.Client{Transport: h.net, Timeout: patience} }
	require.NoError(t, ensureAccount(store))
	h.start()
	t.Cleanup(h.Close)
	return h
}

// ensureAccount makes the account that the tests are about, unless it is there.
func ensureAccount(store *sql.Store) error {
	account := otp.DefaultAccount(me.Account)
	account.Cipher = "none"
	if _, err := store.Accounts.Find(ctx, account.Address); !errors.Is(err, sql.ErrNotFound) {
		return err
	}
	return store.Change(ctx, func(tx *sql.Tx) error {
		if err := store.Accounts.Insert(tx, []sql.Seeded{{Account: account}}); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: otp.AccountCreated})
	})
}

// receive puts a receiver behind a host.
func (h *house) receive(host string, r *receiver) *receiver {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.receivers[host] = r
	return r
}

// listen makes an endpoint with its receiver.
func (h *house) listen(t testing.TB, host string, wish Wish) (Endpoint, *receiver) {
	t.Helper()
	r := h.receive(host, &receiver{})
	url := "https://" + host + "/hook"
	wish.URL = &url
	e, err := h.Create(ctx, me, otp.ID{}, wish)
	require.NoError(t, err)
	return e, r
}

var made struct {
	sync.Mutex
	n uint64
}

func randomID() (id otp.ID) {
	made.Lock()
	defer made.Unlock()
	made.n++
	fresh := sql.NewID()
	binary.BigEndian.PutUint64(fresh[8:], made.n)
	return fresh
}

// record makes one event of a challenge, with its recipient.
func (h *house) record(t testing.TB, challenge otp.ID, kind otp.EventKind) otp.ID {
	t.Helper()
	op := h.operation(challenge, kind)
	require.NoError(t, h.Store.Do(op))
	return op.Event
}

func (h *house) operation(challenge otp.ID, kind otp.EventKind) *sql.Operation {
	op := &sql.Operation{Event: sql.NewID(), Account: "4711", Recipient: challenge, Slot: challenge,
		Now: otp.At(time.Now())}
	op.Decide = func(s *sql.State) error {
		if s.Recipient.Version == 0 && s.Recipient.Sealed == nil {
			s.Recipient.Account, s.Recipient.Environment, s.Recipient.Mask = "4711", otp.Live, "+91••••2394"
			s.Recipient.Sealed = h.Vault.Keyring.Seal(vault.Recipient(s.Recipient.ID), []byte("+919551492394"))
			s.Recipient.UpdatedAt = s.Now
		}
		if kind == otp.EventSent {
			s.Insert(&otp.Challenge{ID: challenge, Recipient: s.Recipient.ID, Slot: challenge, Seq: 1, MaxAttempts: 3,
				CreatedAt: s.Now, ExpiresAt: s.Now + 5*otp.Minute, UpdatedAt: s.Now})
		}
		if kind == otp.EventVerified {
			s.Challenge.UsedAt = s.Now
		}
		s.Record(otp.Event{ID: op.Event, At: s.Now, Account: "4711", Environment: otp.Live, Kind: kind, Door: otp.V1Door,
			Recipient: challenge, Challenge: challenge, Send: 1, Channels: otp.SMS})
		return nil
	}
	return op
}

func types(all []delivered) (names []string) {
	for _, d := range all {
		names = append(names, d.body.Type)
	}
	return names
}

func TestDelivery_TellsInOrderWithoutACodeOrAWholeRecipient(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		_, r := h.listen(t, "hooks.example.com", Wish{})
		wholly := full
		e, whole := h.listen(t, "whole.example.com", Wish{Recipients: &wholly, Events: []string{"otp.verified"}})
		challenge := randomID()
		sent := h.record(t, challenge, otp.EventSent)
		h.record(t, challenge, otp.EventDelivered)
		h.record(t, challenge, otp.EventVerified)
		time.Sleep(2 * time.Second)
		got := r.all()
		require.Equal(t, []string{"otp.sent", "otp.delivered", "otp.verified"}, types(got))
		first := got[0]
		require.Equal(t, sent.Text("evt"), first.body.ID)
		require.Equal(t, first.body.ID, first.header.Get("webhook-id"))
		require.Equal(t, "application/json", first.header.Get("Content-Type"))
		require.Equal(t, map[string]any{"challenge_id": challenge.Text("otp"), "recipient": "+91••••2394", "door": "v1",
			"channels": []any{"sms"}, "send": 1.0}, first.body.Data)
		require.NotContains(t, first.text, "9551492394")
		require.Contains(t, whole.all()[0].text, "+919551492394")
		all, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{Limit: 1})
		require.NoError(t, err)
		for _, by := range []Asker{me, {Account: me.Account}} {
			shown, err := h.Delivery(ctx, by, e.ID, all[0].ID)
			require.NoError(t, err)
			require.Equal(t, by.Full, strings.Contains(string(shown.Request), "+919551492394"),
				"who may not have whole recipients sent does not read them here either")
		}
		time.Sleep(10 * time.Minute)
		require.Len(t, r.all(), 3, "a code that was used does not expire")
	})
}

func TestDelivery_TellsThatACodeExpiredUnused(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		_, r := h.listen(t, "hooks.example.com", Wish{Events: []string{"otp.expired"}})
		h.record(t, randomID(), otp.EventSent)
		used := randomID()
		h.record(t, used, otp.EventSent)
		h.record(t, used, otp.EventVerified)
		time.Sleep(5 * time.Minute)
		require.Empty(t, r.all())
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"otp.expired"}, types(r.all()))
	})
}

// A notice is retried by the whole schedule, with the same id and text, and later notices of the same challenge wait
// for it.
func TestDelivery_RetriesByTheScheduleThenIsDead(t *testing.T) {
	onBoth(t, time.Minute, func(t *testing.T, h *house) {
		e, r := h.listen(t, "hooks.example.com", Wish{Events: []string{"otp.sent", "otp.verified"}})
		r.answer = func(int, *http.Request) (int, http.Header) { return http.StatusInternalServerError, nil }
		challenge := randomID()
		h.record(t, challenge, otp.EventSent)
		h.record(t, challenge, otp.EventVerified)
		time.Sleep(70 * time.Hour) // the endpoint is paused after 72
		enabled := true
		before, err := h.Find(ctx, me, e.ID)
		require.NoError(t, err)
		require.NotNil(t, before.FailingSince)
		_, err = h.Change(ctx, me, e.ID, func(int64) error { return nil }, Wish{Enabled: &enabled})
		require.NoError(t, err)
		time.Sleep(30 * time.Hour)
		got := r.all()
		require.GreaterOrEqual(t, len(got), 10)
		for i, d := range got[:10] {
			require.Equal(t, "otp.sent", d.body.Type)
			require.Equal(t, got[0].text, d.text)
			require.Equal(t, got[0].header.Get("webhook-id"), d.header.Get("webhook-id"))
			if i > 0 {
				waited := d.at.Sub(got[i-1].at)
				require.GreaterOrEqual(t, waited, delays[i-1])
				require.LessOrEqual(t, waited, delays[i-1]*11/10+2*time.Minute)
			}
		}
		all, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{State: "dead", Limit: 10})
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, 500, all[0].Status)
	})
}

func TestDelivery_HonoursRetryAfterAndGone(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		_, r := h.listen(t, "busy.example.com", Wish{Events: []string{"otp.sent"}})
		r.answer = func(n int, _ *http.Request) (int, http.Header) {
			if n == 1 {
				return http.StatusServiceUnavailable, http.Header{"Retry-After": {"60"}}
			}
			return http.StatusOK, nil
		}
		e, gone := h.listen(t, "gone.example.com", Wish{Events: []string{"otp.sent"}})
		gone.answer = func(int, *http.Request) (int, http.Header) { return http.StatusGone, nil }
		h.record(t, randomID(), otp.EventSent)
		time.Sleep(2 * time.Minute)
		got := r.all()
		require.Len(t, got, 2)
		require.InDelta(t, 60, got[1].at.Sub(got[0].at).Seconds(), 2)
		h.record(t, randomID(), otp.EventSent)
		time.Sleep(time.Minute)
		require.Len(t, gone.all(), 1)
		found, err := h.Find(ctx, me, e.ID)
		require.NoError(t, err)
		require.False(t, found.Enabled)
		require.Equal(t, "gone", found.Off)
		skipped, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{State: "skipped", Limit: 10})
		require.NoError(t, err)
		require.Len(t, skipped, 1)
	})
}

func TestDelivery_AnEndpointThatFailsForThreeDaysIsPausedWithOneNotice(t *testing.T) {
	onBoth(t, time.Minute, func(t *testing.T, h *house) {
		e, dead := h.listen(t, "dead.example.com", Wish{Events: []string{"otp.sent"}})
		dead.answer = func(int, *http.Request) (int, http.Header) { return http.StatusBadGateway, nil }
		_, other := h.listen(t, "other.example.com", Wish{Events: []string{"alert.webhook_paused"}})
		for range 80 {
			h.record(t, randomID(), otp.EventSent)
			time.Sleep(time.Hour)
		}
		found, err := h.Find(ctx, me, e.ID)
		require.NoError(t, err)
		require.Equal(t, "paused", found.Off)
		require.Equal(t, []string{"alert.webhook_paused"}, types(other.all()))
		require.Equal(t, map[string]any{"webhook": e.ID}, other.all()[0].body.Data)

		// Events from the time when it was off are replayed when it is on.
		n, err := h.Failed(ctx, me, e.ID, time.Now().Add(-100*time.Hour))
		require.NoError(t, err)
		require.Greater(t, n, 0)
		dead.answer = nil
		enabled := true
		_, err = h.Change(ctx, me, e.ID, func(int64) error { return nil }, Wish{Enabled: &enabled})
		require.NoError(t, err)
		since := time.Now().Add(-100 * time.Hour).Format(time.RFC3339)
		replayed, err := h.Replay(ctx, me, e.ID, Replay{Since: &since})
		require.NoError(t, err)
		require.EqualValues(t, n, replayed)
		time.Sleep(48 * time.Hour)
		delivered, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{State: "delivered", Limit: 100})
		require.NoError(t, err)
		require.Len(t, delivered, 80)
	})
}

// No receiver delays others: not one that refuses, one that is slow, one that never answers, and one that answers with
// a byte a second.
func TestDelivery_NoEndpointDelaysAnother(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		_, good := h.listen(t, "good.example.com", Wish{Events: []string{"otp.sent"}})
		_, dead := h.listen(t, "dead.example.com", Wish{Events: []string{"otp.sent"}})
		dead.answer = func(int, *http.Request) (int, http.Header) { return http.StatusInternalServerError, nil }
		_, slow := h.listen(t, "slow.example.com", Wish{Events: []string{"otp.sent"}})
		slow.takes = 9 * time.Second
		_, hung := h.listen(t, "hung.example.com", Wish{Events: []string{"otp.sent"}})
		hung.takes = time.Hour
		_, dripping := h.listen(t, "drip.example.com", Wish{Events: []string{"otp.sent"}})
		dripping.drips = true
		for range 40 {
			h.record(t, randomID(), otp.EventSent)
			time.Sleep(time.Second)
		}
		got := good.all()
		require.Len(t, got, 40)
		for _, d := range got {
			require.Less(t, d.at.Sub(d.body.Timestamp), 100*time.Millisecond)
		}
		require.LessOrEqual(t, len(slow.all()), 12, "two connections, nine seconds each")
		require.LessOrEqual(t, len(dripping.all()), 10, "two connections, held until patience ends")
	})
}

func TestDelivery_SeveralServersShareTheEndpoints(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		other := open(t, h.url, time.Second)
		other.net = h.net
		other.client = h.client
		_, r := h.listen(t, "hooks.example.com", Wish{Events: []string{"otp.sent"}})
		told := map[string]int{}
		for i := range 60 {
			at := h
			if i%2 == 1 {
				at = other
			}
			told[at.record(t, randomID(), otp.EventSent).Text("evt")] = 0
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		for _, d := range r.all() {
			told[d.body.ID]++
		}
		require.Len(t, told, 60)
		for id, n := range told {
			require.Equal(t, 1, n, id)
		}
	})
}

// causes has a function that causes each type of notice, except for types that only live codes can have.
func causes(t *testing.T, h *house) map[otp.NoticeType]func() {
	event := func(kind otp.EventKind) func() {
		return func() {
			challenge := randomID()
			h.record(t, challenge, otp.EventSent)
			h.record(t, challenge, kind)
		}
	}
	wrong := func(do func(*sql.State)) func() {
		return func() {
			challenge := randomID()
			h.record(t, challenge, otp.EventSent)
			op := h.operation(challenge, otp.EventWrong)
			decide := op.Decide
			op.Decide = func(s *sql.State) error {
				do(s)
				return decide(s)
			}
			require.NoError(t, h.Store.Do(op))
		}
	}
	change := func(kind otp.ChangeKind) func() {
		return func() {
			require.NoError(t, h.Store.Change(ctx, func(tx *sql.Tx) error {
				return tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: kind, Account: me.Account,
					Details: map[string]string{"what": string(kind)}})
			}))
		}
	}
	return map[otp.NoticeType]func(){
		otp.NoticeSent:        func() { h.record(t, randomID(), otp.EventSent) },
		otp.NoticeDelivered:   event(otp.EventDelivered),
		otp.NoticeFailed:      event(otp.EventUndelivered),
		otp.NoticeVerified:    event(otp.EventVerified),
		otp.NoticeExpired:     func() { h.record(t, randomID(), otp.EventSent); time.Sleep(6 * time.Minute) },
		otp.NoticeMaxAttempts: wrong(func(s *sql.State) { s.Challenge.Wrong = s.Challenge.MaxAttempts }),
		otp.NoticeReplaced:    event(otp.EventReplaced),
		otp.NoticeCanceled:    event(otp.EventCanceled),
		otp.NoticeLocked:      wrong(func(s *sql.State) { s.Recipient.LockedUntil = s.Now + otp.Hour }),
		otp.NoticeLimit:       event(otp.EventSpendCap),
		otp.NoticeFraud:       event(otp.EventPrefixStop),
		otp.NoticeKeyCreated:  change(otp.KeyCreated),
		otp.NoticeKeyRotated:  change(otp.KeyRotated),
		otp.NoticeKeyRevoked:  change(otp.KeyCompromised),
		otp.NoticeKeyExpiring: change(otp.KeyExpiring),
		otp.NoticeRotationDue: change(otp.KeyRotationDue),
		otp.NoticeAlert:       change("alert.raised"),
		otp.NoticePaused: func() {
			e, _ := h.listen(t, "paused.example.com", Wish{Events: []string{"otp.sent"}})
			id, _ := otp.ParseID(EndpointPrefix, e.ID)
			row, err := h.Store.Webhooks.ByID(ctx, me.Account, id)
			require.NoError(t, err)
			require.NoError(t, h.switchOff(&row, offPaused, otp.WebhookPaused, otp.At(time.Now())))
		},
		otp.NoticeCheckpoint: func() {
			require.NoError(t, h.TellCheckpoint(ctx, 17, "the note", otp.At(time.Now())))
		},
	}
}

// Each type is told once for its cause, and only to its account.
func TestDelivery_EveryTypeIsToldOfItsCause(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		causes := causes(t, h)
		require.Len(t, causes, len(otp.NoticeTypes()))
		_, all := h.listen(t, "all.example.com", Wish{})
		for told, cause := range causes {
			e, named := h.listen(t, "named.example.com", Wish{Events: []string{string(told)}})
			before := len(all.all())
			cause()
			time.Sleep(2 * time.Second)
			require.Equal(t, []string{string(told)}, types(named.all()))
			require.Equal(t, told != otp.NoticeCheckpoint, slices.Contains(types(all.all()[before:]), string(told)), told)
			require.NotEmpty(t, named.all()[0].body.Data, told)
			require.NoError(t, h.Delete(ctx, me, e.ID, func(int64) error { return nil }))
		}
	})
}
