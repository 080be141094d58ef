package deliver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRelayRecipients_AllowWhoIsListedAlone(t *testing.T) {
	recipients, err := ParseRelayRecipients("+919000000001, Me@shop.example")
	require.NoError(t, err)
	for _, to := range []string{"+919000000001", "me@shop.example", "ME@shop.example"} {
		require.True(t, recipients.Allow(to), to)
	}
	for _, to := range []string{"", "+919000000002", "919000000001", "+919000000001,+919000000002", " +919000000001",
		"me@shop.example.org"} {
		require.False(t, recipients.Allow(to), to)
	}
	for _, text := range []string{",", "919000000001", "+919000000001,", "shop.example", "Me <me@shop.example>"} {
		_, err := ParseRelayRecipients(text)
		require.Error(t, err, text)
	}
	recipients, err = ParseRelayRecipients(" ")
	require.NoError(t, err)
	require.False(t, recipients.Allow(""))
}

// Every parsed recipient can be sent to.
func FuzzParseRelayRecipients(f *testing.F) {
	f.Add("+919000000001,a@b.example")
	f.Add(",@")
	f.Fuzz(func(t *testing.T, text string) {
		recipients, err := ParseRelayRecipients(text)
		if err != nil {
			return
		}
		for _, to := range recipients {
			require.NotEmpty(t, to)
			require.True(t, recipients.Allow(to))
		}
	})
}
