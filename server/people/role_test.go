package people_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql/sqltest/migrated"
)

// may is the whole table as literals: o owner, a admin, d developer, s support, u auditor.
var may = map[string]string{
	"send:otp": "oad", "verify:otp": "oad", "resend:otp": "oad", "cancel:otp": "oad", "read:otp": "oadsu", "debug": "oad",
	"read:accounts": "oadsu", "write:accounts": "oa", "read:keys": "oadu", "write:keys": "oad",
	"read:recipients": "oas", "recipients:full": "oa", "write:recipients": "oas", "write:test_recipients": "oa",
	"read:guards": "oadsu", "write:guards": "oa", "read:webhooks": "oadu", "write:webhooks": "oad",
	"read:service_accounts": "oadu", "write:service_accounts": "oa", "read:people": "oau", "write:people": "oa",
	"write:owners": "o",
	"read:audit":   "oau", "read:statistics": "oadsu", "read:alerts": "oadsu", "write:alerts": "oas",
	"write:privacy": "oa", "read:privacy": "oau",
}

func TestRoles_MayDoWhatTheTableSaysAndNothingElse(t *testing.T) {
	letters := map[people.Role]string{people.Owner: "o", people.Admin: "a", people.Developer: "d", people.Support: "s",
		people.Auditor: "u"}
	require.Len(t, people.Permissions(), len(may))
	for _, permission := range append(people.Permissions(), "write:everything", "", "*") {
		for _, role := range append(people.Roles(), "root", "") {
			who := people.Principal{Kind: people.PersonKind, Grant: people.Grant{Role: role}}
			want := letters[role] != "" && strings.Contains(may[permission], letters[role])
			require.Equal(t, want, who.May(permission) == nil, "%s %s", role, permission)
			who.Grant.Permissions = []string{"read:otp"}
			require.Equal(t, want && permission == "read:otp", who.May(permission) == nil, "%s %s, narrowed", role, permission)
		}
	}
}

func TestStaff_NobodyGivesWhatTheyDoNotHold(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	accounts(t, p, "4711", "4712")
	boss := owner(t, p)
	admin := member(t, p, boss, "admin@shop.example", people.Grant{Role: people.Admin})
	narrow := member(t, p, boss, "narrow@shop.example", people.Grant{Role: people.Admin, Accounts: []string{"4711"},
		Permissions: []string{"write:people", "read:people", "read:keys", "write:keys"}})
	developer := member(t, p, boss, "dev@shop.example", people.Grant{Role: people.Developer})
	for name, tt := range map[string]struct {
		who   people.Principal
		grant people.Grant
		want  string
	}{
		"an owner makes owners": {boss, people.Grant{Role: people.Owner}, ""},
		"an admin makes admins": {admin, people.Grant{Role: people.Admin}, ""},
		"but no owners":         {admin, people.Grant{Role: people.Owner}, "forbidden"},
		"a narrow admin stays narrow": {narrow, people.Grant{Role: people.Developer, Accounts: []string{"4711"},
			Permissions: []string{"write:keys"}}, ""},
		"not on all accounts": {narrow, people.Grant{Role: people.Developer, Permissions: []string{"write:keys"}},
			"forbidden"},
		"not on another account": {narrow, people.Grant{Role: people.Developer, Accounts: []string{"4711", "4712"},
			Permissions: []string{"write:keys"}}, "forbidden"},
		"nor with more": {narrow, people.Grant{Role: people.Developer, Accounts: []string{"4711"}},
			"forbidden"},
		"a developer invites nobody":    {developer, people.Grant{Role: people.Auditor}, "forbidden"},
		"a role that does not exist":    {boss, people.Grant{Role: "root"}, "invalid"},
		"an owner of one account":       {boss, people.Grant{Role: people.Owner, Accounts: []string{"4711"}}, "invalid"},
		"no account at all":             {boss, people.Grant{Role: people.Auditor, Accounts: []string{}}, "invalid"},
		"an account that cannot be one": {boss, people.Grant{Role: people.Auditor, Accounts: []string{"../1"}}, "invalid"},
		"a permission beyond the role": {boss, people.Grant{Role: people.Auditor, Permissions: []string{"write:keys"}},
			"invalid"},
		"a permission that does not exist": {boss, people.Grant{Role: people.Admin, Permissions: []string{"*"}}, "invalid"},
	} {
		_, err := p.Staff.Invite(ctx, tt.who, "new@shop.example", tt.grant)
		require.Equal(t, tt.want, answer(err), name)
	}
	boss2, role := boss.ID.Text(people.PersonPrefix), people.Auditor
	for name, do := range map[string]func(id string) error{
		"change": func(id string) error {
			_, err := p.Staff.Change(ctx, admin, id, people.Patch{Role: &role}, 0)
			return err
		},
		"remove":  func(id string) error { return p.Staff.Remove(ctx, admin, id, 0) },
		"recover": func(id string) error { _, err := p.Staff.Recover(ctx, admin, id); return err },
		"reset":   func(id string) error { return p.Staff.ResetFactors(ctx, admin, id) },
		"end":     func(id string) error { return p.Staff.EndSessions(ctx, admin, id) },
	} {
		require.Equal(t, otp.Forbidden, otp.KindOf(do(boss2)), "an admin and the owner: %s", name)
		for _, id := range []string{"per_00000000000000000000000000", "nobody@shop.example", "", "ses_x",
			boss.Session.Text("ses")} {
			require.Equal(t, otp.NotFound, otp.KindOf(do(id)), "%s %q", name, id)
		}
	}
	require.Equal(t, otp.LastOwner, otp.KindOf(p.Staff.Remove(ctx, boss, boss2, 0)))
	_, err := p.Staff.Change(ctx, boss, boss2, people.Patch{Role: &role}, 0)
	require.Equal(t, otp.LastOwner, otp.KindOf(err))
	_, err = p.Staff.Change(ctx, boss, "dev@shop.example", people.Patch{Role: &role}, 9)
	require.Equal(t, otp.Outdated, otp.KindOf(err))
}

func TestRegister_RefusesWeakPasswordsAndWrongAddresses(t *testing.T) {
	p := open(t, migrated.SQLite(t))
	for _, weak := range []string{
		"", "short", "elevenchars", strings.Repeat("a", 12), strings.Repeat("x", 129), "passwordpassword", "otpbridge2026",
		"abcdefghijkl",
		"somebody@shop.example", "SomebodyShop1", "qwertyuiop12", "otpbridge-otpbridge", "\xff\xfetandem-marzipan-kayak",
		"Password12345",
	} {
		_, err := p.Register(ctx, people.Registration{Email: "somebody@shop.example", Password: weak, Name: "Some Body"},
			office)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", weak)
		require.Contains(t, err.Error(), "password ")
	}
	for _, email := range []string{
		"", "a", "a@", "@b.example", "a@b", "a b@c.example", "a@b..example", "a@-b.example", "a@b.example\n", "ä@b.example",
		"a@b@c.example",
		"a@b.example,c@d.example", `"a"@b.example`, ".a@b.example", "a@b_c.example", strings.Repeat("a", 65) + "@b.example",
		"a@[127.0.0.1]",
	} {
		_, err := p.Register(ctx, people.Registration{Email: email, Password: password, Name: "A"}, office)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", email)
	}
	for _, name := range []string{"", " a", "a\nb", "a\u202eb", strings.Repeat("a", 201)} {
		_, err := p.Register(ctx, people.Registration{Email: "a@b.example", Password: password, Name: name}, office)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", name)
	}
}

// No grant names an account that does not exist: not in an invitation, for a person, for a service account, or from
// the command line. A caller who sees only some accounts cannot find out whether another exists.
func TestGrants_NameAccountsThatExist(t *testing.T) {
	t.Parallel()
	p := open(t, migrated.SQLite(t))
	accounts(t, p, "4711", "4712")
	boss := owner(t, p)
	narrow := member(t, p, boss, "narrow@shop.example", people.Grant{Role: people.Admin, Accounts: []string{"4711"}})
	dev := member(t, p, boss, "dev@shop.example", people.Grant{Role: people.Developer, Accounts: []string{"4711"}})
	ways := map[string]func(who people.Principal, accounts []string) error{
		"invite": func(who people.Principal, accounts []string) error {
			_, err := p.Staff.Invite(ctx, who, "new@shop.example", people.Grant{Role: people.Developer, Accounts: accounts})
			return err
		},
		"change": func(who people.Principal, accounts []string) error {
			_, err := p.Staff.Change(ctx, who, dev.Text(), people.Patch{Accounts: &accounts}, 0)
			return err
		},
		"service": func(who people.Principal, accounts []string) error {
			_, _, err := servicesOf(p).Create(ctx, who, people.NewService{Name: "n",
				Grant: people.Grant{Role: people.Auditor, Accounts: accounts}})
			return err
		},
	}
	for name, way := range ways {
		for _, tt := range []struct {
			accounts []string
			path     string
		}{
			{[]string{"1"}, "/0"}, {[]string{"4713"}, "/0"}, {[]string{"4711", "47110"}, "/1"},
			{[]string{"04711"}, "/0"}, {[]string{"4711", "4712", "4713"}, "/2"}, {[]string{"471"}, "/0"},
			{[]string{"999999999999999"}, "/0"}, {[]string{"4713", "4711"}, "/0"}, {[]string{"4711", "0"}, "/1"},
			{[]string{"4712", "4712", "47"}, "/2"},
		} {
			for _, who := range []people.Principal{boss, people.Operator()} {
				var refusal *otp.Error
				require.ErrorAs(t, way(who, tt.accounts), &refusal, "%s %v", name, tt.accounts)
				require.Equal(t, otp.Invalid, refusal.Kind)
				require.Equal(t, "accounts"+tt.path, refusal.Field+refusal.Path, "%s %v", name, tt.accounts)
			}
		}
		require.Equal(t, otp.Forbidden, otp.KindOf(way(narrow, []string{"4712"})), name)
		require.Equal(t, otp.Forbidden, otp.KindOf(way(narrow, []string{"4713"})), name)
		require.NoError(t, way(boss, []string{"4712", "4711"}), name)
	}
	found, err := p.Staff.Find(ctx, boss, dev.Text())
	require.NoError(t, err)
	require.Equal(t, []string{"4712", "4711"}, found.Accounts)
	_, err = p.Staff.Change(ctx, boss, dev.Text(), people.Patch{Accounts: new([]string)}, 0)
	require.NoError(t, err, "all accounts")
}
