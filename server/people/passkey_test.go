package people_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/people/passkeytest"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// The site that passkeys of these tests are for.
const (
	site     = "https://otp.shop.example"
	siteName = "otp.shop.example"
	// foreign is a challenge that the server did not make.
	foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// offer returns a question for a new passkey.
func offer(t testing.TB, p *people.People, who people.Principal) people.Question {
	t.Helper()
	question, err := p.Passkeys.Offer(ctx, who, "laptop")
	require.NoError(t, err)
	return question
}

// passkey adds a passkey for a person.
func passkey(t testing.TB, p *people.People, who people.Principal) (*passkeytest.Passkey, []string) {
	t.Helper()
	key := passkeytest.New(site, siteName)
	question := offer(t, p, who)
	codes, err := p.Passkeys.Add(ctx, who, created(key, question))
	require.NoError(t, err)
	return key, codes
}

// nothing returns an empty answer.
func nothing(c people.Question) people.Answer { return people.Answer{Question: c.ID} }

// ask returns a question for a login.
func ask(t testing.TB, p *people.People) people.Question {
	t.Helper()
	question, err := p.Passkeys.Ask(ctx, office)
	require.NoError(t, err)
	return question
}

// created returns a new passkey's answer.
func created(key *passkeytest.Passkey, c people.Question) people.Answer {
	return people.Answer{Question: c.ID, Credential: key.Create(c.Options)}
}

func signed(key *passkeytest.Passkey, c people.Question) people.Answer {
	return people.Answer{Question: c.ID, Credential: key.Sign(c.Options)}
}

// A passkey is both factors: it logs in without a password, and allows what needs a second factor.
func TestPasskeys_LogInAndProve(t *testing.T) {
	onFresh(t, func(t *testing.T, p *people.People) {
		who := owner(t, p)
		other, err := login(p, "owner@shop.example", password, "")
		require.NoError(t, err)
		key, codes := passkey(t, p, who)
		require.Len(t, codes, 10, "with the first factor")
		_, err = p.Authenticate(ctx, other.AccessToken, office)
		require.Equal(t, otp.ExpiredCredential, otp.KindOf(err), "the other session")
		who, err = p.Session(ctx, who.Session, office)
		require.NoError(t, err)
		require.NoError(t, who.ProvedTwice(), "adding it proved it")

		tokens, err := p.Passkeys.Login(ctx, signed(key, ask(t, p)), office)
		require.NoError(t, err)
		require.Equal(t, "owner@shop.example", tokens.Person.Email)
		mine := authenticate(t, p, tokens)
		require.Equal(t, people.PasskeyFactor, mine.Factor)
		require.NoError(t, mine.ProvedFully(false, mine.AuthenticatedAt))

		_, err = login(p, "owner@shop.example", password, "")
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "the password alone is too little now")
		byCode, err := login(p, "owner@shop.example", password, codes[0])
		require.NoError(t, err, "a backup code stands in for the passkey")
		again := authenticate(t, p, byCode)
		require.NoError(t, p.Passkeys.Prove(ctx, again, signed(key, ask(t, p))))
		again, err = p.Session(ctx, again.Session, office)
		require.NoError(t, err)
		require.Equal(t, people.PasskeyFactor, again.Factor)

		second, codes := passkey(t, p, again)
		require.Empty(t, codes, "with the second factor")
		second.Counter, second.Flags = 7, second.Flags|passkeytest.Present
		_, err = p.Passkeys.Login(ctx, signed(second, ask(t, p)), office)
		require.NoError(t, err)
		factors, left, err := p.Factors.List(ctx, again)
		require.NoError(t, err)
		require.Len(t, factors, 2)
		require.Equal(t, 9, left)
		require.Equal(t, "laptop", factors[0].Name)
		require.NotZero(t, factors[0].UsedAt)
		for i, f := range factors {
			require.NoError(t, p.Factors.Remove(ctx, again, f.ID))
			_, left, err = p.Factors.List(ctx, again)
			require.NoError(t, err)
			require.Equal(t, []int{9, 0}[i], left, "backup codes go with the last factor")
		}
		for _, kind := range []otp.ChangeKind{otp.FactorOffered, otp.FactorAdded, otp.SessionConfirmed, otp.FactorRemoved} {
			require.Contains(t, kinds(t, p), kind)
		}
	})
}

// A wrong answer logs nobody in and ends its question; the right passkey still works.
func TestPasskeys_NoWrongAnswerLogsIn(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	who := owner(t, p)
	dev := member(t, p, who, "dev@shop.example", people.Grant{Role: people.Developer})
	theirs, _ := passkey(t, p, dev)
	key, _ := passkey(t, p, who)
	removed, _ := passkey(t, p, who)
	factors, _, err := p.Factors.List(ctx, who)
	require.NoError(t, err)
	require.NoError(t, p.Factors.Remove(ctx, who, factors[1].ID))
	key.Counter = 40
	_, err = p.Passkeys.Login(ctx, signed(key, ask(t, p)), office)
	require.NoError(t, err)
	used := ask(t, p)
	key.Counter++
	replayed := signed(key, used)
	_, err = p.Passkeys.Login(ctx, replayed, office)
	require.NoError(t, err)
	key.Counter = 1000

	with := func(change func(*passkeytest.Passkey)) func(people.Question) people.Answer {
		return func(c people.Question) people.Answer {
			wrong := key.Clone()
			change(wrong)
			return signed(wrong, c)
		}
	}
	text := func(from, to string) func(people.Question) people.Answer {
		return func(c people.Question) people.Answer {
			a := signed(key, c)
			a.Credential = []byte(strings.Replace(string(a.Credential), from, to, 1))
			return a
		}
	}
	adding := offer(t, p, who)
	for name, answer := range map[string]func(people.Question) people.Answer{
		"another origin":           with(func(k *passkeytest.Passkey) { k.Origin = "https://otp.shop.example.evil.example" }),
		"a subdomain":              with(func(k *passkeytest.Passkey) { k.Origin = "https://a.otp.shop.example" }),
		"the parent domain":        with(func(k *passkeytest.Passkey) { k.Origin = "https://shop.example" }),
		"another port":             with(func(k *passkeytest.Passkey) { k.Origin = site + ":8443" }),
		"no TLS":                   with(func(k *passkeytest.Passkey) { k.Origin = "http://otp.shop.example" }),
		"no origin":                with(func(k *passkeytest.Passkey) { k.Origin = "" }),
		"a frame of another site":  with(func(k *passkeytest.Passkey) { k.Cross = true }),
		"another site's passkey":   with(func(k *passkeytest.Passkey) { k.RPID = "shop.example" }),
		"user not verified":        with(func(k *passkeytest.Passkey) { k.Flags = passkeytest.Present }),
		"user not there":           with(func(k *passkeytest.Passkey) { k.Flags = passkeytest.Verified }),
		"backed up all at once":    with(func(k *passkeytest.Passkey) { k.Flags |= passkeytest.BackedUp }),
		"counter back":             with(func(k *passkeytest.Passkey) { k.Counter = 40 }),
		"counter as before":        with(func(k *passkeytest.Passkey) { k.Counter = 41 }),
		"counter gone":             with(func(k *passkeytest.Passkey) { k.Counter = 0 }),
		"signed for adding":        with(func(k *passkeytest.Passkey) { k.Type = "webauthn.create" }),
		"signed for a payment":     with(func(k *passkeytest.Passkey) { k.Type = "payment.get" }),
		"another challenge signed": with(func(k *passkeytest.Passkey) { k.Challenge = foreign }),
		"no user":                  with(func(k *passkeytest.Passkey) { k.User = nil }),
		"somebody else's name":     with(func(k *passkeytest.Passkey) { k.User = theirs.User }),
		"somebody else's id":       with(func(k *passkeytest.Passkey) { k.ID = theirs.ID }),
		"an unknown id":            with(func(k *passkeytest.Passkey) { k.ID = []byte("unknown") }),
		"another key":              func(c people.Question) people.Answer { return signed(key.Rekeyed(), c) },
		"a removed passkey":        func(c people.Question) people.Answer { return signed(removed, c) },
		"an old answer": func(c people.Question) people.Answer {
			return people.Answer{Question: c.ID, Credential: replayed.Credential}
		},
		"a replay":               func(people.Question) people.Answer { return replayed },
		"the question of adding": func(people.Question) people.Answer { return signed(key, adding) },
		"an answer to adding": func(c people.Question) people.Answer {
			return people.Answer{Question: c.ID, Credential: key.Create(c.Options)}
		},
		"no answer": nothing,
		"null": func(c people.Question) people.Answer {
			return people.Answer{Question: c.ID, Credential: []byte("null")}
		},
		"an unknown question": func(c people.Question) people.Answer {
			return people.Answer{Question: sql.NewID().Text("cer"), Credential: key.Sign(c.Options)}
		},
		"a question of no form": func(c people.Question) people.Answer {
			return people.Answer{Question: "cer_x", Credential: key.Sign(c.Options)}
		},
		"another type": text("public-key", "password"),
		"half of it":   text("clientDataJSON", "clientData"),
		"no signature": text(`"signature":"`, `"signature":"AAAA`),
	} {
		t.Run(name, func(t *testing.T) {
			question := ask(t, p)
			a := answer(question)
			_, err := p.Passkeys.Login(ctx, a, office)
			require.Equal(t, otp.WrongPassword, otp.KindOf(err), "%v", err)
			require.Equal(t, otp.WrongPassword, otp.KindOf(p.Passkeys.Prove(ctx, who, a)), "nor is anything proved")
			if a.Question == question.ID {
				key.Counter++
				_, err = p.Passkeys.Login(ctx, signed(key, question), office)
				require.Equal(t, otp.WrongPassword, otp.KindOf(err), "a question takes one answer")
			}
		})
	}
	require.Equal(t, otp.WrongPassword, otp.KindOf(p.Passkeys.Prove(ctx, who, signed(theirs, ask(t, p)))),
		"somebody else's passkey proves nothing of mine")
	key.Counter++
	_, err = p.Passkeys.Login(ctx, signed(key, ask(t, p)), office)
	require.NoError(t, err)
	yes := true
	_, err = p.Staff.Change(ctx, who, dev.ID.Text(people.PersonPrefix), people.Patch{Disabled: &yes}, 0)
	require.NoError(t, err)
	_, err = p.Passkeys.Login(ctx, signed(theirs, ask(t, p)), office)
	require.Equal(t, otp.PersonLocked, otp.KindOf(err), "switched off")
}

// A passkey is added only if an authenticator that verified this person has just made it for them.
func TestPasskeys_NoWrongAnswerAddsOne(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	who := owner(t, p)
	dev := member(t, p, who, "dev@shop.example", people.Grant{Role: people.Developer})
	theirs, _ := passkey(t, p, dev)
	with := func(change func(*passkeytest.Passkey)) func(people.Question) people.Answer {
		return func(c people.Question) people.Answer {
			wrong := passkeytest.New(site, siteName)
			change(wrong)
			return created(wrong, c)
		}
	}
	fine := with(func(*passkeytest.Passkey) {})
	logins, theirOffer := ask(t, p), offer(t, p, dev)
	for name, tt := range map[string]struct {
		answer func(people.Question) people.Answer
		want   otp.Kind
	}{
		"another origin":     {with(func(k *passkeytest.Passkey) { k.Origin = "https://evil.example" }), otp.Invalid},
		"another site's":     {with(func(k *passkeytest.Passkey) { k.RPID = "evil.example" }), otp.Invalid},
		"user not verified":  {with(func(k *passkeytest.Passkey) { k.Flags = passkeytest.Present }), otp.Invalid},
		"user not there":     {with(func(k *passkeytest.Passkey) { k.Flags = passkeytest.Verified }), otp.Invalid},
		"a frame":            {with(func(k *passkeytest.Passkey) { k.Cross = true }), otp.Invalid},
		"signed for a login": {with(func(k *passkeytest.Passkey) { k.Type = "webauthn.get" }), otp.Invalid},
		"another challenge":  {with(func(k *passkeytest.Passkey) { k.Challenge = foreign }), otp.Invalid},
		"one that is there": {func(c people.Question) people.Answer {
			return created(theirs, c)
		}, otp.Invalid},
		"a login's answer":        {func(c people.Question) people.Answer { return signed(theirs, c) }, otp.Invalid},
		"no answer":               {nothing, otp.Invalid},
		"the question of a login": {func(people.Question) people.Answer { return fine(logins) }, otp.NotFound},
		"somebody else's":         {func(people.Question) people.Answer { return fine(theirOffer) }, otp.NotFound},
		"no question":             {func(c people.Question) people.Answer { c.ID = ""; return fine(c) }, otp.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Passkeys.Add(ctx, who, tt.answer(offer(t, p, who)))
			require.Equal(t, tt.want, otp.KindOf(err), "%v", err)
		})
	}
	factors, _, err := p.Factors.List(ctx, who)
	require.NoError(t, err)
	require.Empty(t, factors)
	once := offer(t, p, who)
	_, err = p.Passkeys.Add(ctx, who, fine(once))
	require.NoError(t, err)
	_, err = p.Passkeys.Add(ctx, who, fine(once))
	require.Equal(t, otp.NotFound, otp.KindOf(err), "a question takes one answer")
}

func TestPasskeys_TimeRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, migrated.SQLite(t))
		who := owner(t, p)
		key, _ := passkey(t, p, who)
		adding, showing := offer(t, p, who), ask(t, p)
		time.Sleep(5 * time.Minute)
		_, err := p.Passkeys.Login(ctx, signed(key, showing), office)
		require.Equal(t, otp.WrongPassword, otp.KindOf(err))
		fresh := passkeytest.New(site, siteName)
		_, err = p.Passkeys.Add(ctx, who, created(fresh, adding))
		require.Equal(t, otp.NotFound, otp.KindOf(err))
		time.Sleep(6 * time.Minute)
		_, err = p.Passkeys.Offer(ctx, who, "")
		require.Equal(t, otp.ReauthenticationRequired, otp.KindOf(err))
		require.NoError(t, p.Passkeys.Prove(ctx, who, signed(key, ask(t, p))))
		who, err = p.Session(ctx, who.Session, office)
		require.NoError(t, err)
		_, err = p.Passkeys.Offer(ctx, who, "")
		require.NoError(t, err)
		for range 59 {
			ask(t, p)
		}
		_, err = p.Passkeys.Ask(ctx, office)
		require.Equal(t, otp.RateLimited, otp.KindOf(err), "a network that asks and asks")
		_, err = login(p, "owner@shop.example", password, "")
		require.Equal(t, otp.FactorRequired, otp.KindOf(err), "passwords are counted apart")
		time.Sleep(10 * time.Second)
		ask(t, p)
	})
}

// Passkeys belong to a host name. A server without one refuses them.
func TestPasskeys_BelongToTheNameOfTheServer(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	for issuer, want := range map[string][2]string{ // in production, in a sandbox
		"https://otp.shop.example":      {site, site},
		"https://otp.shop.example:443":  {site, site},
		"https://otp.shop.example:8443": {site + ":8443", site + ":8443"},
		"http://127.0.0.1:8080":         {"", "http://localhost:8080"},
		"http://[::1]:8080":             {"", "http://localhost:8080"},
		"http://localhost:8080":         {"http://localhost:8080", "http://localhost:8080"},
		"https://192.0.2.7":             {"", ""},
		"https://[2001:db8::1]:8443":    {"", ""},
		"":                              {"", ""},
		"https://":                      {"", ""},
		"%":                             {"", ""},
	} {
		for i, sandbox := range []bool{false, true} {
			options := p.Options
			options.Issuer, options.Sandbox = issuer, sandbox
			k := people.New(options).Passkeys
			require.Equal(t, want[i], k.Origin(), "%s, sandbox %v", issuer, sandbox)
			if want[i] == "" {
				_, err := k.Ask(ctx, office)
				require.Equal(t, otp.FeatureOff, otp.KindOf(err))
			}
		}
	}
}

func TestPasskeys_AnAnswerIsGoodOnceRace(t *testing.T) {
	migrated.OnBoth(t, func(t *testing.T, url string) {
		servers := newPair(t, url)
		key, _ := passkey(t, servers.People, owner(t, servers.People))
		for range min(rounds, 50) { // one network asks at most so often
			key.Counter++
			got := servers.race(order{Do: "passkey", Question: signed(key, ask(t, servers.People))})
			require.Equal(t, map[string]int{"": 1, "wrong_password": 63}, got.Answers)
		}

		// A passkey and its copy give answers with the same counter; only one of the two is accepted.
		key.Counter++
		answers := [2]people.Answer{signed(key, ask(t, servers.People)), signed(key, ask(t, servers.People))}
		counts := atOnce(2, func(i int) error {
			_, err := servers.Passkeys.Login(ctx, answers[i], office)
			return err
		})
		require.Equal(t, map[string]int{"": 1, "wrong_password": 1}, counts)
	})
}
