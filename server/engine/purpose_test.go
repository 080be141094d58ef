package engine_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// A code for one purpose must not serve another: a caller names the type; without one it is verification. The servlets
// cannot name a type, so the account lists the types that they accept.
func TestVerify_ACodeServesOnlyThePurposeThatIsNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		kinds := []string{"verification", "two_factor", "password_reset", "transaction"}
		for _, servlets := range [][]string{nil, {"verification", "password_reset"}, {"transaction", "verification"}, kinds} {
			c := throwaway(t, h, func(a *otp.Account) {
				if a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0; servlets != nil {
					a.ServletTypes = servlets
				}
			})
			seen := map[string]bool{}
			for _, kind := range c.Account.ServletTypes {
				seen[kind] = true
			}
			for _, kind := range kinds {
				t.Run(kind, func(t *testing.T) { onePurpose(t, h, c, kind, seen[kind]) })
			}
		}
	})
}

// onePurpose sends a code of one type and tries it with every other type and at the servlets.
func onePurpose(t *testing.T, h house, c *engine.Caller, kind string, seen bool) {
	api := atAPI(c)
	there, here := to(t, h, api, someNumber, "10.20.51.122", "", ""), target(t, h, c, "919551492394", "10.20.51.122")
	challenge := sent(t, h, api, engine.Send{Target: there, Type: kind})
	right := code(t, h, c, someNumber)
	for _, named := range []string{"", "verification", "two_factor", "password_reset", "transaction"} {
		if named == kind || named == "" && kind == "verification" {
			continue
		}
		for _, proof := range []engine.Proof{{ID: challenge.ID}, {Target: there}} {
			for _, guess := range []string{right, ""} {
				proof.Code, proof.Type = guess, named
				_, err := h.VerifyNamed(background, api, proof)
				require.Equal(t, otp.NotFound, otp.KindOf(err), "%s as %q", kind, named)
			}
		}
	}
	if !seen {
		for _, guess := range []string{right, ""} {
			require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, c, here, guess)), kind)
		}
		_, err := h.Resend(background, c, here)
		require.Equal(t, otp.NotFound, otp.KindOf(err), kind)
	}
	status, err := h.Status(background, api, challenge.ID)
	require.NoError(t, err)
	require.Zero(t, status.Attempts, "nothing was compared or charged")
	require.Len(t, status.Sends, 1, "nothing was sent again")
	if seen {
		_, err := h.Resend(background, c, here)
		require.NoError(t, err)
		require.Equal(t, 4, left(t, h.Verify(background, c, here, "")))
		require.NoError(t, h.Verify(background, c, here, right))
		return
	}
	// A servlet's generate still replaces it: a recipient never has two live codes there.
	_, err = h.Generate(background, c, here)
	require.NoError(t, err)
	_, err = h.VerifyNamed(background, api, engine.Proof{ID: challenge.ID, Code: right, Type: kind})
	require.Equal(t, otp.Replaced, otp.KindOf(err))
	_, err = h.VerifyNamed(background, api, engine.Proof{Target: there, Code: code(t, h, c, someNumber)})
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		require.Fail(t, "a servlet's code is a verification", refusal.Error())
	}
}
