package manage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

const today = 20_000 * otp.Day

func TestAdvise_SaysWhatToDoAndWithWhichCall(t *testing.T) {
	for name, tt := range map[string]struct {
		shape func(*Key)
		want  string // codes
		says  string
	}{
		"new":              {func(*Key) {}, "", ""},
		"29 days unused":   {func(k *Key) { k.CreatedAt = today - 30*otp.Day + 1 }, "", ""},
		"30 days unused":   {func(k *Key) { k.CreatedAt = today - 30*otp.Day }, "unused", "DELETE /api/keys/key_"},
		"30 days and used": {func(k *Key) { k.CreatedAt, k.Use.Calls = today-30*otp.Day, 1 }, "", ""},
		"89 days":          {func(k *Key) { k.CreatedAt, k.Use.Calls = today-90*otp.Day+1, 1 }, "", ""},
		"90 days": {func(k *Key) {
			k.CreatedAt, k.Use.Calls = today-90*otp.Day, 1
		}, "old", "it is 90 days old"},
		"90 days unused": {func(k *Key) { k.CreatedAt = today - 90*otp.Day }, "unused old", "/rotate"},
		"one network": {func(k *Key) {
			k.Use.Network = "192.0.2.0/24"
		}, "one_network", `{"allowed_ips":["192.0.2.0/24"]}`},
		"one network of 2^64": {func(k *Key) { k.Use.Network = "2001:db8::/64" }, "one_network", "2001:db8::/64"},
		"several networks":    {func(k *Key) { k.Use.Network = sql.ManyNetworks }, "", ""},
		"bound already": {func(k *Key) {
			k.Use.Network, k.AllowedIPs = "192.0.2.0/24", []string{"192.0.2.0/24"}
		}, "", ""},
		"two of five": {func(k *Key) {
			k.Use.Permissions = []string{"send:otp", "verify:otp"}
		}, "unused_permissions", `{"permissions":["send:otp","verify:otp"]}`},
		"all that it may": {func(k *Key) {
			k.Use.Permissions, k.Permissions = []string{"send:otp"}, []string{"send:otp"}
		}, "", ""},
		"all of a client's": {func(k *Key) {
			k.Kind, k.Use.Permissions = otp.ClientKey, []string{"send:otp", "verify:otp"}
		}, "", ""},
		"five of everything": {func(k *Key) {
			k.Use.Permissions, k.Permissions = otp.SecretKey.Effective(nil), []string{"*"}
		}, "unused_permissions", "debug"},
		"revoked": {func(k *Key) { k.CreatedAt, k.Status = 0, KeyRevoked }, "", ""},
		"rotated": {func(k *Key) { k.CreatedAt, k.Status = 0, KeyRotated }, "", ""},
		"expired": {func(k *Key) { k.CreatedAt, k.Status = 0, KeyExpired }, "", ""},
		"off":     {func(k *Key) { k.CreatedAt, k.Status = 0, KeyDisabled }, "", ""},
		"everything at one time": {func(k *Key) {
			k.CreatedAt, k.Use = 0, Use{Calls: 1, Network: "192.0.2.0/24", Permissions: []string{"read:otp"}}
		}, "old one_network unused_permissions", ""},
	} {
		k := Key{Key: otp.Key{ID: otp.ID{7}, Kind: otp.SecretKey}, CreatedAt: today, Status: KeyActive}
		tt.shape(&k)
		var codes, texts []string
		for _, a := range k.Advise(today) {
			codes, texts = append(codes, a.Code), append(texts, a.Reason+": "+a.Remedy)
		}
		require.Equal(t, tt.want, strings.Join(codes, " "), name)
		require.Contains(t, strings.Join(texts, "\n"), tt.says, name)
	}
}

func TestLoosens_InDoubtItDoes(t *testing.T) {
	n := func(n int) *int { return &n }
	base := sql.Credential{
		Kind: "secret", Permissions: []string{"send:otp", "verify:otp"}, AllowedIPs: []string{"192.0.2.0/24", "::1"},
		DeniedIPs: []string{"192.0.2.7"}, AllowedOrigins: []string{"https://a.example"}, RequestsPerMinute: n(60),
		Burst: n(6), Signing: "optional", Enabled: true, ExpiresAt: 1000,
	}
	for name, tt := range map[string]struct {
		change  func(*sql.Credential)
		loosens bool
	}{
		"nothing":                 {func(*sql.Credential) {}, false},
		"a name":                  {func(c *sql.Credential) { c.Name = "x" }, false},
		"a permission less":       {func(c *sql.Credential) { c.Permissions = c.Permissions[:1] }, false},
		"a permission more":       {func(c *sql.Credential) { c.Permissions = append(c.Permissions, "read:otp") }, true},
		"another permission":      {func(c *sql.Credential) { c.Permissions = []string{"send:otp", "debug"} }, true},
		"those of the kind":       {func(c *sql.Credential) { c.Permissions = nil }, true},
		"every permission":        {func(c *sql.Credential) { c.Permissions = []string{"*"} }, true},
		"a network less":          {func(c *sql.Credential) { c.AllowedIPs = c.AllowedIPs[:1] }, false},
		"another network":         {func(c *sql.Credential) { c.AllowedIPs = []string{"198.51.100.1"} }, true},
		"everywhere":              {func(c *sql.Credential) { c.AllowedIPs = nil }, true},
		"one denied more":         {func(c *sql.Credential) { c.DeniedIPs = append(c.DeniedIPs, "10.0.0.0/8") }, false},
		"none denied":             {func(c *sql.Credential) { c.DeniedIPs = nil }, true},
		"another origin":          {func(c *sql.Credential) { c.AllowedOrigins = []string{"https://b.example"} }, true},
		"every origin":            {func(c *sql.Credential) { c.AllowedOrigins = nil }, true},
		"fewer requests":          {func(c *sql.Credential) { c.RequestsPerMinute = n(59) }, false},
		"more requests":           {func(c *sql.Credential) { c.RequestsPerMinute = n(61) }, true},
		"the account's requests":  {func(c *sql.Credential) { c.RequestsPerMinute = nil }, true},
		"a larger burst":          {func(c *sql.Credential) { c.Burst = n(7) }, true},
		"signing":                 {func(c *sql.Credential) { c.Signing = "required" }, false},
		"no signing":              {func(c *sql.Credential) { c.Signing = "off" }, true},
		"off":                     {func(c *sql.Credential) { c.Enabled = false }, false},
		"an end that is sooner":   {func(c *sql.Credential) { c.ExpiresAt = 999 }, false},
		"an end that is later":    {func(c *sql.Credential) { c.ExpiresAt = 1001 }, true},
		"no end":                  {func(c *sql.Credential) { c.ExpiresAt = 0 }, true},
		"less of one, more of it": {func(c *sql.Credential) { c.Enabled, c.ExpiresAt = false, 1001 }, true},
	} {
		row := base
		row.Permissions, row.DeniedIPs = append([]string{}, base.Permissions...), append([]string{}, base.DeniedIPs...)
		tt.change(&row)
		require.Equal(t, tt.loosens, loosens(&base, &row), name)
	}
	open, bound := sql.Credential{Kind: "secret"}, sql.Credential{Kind: "secret"}
	bound.AllowedIPs, bound.ExpiresAt, bound.AllowedOrigins = []string{"::1"}, 5, []string{"https://a.example"}
	require.False(t, loosens(&open, &bound))
	bound.RequestsPerMinute = n(5)
	require.True(t, loosens(&open, &bound), "the account may allow fewer")
}

func TestFillUses_SharesTodaysCallsBetweenAKeyAndItsSuccessor(t *testing.T) {
	u := Use{}
	calls := u.add([]sql.KeyDay{
		{Day: 5, Calls: 7, Permissions: 1, Network: "a"}, {Day: 6, Calls: 3, Permissions: 2, Network: "a"},
	}, 6)
	require.EqualValues(t, 3, calls)
	require.Equal(t, Use{Calls: 10, Permissions: []string{"send:otp", "verify:otp"}, Network: "a"}, u)
	u.add([]sql.KeyDay{{Day: 7, Calls: 1, Network: "b"}, {Day: 8, Calls: 1, Network: "a"}}, 8)
	require.Equal(t, sql.ManyNetworks, u.Network)
}

func TestRefuseMember_PointsAtTheMember(t *testing.T) {
	for text, want := range map[string]string{
		"name: is long": "/name", "allowed_ips[3]: \"a: b\" is none": "/allowed_ips/3", "no member at all": "/",
	} {
		r := refuseMember(fmt.Errorf("%s", text))
		require.Equal(t, want, "/"+r.Field+r.Path)
		require.Equal(t, text, r.Message)
	}
}
