package engine_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// provider is a channel that leaves the process, with a next hop that counts what arrived.
type provider struct {
	name string
	send func(ctx context.Context, m deliver.Message) deliver.Result // nil: accepts everything

	mu    sync.Mutex
	calls int
	codes []string
	sends []string       // their SendIDs
	taken map[string]int // by message and send
}

func (p *provider) Name() string { return p.name }

func (p *provider) Waits() bool { return true }

func (p *provider) Send(ctx context.Context, m deliver.Message) deliver.Result {
	content, err := m.Content()
	if err != nil {
		return deliver.Result{Outcome: deliver.NotSent, Reason: err.Error()}
	}
	p.mu.Lock()
	p.calls++
	p.codes, p.sends = append(p.codes, content.Code), append(p.sends, m.SendID)
	p.mu.Unlock()
	if p.send != nil {
		return p.send(ctx, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken = map[string]int{}
	}
	p.taken[fmt.Sprint(m.ID, m.Number)]++
	return deliver.Result{Outcome: deliver.Sent, MessageID: fmt.Sprint(m.ID, "-", m.Number)}
}

func (p *provider) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// down returns a provider that cannot be reached.
func down(name string) *provider {
	return &provider{name: name, send: func(context.Context, deliver.Message) deliver.Result {
		return deliver.Result{Outcome: deliver.NotSent, Retryable: true, Down: true, Reason: "the connection was refused"}
	}}
}

// silent returns a provider that accepts the request and never answers.
func silent(name string) *provider {
	return &provider{name: name, send: func(ctx context.Context, _ deliver.Message) deliver.Result {
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
		return deliver.Result{Outcome: deliver.Unknown, Down: true, Reason: "no answer"}
	}}
}

func through(t testing.TB, at place, adjust func(*engine.Options), channels ...deliver.Channel) house {
	return openWith(t, at, func(o *engine.Options) {
		o.SMS = channels
		if adjust != nil {
			adjust(o)
		}
	})
}

// openRows counts the deliveries that are not finished.
const openRows = `SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL`

func settled(t testing.TB, h house) {
	t.Helper()
	require.Eventually(t, func() bool { return ask(t, h, openRows) == 0 }, 20*time.Second, 10*time.Millisecond)
}

func outcomes(t testing.TB, h house, outcome otp.Outcome) int {
	t.Helper()
	return ask(t, h, fmt.Sprintf(`SELECT COUNT(*) FROM deliveries WHERE outcome = '%s' AND leased_until IS NULL`, outcome))
}

func TestOutbox_FallsBackWithTheSameCodeIfTheFirstSurelyDidNotSend(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		first, second := down("first"), &provider{name: "second"}
		h := through(t, at, nil, first, second)
		caller := throwaway(t, h, nil)
		to := target(t, h, caller, "919551492394", "x")
		began := time.Now()
		_, err := h.Generate(background, caller, to)
		require.NoError(t, err)
		require.Less(t, time.Since(began), 3*time.Second)
		require.Equal(t, 1, first.called())
		require.Equal(t, first.codes, second.codes)
		require.Equal(t, first.sends, second.sends, "the same send, tried elsewhere")
		require.NoError(t, h.Verify(background, caller, to, second.codes[0]))
		settled(t, h)
		require.Equal(t, 1, outcomes(t, h, otp.OutcomeSent))
		require.Equal(t, 1, ask(t, h, `SELECT COUNT(*) FROM deliveries WHERE channel = 'second' AND receipt IS NOT NULL`))
	})
}

func TestOutbox_NothingIsSentAgainAfterAnUnknownOutcome(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		first, second := silent("first"), &provider{name: "second"}
		h := through(t, at, nil, first, second)
		caller := throwaway(t, h, nil)
		_, err := h.Generate(background, caller, target(t, h, caller, "919551492394", "x"))
		require.NoError(t, err, "it may be on its way")
		settled(t, h)
		taken, err := h.TakeOver(background)
		require.NoError(t, err)
		require.Zero(t, taken)
		require.Equal(t, 1, first.called())
		require.Zero(t, second.called())
		require.Equal(t, 1, outcomes(t, h, otp.OutcomeUnknown))
		require.Equal(t, 1, ask(t, h, `SELECT COUNT(*) FROM events WHERE kind = 'unknown'`))
	})
}

func TestOutbox_WithEveryProviderDownTheSendIsRefundedAndSaidToHaveFailed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := through(t, at, func(o *engine.Options) { o.DeliveryWait = 200 * time.Millisecond }, down("first"),
			down("second"))
		caller := throwaway(t, h, nil)
		to := target(t, h, caller, "919551492394", "x")
		for range 12 { // the limit is ten a minute
			_, err := h.Generate(background, caller, to)
			require.Equal(t, otp.Undelivered, otp.KindOf(err))
			_, err = h.Resend(background, caller, to)
			require.Equal(t, otp.Undelivered, otp.KindOf(err), "the new code is live and can be sent again")
		}
		require.Equal(t, 24, outcomes(t, h, otp.OutcomeUnsent))
		require.Equal(t, 24, ask(t, h, `SELECT COUNT(*) FROM events WHERE kind = 'unsent'`))
		require.Equal(t, 0, ask(t, h, `SELECT COUNT(*) FROM challenges WHERE regenerations > 0`))
	})
}

func TestOutbox_StatusTellsHowAnApplicationsSendEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			refused := &provider{name: "picky", send: func(context.Context, deliver.Message) deliver.Result {
				return deliver.Result{Outcome: deliver.NotSent, Reason: "refused"}
			}}
			for _, row := range []struct {
				provider *provider
				status   string
				calls    int
			}{{&provider{name: "good"}, "sent", 1}, {refused, "failed", 1}, {silent("silent"), "sent", 1}} {
				h := through(t, at, nil, row.provider)
				caller := throwaway(t, h, nil)
				caller.Door = otp.V1Door
				made, err := h.Send(background, caller, engine.Send{Target: target(t, h, caller, "919551492394", "x"),
					Method: "sms"})
				require.NoError(t, err)
				require.Equal(t, "queued", made.Status)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				now, err := h.Status(background, caller, made.ID)
				require.NoError(t, err)
				require.Equal(t, row.status, now.Status)
				require.Equal(t, row.calls, row.provider.called())
			}
		})
	})
}

// A provider that recovers gets what was sent meanwhile, but nothing after the code expired.
func TestOutbox_AnApplicationsSendIsTriedAgainForAMinute(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			back := &provider{name: "back"}
			flaky := &provider{name: "flaky", send: func(ctx context.Context, m deliver.Message) deliver.Result {
				if time.Since(began) < 20*time.Second {
					return deliver.Result{Outcome: deliver.NotSent, Retryable: true, Down: true}
				}
				return back.Send(ctx, m)
			}}
			h := through(t, at, nil, flaky)
			caller := throwaway(t, h, nil)
			caller.Door = otp.V1Door
			send := func(number string, ttl time.Duration) string {
				made, err := h.Send(background, caller, engine.Send{Target: target(t, h, caller, number, "x"), Method: "sms",
					TTL: ttl})
				require.NoError(t, err)
				time.Sleep(100 * time.Second)
				synctest.Wait()
				now, err := h.Status(background, caller, made.ID)
				require.NoError(t, err)
				return now.Sends[0].Status
			}
			require.Equal(t, "sent", send("919551492394", 10*time.Minute))
			require.Equal(t, 1, back.called())
			began = time.Now().Add(time.Hour)
			calls := flaky.called()
			require.Equal(t, "failed", send("919551492395", 30*time.Second))
			require.Greater(t, flaky.called(), calls+2)
			require.Equal(t, 0, ask(t, h, openRows))
		})
	})
}

// A delivery that a servlet's caller waits for is marked as begun in its COMMIT. If its server dies before the
// hand-over it ends as unknown, and is not delivered to a caller who got an error.
func TestTakeOver_WhatAServletsCallerWaitedForIsUnknownAndNeverDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		gate := make(chan struct{})
		stuck := stuckUntil(gate)
		dead := through(t, at, func(o *engine.Options) { o.DeliveryWait = time.Millisecond }, stuck,
			&provider{name: "second"})
		t.Cleanup(func() { close(gate) })
		caller := throwaway(t, dead, nil)
		to := target(t, dead, caller, "919551492394", "x")
		_, err := dead.Generate(background, caller, to)
		require.NoError(t, err)
		_, err = dead.Resend(background, caller, to)
		require.NoError(t, err)
		require.Equal(t, 2,
			ask(t, dead, `SELECT COUNT(*) FROM deliveries WHERE started_at IS NOT NULL AND channel = 'stuck' AND version = 1`))
		bySQL(t, dead, `UPDATE deliveries SET leased_until = 1, version = version + 1`)

		next := &provider{name: "next"}
		heir := through(t, at, nil, next)
		taken, err := heir.TakeOver(background)
		require.NoError(t, err)
		require.Equal(t, 2, taken)
		settled(t, heir)
		require.Zero(t, next.called())
		require.Equal(t, 2, outcomes(t, heir, otp.OutcomeUnknown))
		require.Equal(t, 2, ask(t, heir, `SELECT COUNT(*) FROM events WHERE kind = 'unknown'`))
	})
}

// A server that stops before a hand-over that it has marked lets the delivery go, and another server delivers it.
func TestOutbox_AClosingServerLetsGoOfWhatItHasNotHandedOver(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		first := &provider{name: "first"}
		closed := through(t, at, func(o *engine.Options) { o.DeliveryWait = time.Minute }, first)
		caller := throwaway(t, closed, nil)
		to := target(t, closed, caller, "919551492394", "x")
		closed.Engine.Close()
		_, err := closed.Generate(background, caller, to)
		require.NoError(t, err, "it may be on its way")
		require.Zero(t, first.called())
		require.Equal(t, 1, ask(t, closed, openRows+` AND started_at IS NULL`))

		next := &provider{name: "next"}
		heir := through(t, at, nil, next)
		_, err = heir.TakeOver(background)
		require.NoError(t, err)
		settled(t, heir)
		require.Equal(t, 1, next.called())
		require.Equal(t, 1, outcomes(t, heir, otp.OutcomeSent))
	})
}

// Each send has another id, by which a gateway's receipts are matched.
func TestOutbox_EverySendIsNamedAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		all := &provider{name: "all"}
		h := through(t, at, nil, all)
		caller := throwaway(t, h, nil)
		to := target(t, h, caller, "919551492394", "x")
		_, err := h.Generate(background, caller, to)
		require.NoError(t, err)
		_, err = h.Resend(background, caller, to)
		require.NoError(t, err)
		settled(t, h)
		require.Len(t, all.sends, 2)
		require.NotEqual(t, all.sends[0], all.sends[1])
		for _, name := range all.sends {
			_, ok := otp.ParseID("send", name)
			require.True(t, ok, name)
		}
	})
}

// stuckUntil returns a provider that answers when the gate is closed.
func stuckUntil(gate <-chan struct{}) *provider {
	return &provider{name: "stuck", send: func(context.Context, deliver.Message) deliver.Result {
		<-gate
		return deliver.Result{Outcome: deliver.Sent}
	}}
}

// Deliveries that a dead server had not begun are delivered by another; those that it had begun never are.
func TestTakeOver_DeliversWhatHadNotBegunAndEndsWhatHadAsUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		gate := make(chan struct{})
		stuck := stuckUntil(gate)
		dead := through(t, at, func(o *engine.Options) { o.DeliveryWait = 0 }, stuck)
		t.Cleanup(func() { close(gate) }) // before the server closes
		caller := throwaway(t, dead, nil)
		for i := range 4 { // no caller waits: at the servlets because the wait is 0, and at v1
			to := target(t, dead, caller, fmt.Sprint("91955149230", i), "x")
			var err error
			if i%2 == 0 {
				_, err = dead.Generate(background, caller, to)
			} else {
				application := *caller
				application.Door = otp.V1Door
				_, err = dead.Send(background, &application, engine.Send{Target: to, Method: "sms"})
			}
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return stuck.called() == 4 }, 10*time.Second, time.Millisecond)
		// The states that a server leaves if it is killed before the mark, and after it.
		bySQL(t, dead, `UPDATE deliveries SET leased_until = 1, version = version + 1`)
		bySQL(t, dead,
			`UPDATE deliveries SET started_at = NULL WHERE recipient_hash IN (SELECT hash FROM recipients WHERE mask LIKE '%2300' OR mask LIKE '%2301')`)

		next := &provider{name: "next"}
		heirs := [2]house{through(t, at, nil, next), through(t, at, nil, next)}
		atOnce(2, func(i int) error { _, err := heirs[i].TakeOver(background); return err })
		settled(t, dead)
		require.Len(t, next.taken, 2)
		require.Equal(t, 2, next.called(), "by one of the two each")
		require.Subset(t, stuck.sends, next.sends, "they are the same sends")
		require.Equal(t, 2, outcomes(t, dead, otp.OutcomeSent))
		require.Equal(t, 2, outcomes(t, dead, otp.OutcomeUnknown))
	})
}

func TestTakeOver_NothingIsDeliveredAfterItsCodeExpired(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		gate := make(chan struct{})
		stuck := stuckUntil(gate)
		dead := through(t, at, func(o *engine.Options) { o.DeliveryWait = 0 }, stuck)
		t.Cleanup(func() { close(gate) })
		caller := throwaway(t, dead, nil)
		_, err := dead.Generate(background, caller, target(t, dead, caller, "919551492394", "x"))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return stuck.called() == 1 }, 10*time.Second, time.Millisecond)
		bySQL(t, dead, `UPDATE deliveries SET leased_until = 1, started_at = NULL, expires_at = 1, version = version + 1`)
		next := &provider{name: "next"}
		heir := through(t, at, nil, next)
		_, err = heir.TakeOver(background)
		require.NoError(t, err)
		settled(t, heir)
		require.Zero(t, next.called())
		require.Equal(t, 1, outcomes(t, heir, otp.OutcomeUnsent))
	})
}

// full returns how often something is repeated: all times with FULL=1, else few.
func full(all, few int) int {
	if os.Getenv("FULL") == "1" {
		return all
	}
	return few
}

func TestOutbox_TwoServersSendEachMessageExactlyOnceRace(t *testing.T) {
	at := place(onMariaDB(t))
	next := &provider{name: "next"}
	tending := func(o *engine.Options) {
		o.TendOutbox, o.DeliveryWait, o.Cost.PrefixUnverified = 20*time.Millisecond, time.Minute, 0
	}
	servers := [2]house{through(t, at, tending, next), through(t, at, tending, next)}
	caller := throwaway(t, servers[0], nil)
	messages, next64 := full(10_000, 600), 64
	for from := 0; from < messages; from += next64 {
		atOnce(min(next64, messages-from), func(i int) error {
			h := servers[i%2]
			_, err := h.Generate(background, caller, target(t, h, caller, fmt.Sprintf("9195%08d", from+i), "x"))
			return err
		})
	}
	settled(t, servers[0])
	require.Len(t, next.taken, messages)
	require.Equal(t, messages, next.called(), "each once")
	require.Equal(t, messages, outcomes(t, servers[0], otp.OutcomeSent))
}
