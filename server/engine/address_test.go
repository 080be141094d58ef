package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func TestNormalSubject_IsOpaqueButForAddresses(t *testing.T) {
	for stated, expected := range map[string]string{
		"10.20.51.122": "10.20.51.122", "::ffff:10.20.51.122": "10.20.51.122", "2001:DB8:0:0::1": "2001:db8::1",
		"branch 7/till 3": "branch 7/till 3", strings.Repeat("x", 64): strings.Repeat("x", 64),
	} {
		subject, err := normalSubject(stated)
		require.NoError(t, err)
		require.Equal(t, expected, subject)
	}
	for _, stated := range []string{"", strings.Repeat("x", 65), "a\tb", "a\x00", "é"} {
		_, err := normalSubject(stated)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", stated)
	}
}

func TestNormalMailbox_IsOneBareAddress(t *testing.T) {
	for _, stated := range []string{"user@example.com", "User+tag@Example.co.in", "o'neil@example.com"} {
		mailbox, err := normalMailbox(stated)
		require.NoError(t, err)
		require.Equal(t, strings.ToLower(stated), mailbox, "it is delivered to what it is known by")
	}
	for _, stated := range []string{
		"user", "user@", "@example.com", "a@b, c@d", "User <user@example.com>", "<user@example.com>", "a@b\r\nBcc: " +
			"c@d", "a b@example.com",
		strings.Repeat("x", 250) + "@example.com",
	} {
		_, err := normalMailbox(stated)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", stated)
	}
}
