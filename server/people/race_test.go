package people_test

import (
	"cmp"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// rounds is small, because each round has 64 concurrent calls in two processes; with FULL=1 it is 100.
var rounds = scaled(3, 100)

// scaled is a number of guesses: few, or with FULL=1 all that are promised.
func scaled(few, all int) int {
	if os.Getenv("FULL") != "" {
		return all
	}
	return few
}

func TestRefresh_OneTokenMakesOneSuccessorRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := newPair(t, url)
		owner(t, servers.People)
		tokens, err := login(servers.People, "owner@shop.example", password, "")
		require.NoError(t, err)
		token := tokens.RefreshToken
		for range rounds {
			got := servers.race(order{Do: "refresh", Token: token})
			require.Equal(t, map[string]int{"": 64}, got.Answers, "nobody is logged out")
			slices.Sort(got.Texts)
			require.Len(t, slices.Compact(got.Texts), 1, "one family")
			require.NotEqual(t, token, got.Texts[0])
			token = got.Texts[0]
		}
	})
}

func TestTickets_MakeOnePersonRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := newPair(t, url)
		once := map[string]int{"": 1, "registration_closed": 63}
		for round := range rounds {
			issued, err := servers.Staff.Setup(ctx, people.Operator())
			require.NoError(t, err)
			first := servers.race(order{Do: "register", Token: issued.Token, Round: round})
			require.Equal(t, once, first.Answers)
			issued, err = servers.Staff.Invite(ctx, people.Operator(), "dev@shop.example", people.Grant{Role: people.Developer})
			require.NoError(t, err)
			second := servers.race(order{Do: "register", Token: issued.Token, Email: "dev@shop.example", Round: round})
			require.Equal(t, once, second.Answers)
			all, err := servers.Staff.List(ctx, people.Operator())
			require.NoError(t, err)
			require.Len(t, all, 2)
			for _, person := range all { // the next round begins with nobody, which only the database can do
				id, _ := otp.ParseID(people.PersonPrefix, person.ID)
				require.NoError(t, servers.Store.Change(ctx, func(tx *sql.Tx) error {
					_, err := tx.DeletePerson(id)
					return cmp.Or(err, tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: otp.PersonRemoved,
						Person: id}))
				}))
			}
		}
	})
}

func TestFactors_ACodeIsGoodOnceRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := newPair(t, url)
		who := owner(t, servers.People)
		for range rounds {
			secret, _ := app(t, servers.People, who)
			backup, err := servers.Factors.NewBackupCodes(ctx, who)
			require.NoError(t, err)
			for name, code := range map[string]string{"step": shows(t, secret, 30*time.Second), "backup code": backup[0]} {
				got := servers.race(order{Do: "login", Email: "owner@shop.example", Code: code})
				require.Equal(t, 1, got.Answers[""], "%s: %v", name, got.Answers)
				refused := got.Answers["factor_required"] + got.Answers["person_locked"]
				require.Equal(t, 63, refused, "%s: %v", name, got.Answers)
				clear := func(all []otp.Guesses) error {
					all[0].Clear()
					return nil
				}
				require.NoError(t, servers.Store.People.Guess(ctx, guessesOf(servers.People, who.ID), clear))
			}
			factors, _, err := servers.Factors.List(ctx, who)
			require.NoError(t, err)
			require.NoError(t, servers.Factors.Remove(ctx, who, factors[0].ID))
		}
	})
}

// A right that is taken away in one process ends in the other with the next request, because nothing is cached.
func TestRevocation_CountsInTheOtherProcessAtOnceRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := newPair(t, url)
		boss := owner(t, servers.People)
		asks := func(o order) outcome {
			o.Count = 1
			return servers.other(&o)
		}
		member(t, servers.People, boss, "dev@shop.example", people.Grant{Role: people.Developer})
		for range rounds {
			tokens, err := login(servers.People, "dev@shop.example", password, "")
			require.NoError(t, err)
			dev := authenticate(t, servers.People, tokens)
			session := order{Do: "session", ID: dev.Session}
			require.Equal(t, []string{"developer"}, asks(session).Texts)
			for _, role := range []people.Role{people.Auditor, people.Developer} {
				_, err := servers.Staff.Change(ctx, boss, dev.ID.Text(people.PersonPrefix), people.Patch{Role: &role}, 0)
				require.NoError(t, err)
				require.Equal(t, []string{string(role)}, asks(session).Texts, "the role")
			}
			require.NoError(t, servers.Sessions.End(ctx, dev, dev.Session.Text(people.SessionPrefix)))
			require.Equal(t, map[string]int{"expired_credential": 1}, asks(session).Answers)
			require.Equal(t, map[string]int{"expired_credential": 1},
				asks(order{Do: "bearer", Token: tokens.AccessToken}).Answers)
			require.Equal(t, map[string]int{"expired_credential": 1},
				asks(order{Do: "refresh", Token: tokens.RefreshToken}).Answers)
		}
	})
}

// guessesOf returns the ids under which guesses at a person's second factor are counted.
func guessesOf(p *people.People, person otp.ID) []otp.ID {
	return []otp.ID{p.Vault.Index.Sum("guesses at a factor", string(person[:]))}
}

func TestStaff_OneVersionIsChangedOnceAndOneOwnerStaysRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		processes := newPair(t, url)
		first := owner(t, processes.People)
		for version := range int64(rounds) {
			got := processes.race(order{Do: "change", Email: "owner@shop.example", Version: version + 1})
			require.Equal(t, map[string]int{"": 1, "outdated": 63}, got.Answers)
			person, err := processes.Staff.Find(ctx, people.Operator(), "owner@shop.example")
			require.NoError(t, err)
			require.Equal(t, got.Texts, []string{person.Name}, "the change of who was told so")
		}

		servers := [2]*people.People{processes.People, open(t, url)}
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
		p := open(t, migrated.SQLite(t))
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
		p := open(t, migrated.SQLite(t))
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
		p := open(t, migrated.SQLite(t))
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
