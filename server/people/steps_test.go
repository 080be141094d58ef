package people_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql/sqltest/migrated"
)

// The password is given once: the code alone follows, wrong ones too, and begins one session.
func TestSteps_ThePasswordIsGivenOnce(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		boss := owner(t, p)
		in := people.Login{Email: boss.Email, Password: password}
		tokens, mark, err := p.Steps.Password(ctx, in, office)
		require.NoError(t, err)
		require.NotEmpty(t, tokens.Session, "without a second factor the password is enough")
		require.Empty(t, mark)

		secret, backup := app(t, p, boss)
		tokens, mark, err = p.Steps.Password(ctx, in, office)
		require.NoError(t, err)
		require.Empty(t, tokens.Session)
		_, err = p.Steps.Code(ctx, mark, "000000", office)
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "%v", err)
		_, err = p.Steps.Code(ctx, mark, "", office)
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "%v", err)
		tokens, err = p.Steps.Code(ctx, mark, shows(t, secret, 30*time.Second), office)
		require.NoError(t, err)
		require.Equal(t, boss.ID, authenticate(t, p, tokens).ID)
		_, err = p.Steps.Code(ctx, mark, backup[0], office)
		require.Equal(t, otp.WrongPassword, otp.KindOf(err), "a mark begins one session")
	})
}

// A mark is nothing without its MAC, and after a change of the password.
func TestSteps_AMarkIsWorthLittle(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		boss := owner(t, p)
		_, backup := app(t, p, boss)
		in := people.Login{Email: boss.Email, Password: password}
		refused := func(mark, why string) {
			t.Helper()
			_, err := p.Steps.Code(ctx, mark, backup[0], office)
			require.Equal(t, otp.WrongPassword, otp.KindOf(err), "%s: %v", why, err)
		}
		begin := func() string {
			t.Helper()
			_, mark, err := p.Steps.Password(ctx, in, office)
			require.NoError(t, err)
			return mark
		}
		mark := begin()
		id, mac, _ := strings.Cut(mark, ".")
		for _, forged := range []string{"", ".", id, id + ".", "." + mac, id + "." + strings.Repeat("A", len(mac)),
			begin()[:len(id)] + "." + mac} {
			refused(forged, "forged")
		}
		_, _, err := p.Steps.Password(ctx, people.Login{Email: boss.Email, Password: another}, office)
		require.Equal(t, otp.WrongPassword, otp.KindOf(err))

		fresh, err := p.Login(ctx, people.Login{Email: boss.Email, Password: password, Code: backup[1]}, office)
		require.NoError(t, err)
		require.NoError(t, p.ChangePassword(ctx, authenticate(t, p, fresh), password, another))
		refused(mark, "the password was changed")
	})
}

// Codes are counted as in a login at once: ten wrong ones lock the person, whatever mark they come with.
func TestSteps_WrongCodesAreCounted(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		boss := owner(t, p)
		_, backup := app(t, p, boss)
		in := people.Login{Email: boss.Email, Password: password}
		locked := false
		for range 30 {
			_, mark, err := p.Steps.Password(ctx, in, office)
			require.NoError(t, err)
			_, err = p.Steps.Code(ctx, mark, "000000", office)
			if locked = otp.KindOf(err) == otp.PersonLocked; locked {
				_, err = p.Steps.Code(ctx, mark, backup[0], office)
				require.Equal(t, otp.PersonLocked, otp.KindOf(err), "the right code does not open either")
				break
			}
			require.Equal(t, otp.FactorRequired, otp.KindOf(err), "%v", err)
		}
		require.True(t, locked)
		_, err := login(p, boss.Email, password, backup[0])
		require.Equal(t, otp.PersonLocked, otp.KindOf(err), "a login at once is counted with them")
	})
}

// Of 16 requests with one mark and as many right codes, one begins a session.
func TestSteps_OneSessionForAMarkRace(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		boss := owner(t, p)
		_, backup := app(t, p, boss)
		_, mark, err := p.Steps.Password(ctx, people.Login{Email: boss.Email, Password: password}, office)
		require.NoError(t, err)
		var began atomic.Int32
		atOnce(len(backup), func(i int) error {
			_, err := p.Steps.Code(ctx, mark, backup[i], office)
			if err == nil {
				began.Add(1)
			}
			return err
		})
		require.EqualValues(t, 1, began.Load())
	})
}

// A mark is good for five minutes, and a wrong code does not prolong it.
func TestSteps_AMarkEndsAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, migrated.SQLite(t))
		boss := owner(t, p)
		_, backup := app(t, p, boss)
		began := time.Now()
		var marks [2]string
		for i := range marks {
			_, mark, err := p.Steps.Password(ctx, people.Login{Email: boss.Email, Password: password}, office)
			require.NoError(t, err)
			marks[i] = mark
		}
		time.Sleep(4 * time.Minute)
		_, err := p.Steps.Code(ctx, marks[1], "000000", office)
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "%v", err)
		time.Sleep(time.Until(began.Add(5*time.Minute - time.Second)))
		_, err = p.Steps.Code(ctx, marks[0], backup[0], office)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		_, err = p.Steps.Code(ctx, marks[1], backup[1], office)
		require.Equal(t, otp.WrongPassword, otp.KindOf(err), "%v", err)
	})
}
