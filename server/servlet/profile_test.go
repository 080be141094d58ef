package servlet

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// The texts in this file are copied from the protocol page, never from profile.go.

func TestVoice_SaysTheTextsOfBothProfiles(t *testing.T) {
	tests := []struct {
		text       text
		documented string
		live       string
	}{
		{generated, "OTP Generated Successfully", "OTP Generated Successfully\r\n"},
		{unauthorised, "UNAUTHERISED USER", "UNAUTHERISED USER\r\n"},
		{featureOff, "The feature is not enabled", "The feature is not enabled\r\n"},
		{invalid, "Invalid Parameters", "Invalid Parameters\r\n"},
		{undelivered, "SMSEMAILFAIL", "SMSEMAILFAIL\r\n"},
		{failed, "ERROR", "ERROR\r\n"},
		{verified, "Verified successfully", "Verified successfully\r\n"},
		{expired, "OTPEXPIRED", "OTPEXPIRED\r\n"},
		{wrong, "Wrong PIN. No of Retries remaining #2", "Wrong PIN . No of Retries remaining # 2\r\n"},
		{exhausted,
			"Max no of tries for this pin been reached. Please generate other",
			"Max no of tries for this pin been reached. Please generate other\r\n"},
		{regenerations,
			"Max no of tries to regeneration of pin has been reached. Please generate other",
			"MAXREGEN\r\n"},
		{silence, "", ""},
	}
	for _, test := range tests {
		t.Run(string(test.text), func(t *testing.T) {
			require.Equal(t, test.documented, voice{profile: profiles[otp.Documented]}.body(test.text, 2))
			require.Equal(t, test.live, voice{profile: profiles[otp.LiveProfile]}.body(test.text, 2))
		})
	}
	for name, p := range profiles {
		require.Len(t, p.texts, len(tests)-1, "every text of %s is tested here", name)
	}
}

func TestVoice_AnAccountOverridesEveryText(t *testing.T) {
	// The names are those of the column message_overrides; otp.Account refuses all others.
	names := []string{
		"generated", "unauthorised", "feature_off", "invalid", "undelivered", "error",
		"verified", "expired", "wrong", "exhausted", "regenerations",
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			v := voice{profile: profiles[otp.LiveProfile], overrides: map[string]string{name: "Own words"}}
			require.Equal(t, "Own words\r\n", v.body(text(name), 0))
		})
	}
}

func TestVoice_PutsTheRemainingAttemptsIntoAnOverride(t *testing.T) {
	v := voice{profile: profiles[otp.Documented], overrides: map[string]string{
		"wrong": "{n} of 3, {n} left", "error": "{n}",
	}}
	require.Equal(t, "0 of 3, 0 left", v.body(wrong, 0))
	require.Equal(t, "{n}", v.body(failed, 1), "only wrong has a number to tell")
}

func TestVoice_AnEmptyOverrideIsNone(t *testing.T) {
	v := voice{profile: profiles[otp.Documented], overrides: map[string]string{"error": "", "": "noise"}}
	require.Equal(t, "ERROR", v.body(failed, 0))
	require.Equal(t, "", v.body(silence, 0))
}

func TestVoiceOf_TheAccountDecidesBeforeTheProcess(t *testing.T) {
	live, unknown := otp.LiveProfile, otp.Profile("mended by hand")
	processWide := voice{profile: profiles[otp.Documented], strictHTTP: true}

	v := voiceOf(&otp.Account{Profile: &live}, processWide)
	require.Equal(t, "ERROR\r\n", v.body(failed, 0))
	require.Equal(t, http.StatusOK, v.status(http.StatusGone), "strict_http is not taken from the process")

	v = voiceOf(&otp.Account{StrictHTTP: true}, voice{profile: profiles[otp.LiveProfile]})
	require.Equal(t, "ERROR\r\n", v.body(failed, 0), "without a profile of its own it has the process-wide one")
	require.Equal(t, http.StatusGone, v.status(http.StatusGone))

	v = voiceOf(&otp.Account{Profile: &unknown}, processWide)
	require.Equal(t, "ERROR", v.body(failed, 0), "a broken row still gets its answer")
}

func TestRows_EveryKindIsAnsweredAsTheProtocolSays(t *testing.T) {
	tests := map[otp.Kind]struct {
		generate, validate, regenerate string
		strict                         int
	}{
		otp.MissingCredential: {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.UnknownCredential: {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.ExpiredCredential: {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.ForbiddenNetwork:  {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.BrokenAccount:     {"ERROR", "ERROR", "ERROR", 500},
		otp.FeatureOff:        {"The feature is not enabled", "The feature is not enabled", "ERROR", 403},
		otp.Invalid:           {"Invalid Parameters", "Invalid Parameters", "ERROR", 400},
		otp.MissingDepartment: {"Invalid Parameters", "", "ERROR", 400},
		otp.NotFound:          {"ERROR", "ERROR", "ERROR", 404},
		otp.Canceled:          {"ERROR", "ERROR", "ERROR", 404},
		otp.Replaced:          {"ERROR", "ERROR", "ERROR", 404},
		otp.Locked: {"ERROR", "Max no of tries for this pin been reached. Please generate other", "ERROR",
			429},
		otp.AttemptsExhausted: {"ERROR", "Max no of tries for this pin been reached. Please generate other", "ERROR",
			429},
		otp.Used:      {"ERROR", "OTPEXPIRED", "ERROR", 410},
		otp.Expired:   {"ERROR", "OTPEXPIRED", "ERROR", 410},
		otp.WrongCode: {"ERROR", "Wrong PIN. No of Retries remaining #2", "ERROR", 400},
		otp.RegenerationsExhausted: {"ERROR", "ERROR",
			"Max no of tries to regeneration of pin has been reached. Please generate other", 429},
		otp.OverLimit:           {"ERROR", "ERROR", "ERROR", 429},
		otp.Undelivered:         {"SMSEMAILFAIL", "ERROR", "ERROR", 502},
		otp.CostLimited:         {"ERROR", "ERROR", "ERROR", 429},
		otp.Overloaded:          {"ERROR", "ERROR", "ERROR", 503},
		otp.AccountExists:       {"ERROR", "ERROR", "ERROR", 500},
		otp.ClockBackwards:      {"ERROR", "ERROR", "ERROR", 500},
		otp.Forbidden:           {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.ForbiddenOrigin:     {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.BadSignature:        {"UNAUTHERISED USER", "UNAUTHERISED USER", "UNAUTHERISED USER", 401},
		otp.RateLimited:         {"ERROR", "ERROR", "ERROR", 429},
		otp.IdempotencyMismatch: {"ERROR", "ERROR", "ERROR", 500},
		otp.IdempotencyBusy:     {"ERROR", "ERROR", "ERROR", 500},

		otp.WrongPassword:            {"ERROR", "ERROR", "ERROR", 500},
		otp.FactorRequired:           {"ERROR", "ERROR", "ERROR", 500},
		otp.PersonLocked:             {"ERROR", "ERROR", "ERROR", 500},
		otp.ReauthenticationRequired: {"ERROR", "ERROR", "ERROR", 500},
		otp.RegistrationClosed:       {"ERROR", "ERROR", "ERROR", 500},
		otp.PersonExists:             {"ERROR", "ERROR", "ERROR", 500},
		otp.LastOwner:                {"ERROR", "ERROR", "ERROR", 500},
		otp.Outdated:                 {"ERROR", "ERROR", "ERROR", 500},
	}
	v := voice{profile: profiles[otp.Documented]}
	for _, kind := range otp.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			found, ok := rows[kind]
			require.True(t, ok, "profile.go has no row for this kind")
			want, ok := tests[kind]
			require.True(t, ok, "this test has no row for this kind")
			require.Equal(t, want.generate, v.body(found.at(generate), 2))
			require.Equal(t, want.validate, v.body(found.at(validate), 2))
			require.Equal(t, want.regenerate, v.body(found.at(regenerate), 2))
			require.Equal(t, want.strict, found.status)
		})
	}
	require.Len(t, rows, len(otp.Kinds()))
}

// Clients take unknown texts for success, so a servlet may only answer texts of a closed list.
func TestRows_NoServletLeavesItsTexts(t *testing.T) {
	all := []row{success, fault}
	for _, r := range rows {
		all = append(all, r)
	}
	for _, r := range all {
		require.Contains(t, []text{generated, unauthorised, featureOff, invalid, undelivered, failed}, r.generate)
		require.Contains(t, []text{generated, unauthorised, regenerations, failed}, r.regenerate)
		require.Contains(t, []text{verified, unauthorised, featureOff, invalid, failed, expired, wrong, exhausted, silence},
			r.validate)
	}
}

func TestRows_OnlySuccessSoundsLikeIt(t *testing.T) {
	require.Equal(t, row{"generated", "verified", "generated", 200}, success)
	for kind, r := range rows {
		said := []text{r.generate, r.validate, r.regenerate}
		require.False(t, slices.Contains(said, generated) || slices.Contains(said, verified), kind.String())
		require.GreaterOrEqual(t, r.status, 400, kind.String())
	}
}
