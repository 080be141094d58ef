package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest"
)

// waiting makes an endpoint with a receiver, and gives it 60 events at once.
func (h *house) waiting(t *testing.T, host string, r *receiver) (Endpoint, []otp.ID) {
	t.Helper()
	e, _ := h.listen(t, host, Wish{Events: []string{"otp.sent"}})
	h.receive(host, r)
	challenges := make([]otp.ID, 60)
	for i := range challenges {
		challenges[i] = randomID()
		h.record(t, challenges[i], otp.EventSent)
	}
	return e, challenges
}

// What an endpoint's owner changes holds for what waits already: after a second nothing more goes out as before.
func TestDelivery_AChangeReachesWhatIsUnderWay(t *testing.T) {
	any := func(int64) error { return nil }
	off, elsewhere := false, "https://elsewhere.example.com/hook"
	for name, change := range map[string]func(h *house, e Endpoint, challenges []otp.ID) error{
		"deleted": func(h *house, e Endpoint, _ []otp.ID) error { return h.Delete(ctx, me, e.ID, any) },
		"switched off": func(h *house, e Endpoint, _ []otp.ID) error {
			_, err := h.Change(ctx, me, e.ID, any, Wish{Enabled: &off})
			return err
		},
		"moved": func(h *house, e Endpoint, _ []otp.ID) error {
			_, err := h.Change(ctx, me, e.ID, any, Wish{URL: &elsewhere})
			return err
		},
		"erased": func(h *house, _ Endpoint, challenges []otp.ID) error {
			return h.Store.Change(ctx, func(tx *sql.Tx) error {
				for _, id := range challenges {
					if _, err := h.Store.Webhooks.Erase(tx, id); err != nil {
						return err
					}
				}
				return tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: otp.PrivacyErased})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, time.Second, func(t *testing.T, h *house) {
				h.receive("elsewhere.example.com", &receiver{})
				r := &receiver{takes: 2 * time.Second}
				e, challenges := h.waiting(t, "slow.example.com", r)
				time.Sleep(3 * time.Second)
				require.NoError(t, change(h, e, challenges))
				changed := time.Now()
				time.Sleep(3 * time.Minute)
				for _, d := range r.all() {
					require.LessOrEqual(t, d.at.Sub(changed), fresh, "a try began by what held before")
				}
			})
		})
	}
}

// 410 ends all tries but the one beside it, and is recorded once.
func TestDelivery_AnEndpointThatIsGoneIsLeftAlone(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		r := &receiver{takes: 300 * time.Millisecond}
		r.answer = func(int, *http.Request) (int, http.Header) { return http.StatusGone, nil }
		h.waiting(t, "gone.example.com", r)
		time.Sleep(3 * time.Minute)
		require.LessOrEqual(t, len(r.all()), connections)
		var recorded int
		require.NoError(t, sqltest.Connect(t, h.url).Get(&recorded,
			`SELECT COUNT(*) FROM changes WHERE kind = 'webhook.gone'`))
		require.Equal(t, 1, recorded)
	})
}

// An answer of the old URL says nothing about the new one.
func TestDelivery_TheOldURLsAnswerDoesNotSwitchOffTheNew(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		e, r := h.listen(t, "old.example.com", Wish{Events: []string{"otp.sent"}})
		r.takes, r.answer = 5*time.Second, func(int, *http.Request) (int, http.Header) { return http.StatusGone, nil }
		h.record(t, randomID(), otp.EventSent)
		time.Sleep(time.Second)
		fixed := "https://new.example.com/hook"
		h.receive("new.example.com", &receiver{})
		_, err := h.Change(ctx, me, e.ID, func(int64) error { return nil }, Wish{URL: &fixed})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		found, err := h.Find(ctx, me, e.ID)
		require.NoError(t, err)
		require.True(t, found.Enabled, "%s", found.Off)
	})
}

// A replay of any length is done in steps that codes do not wait for, and misses nothing.
func TestReplay_TakesAllInSteps(t *testing.T) {
	onBoth(t, time.Second, func(t *testing.T, h *house) {
		e, _ := h.listen(t, "hooks.example.com", Wish{})
		off, n := false, 1100
		_, err := h.Change(ctx, me, e.ID, func(int64) error { return nil }, Wish{Enabled: &off})
		require.NoError(t, err)
		row, err := h.find(ctx, me, e.ID)
		require.NoError(t, err)
		now := otp.At(time.Now())
		require.NoError(t, h.Store.Change(ctx, func(tx *sql.Tx) error {
			change := otp.Change{ID: sql.NewID(), At: now, Kind: otp.KeyCreated}
			for i := range n {
				told := sql.Notice{Type: string(otp.NoticeKeyCreated), Event: change.ID, At: now + otp.Millis(i)}
				if err := h.Store.Webhooks.TellOne(tx, &row, told, now); err != nil {
					return err
				}
			}
			return tx.Record(change)
		}))
		_, err = sqltest.Connect(t, h.url).Exec(`UPDATE webhook_deliveries SET state = 'dead'
			WHERE id IN (SELECT id FROM (SELECT id FROM webhook_deliveries ORDER BY id LIMIT 300) AS oldest)`)
		require.NoError(t, err)
		since := time.Now().Add(-time.Minute).Format(time.RFC3339)
		replayed, err := h.Replay(ctx, me, e.ID, Replay{Since: &since})
		require.NoError(t, err)
		require.EqualValues(t, n, replayed)
		left, err := h.Failed(ctx, me, e.ID, time.Now().Add(-time.Minute))
		require.NoError(t, err)
		require.Zero(t, left)
		waiting, err := h.Deliveries(ctx, me, e.ID, DeliveryQuery{State: "pending", Limit: 2 * n})
		require.NoError(t, err)
		require.Len(t, waiting, n)
	})
}
