package deliver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// folded are pairs of words that are equal by Unicode's case rules and not by ASCII's.
var folded = [][2]string{
	{"ok", "o\u212a"}, {"sent", "\u017fent"}, {"failed", "fa\u0130led"}, {"k", "\u212a"}, {"å", "\u212b"}, {"ω", "\u2126"},
	{"status", "\u017ftatu\u017f"}, {"kick", "\u212aic\u212a"}, {"é", "É"}, {"σ", "Σ"},
}

func TestProfile_TakesNoWordForAnotherOfUnicode(t *testing.T) {
	for _, pair := range folded {
		var g Gateway
		require.NoError(t, g.learn(profile{Statuses: map[Status][]string{Delivered: {pair[0]}, Failed: {pair[1]}}}), "%q",
			pair)
		require.Len(t, g.statuses, 2, "%q", pair)
	}
}

func TestSchemes_HaveNoOtherLetters(t *testing.T) {
	require.GreaterOrEqual(t, kindOf("HTTPS://gateway.example", "sms"), 0)
	require.Negative(t, kindOf("http\u017f://gateway.example", "sms"))
	require.Negative(t, kindOf("\u017fmtp://gateway.example", "email"))
}

func TestTestRecipients_AreKnownByTheirIdentityAlone(t *testing.T) {
	recipients, err := ParseTestRecipients("kim@github.example=not_sent,user@xn--mnchen-3ya.example=sent")
	require.NoError(t, err)
	require.True(t, recipients.Has("Kim@GitHub.example"))
	require.True(t, recipients.Has("user@münchen.example"))
	for _, other := range []string{"\u212aim@github.example", "kim@g\u0131thub.example"} {
		require.False(t, recipients.Has(other), "%q", other)
	}
}
