package console

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/sandbox"
)

// Every kind of refusal has a meaning, except those that only people and operators get.
func TestOutcome_EveryRefusalOfACallHasAMeaning(t *testing.T) {
	elsewhere := []otp.Kind{otp.AccountExists, otp.ClockBackwards, otp.WrongPassword, otp.FactorRequired, otp.PersonLocked,
		otp.ReauthenticationRequired, otp.RegistrationClosed, otp.PersonExists, otp.LastOwner, otp.Outdated}
	for _, kind := range otp.Kinds() {
		found := outcomeOf(sandbox.Call{Kind: kind.String(), Status: 200})
		require.Equal(t, "refused", found.Word, kind)
		require.Equal(t, !slices.Contains(elsewhere, kind), found.Means == meanings[kind], "%v: %s", kind, found.Means)
	}
	for _, c := range []struct {
		call sandbox.Call
		word string
	}{
		{sandbox.Call{Kind: "ok", Status: 201}, "ok"}, {sandbox.Call{Kind: "ok", Status: 409}, "refused"},
		{sandbox.Call{Status: 404}, "refused"}, {sandbox.Call{Kind: "fault", Status: 200}, "failed"},
		{sandbox.Call{Kind: "upstream_failed", Status: 200}, "failed"},
		{sandbox.Call{Kind: "ok", Passed: "generated", Status: 200}, "ok"},
		{sandbox.Call{Kind: "ok", Passed: "verified", Status: 200}, "ok"},
		{sandbox.Call{Kind: "ok", Passed: "invalid", Status: 200}, "refused"},
		{sandbox.Call{Kind: "ok", Passed: "unauthorised", Status: 200}, "refused"},
		{sandbox.Call{Kind: "ok", Passed: "silence", Status: 200}, "refused"},
		{sandbox.Call{Kind: "ok", Passed: "other", Status: 200}, "refused"},
	} {
		require.Equal(t, c.word, outcomeOf(c.call).Word, c.call)
	}
}
