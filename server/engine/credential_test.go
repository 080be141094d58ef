package engine_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

const demoAccount = "10000000000001"

// newKey makes a key of the demo account, and returns its secret.
func newKey(t testing.TB, h house, n manage.NewKey) (manage.Key, string) {
	t.Helper()
	n.Account = demoAccount
	key, secret, _, err := h.Keys.Create(background, manage.Operator(), n)
	require.NoError(t, err)
	return key, string(secret.Bytes())
}

// v1 authenticates at the JSON API.
func v1(h house, secret string) (*engine.Caller, error) {
	return h.Authenticate(background, otp.V1Door, secret, peer)
}

func v1Caller(t testing.TB, h house, secret string) *engine.Caller {
	t.Helper()
	caller, err := v1(h, secret)
	require.NoError(t, err)
	return caller
}

func v1Kind(h house, secret string) otp.Kind {
	_, err := v1(h, secret)
	return otp.KindOf(err)
}

func one(n int) *int { return &n }

func TestMay_EachKindMayWhatItsPurposeNeeds(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	all := []string{"send:otp", "verify:otp", "resend:otp", "cancel:otp", "read:otp", "debug"}
	for _, tt := range []struct {
		kind       otp.KeyKind
		listed     []string
		may        []string
		atServlets bool
	}{
		{otp.AccessKey, nil, all[:5], true},
		{otp.SecretKey, nil, all[:5], true},
		{otp.ServiceKey, nil, all[:5], true},
		{otp.ReadOnlyKey, nil, []string{"read:otp"}, false},
		{otp.ClientKey, nil, []string{"send:otp", "verify:otp"}, false},
		{otp.SecretKey, []string{"*"}, all, true},
		{otp.SecretKey, []string{"verify:otp", "debug"}, []string{"verify:otp", "debug"}, true},
		{otp.ReadOnlyKey, []string{"read:otp", "debug"}, []string{"read:otp", "debug"}, false},
		{otp.ClientKey, []string{"verify:otp"}, []string{"verify:otp"}, false},
	} {
		key, secret := newKey(t, h, manage.NewKey{Kind: tt.kind, Permissions: tt.listed,
			AllowedOrigins: []string{"https://a.example"}})
		caller := v1Caller(t, h, secret)
		require.Equal(t, key.ID, caller.Key.ID)
		for _, permission := range all {
			err := caller.May(permission)
			if slices.Contains(tt.may, permission) {
				require.NoError(t, err, "%s %v %s", tt.kind, tt.listed, permission)
				continue
			}
			require.Equal(t, otp.Forbidden, otp.KindOf(err), "%s %v %s", tt.kind, tt.listed, permission)
			require.ErrorContains(t, err, permission)
		}
		require.Equal(t, tt.atServlets, kindFrom(h, secret, peer) == 0, tt.kind)
	}
}

// What a row lists cannot widen its kind, however it got there.
func TestMay_ARowCannotWidenItsKind(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		_, secret := newKey(t, h, manage.NewKey{Kind: otp.ReadOnlyKey})
		bySQL(t, h, `UPDATE credentials SET permissions = '["*","send:otp"]' WHERE kind = 'read_only'`)
		caller := v1Caller(t, h, secret)
		require.Equal(t, otp.Forbidden, otp.KindOf(caller.May("send:otp")))
		require.NoError(t, caller.May("read:otp"))
		require.Equal(t, otp.Forbidden, kindFrom(h, secret, peer))
		bySQL(t, h, `UPDATE credentials SET kind = 'unheard-of'`)
		caller = v1Caller(t, open(t, at), secret)
		require.Equal(t, otp.Forbidden, otp.KindOf(caller.May("read:otp")), "an unknown kind may nothing")
	})
}

func TestFromOrigin_KeepsAClientKeyToItsPages(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	key, secret := newKey(t, h, manage.NewKey{Kind: otp.ClientKey,
		AllowedOrigins: []string{"HTTPS://Shop.Example:443/", "http://localhost:3000"}})
	require.Equal(t, []string{"https://shop.example", "http://localhost:3000"}, key.AllowedOrigins)
	client := v1Caller(t, h, secret)
	require.NoError(t, client.FromOrigin("https://shop.example"))
	require.NoError(t, client.FromOrigin("http://localhost:3000"))
	for _, origin := range []string{"", "null", "https://shop.example:8443", "http://shop.example",
		"https://shop.example.evil.example", "https://evil.example"} {
		require.Equal(t, otp.ForbiddenOrigin, otp.KindOf(client.FromOrigin(origin)), origin)
	}
	_, secret = newKey(t, h, manage.NewKey{})
	require.NoError(t, v1Caller(t, h, secret).FromOrigin(""))
	require.NoError(t, v1Caller(t, h, secret).FromOrigin("https://anywhere.example"))
	_, secret = newKey(t, h, manage.NewKey{AllowedOrigins: []string{"https://a.example"}})
	require.NoError(t, v1Caller(t, h, secret).FromOrigin(""), "a backend has no origin")
	require.Equal(t, otp.ForbiddenOrigin, otp.KindOf(v1Caller(t, h, secret).FromOrigin("https://b.example")))
}

func TestAuthenticate_AMistypedKeyIsMalformedAndAStrangeOneUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		_, secret := newKey(t, h, manage.NewKey{})
		require.Zero(t, v1Kind(h, secret))
		require.Zero(t, kindFrom(h, secret, peer), "an API key is an access_key too")
		require.Zero(t, v1Kind(h, "ZGVtby1hY2Nlc3Mta2V5MQ=="), "an access key is good at the JSON API too")
		mistyped := secret[:20] + string(secret[20]^1) + secret[21:]
		for _, malformed := range []string{"", mistyped, secret[:len(secret)-1], "otpb_", strings.Repeat("x", 513)} {
			require.Equal(t, otp.MissingCredential, v1Kind(h, malformed), malformed)
		}
		require.Equal(t, otp.UnknownCredential, v1Kind(h, crypto.NewAPIKey("test", "sk")))
		require.Equal(t, otp.UnknownCredential, v1Kind(h, strings.Repeat("x", 512)))
	})
}

// 401 makes a client try its other key; 403 says that the secret is right.
func TestAuthenticate_TellsOfNetworksOnlyWhoeverHasAGoodKey(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		soon := time.Now().Add(time.Hour)
		elsewhere := manage.NewKey{AllowedIPs: []string{"192.0.2.0/24", "::ffff:198.51.100.0/120"},
			DeniedIPs: []string{"192.0.2.7", "fe80::/10"}, ExpiresAt: &soon}
		key, secret := newKey(t, h, elsewhere)
		require.Equal(t, otp.ForbiddenNetwork, v1Kind(h, secret))
		for from, want := range map[string]otp.Kind{
			"192.0.2.8": 0, "::ffff:192.0.2.8": 0, "198.51.100.1": 0, "192.0.2.7": otp.ForbiddenNetwork,
			"::ffff:192.0.2.7": otp.ForbiddenNetwork, "fe80::1%eth0": otp.ForbiddenNetwork, "2001:db8::1": otp.ForbiddenNetwork,
		} {
			_, err := h.Authenticate(background, otp.V1Door, secret, netip.MustParseAddr(from))
			require.Equal(t, want, otp.KindOf(err), from)
		}
		bySQL(t, h, `UPDATE credentials SET expires_at = 1 WHERE id = ?`, key.ID[:])
		require.Equal(t, otp.ExpiredCredential, v1Kind(open(t, at), secret))
		bySQL(t, h, `UPDATE otp_auth_config SET enabled = 0 WHERE esme_address = ?`, demoAccount)
		require.Equal(t, otp.UnknownCredential, v1Kind(open(t, at), secret))
	})
}

func TestCreateKey_NamesWhatIsWrong(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	past := time.Now().Add(-time.Minute)
	before, err := h.Keys.List(background, demoAccount)
	require.NoError(t, err)
	for _, tt := range []struct {
		asked manage.NewKey
		kind  otp.Kind
		says  []string
	}{
		{manage.NewKey{Kind: "admin"}, otp.Invalid, []string{"kind", `"admin"`, "read_only"}},
		{manage.NewKey{Environment: "prod"}, otp.Invalid, []string{"environment", "live, test, dev"}},
		{manage.NewKey{Signing: "yes"}, otp.Invalid, []string{"signing", "required"}},
		{manage.NewKey{Name: "a\nb"}, otp.Invalid, []string{"name"}},
		{manage.NewKey{Name: strings.Repeat("é", 201)}, otp.Invalid, []string{"name", "200"}},
		{manage.NewKey{Permissions: []string{"send:otp", "send:money"}}, otp.Invalid,
			[]string{"permissions[1]", `"send:money"`, "verify:otp"}},
		{manage.NewKey{Kind: otp.ReadOnlyKey, Permissions: []string{"send:otp"}}, otp.Invalid,
			[]string{"permissions[0]", "read_only"}},
		{manage.NewKey{Kind: otp.ReadOnlyKey, Permissions: []string{"*"}}, otp.Invalid, []string{"permissions[0]"}},
		{manage.NewKey{Kind: otp.ClientKey, AllowedOrigins: []string{"https://a.example"},
			Permissions: []string{"resend:otp"}}, otp.Invalid, []string{"permissions[0]"}},
		{manage.NewKey{Kind: otp.ClientKey}, otp.Invalid, []string{"allowed_origins", "https://"}},
		{manage.NewKey{AllowedOrigins: []string{"*"}}, otp.Invalid, []string{"allowed_origins[0]"}},
		{manage.NewKey{AllowedOrigins: []string{"https://a.example/path"}}, otp.Invalid, []string{"allowed_origins[0]"}},
		{manage.NewKey{AllowedOrigins: []string{"https://*.example"}}, otp.Invalid, []string{"allowed_origins[0]"}},
		{manage.NewKey{AllowedOrigins: []string{"null"}}, otp.Invalid, []string{"allowed_origins[0]"}},
		{manage.NewKey{AllowedIPs: []string{"10.0.0.0/8", "52.44.123.456"}}, otp.Invalid,
			[]string{"allowed_ips[1]", "52.44.123.456"}},
		{manage.NewKey{DeniedIPs: []string{"10.0.0.0/33"}}, otp.Invalid, []string{"denied_ips[0]", "10.0.0.0/33"}},
		{manage.NewKey{RequestsPerMinute: one(0)}, otp.Invalid, []string{"requests_per_minute"}},
		{manage.NewKey{Burst: one(1_000_001)}, otp.Invalid, []string{"burst"}},
		{manage.NewKey{ExpiresAt: &past}, otp.Invalid, []string{"expires_at"}},
		{manage.NewKey{Import: "fifteen-letters"}, otp.Invalid, []string{"import", "15 characters", "16"}},
		{manage.NewKey{Import: "sixteen letters!"}, otp.Invalid, []string{"import", "blank"}},
		{manage.NewKey{Import: "otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijG"}, otp.Invalid,
			[]string{"import", "checksum"}},
		{manage.NewKey{Import: "otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF"}, otp.Invalid,
			[]string{"import", "live"}},
		{manage.NewKey{Kind: otp.ServiceKey, Environment: otp.Live,
			Import: "otpb_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4JDijF"}, otp.Invalid, []string{"import", `"sk"`}},
		{manage.NewKey{Kind: otp.AccessKey, Import: "ZGVtby1hY2Nlc3Mta2V5MQ=="}, otp.AccountExists, []string{"in use"}},
	} {
		tt.asked.Account = demoAccount
		_, _, _, err := h.Keys.Create(background, manage.Operator(), tt.asked)
		require.Equal(t, tt.kind, otp.KindOf(err), "%+v: %v", tt.asked, err)
		for _, part := range tt.says {
			require.ErrorContains(t, err, part)
		}
		if tt.asked.Import != "" {
			require.NotContains(t, err.Error(), tt.asked.Import)
		}
	}
	for _, account := range []string{"", "404"} {
		_, _, _, err = h.Keys.Create(background, manage.Operator(), manage.NewKey{Account: account})
		require.Equal(t, otp.NotFound, otp.KindOf(err))
	}
	after, err := h.Keys.List(background, demoAccount)
	require.NoError(t, err)
	require.Equal(t, before, after, "a refused key changes nothing")
	_, err = h.Keys.List(background, "404")
	require.Equal(t, otp.NotFound, otp.KindOf(err))
}

func TestCreateKey_KeepsEverythingButTheSecrets(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		ends := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		asked := manage.NewKey{
			Account: demoAccount, Name: "Kasse 4 " +
				"☕", Kind: otp.ServiceKey, Environment: otp.Live, Permissions: []string{"send:otp", "debug"},
			AllowedIPs: []string{"127.0.0.0/8"}, DeniedIPs: []string{"10.0.0.1"}, AllowedOrigins: []string{"https://a.example"},
			RequestsPerMinute: one(7), Burst: one(3), ExpiresAt: &ends, Signing: otp.SigningRequired,
		}
		key, secret, signing, err := h.Keys.Create(background, manage.Operator(), asked)
		require.NoError(t, err)
		require.Regexp(t, `^otpb_live_svc_[0-9A-Za-z]{38}$`, string(secret.Bytes()))
		require.Regexp(t, `^otpbsig_[0-9A-Za-z]{40}$`, string(signing.Bytes()))
		require.Equal(t, manage.KeyActive, key.Status)
		require.Equal(t, crypto.LastFour(string(secret.Bytes())), key.LastFour)
		keys, err := h.Keys.List(background, demoAccount)
		require.NoError(t, err)
		require.Contains(t, keys, key)
		require.Equal(t, asked.Name, key.Name)
		require.Equal(t, ends, key.ExpiresAt.Time())
		caller := v1Caller(t, h, string(secret.Bytes()))
		require.Equal(t, otp.Live, caller.Environment)
		require.Equal(t, asked.Permissions, caller.Key.Permissions)
		require.Equal(t, otp.SigningRequired, caller.Key.Signing)
		require.Equal(t, otp.BadSignature, kindFrom(h, string(secret.Bytes()), peer), "the servlets cannot check signatures")

		var sealed string
		require.NoError(t, byHand(t, at).QueryRow(`SELECT signing_secret FROM credentials WHERE id = ?`,
			key.ID[:]).Scan(&sealed))
		require.NotContains(t, sealed, string(signing.Bytes()))
		_, signed := newKey(t, h, manage.NewKey{Signing: otp.SigningOptional})
		bySQL(t, h, `UPDATE credentials SET signing_secret = ? WHERE signing = 'optional'`, sealed)
		_, err = v1(open(t, at), signed)
		require.Error(t, err, "a sealed secret moved from another row does not open")
		require.Zero(t, otp.KindOf(err))
	})
}

func TestCreateKey_TakesAForeignKeyAsItIs(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		for _, foreign := range []string{"kc_live_4eC39HqLyjWDarjtT1zdp7dc", "0f1e7d9c2b6a8543", `p@ss:w0rd/+=~!"#$%&'()*`} {
			key, secret, _, err := h.Keys.Create(background, manage.Operator(),
				manage.NewKey{Account: demoAccount, Import: foreign})
			require.NoError(t, err)
			require.Equal(t, foreign, string(secret.Bytes()))
			require.Equal(t, key.ID, v1Caller(t, h, foreign).Key.ID)
			require.Zero(t, kindFrom(h, foreign, peer))
		}
	})
}

func TestCreateKey_ProductionRefusesAPublishedKey(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	production := openWith(t, h.at, func(o *engine.Options) { o.Sandbox, o.Inbox, o.Faults = false, nil, nil })
	for _, demo := range h.Sandbox.DemoCredentials() {
		for _, published := range []string{demo.AccessKey, demo.APIKey} {
			_, _, _, err := production.Keys.Create(background, manage.Operator(),
				manage.NewKey{Account: demoAccount, Import: published})
			require.ErrorContains(t, err, "published")
		}
	}
	key, _, _, err := production.Keys.Create(background, manage.Operator(), manage.NewKey{Account: demoAccount})
	require.NoError(t, err)
	require.Equal(t, otp.Live, key.Environment)
}

func TestRotateKey_BothAreGoodForTheGraceAndThenTheSuccessor(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			servers := two(t, at)
			h, other := servers[0], servers[1]
			end := time.Now().Add(30 * 24 * time.Hour)
			old, secret := newKey(t, h, manage.NewKey{
				Name: "shop", Permissions: []string{"send:otp"}, AllowedIPs: []string{"127.0.0.1"}, RequestsPerMinute: one(9),
				Signing: otp.SigningRequired, ExpiresAt: &end,
			})
			time.Sleep(10 * 24 * time.Hour)
			successor, fresh, signing, err := h.Keys.Rotate(background, manage.Operator(), old.ID, manage.RotationGrace)
			require.NoError(t, err)
			require.False(t, signing.IsZero())
			require.NotEqual(t, secret, string(fresh.Bytes()))
			require.Equal(t, time.Now().Add(30*24*time.Hour).UnixMilli(), int64(successor.ExpiresAt), "as long a life again")
			for _, same := range []func(manage.Key) any{
				func(k manage.Key) any { return k.Name }, func(k manage.Key) any { return k.Permissions },
				func(k manage.Key) any { return k.AllowedIPs },
				func(k manage.Key) any { return *k.RequestsPerMinute }, func(k manage.Key) any { return k.Signing },
				func(k manage.Key) any { return k.Environment },
			} {
				require.Equal(t, same(old), same(successor))
			}
			keys, err := other.Keys.List(background, demoAccount)
			require.NoError(t, err)
			for _, key := range keys {
				if key.ID == old.ID {
					require.Equal(t, manage.KeyRotated, key.Status)
					require.Equal(t, successor.ID, key.Successor)
				}
			}
			time.Sleep(manage.RotationGrace - time.Second)
			require.Zero(t, v1Kind(other, secret))
			require.Zero(t, v1Kind(other, string(fresh.Bytes())))
			time.Sleep(2 * time.Second)
			require.Equal(t, otp.ExpiredCredential, v1Kind(other, secret))
			require.Zero(t, v1Kind(other, string(fresh.Bytes())))

			_, _, _, err = h.Keys.Rotate(background, manage.Operator(), old.ID, 0)
			require.Equal(t, otp.Invalid, otp.KindOf(err))
			require.ErrorContains(t, err, successor.ID.Text("key"))
			_, last, _, err := other.Keys.Rotate(background, manage.Operator(), successor.ID, 0)
			require.NoError(t, err)
			require.Equal(t, otp.ExpiredCredential, v1Kind(other, string(fresh.Bytes())), "no grace")
			require.Zero(t, v1Kind(other, string(last.Bytes())))
		})
	})
}

func TestRotateKey_RefusesWhatHasNothingToHandOn(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	key, _ := newKey(t, h, manage.NewKey{})
	for _, grace := range []time.Duration{-time.Second, 91 * 24 * time.Hour} {
		_, _, _, err := h.Keys.Rotate(background, manage.Operator(), key.ID, grace)
		require.Equal(t, otp.Invalid, otp.KindOf(err))
		require.ErrorContains(t, err, "grace")
	}
	require.NoError(t, h.Keys.Revoke(background, manage.Operator(), key.ID))
	_, _, _, err := h.Keys.Rotate(background, manage.Operator(), key.ID, 0)
	require.ErrorContains(t, err, "revoked")
	_, _, _, err = h.Keys.Rotate(background, manage.Operator(), otp.ID{1}, 0)
	require.Equal(t, otp.NotFound, otp.KindOf(err))
	require.Equal(t, otp.NotFound, otp.KindOf(h.Keys.Revoke(background, manage.Operator(), otp.ID{1})))
}

func TestRotateKeyRace_OneSuccessor(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		servers := two(t, at)
		for range 5 {
			key, _ := newKey(t, servers[0], manage.NewKey{})
			before, err := servers[0].Keys.List(background, demoAccount)
			require.NoError(t, err)
			answers := atOnce(8, func(i int) error {
				_, _, _, err := servers[i%2].Keys.Rotate(background, manage.Operator(), key.ID, time.Hour)
				return err
			})
			won := 0
			for _, err := range answers {
				if err == nil {
					won++
					continue
				}
				require.ErrorContains(t, err, "rotated before")
			}
			require.Equal(t, 1, won)
			after, err := servers[0].Keys.List(background, demoAccount)
			require.NoError(t, err)
			require.Len(t, after, len(before)+1)
		}
	})
}

func TestRevokeKey_StopsOnEveryServerWithinASecond(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			servers := two(t, at)
			key, secret := newKey(t, servers[0], manage.NewKey{})
			for _, h := range servers {
				require.Zero(t, v1Kind(h, secret))
			}
			require.NoError(t, servers[0].Keys.Revoke(background, manage.Operator(), key.ID))
			require.Equal(t, otp.UnknownCredential, v1Kind(servers[0], secret), "here at once")
			time.Sleep(time.Second)
			require.Equal(t, otp.UnknownCredential, v1Kind(servers[1], secret))
			require.NoError(t, servers[1].Keys.Revoke(background, manage.Operator(), key.ID), "it stays revoked")
			keys, err := servers[1].Keys.List(background, demoAccount)
			require.NoError(t, err)
			require.Equal(t, manage.KeyRevoked, keys[len(keys)-1].Status)
		})
	})
}
