package servlet_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

const (
	sent     = "200 OTP Generated Successfully"
	verified = "200 Verified successfully"
)

// crossing is an account with both of its sides, and the count of forwarded calls.
type crossing struct {
	*testing.T
	front, upstream *side
	passed          atomic.Int32
}

func newCrossing(t *testing.T) *crossing {
	c := &crossing{T: t}
	account := otp.DefaultAccount("")
	account.SendsPerMinute = 0
	c.upstream = newSide(t, account, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.passed.Add(1)
			next.ServeHTTP(w, r)
		})
	})
	account = forwarding(c.upstream.server.URL + "/otpauthapi")
	account.SendsPerMinute = 0
	c.front = newSide(t, account, asItIs)
	return c
}

// to sets a mode and waits until it applies.
func (c *crossing) to(mode otp.BridgeMode) {
	c.Helper()
	_, err := c.front.manage.Accounts.CutOver(c.Context(), otp.Actor{Kind: "operator"}, c.front.address, mode,
		time.Time{}, nil)
	require.NoError(c, err)
	c.advance(otp.CutOverLead.Duration() + time.Second)
}

func (c *crossing) advance(by time.Duration) {
	require.NoError(c, c.front.manage.Sandbox.AdvanceClock(c.Context(), c.front.address, by))
}

// send generates or regenerates for a number, and reports whether the call was forwarded.
func (c *crossing) send(servlet, mobile string) (passedOn bool) {
	c.Helper()
	before := c.passed.Load()
	require.Equal(c, sent, c.front.askFor(c.T, c.front.server, servlet, mobile))
	return c.passed.Load() > before
}

func (c *crossing) validate(mobile, code string) string {
	c.Helper()
	return c.front.askFor(c.T, c.front.server, "plainotpvalidationservlet", mobile, "otp", code)
}

const (
	first  = "919551492394"
	second = "919551492395"
	third  = "919551492396"
)

// Codes that are live at a cut-over are checked by the side that made them.
func TestCutOver_CodesOnTheirWayWorkOn(t *testing.T) {
	c := newCrossing(t)
	for _, mobile := range []string{first, second, third} {
		require.True(t, c.send("otpgenservlet", mobile))
	}
	c.to(otp.BridgeLocal)
	require.Equal(t, verified, c.validate(first, c.upstream.code(t, first)))
	require.Equal(t, "200 OTPEXPIRED", c.validate(first, c.upstream.code(t, first)), "accepted twice")

	require.True(t, c.send("otpregenservlet", second), "the code that was made there is sent again there")
	require.Equal(t, verified, c.validate(second, c.upstream.code(t, second)))

	old := c.upstream.code(t, third)
	require.False(t, c.send("otpgenservlet", third))
	passed := c.passed.Load()
	require.Contains(t, c.validate(third, old), "Wrong PIN", "a newer code has taken its place")
	require.Equal(t, verified, c.validate(third, c.front.code(t, third)))
	require.Equal(t, passed, c.passed.Load(), "what was made here is judged here")

	require.False(t, c.send("otpgenservlet", first))
	require.False(t, c.send("otpregenservlet", first))
	require.Equal(t, verified, c.validate(first, c.front.code(t, first)))
}

func TestCutOver_AfterTheLifetimeNothingIsPassedOn(t *testing.T) {
	c := newCrossing(t)
	require.True(t, c.send("otpgenservlet", first))
	c.to(otp.BridgeLocal)
	c.advance(6 * time.Minute)
	passed := c.passed.Load()
	require.Equal(t, "200 ERROR", c.validate(first, c.upstream.code(t, first)))
	require.Equal(t, "200 ERROR", c.front.askFor(t, c.front.server, "otpregenservlet", first))
	require.Equal(t, passed, c.passed.Load())
}

func TestCutOver_BackIsTheSameInReverse(t *testing.T) {
	c := newCrossing(t)
	c.to(otp.BridgeLocal)
	c.advance(6 * time.Minute)
	for _, mobile := range []string{first, second, third} {
		require.False(t, c.send("otpgenservlet", mobile))
	}
	c.to(otp.BridgeForward)
	require.Equal(t, verified, c.validate(first, c.front.code(t, first)))
	require.Equal(t, "200 OTPEXPIRED", c.validate(first, c.front.code(t, first)))
	require.False(t, c.send("otpregenservlet", second))
	require.Equal(t, verified, c.validate(second, c.front.code(t, second)))

	old := c.front.code(t, third)
	require.True(t, c.send("otpgenservlet", third))
	require.Contains(t, c.validate(third, old), "Wrong PIN")
	require.Equal(t, verified, c.validate(third, c.upstream.code(t, third)))
	c.advance(6 * time.Minute)
	require.True(t, c.send("otpgenservlet", third))
	require.Equal(t, verified, c.validate(third, c.upstream.code(t, third)))
}

// An operator who goes back and forth within one lifetime loses no code of either side.
func TestCutOver_ThereAndBackWithinALifetime(t *testing.T) {
	c := newCrossing(t)
	made := map[string]*side{}
	modes := []otp.BridgeMode{otp.BridgeLocal, otp.BridgeForward, otp.BridgeLocal, otp.BridgeForward, otp.BridgeLocal}
	for i, mobile := range []string{"919551492301", "919551492302", "919551492303", "919551492304", "919551492305"} {
		made[mobile] = c.front
		if c.send("otpgenservlet", mobile) {
			made[mobile] = c.upstream
		}
		// One number gets a code in every turn: the newest counts.
		from := c.front
		if c.send("otpgenservlet", first) {
			from = c.upstream
		}
		c.to(modes[i])
		require.Equal(t, verified, c.validate(first, from.code(t, first)), "turn %d", i)
	}
	for mobile, from := range made {
		require.Equal(t, verified, c.validate(mobile, from.code(t, mobile)))
	}
}

// A change that is set while codes of the previous one are live does not affect them, before it applies or after.
func TestCutOver_SetAgainWithinALifetime(t *testing.T) {
	c := newCrossing(t)
	set := func(mode otp.BridgeMode, at time.Duration) {
		_, err := c.front.manage.Accounts.CutOver(t.Context(), otp.Actor{Kind: "operator"}, c.front.address, mode,
			time.Now().Add(at), nil)
		require.NoError(t, err)
	}
	for _, mobile := range []string{first, second, third} {
		require.True(t, c.send("otpgenservlet", mobile))
	}
	c.to(otp.BridgeLocal)
	old := c.upstream.code(t, third)
	require.False(t, c.send("otpgenservlet", third))
	set(otp.BridgeForward, time.Hour)
	require.Equal(t, verified, c.validate(first, c.upstream.code(t, first)))
	require.Contains(t, c.validate(third, old), "Wrong PIN")
	c.to(otp.BridgeForward)
	require.Equal(t, verified, c.validate(second, c.upstream.code(t, second)))
	require.Equal(t, verified, c.validate(third, c.front.code(t, third)))

	c.advance(6 * time.Minute)
	c.to(otp.BridgeLocal)
	require.False(t, c.send("otpgenservlet", first))
	require.False(t, c.send("otpgenservlet", second))
	c.to(otp.BridgeForward)
	set(otp.BridgeLocal, time.Hour)
	require.Equal(t, verified, c.validate(first, c.front.code(t, first)))
	c.to(otp.BridgeShadow)
	require.Equal(t, verified, c.validate(second, c.front.code(t, second)))
}

// A change that is set for later has no effect before its time, and can be cancelled.
func TestCutOver_SetForLater(t *testing.T) {
	c := newCrossing(t)
	accounts, by := c.front.manage.Accounts, otp.Actor{Kind: "operator"}
	changed, err := accounts.CutOver(t.Context(), by, c.front.address, otp.BridgeLocal,
		time.Now().Add(time.Hour), nil)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), changed.CutOverAt.Time(), time.Minute)
	require.True(t, c.send("otpgenservlet", first))
	require.Equal(t, verified, c.validate(first, c.upstream.code(t, first)))
	c.to(otp.BridgeForward)
	c.advance(2 * time.Hour)
	require.True(t, c.send("otpgenservlet", first))
	require.Equal(t, verified, c.validate(first, c.upstream.code(t, first)))

	soon := time.Now().Add(2*time.Hour + 5*time.Second)
	_, err = accounts.CutOver(t.Context(), by, c.front.address, otp.BridgeLocal, soon, nil)
	require.Equal(t, otp.Invalid, otp.KindOf(err), "servers would not know of it in time")
	_, err = accounts.CutOver(t.Context(), by, c.front.address, otp.BridgeLocal, time.Time{}, nil)
	require.NoError(t, err)
	_, err = accounts.CutOver(t.Context(), by, c.front.address, otp.BridgeForward, time.Time{}, nil)
	require.ErrorContains(t, err, "about to happen")
}

// An account's servlets are announced to end, pause in brown-outs, end, and stay on with a grace.
func TestSunset_AnnouncedRehearsedAndMade(t *testing.T) {
	c := newCrossing(t)
	set := func(columns []string, change func(a *otp.Account)) {
		_, err := c.front.manage.Accounts.Change(t.Context(), manage.Edit{Account: c.front.address, Columns: columns,
			Set: func(n *manage.Imported) error { change(&n.Account); return nil }})
		require.NoError(t, err)
	}
	headers := func() http.Header {
		r, err := http.NewRequestWithContext(t.Context(), "POST", c.front.server.URL+"/otpauthapi/otpgenservlet"+target, nil)
		require.NoError(t, err)
		r.Header["access_key"] = []string{bridgedKey}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.Header
	}
	require.Empty(t, headers().Get("Deprecation"), "nobody asked for it")
	now := time.Now().Truncate(time.Second).UTC()
	deprecated, sunset := otp.At(now), otp.At(now.Add(2*time.Hour))
	set([]string{"servlets_deprecated_at", "servlets_sunset_at", "servlets_brown_outs"}, func(a *otp.Account) {
		a.ServletsDeprecatedAt, a.ServletsSunsetAt = &deprecated, &sunset
		a.ServletsBrownOuts = []string{now.Add(time.Hour).Format(time.RFC3339) + "/" +
			now.Add(time.Hour+10*time.Minute).Format(time.RFC3339)}
	})
	told := headers()
	require.Equal(t, fmt.Sprintf("@%d", now.Unix()), told.Get("Deprecation"), "a date of RFC 9651")
	at, err := http.ParseTime(told.Get("Sunset"))
	require.NoError(t, err)
	require.Equal(t, now.Add(2*time.Hour), at.UTC())
	require.Equal(t, `</v1/send>; rel="successor-version"`, told.Get("Link"))

	const off = "200 The feature is not enabled"
	generates := func() string { return c.front.askFor(t, c.front.server, "otpgenservlet", first) }
	require.Equal(t, sent, generates())
	c.advance(time.Hour + time.Minute)
	require.Equal(t, off, generates(), "a rehearsal")
	require.Equal(t, off, c.validate(first, "123456"))
	require.Equal(t, "200 ERROR", c.front.askFor(t, c.front.server, "otpregenservlet", first))
	c.advance(10 * time.Minute)
	require.Equal(t, sent, generates())
	c.advance(time.Hour)
	passed := c.passed.Load()
	require.Equal(t, off, generates(), "the end")
	require.Equal(t, passed, c.passed.Load())
	set([]string{"servlets_grace"}, func(a *otp.Account) { a.ServletsGrace = true })
	require.Equal(t, sent, generates(), "grace")
	for _, span := range []string{"", "now", "2026-12-01T06:00:00Z", "2026-12-01T06:00:00Z/", "/2026-12-01T06:00:00Z",
		"2026-12-01T06:00:00Z/2026-12-01T06:00:00Z", "2026-12-01T06:00:00Z/2026-12-01T05:00:00Z", "2026-12-01/2026-12-02",
		"2026-12-01T06:00:00Z/2026-12-03T06:00:00Z", "2026-12-01T06:00:00Z/PT15M", "2026-12-01T06:00Z/2026-12-01T07:00Z"} {
		account := otp.DefaultAccount("4711")
		account.ServletsBrownOuts = []string{span}
		require.ErrorContains(t, account.Validate(), "servlets_brown_outs", span)
	}
	account := otp.DefaultAccount("4711")
	account.ServletsDeprecatedAt, account.ServletsSunsetAt = &sunset, &deprecated
	require.ErrorContains(t, account.Validate(), "servlets_sunset_at")
}
