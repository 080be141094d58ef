package people_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// rounds is few, because each has 64 at once on two servers.
const rounds = 3

// scaled is a number of guesses: few, or with FULL=1 all that are promised.
func scaled(few, all int) int {
	if os.Getenv("FULL") != "" {
		return all
	}
	return few
}

// two are two servers on one database.
func two(t *testing.T, url string) [2]*people.People {
	return [2]*people.People{open(t, url), open(t, url)}
}

func TestRefresh_OneTokenMakesOneSuccessorRace(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		servers := two(t, url)
		owner(t, servers[0])
		tokens, err := login(servers[0], "owner@shop.example", password, "")
		require.NoError(t, err)
		for range rounds {
			got := make([]people.Tokens, 64)
			counts := atOnce(64, func(i int) (err error) {
				got[i], err = servers[i%2].Refresh(ctx, tokens.RefreshToken, office)
				return err
			})
			require.Equal(t, map[string]int{"": 64}, counts, "nobody is logged out")
			for _, g := range got {
				require.Equal(t, got[0].RefreshToken, g.RefreshToken)
			}
			require.NotEqual(t, tokens.RefreshToken, got[0].RefreshToken)
			tokens = got[0]
		}
	})
}

func TestTickets_MakeOnePersonRace(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		servers := two(t, url)
		// Guesses are bounded by network, so everybody comes from their own.
		try := func(ticket, email string) map[string]int {
			return atOnce(64, func(i int) error {
				from := people.Client{Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1})}
				address := email
				if email == "" {
					address = fmt.Sprintf("owner%d@shop.example", i)
				}
				_, err := servers[i%2].Register(ctx, people.Registration{Email: address, Password: password, Name: "A",
					Ticket: ticket}, from)
				return err
			})
		}
		issued, err := servers[0].Staff.Setup(ctx, people.Operator())
		require.NoError(t, err)
		once := map[string]int{"": 1, "registration_closed": 63}
		require.Equal(t, once, try(issued.Token, ""))
		for round := range rounds - 1 {
			email := fmt.Sprintf("dev%d@shop.example", round)
			issued, err = servers[1].Staff.Invite(ctx, people.Operator(), email, people.Grant{Role: people.Developer})
			require.NoError(t, err)
			require.Equal(t, once, try(issued.Token, email))
		}
		all, err := servers[0].Staff.List(ctx, people.Operator())
		require.NoError(t, err)
		require.Len(t, all, rounds)
	})
}

func TestFactors_ACodeIsGoodOnceRace(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		servers := two(t, url)
		who := owner(t, servers[0])
		secret, backup := app(t, servers[0], who)
		for name, code := range map[string]string{"step": shows(t, secret, 30*time.Second), "backup code": backup[0]} {
			counts := atOnce(64, func(i int) error {
				_, err := servers[i%2].Login(ctx, people.Login{Email: "owner@shop.example", Password: password, Code: code},
					people.Client{Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1})})
				return err
			})
			require.Equal(t, 1, counts[""], "%s: %v", name, counts)
			require.Equal(t, 63, counts["factor_required"]+counts["person_locked"]+counts["rate_limited"], "%s: %v", name,
				counts)
			require.NoError(t, servers[0].Store.People.Guess(ctx, guessesOf(servers[0], who.ID), func(all []otp.Guesses) error {
				all[0].Clear()
				return nil
			}))
		}
	})
}

// guessesOf are what guesses at a person's second factor are counted under.
func guessesOf(p *people.People, person otp.ID) []otp.ID {
	return []otp.ID{p.Vault.Index.Sum("guesses at a factor", string(person[:]))}
}

func TestStaff_OneOwnerStaysRace(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		servers := two(t, url)
		first := owner(t, servers[0])
		second := member(t, servers[0], first, "second@shop.example", people.Grant{Role: people.Owner})
		yes := true
		counts := atOnce(2, func(i int) error {
			who := [2]people.Principal{first, second}[i]
			_, err := servers[i].Staff.Change(ctx, who, who.ID.Text(people.PersonPrefix), people.Patch{Disabled: &yes}, 0)
			return err
		})
		require.Equal(t, map[string]int{"": 1, "last_owner": 1}, counts)
	})
}

func TestRefresh_ReuseAfterTheGraceEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
		owner(t, p)
		first, err := login(p, "owner@shop.example", password, "")
		require.NoError(t, err)
		second, err := p.Refresh(ctx, first.RefreshToken, office)
		require.NoError(t, err)
		time.Sleep(15 * time.Second)
		again, err := p.Refresh(ctx, first.RefreshToken, office)
		require.NoError(t, err)
		require.Equal(t, second.RefreshToken, again.RefreshToken, "a second tab")
		time.Sleep(time.Second)
		_, err = p.Refresh(ctx, first.RefreshToken, office)
		require.Equal(t, otp.UnknownCredential, otp.KindOf(err))
		_, err = p.Refresh(ctx, second.RefreshToken, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), "the thief's and the owner's")
		_, err = p.Authenticate(ctx, second.AccessToken, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err))
		require.Contains(t, kinds(t, p), otp.RefreshTokenReused)
	})
}

func TestLogin_StrangersDoNotKeepTheOwnerOutFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
		owner(t, p)
		judged, refused, networks := 0, 0, scaled(50, 500)
		for i := range 20 * networks {
			from := people.Client{Address: netip.AddrFrom4([4]byte{10, byte(i % networks / 250), byte(i % networks % 250), 1})}
			_, err := p.Login(ctx, people.Login{Email: "owner@shop.example", Password: another}, from)
			switch otp.KindOf(err) {
			case otp.WrongPassword:
				judged++
			case otp.RateLimited:
				refused++
			default:
				t.Fatal(err)
			}
		}
		require.Equal(t, 5*networks, judged, "five from each network")
		require.Equal(t, 15*networks, refused)
		_, err := login(p, "owner@shop.example", password, "")
		require.NoError(t, err, "from the owner's network")
		_, err = p.Login(ctx, people.Login{Email: "owner@shop.example", Password: password},
			people.Client{Address: netip.MustParseAddr("2001:db8::1")})
		require.NoError(t, err, "from a network of nobody's")
	})
}

func TestFactors_SurviveAThousandGuessesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, "sqlite:"+filepath.Join(t.TempDir(), "otp.db"))
		secret, _ := app(t, p, owner(t, p))
		counts := map[string]int{}
		guesses := scaled(100, 1000)
		for range guesses {
			_, err := login(p, "owner@shop.example", password, "000 000")
			counts[answer(err)]++
		}
		require.Equal(t, map[string]int{"factor_required": 5, "person_locked": guesses - 5}, counts)
		_, err := login(p, "owner@shop.example", another, "")
		require.Equal(t, otp.WrongPassword, otp.KindOf(err), "who has no password is not told of the lock")
		time.Sleep(15 * time.Minute)
		_, err = login(p, "owner@shop.example", password, "000000")
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "one more, and the wait doubles")
		time.Sleep(16 * time.Minute)
		_, err = login(p, "owner@shop.example", password, shows(t, secret, 0))
		require.Equal(t, otp.PersonLocked, otp.KindOf(err))
		time.Sleep(14 * time.Minute)
		_, err = login(p, "owner@shop.example", password, shows(t, secret, 0))
		require.NoError(t, err)
	})
}
