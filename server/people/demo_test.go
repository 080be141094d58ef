package people_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql/sqltest/migrated"
)

// sandboxed is open, of a sandbox on loopback.
func sandboxed(t *testing.T, url string) *people.People {
	p := open(t, url)
	p.Sandbox = true
	return p
}

func TestDemoOwner_IsMadeOnceAndKeepsItsPassword(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		first, err := sandboxed(t, url).OpenDemo(ctx)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-z]{4}(-[0-9a-z]{4}){3}$`, first)
		again := sandboxed(t, url)
		second, err := again.OpenDemo(ctx)
		require.NoError(t, err)
		require.Equal(t, first, second, "a restart prints the same")
		tokens, err := again.Login(ctx, people.Login{Email: people.DemoOwner, Password: first}, office)
		require.NoError(t, err)
		require.Equal(t, people.Owner, tokens.Person.Role)
		require.Nil(t, tokens.Person.Accounts)
		all, err := again.Staff.List(ctx, people.Operator())
		require.NoError(t, err)
		require.Len(t, all, 1)

		require.NoError(t, again.ChangePassword(ctx, authenticate(t, again, tokens), first, another))
		third, err := again.OpenDemo(ctx)
		require.NoError(t, err)
		require.Empty(t, third, "what somebody chose is not known here")
	})
}

// The keyring is the same in all these tests.
func TestDemoOwner_EverySandboxHasItsOwnPassword(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		password, err := sandboxed(t, migrated.SQLite(t)).OpenDemo(ctx)
		require.NoError(t, err)
		require.False(t, seen[password])
		seen[password] = true
	}
}

func TestDemoOwner_IsNotMadeElsewhere(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	password, err := p.OpenDemo(ctx)
	require.NoError(t, err)
	require.Empty(t, password, "not in production")
	_, err = p.Login(ctx, people.Login{Email: people.DemoOwner, Password: "0000-0000-0000-0000"}, office)
	require.Equal(t, otp.WrongPassword, otp.KindOf(err))

	owner(t, p)
	p.Sandbox = true
	password, err = p.OpenDemo(ctx)
	require.NoError(t, err)
	require.Empty(t, password, "not beside people")
	all, err := p.Staff.List(ctx, people.Operator())
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// Servers that start together on one database make one owner and print the same.
func TestDemoOwner_IsMadeOnceRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := []*people.People{sandboxed(t, url), sandboxed(t, url)}
		passwords := make(chan string, len(servers))
		for _, p := range servers {
			go func() {
				password, err := p.OpenDemo(ctx)
				if err != nil {
					password = err.Error()
				}
				passwords <- password
			}()
		}
		first := <-passwords
		require.Regexp(t, `^[0-9a-z]{4}(-[0-9a-z]{4}){3}$`, first)
		require.Equal(t, first, <-passwords)
	})
}
