package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// keyChanges returns the changes recorded for a key, oldest first.
func keyChanges(t testing.TB, h house, key otp.ID) (all []otp.Change) {
	t.Helper()
	changes, err := h.store.People.Changes(background, otp.ID{}, 1000)
	require.NoError(t, err)
	for i := len(changes) - 1; i >= 0; i-- {
		if changes[i].Details["key"] == key.Text("key") {
			all = append(all, changes[i])
		}
	}
	return all
}

func TestKeys_EveryChangeIsRecordedWithItsActor(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		by := manage.By{Actor: otp.Actor{Kind: "person", ID: otp.ID{9}, Address: "192.0.2.7", Request: "req-1"}}
		asked := manage.NewKey{Account: demoAccount, Name: "shop", Permissions: []string{"send:otp"}}
		key, secret, _, err := h.Keys.Create(background, by, asked)
		require.NoError(t, err)
		found, err := h.Keys.Find(background, by, key.ID)
		require.NoError(t, err)
		n := found.Settings()
		n.Name, n.AllowedIPs, n.Signing = "Kasse", []string{"127.0.0.1"}, otp.SigningOptional
		changed, signing, err := h.Keys.Change(background, by, found, n)
		require.NoError(t, err)
		require.False(t, signing.IsZero())
		require.Equal(t, found.Version+1, changed.Version)
		again, signing, err := h.Keys.Change(background, by, changed, changed.Settings())
		require.NoError(t, err)
		require.True(t, signing.IsZero())
		require.Equal(t, changed, again, "nothing changed, and nothing is recorded")
		_, _, _, err = h.Keys.Rotate(background, by, key.ID, time.Hour)
		require.NoError(t, err)
		require.NoError(t, h.Keys.Revoke(background, by, key.ID))
		require.NoError(t, h.Keys.Revoke(background, by, key.ID))

		kinds := []otp.ChangeKind{otp.KeyCreated, otp.KeyChanged, otp.KeyRotated, otp.KeyRevoked}
		recorded := keyChanges(t, h, key.ID)
		require.Len(t, recorded, len(kinds))
		for i, c := range recorded {
			require.Equal(t, kinds[i], c.Kind)
			require.Equal(t, key.ID, c.Credential, "the audit log finds it by its key")
			require.Equal(t, by.Actor, c.Actor)
			require.Equal(t, demoAccount, c.Account)
			require.NotContains(t, fmt.Sprint(c), string(secret.Bytes()))
		}
		require.Equal(t, map[string]string{"key": key.ID.Text("key"), "environment": "test", "name": "Kasse",
			"allowed_ips": "127.0.0.1", "signing": "optional"}, recorded[1].Details)
	})
}

// recordedKeys returns who made an account's keys, with the changes.
func recordedKeys(t testing.TB, h house, account string) (actors []string) {
	t.Helper()
	changes, err := h.store.People.Changes(background, otp.ID{}, 1000)
	require.NoError(t, err)
	for _, c := range changes {
		if c.Kind == otp.KeyCreated && c.Account == account {
			actors = append(actors, c.Actor.Kind)
		}
	}
	return actors
}

func TestKeys_ThatComeWithAnAccountAreRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		require.Equal(t, []string{"operator", "operator"}, recordedKeys(t, h, demoAccount))
		require.NoError(t, h.Sandbox.SeedDemo(background))
		require.Len(t, recordedKeys(t, h, demoAccount), 2, "those that are there already are not made again")
		_, _, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount("4711"),
			AccessKeys: []manage.NewAccessKey{{}, {}}})
		require.NoError(t, err)
		require.Len(t, recordedKeys(t, h, "4711"), 3)
		_, _, err = h.Sandbox.ResetTo(background, []manage.NewAccount{{Account: otp.DefaultAccount("4712")}})
		require.NoError(t, err)
		require.Len(t, recordedKeys(t, h, "4712"), 2)
		_, _, err = h.Sandbox.ResetTo(background, []manage.NewAccount{{Account: otp.DefaultAccount(demoAccount)}})
		require.Equal(t, otp.AccountExists, otp.KindOf(err))
		require.Len(t, recordedKeys(t, h, demoAccount), 2, "what was refused is not recorded")
		_, _, err = h.Sandbox.ResetTo(background, nil)
		require.NoError(t, err)
		imported := manage.Imported{Account: otp.DefaultAccount("4713")}
		imported.MakeSecrets()
		by := otp.Actor{Kind: "person", ID: otp.ID{9}}
		_, err = h.Accounts.Import(background, by, []manage.Imported{imported}, false)
		require.NoError(t, err)
		require.Equal(t, []string{"person"}, recordedKeys(t, h, "4713"))
	})
}

func TestChangeKeyRace_OneOfManyThatSawOneVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		servers := two(t, at)
		for round := range 3 {
			key, _ := newKey(t, servers[0], manage.NewKey{})
			answers := atOnce(64, func(i int) error {
				n := key.Settings()
				n.Name = fmt.Sprint("no. ", i)
				_, _, err := servers[i%2].Keys.Change(background, manage.Operator(), key, n)
				return err
			})
			won := -1
			for i, err := range answers {
				if err != nil {
					require.Equal(t, otp.Outdated, otp.KindOf(err), "%v", err)
					continue
				}
				require.Equal(t, -1, won, "round %d: two won", round)
				won = i
			}
			found, err := servers[1].Keys.Find(background, manage.Operator(), key.ID)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint("no. ", won), found.Name)
			require.Len(t, keyChanges(t, servers[0], key.ID), 2)
		}
	})
}

func TestChangeKey_IsCheckedAsANewOneIs(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	key, _ := newKey(t, h, manage.NewKey{Kind: otp.ReadOnlyKey})
	past, far := time.Now().Add(-time.Minute), time.Now().Add(1000*time.Hour)
	refused := func(seen manage.Key, edit func(*manage.NewKey)) error {
		n := seen.Settings()
		edit(&n)
		_, _, err := h.Keys.Change(background, manage.Operator(), seen, n)
		require.Error(t, err)
		return err
	}
	for field, edit := range map[string]func(*manage.NewKey){
		"permissions": func(n *manage.NewKey) { n.Permissions = []string{"send:otp"} },
		"allowed_ips": func(n *manage.NewKey) { n.AllowedIPs = []string{"52.44.123.456"} },
		"name":        func(n *manage.NewKey) { n.Name = "a\nb" },
		"expires_at":  func(n *manage.NewKey) { n.ExpiresAt = &past },
		"signing":     func(n *manage.NewKey) { n.Signing = "yes" },
		"denied_ips":  func(n *manage.NewKey) { n.DeniedIPs = []string{} },
	} {
		require.ErrorContains(t, refused(key, edit), field)
	}
	_, _, _, err := h.Keys.Rotate(background, manage.Operator(), key.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, otp.Outdated, otp.KindOf(refused(key, func(n *manage.NewKey) { n.Name, n.ExpiresAt = "x", &far })))
	rotated, err := h.Keys.Find(background, manage.Operator(), key.ID)
	require.NoError(t, err)
	late := time.Now().Add(91 * 24 * time.Hour)
	for _, later := range []*time.Time{nil, &late} {
		require.ErrorContains(t, refused(rotated, func(n *manage.NewKey) { n.ExpiresAt = later }), "successor")
	}
	require.NoError(t, h.Keys.Revoke(background, manage.Operator(), key.ID))
	revoked, err := h.Keys.Find(background, manage.Operator(), key.ID)
	require.NoError(t, err)
	require.ErrorContains(t, refused(revoked, func(n *manage.NewKey) { n.Name = "x" }), "revoked")
}

func TestBy_HoldsKeysInTheirBounds(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	unproved := otp.Refuse(otp.ReauthenticationRequired, "prove it")
	strangers, _ := newKey(t, h, manage.NewKey{Environment: otp.Live})
	by := manage.By{Sees: func(a string) bool { return a == demoAccount }, Holds: []string{"send:otp", "verify:otp"},
		Unproved: unproved}
	create := func(by manage.By, n manage.NewKey) otp.Kind {
		_, _, _, err := h.Keys.Create(background, by, n)
		return otp.KindOf(err)
	}
	mine := manage.NewKey{Account: demoAccount, Permissions: []string{"send:otp"}}
	require.Zero(t, create(by, mine))
	require.Zero(t, create(by, manage.NewKey{Permissions: []string{"send:otp"}}), "the one account that they see")
	require.Equal(t, otp.NotFound, create(by, manage.NewKey{Account: "10000000000002", Permissions: mine.Permissions}))
	require.Equal(t, otp.Invalid, create(manage.By{Sees: func(string) bool { return true }}, manage.NewKey{}))
	for _, permissions := range [][]string{nil, {"*"}, {"send:otp", "read:otp"}, {"debug"}} {
		mine.Permissions = permissions
		require.Equal(t, otp.Forbidden, create(by, mine), permissions)
	}
	mine.Permissions, mine.Environment = []string{"send:otp"}, otp.Live
	require.Equal(t, otp.ReauthenticationRequired, create(by, mine))

	_, _, _, err := h.Keys.Rotate(background, by, strangers.ID, 0)
	require.Equal(t, otp.Forbidden, otp.KindOf(err), "its successor would have what they do not hold")
	by.Holds = nil
	_, _, _, err = h.Keys.Rotate(background, by, strangers.ID, 0)
	require.Equal(t, otp.ReauthenticationRequired, otp.KindOf(err))
	_, _, _, _, err = h.Keys.Compromised(background, by, strangers.ID, manage.Narrower{})
	require.Equal(t, otp.ReauthenticationRequired, otp.KindOf(err))
	n := strangers.Settings()
	n.Permissions = []string{"send:otp"}
	narrower, _, err := h.Keys.Change(background, by, strangers, n)
	require.NoError(t, err, "narrower needs no proof")
	_, _, err = h.Keys.Change(background, by, narrower, strangers.Settings())
	require.Equal(t, otp.ReauthenticationRequired, otp.KindOf(err))

	by.Sees = func(string) bool { return false }
	unknown := func(err error) { require.Equal(t, otp.NotFound, otp.KindOf(err)) }
	_, err = h.Keys.Find(background, by, strangers.ID)
	unknown(err)
	require.EqualError(t, err, "not_found: there is no key "+strangers.ID.Text("key"))
	_, _, err = h.Keys.Change(background, by, narrower, strangers.Settings())
	unknown(err)
	_, _, _, err = h.Keys.Rotate(background, by, strangers.ID, 0)
	unknown(err)
	_, _, _, _, err = h.Keys.Compromised(background, by, strangers.ID, manage.Narrower{})
	unknown(err)
	unknown(h.Keys.Revoke(background, by, strangers.ID))
	require.Len(t, keyChanges(t, h, strangers.ID), 2, "made, and narrowed")
}

func TestCompromised_EndsTheKeyAndNarrowsItsSuccessor(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		old, secret := newKey(t, h, manage.NewKey{Permissions: []string{"*"}, AllowedIPs: []string{"127.0.0.0/8"},
			Signing: otp.SigningOptional})
		today := store.DayOf(otp.At(time.Now()))
		require.NoError(t, h.store.Credentials.AddUses(background,
			[]store.KeyUse{{KeyDay: store.KeyDay{ID: old.ID, Day: today,
				Calls: 7, Permissions: otp.PermissionBit("send:otp") | otp.PermissionBit("debug"), Network: "127.0.0.0/24"},
				At: otp.At(time.Now()), Address: "127.0.0.9"}}))
		for _, wider := range []manage.Narrower{
			{Permissions: []string{"debug"}}, {Permissions: []string{"send:otp", "*"}}, {Permissions: []string{"x"}},
			{AllowedIPs: []string{"128.0.0.1"}}, {AllowedIPs: []string{"127.0.0.1", "126.0.0.0/7"}}, {AllowedIPs: []string{"x"}},
		} {
			_, _, _, _, err := h.Keys.Compromised(background, manage.Operator(), old.ID, wider)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%v", wider)
		}
		require.Zero(t, v1Kind(h, secret), "nothing has changed")
		key, successor, fresh, signing, err := h.Keys.Compromised(background, manage.Operator(), old.ID,
			manage.Narrower{AllowedIPs: []string{"127.0.0.1"}})
		require.NoError(t, err)
		require.False(t, signing.IsZero())
		require.Equal(t, otp.UnknownCredential, v1Kind(h, secret))
		require.Equal(t, manage.KeyRevoked, key.Status)
		require.EqualValues(t, 7, key.Use.Calls)
		require.Equal(t, []string{"send:otp"}, successor.Permissions, "what it used, without debug")
		require.Equal(t, []string{"127.0.0.1"}, successor.AllowedIPs)
		require.InDelta(t, float64(otp.At(time.Now())+90*otp.Day), float64(successor.ExpiresAt), float64(otp.Minute))
		require.Equal(t, []string{"send:otp"}, v1Caller(t, h, string(fresh.Bytes())).Key.Permissions)
		found, err := h.Keys.Find(background, manage.Operator(), old.ID)
		require.NoError(t, err)
		require.Equal(t, successor.ID, found.Successor)
		changes := keyChanges(t, h, old.ID)
		last := changes[len(changes)-1]
		require.Equal(t, otp.KeyCompromised, last.Kind)
		require.Equal(t, "7", last.Details["calls_30d"])
		require.Equal(t, "127.0.0.9", last.Details["last_used_ip"])
		require.Equal(t, "/api/audit?credential="+old.ID.Text("key"), last.Details["look_at"])
		_, _, _, _, err = h.Keys.Compromised(background, manage.Operator(), old.ID, manage.Narrower{})
		require.ErrorContains(t, err, "revoked already")

		_, rotated, _, err := h.Keys.Rotate(background, manage.Operator(), successor.ID, time.Hour)
		require.NoError(t, err)
		key, none, nothing, _, err := h.Keys.Compromised(background, manage.Operator(), successor.ID, manage.Narrower{})
		require.NoError(t, err)
		require.True(t, none.ID.IsZero() && nothing.IsZero(), "it has a successor")
		require.False(t, key.Successor.IsZero())
		require.Zero(t, v1Kind(h, string(rotated.Bytes())))
		require.Equal(t, otp.UnknownCredential, v1Kind(h, string(fresh.Bytes())))
	})
}
