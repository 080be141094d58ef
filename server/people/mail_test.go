package people_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// An invited person gets the link. A person whose second factor is guessed is told once, for either kind of code.
func TestMail_InvitationsAndLocks(t *testing.T) {
	p := open(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
	var mails []people.Mail
	p.Mail = func(m people.Mail) { mails = append(mails, m) }
	boss := owner(t, p)
	require.Empty(t, mails, "the first owner's link goes to nobody")
	_, err := p.Staff.Invite(ctx, boss, "owner@shop.example", people.Grant{Role: people.Developer})
	require.Equal(t, otp.PersonExists, otp.KindOf(err))
	require.Empty(t, mails, "what was refused is not told")
	issued, err := p.Staff.Invite(ctx, boss, "dev@shop.example", people.Grant{Role: people.Developer})
	require.NoError(t, err)
	require.Len(t, mails, 1)
	require.Equal(t, "dev@shop.example", mails[0].To)
	link := site + "/console/register#invitation=" + issued.Token
	for _, part := range []string{"Somebody invites you", "as developer", link} {
		require.Contains(t, mails[0].Text, part)
	}

	for i, code := range []string{"000000", "0000000000"} { // of an app, a backup code
		mails = nil
		dev := boss
		if i > 0 {
			dev = register(t, p, "dev@shop.example", issued.Token)
		}
		secret, _ := app(t, p, dev)
		for n := range 8 {
			_, err := login(p, dev.Email, password, code)
			require.Error(t, err)
			if n < 4 {
				require.Empty(t, mails, "not for the first wrong codes")
			}
		}
		require.Len(t, mails, 1, "once")
		require.Equal(t, dev.Email, mails[0].To)
		require.Contains(t, mails[0].Text, "203.0.113.7")
		require.False(t, strings.Contains(mails[0].Text, code) || strings.Contains(mails[0].Text, secret))
	}
	mails = nil
	recovery, err := p.Staff.Recover(ctx, boss, "dev@shop.example")
	require.NoError(t, err)
	require.Len(t, mails, 1)
	require.Equal(t, "dev@shop.example", mails[0].To)
	require.NotContains(t, mails[0].Text, recovery.Token, "whoever reads the mail must not become the person")
	_, err = login(p, "owner@shop.example", another, "")
	require.Equal(t, otp.WrongPassword, otp.KindOf(err))
	require.Len(t, mails, 1, "a wrong password tells nobody anything")
}
