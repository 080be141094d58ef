package people_test

import (
	"context"
	"encoding/base64"
	"image/png"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	totplib "github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/vault"
	"otpbridge/server/vault/vaulttest"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

var ctx = context.Background()

const (
	password = "tandem-marzipan-kayak-41"
	another  = "quartz violin harbour 77"
)

var (
	keyringText = crypto.NewKeyringText("test")
	office      = people.Client{Address: netip.MustParseAddr("203.0.113.7"), Agent: "curl/8", Request: "req-1"}
)

// open returns a server's People, with cheap password hashes.
func open(t testing.TB, url string) *people.People {
	t.Helper()
	store, opened := vaulttest.Open(t, url, keyringText)
	return people.New(options(store, opened))
}

func options(store *sql.Store, opened *vault.Vault) people.Options {
	passwords := crypto.NewPasswords(crypto.PasswordCost{MemoryKiB: 8, Passes: 1}, 4)
	return people.Options{Store: store, Vault: opened, Passwords: passwords, Issuer: "https://otp.shop.example"}
}

func onFresh(t *testing.T, test func(t *testing.T, p *people.People)) {
	migrated.OnBoth(t, func(t *testing.T, url string) { test(t, open(t, url)) })
}

// accounts makes accounts that people may see.
func accounts(t testing.TB, p *people.People, addresses ...string) {
	t.Helper()
	require.NoError(t, p.Store.Change(ctx, func(tx *sql.Tx) error {
		var made []sql.Seeded
		for _, address := range addresses {
			account := otp.DefaultAccount(address)
			account.Cipher = "none"
			made = append(made, sql.Seeded{Account: account})
		}
		if err := p.Store.Accounts.Insert(tx, made); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: otp.AccountCreated})
	}))
}

// owner registers the first owner.
func owner(t testing.TB, p *people.People) people.Principal {
	t.Helper()
	issued, err := p.Staff.Setup(ctx, people.Operator())
	require.NoError(t, err)
	return register(t, p, "owner@shop.example", issued.Token)
}

func register(t testing.TB, p *people.People, email, ticket string) people.Principal {
	t.Helper()
	tokens, err := p.Register(ctx, people.Registration{Email: email, Password: password, Name: "Somebody",
		Ticket: ticket}, office)
	require.NoError(t, err)
	return authenticate(t, p, tokens)
}

func authenticate(t testing.TB, p *people.People, tokens people.Tokens) people.Principal {
	t.Helper()
	who, err := p.Authenticate(ctx, tokens.AccessToken, office)
	require.NoError(t, err)
	return who
}

// member returns a person whom an owner invited.
func member(t testing.TB, p *people.People, by people.Principal, email string, grant people.Grant) people.Principal {
	t.Helper()
	issued, err := p.Staff.Invite(ctx, by, email, grant)
	require.NoError(t, err)
	return register(t, p, email, issued.Token)
}

func login(p *people.People, email, password, code string) (people.Tokens, error) {
	return p.Login(ctx, people.Login{Email: email, Password: password, Code: code}, office)
}

// app enrols an authenticator app for a person.
func app(t testing.TB, p *people.People, who people.Principal) (secret string, backup []string) {
	t.Helper()
	enrolment, err := p.Factors.EnrolApp(ctx, who, "")
	require.NoError(t, err)
	backup, err = p.Factors.ConfirmApp(ctx, who, enrolment.ID, shows(t, enrolment.Secret, 0))
	require.NoError(t, err)
	return enrolment.Secret, backup
}

// shows returns the code that an app with a secret shows at a later time.
func shows(t testing.TB, secret string, later time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(later))
	require.NoError(t, err)
	return code
}

// atOnce runs do n times at once and counts the answers by kind; "" is success.
func atOnce(n int, do func(i int) error) map[string]int {
	var ready, running sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	ready.Add(n)
	for i := range n {
		running.Go(func() {
			ready.Done()
			ready.Wait()
			err := do(i)
			for ; otp.KindOf(err) == otp.Overloaded; err = do(i) {
				time.Sleep(10 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			counts[answer(err)]++
		})
	}
	running.Wait()
	return counts
}

func answer(err error) string {
	switch {
	case err == nil:
		return ""
	case otp.KindOf(err) == 0:
		return err.Error()
	}
	return otp.KindOf(err).String()
}

func kinds(t testing.TB, p *people.People) (all []otp.ChangeKind) {
	t.Helper()
	changes, err := p.Store.People.Changes(ctx, otp.ID{}, 1000)
	require.NoError(t, err)
	for i := len(changes) - 1; i >= 0; i-- {
		all = append(all, changes[i].Kind)
	}
	return all
}

// scan reads a QR code from a data: URI, as a phone does from the screen.
func scan(t testing.TB, uri string) string {
	t.Helper()
	encoded, found := strings.CutPrefix(uri, "data:image/png;base64,")
	require.True(t, found, uri)
	picture, err := png.Decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded)))
	require.NoError(t, err)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	require.NoError(t, err)
	hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true} // it is no photograph
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
	require.NoError(t, err)
	return read.GetText()
}

// A phone that has only scanned the picture can log in.
func TestFactors_ThePictureIsTheSeed(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	who := owner(t, p)
	for _, email := range []string{"owner@shop.example", "dev+otp@a-rather-long-name-of-a-department.shop.example"} {
		if email != who.Email {
			who = member(t, p, who, email, people.Grant{Role: people.Developer})
		}
		enrolment, err := p.Factors.EnrolApp(ctx, who, "phone")
		require.NoError(t, err)
		seen, err := totplib.NewKeyFromURL(scan(t, enrolment.Image))
		require.NoError(t, err)
		require.Equal(t, enrolment.URI, seen.URL())
		require.Equal(t, []string{"OTPBridge", email}, []string{seen.Issuer(), seen.AccountName()})
		_, err = p.Factors.ConfirmApp(ctx, who, enrolment.ID, shows(t, seen.Secret(), 0))
		require.NoError(t, err)
		_, err = login(p, email, password, shows(t, seen.Secret(), 30*time.Second))
		require.NoError(t, err)
	}
}

func TestRegister_OneLinkMakesTheFirstOwner(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		earlier, err := p.Staff.Setup(ctx, people.Operator())
		require.NoError(t, err)
		who := owner(t, p)
		require.Equal(t, people.Owner, who.Grant.Role)
		for name, ticket := range map[string]string{"none": "", "wrong": "otpl_x", "replaced by a later one": earlier.Token} {
			_, err := p.Register(ctx, people.Registration{Email: "x@shop.example", Password: password, Name: "X",
				Ticket: ticket}, office)
			require.Equal(t, otp.RegistrationClosed, otp.KindOf(err), name)
		}
		_, err = p.Staff.Setup(ctx, people.Operator())
		require.Equal(t, otp.PersonExists, otp.KindOf(err), "there is an owner")
		require.Equal(t, []otp.ChangeKind{otp.SetupIssued, otp.SetupIssued, otp.PersonRegistered, otp.SessionBegan,
			otp.RegistrationRefused, otp.RegistrationRefused, otp.RegistrationRefused}, kinds(t, p))
	})
}

// Judging a long password takes a tenth of a second, so whoever sends many is held back first.
func TestRegister_WeakPasswordsAreCountedBeforeTheyAreJudged(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		from := people.Client{Address: netip.MustParseAddr("198.51.100.77")}
		kind := otp.Invalid
		for n := 0; n <= otp.NetworkGuesses.Free && kind == otp.Invalid; n++ {
			_, err := p.Register(ctx, people.Registration{Email: "x@shop.example", Password: "aaaaaaaaaaaa", Name: "X"}, from)
			kind = otp.KindOf(err)
		}
		require.Equal(t, otp.RateLimited, kind)
	})
}

func TestLogin_AnswersKnownAndUnknownAddressesAlike(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		owner(t, p)
		tokens, err := login(p, " Owner@Shop.EXAMPLE ", password, "")
		require.NoError(t, err)
		require.Equal(t, "owner@shop.example", tokens.Person.Email)
		_, known := login(p, "owner@shop.example", another, "")
		_, unknown := login(p, "nobody@shop.example", another, "")
		require.Equal(t, otp.WrongPassword, otp.KindOf(known))
		require.Equal(t, known.Error(), unknown.Error())
		_, known = p.Register(ctx, people.Registration{Email: "owner@shop.example", Password: password, Name: "X"}, office)
		_, unknown = p.Register(ctx, people.Registration{Email: "nobody@shop.example", Password: password, Name: "X"}, office)
		require.Equal(t, otp.RegistrationClosed, otp.KindOf(known))
		require.Equal(t, known.Error(), unknown.Error())
	})
}

func TestSession_EndsEverywhereAtOnce(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		p, other := open(t, url), open(t, url)
		boss := owner(t, p)
		mallory := member(t, p, boss, "mallory@shop.example", people.Grant{Role: people.Admin})
		begin := func() people.Tokens {
			tokens, err := login(p, "mallory@shop.example", password, "")
			require.NoError(t, err)
			authenticate(t, other, tokens)
			return tokens
		}
		id := mallory.ID.Text(people.PersonPrefix)
		yes, no := true, false
		for name, end := range map[string]func(tokens people.Tokens) error{
			"logout":        func(tk people.Tokens) error { return p.Logout(ctx, authenticate(t, p, tk)) },
			"ended by hand": func(tk people.Tokens) error { return p.Sessions.End(ctx, mallory, tk.Session) },
			"another's end": func(people.Tokens) error { return p.Sessions.EndOthers(ctx, mallory) },
			"by an admin":   func(people.Tokens) error { return p.Staff.EndSessions(ctx, boss, id) },
			"switched off and on": func(people.Tokens) error {
				if _, err := p.Staff.Change(ctx, boss, id, people.Patch{Disabled: &yes}, 0); err != nil {
					return err
				}
				_, err := p.Staff.Change(ctx, boss, id, people.Patch{Disabled: &no}, 0)
				return err
			},
		} {
			tokens := begin()
			require.NoError(t, end(tokens), name)
			_, err := other.Authenticate(ctx, tokens.AccessToken, office)
			require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), name)
			_, err = other.Refresh(ctx, tokens.RefreshToken, office)
			require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), name)
		}
		tokens := begin()
		_, err := p.Staff.Change(ctx, boss, id, people.Patch{Role: new(people.Auditor)}, 0)
		require.NoError(t, err)
		require.Equal(t, otp.Forbidden, otp.KindOf(authenticate(t, other, tokens).May(people.WritePeople)),
			"a role counts at once")
		require.NoError(t, p.Staff.Remove(ctx, boss, id, 0))
		_, err = other.Authenticate(ctx, tokens.AccessToken, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), "removed")
	})
}

func TestPassword_IsChangedAndRecovered(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		who := owner(t, p)
		id := who.ID.Text(people.PersonPrefix)
		elsewhere, err := login(p, "owner@shop.example", password, "")
		require.NoError(t, err)
		require.Equal(t, otp.WrongPassword, otp.KindOf(p.ChangePassword(ctx, who, another, another)))
		require.Equal(t, otp.Invalid, otp.KindOf(p.ChangePassword(ctx, who, password, password)))
		require.Equal(t, otp.Invalid, otp.KindOf(p.ChangePassword(ctx, who, password, "owner@shop.example1")))
		require.NoError(t, p.ChangePassword(ctx, who, password, another))
		_, err = p.Authenticate(ctx, elsewhere.AccessToken, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), "other sessions end")
		_, err = login(p, "owner@shop.example", password, "")
		require.Equal(t, otp.WrongPassword, otp.KindOf(err))

		first, err := p.Staff.Recover(ctx, people.Operator(), id)
		require.NoError(t, err)
		issued, err := p.Staff.Recover(ctx, people.Operator(), "owner@shop.example")
		require.NoError(t, err)
		const third = "saddle-october-lentil-93"
		require.Equal(t, otp.RegistrationClosed, otp.KindOf(p.Recover(ctx, first.Token, third, office)),
			"replaced by a later one")
		require.NoError(t, p.Recover(ctx, issued.Token, third, office))
		require.Equal(t, otp.RegistrationClosed, otp.KindOf(p.Recover(ctx, issued.Token, third, office)), "once")
		_, err = login(p, "owner@shop.example", third, "")
		require.NoError(t, err)
		_, err = p.Session(ctx, who.Session, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err))
	})
}

func TestFactors_AreNeededOnceTheyAreConfirmed(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		who := owner(t, p)
		enrolment, err := p.Factors.EnrolApp(ctx, who, "phone")
		require.NoError(t, err)
		require.Contains(t, enrolment.URI, "otpauth://totp/OTPBridge:owner@shop.example?")
		_, err = login(p, "owner@shop.example", password, "")
		require.NoError(t, err, "not confirmed yet")
		_, err = p.Factors.ConfirmApp(ctx, who, enrolment.ID, "000000")
		require.Equal(t, otp.Invalid, otp.KindOf(err))
		backup, err := p.Factors.ConfirmApp(ctx, who, enrolment.ID, shows(t, enrolment.Secret, 0))
		require.NoError(t, err)
		require.Len(t, backup, 10)

		_, err = login(p, "owner@shop.example", password, "")
		require.Equal(t, otp.FactorRequired, otp.KindOf(err))
		_, err = login(p, "owner@shop.example", password, shows(t, enrolment.Secret, 0))
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "the step that confirmed is used up")
		tokens, err := login(p, "owner@shop.example", password, shows(t, enrolment.Secret, 30*time.Second))
		require.NoError(t, err)
		again := authenticate(t, p, tokens)
		require.Equal(t, people.AppFactor, again.Factor)
		require.NoError(t, again.ProvedTwice())

		_, err = login(p, "owner@shop.example", password, backup[3])
		require.NoError(t, err)
		_, err = login(p, "owner@shop.example", password, backup[3])
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "once")
		all, left, err := p.Factors.List(ctx, again)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, 9, left)

		fresh, err := p.Factors.NewBackupCodes(ctx, again)
		require.NoError(t, err)
		_, err = login(p, "owner@shop.example", password, backup[4])
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "replaced")
		require.NoError(t, p.Reauthenticate(ctx, again, "", fresh[0]))
		require.NoError(t, p.Factors.Remove(ctx, again, all[0].ID))
		_, err = login(p, "owner@shop.example", password, "")
		require.NoError(t, err, "no factor any more")
	})
}
