package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// accounts makes accounts that a key can belong to.
func (d *desk) accounts(t testing.TB, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		one := manage.Imported{Account: otp.DefaultAccount(address)}
		one.Cipher = "none"
		_, err := d.manage.Accounts.Import(t.Context(), people.Operator().Actor(), []manage.Imported{one}, false)
		require.NoError(t, err)
	}
}

// apiKey makes a key of account 4711.
func (d *desk) apiKey(t testing.TB, key manage.NewKey) (id otp.ID, headers []string) {
	t.Helper()
	key.Account, key.Name = "4711", "test"
	made, secret, _, err := d.manage.Keys.Create(t.Context(), manage.Operator(), key)
	require.NoError(t, err)
	return made.ID, []string{"X-API-Key", string(secret.Bytes())}
}

// serviceAccount makes a service account and gets its token.
func (d *desk) serviceAccount(t testing.TB, grant people.Grant) (id string, headers []string) {
	t.Helper()
	made, secret, err := d.people.Services.Create(t.Context(), people.Operator(),
		people.NewService{Name: "bot", Grant: grant, Method: people.BySecret})
	require.NoError(t, err)
	token, err := d.people.Services.Token(t.Context(), people.Proof{Client: made.ID, Secret: string(secret.Bytes())})
	require.NoError(t, err)
	return made.ID, []string{"Authorization", "Bearer " + token.Text}
}

func TestKeys_ReadWhatIsTheirAccountsAndChangeNothing(t *testing.T) {
	folder, ring := t.TempDir(), crypto.NewKeyringText("k1")
	d, other := newDesk(t, folder, ring), newDesk(t, folder, ring)
	d.accounts(t, "4711", "4712")
	id, reader := d.apiKey(t, manage.NewKey{Kind: otp.ReadOnlyKey, Permissions: otp.ReadingPermissions()})
	_, plain := d.apiKey(t, manage.NewKey{})
	_, all := d.apiKey(t, manage.NewKey{Permissions: []string{otp.Everything}})
	_, elsewhere := d.apiKey(t, manage.NewKey{Permissions: []string{otp.PermitAccounts},
		AllowedIPs: []string{"10.0.0.0/8"}})
	_, signed := d.apiKey(t, manage.NewKey{Permissions: []string{otp.PermitAccounts}, Signing: otp.SigningRequired})
	const account, change = "/api/accounts/4711", `{"name":"Mine"}`
	for name, tt := range map[string]struct {
		key                []string
		method, path, body string
		status             int
		code               string
	}{
		"its account":            {reader, "GET", account, "", 200, ""},
		"all its permissions":    {all, "GET", account, "", 200, ""},
		"itself":                 {reader, "GET", "/api/auth/me", "", 200, ""},
		"the list":               {reader, "GET", "/api/accounts", "", 200, ""},
		"another account":        {reader, "GET", "/api/accounts/4712", "", 404, "NOT_FOUND"},
		"without the permission": {plain, "GET", account, "", 403, "PERMISSION_DENIED"},
		"people":                 {all, "GET", "/api/people", "", 403, "PERMISSION_DENIED"},
		"service accounts":       {all, "GET", "/api/service-accounts", "", 403, "PERMISSION_DENIED"},
		"a change":               {all, "PATCH", account, change, 403, "PERMISSION_DENIED"},
		"a removal":              {all, "DELETE", account, `{"confirm":"4711"}`, 403, "PERMISSION_DENIED"},
		"a new account":          {all, "POST", "/api/accounts", shopAccount, 403, "PERMISSION_DENIED"},
		"an invitation":          {all, "POST", "/api/people", `{"email":"a@b.example","role":"owner"}`, 403, "PERMISSION_DENIED"},
		"a logout":               {all, "POST", "/api/auth/logout", "", 403, "PERMISSION_DENIED"},
		"sessions":               {all, "GET", "/api/auth/sessions", "", 403, "PERMISSION_DENIED"},
		"second factors":         {all, "GET", "/api/auth/mfa", "", 403, "PERMISSION_DENIED"},
		"a CSRF token":           {all, "GET", "/api/csrf-token", "", 403, "PERMISSION_DENIED"},
		"from another network":   {elsewhere, "GET", account, "", 403, "AUTH_005"},
		"without its signature":  {signed, "GET", account, "", 401, "SIGNATURE_INVALID"},
		"an unknown key":         {[]string{"X-API-Key", "a-key-that-nobody-has-41"}, "GET", account, "", 401, "AUTH_004"},
		"a key and another in two headers": {append(reader, "Authorization", "Bearer "+plain[1]), "GET", account, "",
			400, "INVALID_REQUEST"},
		"a key and a cookie": {append(reader, "Cookie", "__Host-otpbridge=x"), "GET", account, "", 400, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) { d.wants(t, tt.status, tt.code, tt.method, tt.path, tt.body, tt.key...) })
	}
	require.NotContains(t, d.wants(t, 200, "", "GET", "/api/accounts", "", reader...).text, "4712")
	other.wants(t, 200, "", "GET", account, "", reader...)
	require.NoError(t, d.manage.Keys.Revoke(t.Context(), manage.Operator(), id))
	stops(t, other, account, reader)
}

// stops waits until a credential is refused, which takes a second at most.
func stops(t testing.TB, d *desk, path string, credential []string) {
	t.Helper()
	require.Eventually(t, func() bool { return d.raw("GET", path, "", credential...).Code == 401 }, time.Second,
		50*time.Millisecond)
}

func TestServiceAccounts_DoWhatTheirRoleDoes(t *testing.T) {
	folder, ring := t.TempDir(), crypto.NewKeyringText("k1")
	d, other := newDesk(t, folder, ring), newDesk(t, folder, ring)
	d.accounts(t, "4711", "4712")
	id, admin := d.serviceAccount(t, people.Grant{Role: people.Admin, Accounts: []string{"4711"}})
	_, auditor := d.serviceAccount(t, people.Grant{Role: people.Auditor, Permissions: []string{people.ReadAccounts}})
	for name, tt := range map[string]struct {
		who                []string
		method, path, body string
		status             int
		code               string
	}{
		"its account":     {admin, "GET", "/api/accounts/4711", "", 200, ""},
		"another account": {admin, "GET", "/api/accounts/4712", "", 404, "NOT_FOUND"},
		"itself":          {admin, "GET", "/api/auth/me", "", 200, ""},
		"an invitation": {admin, "POST", "/api/people",
			`{"email":"a@b.example","role":"developer","accounts":["4711"]}`, 201, ""},
		"one for more": {admin, "POST", "/api/people", `{"email":"a@b.example","role":"developer"}`, 403,
			"PERMISSION_DENIED"},
		"further automation": {admin, "POST", "/api/service-accounts",
			`{"name":"x","role":"auditor","accounts":["4711"]}`, 403, "PERMISSION_DENIED"},
		"a logout": {admin, "POST", "/api/auth/logout", "", 403, "PERMISSION_DENIED"},
		"a password": {admin, "POST", "/api/auth/password", `{"current_password":"x","new_password":"y"}`, 403,
			"PERMISSION_DENIED"},
		"a factor":                {admin, "POST", "/api/auth/mfa/enable", `{}`, 403, "PERMISSION_DENIED"},
		"an auditor, its reading": {auditor, "GET", "/api/accounts", "", 200, ""},
		"an auditor, narrowed":    {auditor, "GET", "/api/people", "", 403, "PERMISSION_DENIED"},
		"an auditor, a change":    {auditor, "PATCH", "/api/accounts/4711", `{"name":"x"}`, 403, "PERMISSION_DENIED"},
	} {
		t.Run(name, func(t *testing.T) { d.wants(t, tt.status, tt.code, tt.method, tt.path, tt.body, tt.who...) })
	}
	other.wants(t, 200, "", "GET", "/api/accounts/4711", "", admin...)
	require.NoError(t, d.people.Services.Revoke(t.Context(), people.Operator(), id))
	other.wants(t, 401, "AUTH_004", "GET", "/api/accounts/4711", "", admin...)
}

func TestExplain_SaysHowACredentialIsReadAndNoMore(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	mine := d.owner(t)
	id, key := d.apiKey(t, manage.NewKey{})
	gone, revoked := d.apiKey(t, manage.NewKey{})
	require.NoError(t, d.manage.Keys.Revoke(t.Context(), manage.Operator(), gone))
	_, elsewhere := d.apiKey(t, manage.NewKey{AllowedIPs: []string{"10.0.0.0/8"}})
	_, service := d.serviceAccount(t, people.Grant{Role: people.Auditor, Accounts: []string{"4711"}})
	explain := func(t *testing.T, credential ...string) reply {
		got := d.ask(t, "GET", "/api/auth/explain", "", credential...)
		require.Equal(t, 200, got.status, got.text)
		return got
	}
	for name, tt := range map[string]struct {
		credential    []string
		carrier, kind any
		code          any
		accounts      any
	}{
		"nothing":           {nil, nil, nil, "AUTH_003", nil},
		"an access token":   {bearer(mine), "Authorization", "access_token", nil, nil},
		"a cookie":          {cookieOf(t, mine), "cookie", "session_cookie", nil, nil},
		"a made-up cookie":  {[]string{"Cookie", "__Host-otpbridge=x"}, "cookie", "session_cookie", "AUTH_003", nil},
		"a service's token": {service, "Authorization", "service_account_token", nil, []any{"4711"}},
		"a key":             {key, "X-API-Key", "api_key", nil, []any{"4711"}},
		"a key as bearer": {[]string{"Authorization", "Bearer " + key[1]}, "Authorization", "api_key", nil,
			[]any{"4711"}},
		"a key as access_key":  {[]string{"access_key", key[1]}, "access_key", "api_key", nil, []any{"4711"}},
		"a revoked key":        {revoked, "X-API-Key", "api_key", "AUTH_004", nil},
		"an unknown key":       {[]string{"X-API-Key", "a-key-that-nobody-has-41"}, "X-API-Key", "unknown", "AUTH_004", nil},
		"a mistyped key":       {[]string{"X-API-Key", key[1] + "x"}, "X-API-Key", "api_key", "AUTH_003", nil},
		"from another network": {elsewhere, "X-API-Key", "api_key", "AUTH_005", nil},
		"a token cut short": {[]string{"Authorization", bearer(mine)[1] + "x"}, "Authorization", "access_token",
			"AUTH_003", nil},
		"a refresh token": {[]string{"X-API-Key", mine.member("refresh_token")}, "X-API-Key", "unknown", "AUTH_003", nil},
		"Basic":           {[]string{"Authorization", "Basic YTpi"}, "Authorization", "unknown", "AUTH_003", nil},
		"two":             {append(bearer(mine), key...), "Authorization", "access_token", "INVALID_REQUEST", nil},
		"over plain HTTP": {append(key, "X-Test-Plain", "1"), "X-API-Key", "api_key", "HTTPS_REQUIRED", nil},
		"a token, a false cookie": {append(bearer(mine), "Cookie", "__Host-otpbridge=x"), "Authorization", "access_token",
			"INVALID_REQUEST", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := explain(t, tt.credential...)
			require.Equal(t, tt.carrier, got.members["carrier"])
			require.Equal(t, tt.kind, got.members["kind"])
			require.Equal(t, tt.code, got.members["code"])
			require.Equal(t, tt.code == nil, got.members["accepted"])
			require.Equal(t, tt.accounts, got.members["accounts"])
			checks := got.members["checks"].([]any)
			require.NotEmpty(t, checks)
			last := checks[len(checks)-1].(map[string]any)
			require.Equal(t, tt.code == nil, last["passed"], "the last check decides")
			if tt.code != nil {
				require.NotEmpty(t, last["detail"])
				require.Nil(t, got.members["id"])
				require.Nil(t, got.members["permissions"])
				for _, private := range []string{"4711", ownerEmail, "Olga", id.Text("key"), gone.Text("key")} {
					require.NotContains(t, got.text, private)
				}
			}
		})
	}
	got := explain(t, key...)
	require.Equal(t, id.Text("key"), got.member("id"))
	require.Contains(t, got.members["permissions"], "send:otp")
	require.Equal(t, map[string]any{"address": "192.0.2.1", "allowed": true}, got.members["network"])
	require.Equal(t, map[string]any{"address": "192.0.2.1", "allowed": false}, explain(t,
		elsewhere...).members["network"])
	flooded := 0
	for range 40 {
		flooded = d.raw("GET", "/api/auth/explain", "", "X-API-Key", "a-key-that-nobody-has-42").Code
	}
	require.Equal(t, 429, flooded, "guesses are counted here as everywhere")
}

// A key sees nothing of another environment than its own.
func TestKeys_SeeThoseOfTheirEnvironment(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	reader := []string{otp.PermitKeys}
	mine, test := d.apiKey(t, manage.NewKey{Permissions: reader, Environment: otp.Test})
	other, _ := d.apiKey(t, manage.NewKey{Permissions: reader, Environment: otp.Live})
	for _, query := range []string{"", "?environment=test"} {
		got := d.wants(t, 200, "", "GET", "/api/keys"+query, "", test...)
		require.Len(t, got.members["data"], 1)
		require.Contains(t, got.text, mine.Text("key"))
	}
	d.wants(t, 200, "", "GET", "/api/keys/"+mine.Text("key"), "", test...)
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/keys/"+other.Text("key"), "", test...)
	d.wants(t, 400, "INVALID_REQUEST", "GET", "/api/keys?environment=live", "", test...)
}

// Answers to a key say what is left of its limit, and those to a flood of bad keys what is left of that.
func TestKeys_SeeTheLimitThatCountsThem(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711")
	limit := 2
	_, key := d.apiKey(t, manage.NewKey{Permissions: []string{otp.PermitAccounts}, RequestsPerMinute: &limit})
	shown := func(r reply) []string {
		require.Equal(t, "60", r.header.Get("X-RateLimit-Window"))
		require.NotEmpty(t, r.header.Get("X-RateLimit-Reset"))
		return []string{r.header.Get("X-RateLimit-Limit"), r.header.Get("X-RateLimit-Remaining")}
	}
	require.Equal(t, []string{"2", "1"}, shown(d.wants(t, 200, "", "GET", "/api/accounts/4711", "", key...)))
	require.Equal(t, []string{"2", "0"}, shown(d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4712", "", key...)))
	over := d.wants(t, 429, "RATE_LIMIT_EXCEEDED", "GET", "/api/accounts/4711", "", key...)
	require.Equal(t, []string{"2", "0"}, shown(over))
	require.NotEmpty(t, over.header.Get("Retry-After"))

	for range 20 {
		d.wants(t, 401, "AUTH_004", "GET", "/api/accounts", "", "X-API-Key", "a-key-that-nobody-has-41")
	}
	flood := d.wants(t, 429, "RATE_LIMIT_EXCEEDED", "GET", "/api/accounts", "", "X-API-Key", "a-key-that-nobody-has-41")
	require.Equal(t, []string{"20", "0"}, shown(flood))
}
