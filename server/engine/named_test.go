package engine_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// byName are the calls that name a challenge without a guess.
var byName = map[string]func(h house, c *engine.Caller, n engine.Named) (engine.Challenge, error){
	"status": func(h house, c *engine.Caller, n engine.Named) (engine.Challenge, error) {
		return h.StatusNamed(background, c, n)
	},
	"resend": func(h house, c *engine.Caller, n engine.Named) (engine.Challenge, error) {
		return h.ResendNamed(background, c, n, "", otp.ID{})
	},
	"cancel": func(h house, c *engine.Caller, n engine.Named) (engine.Challenge, error) {
		return h.CancelNamed(background, c, n)
	},
}

// A challenge that verify does not find is not found by the other calls under the same name, and does not change. By
// its id, a challenge needs only its account and environment.
func TestNamed_EachCallFindsWhatAGuessWouldFind(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c, stranger := application(t, h, nil), application(t, h, nil)
		live := *c
		live.Environment = otp.Live
		const ip, binding = "10.20.51.122", `{"amount":1}`
		for _, row := range []struct{ ip, binding, kind string }{
			{"", "", "verification"}, {ip, "", "verification"}, {"", binding, "verification"}, {ip, binding, "two_factor"},
		} {
			for call, do := range byName {
				c := application(t, h, nil)
				right := to(t, h, c, someNumber, row.ip, "", row.binding)
				id := sent(t, h, c, engine.Send{Target: right, Type: row.kind}).ID
				other := map[string]string{"": ip, ip: ""}[row.ip]
				for _, wrong := range []struct {
					caller *engine.Caller
					named  engine.Named
				}{
					{c, engine.Named{Target: to(t, h, c, someNumber, other, "", row.binding), Type: row.kind}},
					{c, engine.Named{Target: to(t, h, c, someNumber, "10.20.51.123", "", row.binding), Type: row.kind}},
					{c, engine.Named{Target: to(t, h, c, someNumber, row.ip, "", `{"amount":2}`), Type: row.kind}},
					{c, engine.Named{Target: to(t, h, c, "+919551492395", row.ip, "", row.binding), Type: row.kind}},
					{c, engine.Named{Target: right, Type: "transaction"}},
					{c, engine.Named{ID: id, Type: "transaction"}},
					{c, engine.Named{ID: otp.ID{1}}},
					{stranger, engine.Named{Target: right, Type: row.kind}},
					{stranger, engine.Named{ID: id}},
					{&live, engine.Named{Target: right, Type: row.kind}},
				} {
					if call == "status" && !wrong.named.ID.IsZero() && wrong.named.Type != "" {
						continue // a path names only an id
					}
					_, err := do(h, wrong.caller, wrong.named)
					require.Equal(t, otp.NotFound, otp.KindOf(err), "%s %+v", call, wrong.named)
				}
				for _, named := range []engine.Named{{Target: right, Type: row.kind}, {ID: id}} {
					found, err := do(h, c, named)
					if call == "cancel" && !named.ID.IsZero() {
						require.Equal(t, otp.Canceled, otp.KindOf(err))
						continue
					}
					require.NoError(t, err, "%s %+v", call, named)
					require.Equal(t, id, found.ID)
					require.Zero(t, found.Attempts)
				}
			}
		}
	})
}

func TestNamed_ARecipientMeansItsNewestChallenge(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			c := application(t, h, nil)
			named := engine.Named{Target: to(t, h, c, someNumber, "", "", "")}
			first := sent(t, h, c, engine.Send{Target: named.Target})
			second := sent(t, h, c, engine.Send{Target: named.Target})
			resent, err := h.ResendNamed(background, c, named, "", otp.ID{})
			require.NoError(t, err)
			require.Equal(t, second.ID, resent.ID)
			status, err := h.Status(background, c, first.ID)
			require.NoError(t, err)
			require.Len(t, status.Sends, 1)

			// A challenge that a guess no longer finds has no status by its recipient, but still by its id.
			time.Sleep(5*time.Minute + time.Hour)
			status, err = h.StatusNamed(background, c, named)
			require.NoError(t, err)
			require.Equal(t, "expired", status.Status)
			time.Sleep(2 * time.Millisecond)
			for call, do := range byName {
				_, err = do(h, c, named)
				require.Equal(t, otp.NotFound, otp.KindOf(err), call)
			}
			_, err = h.StatusNamed(background, c, engine.Named{ID: second.ID})
			require.NoError(t, err)
		})
	})
}

// A request that is repeated after its server died is answered with the challenge whose code it resent, even if the
// recipient has a newer one now, and nothing is sent.
func TestResendNamed_ARepetitionIsAnsweredForTheChallengeThatItResent(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, nil)
		named := engine.Named{Target: to(t, h, c, someNumber, "", "", "")}
		first := sent(t, h, c, engine.Send{Target: named.Target})
		once := otp.ID{7, 7, 7}
		resent, err := h.ResendNamed(background, c, named, "", once)
		require.NoError(t, err)
		require.Equal(t, first.ID, resent.ID)
		second := sent(t, h, c, engine.Send{Target: named.Target, Type: "transaction"})
		repeated, err := h.ResendNamed(background, c, named, "", once)
		require.NoError(t, err)
		require.Equal(t, first.ID, repeated.ID)
		require.Len(t, repeated.Sends, 2)
		status, err := h.Status(background, c, second.ID)
		require.NoError(t, err)
		require.Len(t, status.Sends, 1)
	})
}

// Resends race with sends that replace their challenges. Each succeeds for the newest challenge of its moment. None is
// refused as replaced, because it named no challenge.
func TestResendNamed_WhileTheNewestChangesRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, func(a *otp.Account) {
			a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay, a.MaxRegenerations = 0, 0, 0, 100
		})
		named := engine.Named{Target: to(t, h, c, someNumber, "", "", "")}
		sent(t, h, c, engine.Send{Target: named.Target})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := h.Send(background, c, engine.Send{Target: named.Target, Method: "sms"})
				require.NoError(t, err)
			})
			all.Go(func() {
				_, err := h.ResendNamed(background, c, named, "", otp.ID{})
				require.NoError(t, err)
			})
		}
		all.Wait()
	})
}
