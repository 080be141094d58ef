package admin

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/audit"
	"otpbridge/server/bridge"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/vault/vaulttest"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

const (
	ownerEmail = "owner@shop.example"
	password   = "tandem-marzipan-kayak-41"
	another    = "quartz violin harbour 77"
)

// desk is one server's door for people.
type desk struct {
	t      testing.TB
	people *people.People
	manage *manage.Manager
	log    *bytes.Buffer
	router *gin.Engine
	store  *sql.Store
	file   string
	seen   []string // secrets that were sent or answered
	audit  *audit.Log

	insight *insight.Insight
	counts  *insight.Tally
}

func newDesk(t testing.TB, folder, ring string, change ...func(*Options)) *desk {
	t.Helper()
	store, opened := vaulttest.Open(t, migrated.At(t, filepath.Join(folder, "otp.db")), ring)
	gin.SetMode(gin.TestMode)
	d := &desk{t: t, log: new(bytes.Buffer), router: gin.New(), store: store, file: filepath.Join(folder, "otp.db")}
	log := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := Options{Reports: bridge.NewReports(store), Plain: web.NewPlain(true, true, log), Log: log, PublicURL: base}
	for _, c := range change {
		c(&o)
	}
	var err error
	o.Manage, err = manage.Open(t.Context(), manage.Options{Store: store, Keyring: opened.Keyring, Sandbox: o.Sandbox,
		SMS: []deliver.Channel{deliver.NewInbox()}})
	require.NoError(t, err)
	o.Audit, err = audit.Open(audit.Options{Store: store, Vault: opened, Log: log, CallDays: 30, ChangeDays: 400})
	require.NoError(t, err)
	o.Privacy, err = privacy.New(privacy.Options{Store: store, Vault: opened, Log: log, CallDays: 30, ChangeDays: 400})
	require.NoError(t, err)
	d.audit = o.Audit
	d.counts = insight.NewTally()
	o.Insight = insight.Open(insight.Options{Store: store, Tally: d.counts, Log: log})
	d.insight = o.Insight
	o.Webhooks = webhook.New(webhook.Options{Store: store, Vault: opened, Guard: &deliver.Guard{}, Log: log})
	t.Cleanup(o.Webhooks.Close)
	o.People = people.New(people.Options{
		Store: store, Vault: opened, Issuer: base, Sandbox: o.Sandbox,
		Passwords: crypto.NewPasswords(crypto.PasswordCost{MemoryKiB: 8, Passes: 1}, 4),
	})
	o.Engine, err = engine.New(t.Context(), engine.Options{Store: store, Keyring: opened.Keyring, Vault: opened, Log: log,
		AuthFailuresPerMinute: 20})
	require.NoError(t, err)
	t.Cleanup(o.Engine.Close)
	d.people, d.manage = o.People, o.Manage
	d.router.Use(func(c *gin.Context) {
		web.Identify(c, "req-12345678")
		web.RequestOf(c).Plain = c.GetHeader("X-Test-Plain") != ""
	})
	Mount(d.router, o)
	return d
}

func fresh(t testing.TB, change ...func(*Options)) *desk {
	return newDesk(t, t.TempDir(), crypto.NewKeyringText("k1"), change...)
}

// reply is an answer; its members are those of the body.
type reply struct {
	status  int
	header  http.Header
	text    string
	members map[string]any
	cookies []*http.Cookie
}

func (r reply) member(name string) string {
	text, _ := r.members[name].(string)
	return text
}

// raw sends a request from a browser or program on https://otp.shop.example, and checks the answer against the
// document.
func (d *desk) raw(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, base+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			r.Header.Del("Content-Type")
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return judged(d.t, d.router, r, body)
}

// ask is raw, and remembers the secrets of the answer.
func (d *desk) ask(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	w := d.raw(method, path, body, headers...)
	got := reply{status: w.Code, header: w.Header(), text: w.Body.String(), cookies: w.Result().Cookies()}
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.Equal(t, got.status == 401, got.header.Get("WWW-Authenticate") != "", got.text)
	if got.text != "" {
		require.NoError(t, json.Unmarshal([]byte(got.text), &got.members), got.text)
	}
	for _, member := range []string{"access_token", "refresh_token", "secret", "csrf_token"} {
		if text := got.member(member); text != "" {
			d.seen = append(d.seen, text)
		}
	}
	codes, _ := got.members["backup_codes"].([]any)
	for _, code := range codes {
		d.seen = append(d.seen, code.(string), strings.ReplaceAll(code.(string), "-", ""))
	}
	for _, c := range got.cookies {
		if _, mac, found := strings.Cut(c.Value, "."); found {
			d.seen = append(d.seen, mac)
		}
	}
	return got
}

func (d *desk) wants(t testing.TB, status int, code, method, path, body string, headers ...string) reply {
	t.Helper()
	got := d.ask(t, method, path, body, headers...)
	require.Equal(t, status, got.status, "%s %s: %s\n%s", method, path, got.text, d.log)
	require.Equal(t, code, got.member("code"), got.text)
	return got
}

// owner registers the first owner.
func (d *desk) owner(t testing.TB) reply {
	t.Helper()
	issued, err := d.people.Staff.Setup(t.Context(), people.Operator())
	require.NoError(t, err)
	return d.wants(t, 201, "", "POST", "/api/auth/register",
		`{"email":"`+ownerEmail+`","password":"`+password+`","name":"Olga","setup_token":"`+issued.Token+`"}`)
}

func (d *desk) login(t testing.TB, more string) reply {
	t.Helper()
	return d.ask(t, "POST", "/api/auth/login", `{"email":"`+ownerEmail+`","password":"`+password+`"`+more+`}`)
}

func bearer(r reply) []string { return []string{"Authorization", "Bearer " + r.member("access_token")} }

func cookieOf(t testing.TB, r reply) []string {
	t.Helper()
	require.Len(t, r.cookies, 1)
	return []string{"Cookie", r.cookies[0].Name + "=" + r.cookies[0].Value}
}

func shows(t testing.TB, secret string, later time.Duration) string {
	code, err := totp.GenerateCode(secret, time.Now().Add(later))
	require.NoError(t, err)
	return code
}

func TestPeople_AStoryFromTheFirstOwnerToTheLastLogout(t *testing.T) {
	folder := t.TempDir()
	d := newDesk(t, folder, crypto.NewKeyringText("k1"))
	first := d.owner(t)
	require.Equal(t, "Bearer", first.member("token_type"))
	require.Equal(t, 3600.0, first.members["expires_in"])
	user := first.members["user"].(map[string]any)
	require.Equal(t, ownerEmail, user["email"])
	require.Equal(t, "owner", user["role"])

	me := d.wants(t, 200, "", "GET", "/api/auth/me", "", bearer(first)...)
	require.Equal(t, user, me.members)
	second := d.login(t, "")
	require.Equal(t, 200, second.status, second.text)
	list := d.wants(t, 200, "", "GET", "/api/auth/sessions", "", bearer(second)...).members["data"].([]any)
	require.Len(t, list, 2)
	require.Equal(t, true, list[0].(map[string]any)["current"])

	next := d.wants(t, 200, "", "POST", "/api/auth/refresh", `{"refresh_token":"`+second.member("refresh_token")+`"}`)
	require.NotEqual(t, second.member("refresh_token"), next.member("refresh_token"))
	d.wants(t, 200, "", "GET", "/api/auth/me", "", bearer(next)...)

	// The second factor: the other session ends, and a login asks for a code.
	app := d.wants(t, 201, "", "POST", "/api/auth/mfa/enable", `{"name":"phone"}`, bearer(next)...)
	require.True(t, strings.HasPrefix(app.member("qr_code"), "data:image/png;base64,"))
	require.Contains(t, app.member("otpauth_uri"), app.member("secret"))
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/auth/mfa/confirm", `{"id":"`+app.member("id")+`","code":"000000x"}`,
		bearer(next)...)
	codes := d.wants(t, 200, "", "POST", "/api/auth/mfa/confirm",
		`{"id":"`+app.member("id")+`","code":"`+shows(t, app.member("secret"), 0)+`"}`,
		bearer(next)...).members["backup_codes"].([]any)
	require.Len(t, codes, 10)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(first)...)
	require.Equal(t, "AUTH_006", d.login(t, "").member("code"))
	require.Equal(t, "AUTH_006", d.login(t, `,"mfa_code":"12345"`).member("code"))
	third := d.login(t, `,"mfa_code":"`+codes[0].(string)+`"`)
	require.Equal(t, 200, third.status, third.text)
	require.Equal(t, "AUTH_006", d.login(t, `,"mfa_code":"`+codes[0].(string)+`"`).member("code"),
		"a backup code is good once")
	factors := d.wants(t, 200, "", "GET", "/api/auth/mfa", "", bearer(third)...)
	require.Equal(t, 9.0, factors.members["backup_codes_left"])
	require.Len(t, factors.members["data"], 1)
	fresh := d.wants(t, 200, "", "POST", "/api/auth/mfa/backup-codes", "",
		bearer(third)...).members["backup_codes"].([]any)
	d.wants(t, 204, "", "POST", "/api/auth/reauthenticate", `{"mfa_code":"`+fresh[1].(string)+`"}`, bearer(third)...)
	d.wants(t, 204, "", "DELETE", "/api/auth/mfa/"+app.member("id"), "", bearer(third)...)
	d.wants(t, 404, "NOT_FOUND", "DELETE", "/api/auth/mfa/"+app.member("id"), "", bearer(third)...)
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/auth/mfa/backup-codes", "", bearer(third)...)

	d.wants(t, 401, "AUTH_001", "POST", "/api/auth/password",
		`{"current_password":"`+another+`","new_password":"`+another+`"}`, bearer(third)...)
	long := d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/auth/password",
		`{"current_password":"`+strings.Repeat("x", 600)+`","new_password":"`+another+`"}`, bearer(third)...)
	require.Equal(t, "/current_password", long.members["errors"].([]any)[0].(map[string]any)["pointer"])
	d.wants(t, 204, "", "POST", "/api/auth/password", `{"current_password":"`+password+`","new_password":"`+another+`"}`,
		bearer(third)...)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(next)...)
	require.Equal(t, "AUTH_001", d.login(t, "").member("code"))

	// An admin's link gives the first password back.
	link, err := d.people.Staff.Recover(t.Context(), people.Operator(), ownerEmail)
	require.NoError(t, err)
	d.wants(t, 204, "", "POST", "/api/auth/recover", `{"recovery_token":"`+link.Token+`","password":"`+password+`"}`)
	d.wants(t, 403, "REGISTRATION_CLOSED", "POST", "/api/auth/recover",
		`{"recovery_token":"`+link.Token+`","password":"`+password+`"}`)
	one, two := d.login(t, ""), d.login(t, "")
	d.wants(t, 204, "", "DELETE", "/api/auth/sessions", "", bearer(two)...)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(one)...)
	end := d.wants(t, 204, "", "POST", "/api/auth/logout", "", bearer(two)...)
	require.Empty(t, end.cookies[0].Value)
	d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", bearer(two)...)
	d.wants(t, 401, "AUTH_002", "POST", "/api/auth/refresh", `{"refresh_token":"`+two.member("refresh_token")+`"}`)

	d.seen = append(d.seen, password, another, link.Token)
	require.Greater(t, len(d.seen), 40)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	kept := d.log.Bytes()
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		kept = append(kept, text...)
	}
	require.Contains(t, string(kept), ownerEmail, "the database was read")
	for _, secret := range d.seen {
		require.False(t, bytes.Contains(kept, []byte(secret)), secret)
	}
}

func TestPeople_ASessionEndsOnAllServersAtOnce(t *testing.T) {
	folder, ring := t.TempDir(), crypto.NewKeyringText("k1")
	a, b := newDesk(t, folder, ring), newDesk(t, folder, ring)
	first := a.owner(t)
	second := b.login(t, "")
	for _, credential := range [][]string{bearer(first), cookieOf(t, first)} {
		b.wants(t, 200, "", "GET", "/api/auth/me", "", credential...)
	}
	id := a.wants(t, 200, "", "GET", "/api/auth/sessions", "", bearer(first)...).members["data"].([]any)
	for _, s := range id {
		if s := s.(map[string]any); s["current"] == true {
			b.wants(t, 204, "", "DELETE", "/api/auth/sessions/"+s["id"].(string), "", bearer(second)...)
		}
	}
	for _, d := range []*desk{a, b} {
		for _, credential := range [][]string{bearer(first), cookieOf(t, first)} {
			d.wants(t, 401, "AUTH_002", "GET", "/api/auth/me", "", credential...)
		}
		d.wants(t, 200, "", "GET", "/api/auth/me", "", bearer(second)...)
	}
}

func TestPeople_CookiesNeedTheirTokenAndNoOtherSite(t *testing.T) {
	d := fresh(t)
	mine := d.owner(t)
	other := d.login(t, "")
	cookie := cookieOf(t, mine)
	c := mine.cookies[0]
	require.Equal(t, "__Host-otpbridge", c.Name)
	require.True(t, c.HttpOnly && c.Secure && c.SameSite == http.SameSiteLaxMode && c.Path == "/" && c.Domain == "")
	csrf := d.wants(t, 200, "", "GET", "/api/csrf-token", "", cookie...).member("csrf_token")
	theirs := d.wants(t, 200, "", "GET", "/api/csrf-token", "", cookieOf(t, other)...).member("csrf_token")
	const path, body = "/api/auth/reauthenticate", `{"password":"` + password + `"}`
	for name, tt := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"cookie and token":        {append(cookie, csrfHeader, csrf), 204, ""},
		"no token":                {cookie, 403, "CSRF_TOKEN_INVALID"},
		"an empty token":          {append(cookie, csrfHeader, ""), 403, "CSRF_TOKEN_INVALID"},
		"another session's token": {append(cookie, csrfHeader, theirs), 403, "CSRF_TOKEN_INVALID"},
		"the cookie as token":     {append(cookie, csrfHeader, c.Value), 403, "CSRF_TOKEN_INVALID"},
		"the cookie's MAC as token": {append(cookie, csrfHeader, c.Value[strings.Index(c.Value, ".")+1:]), 403,
			"CSRF_TOKEN_INVALID"},
		"the token twice":           {append(cookie, csrfHeader, csrf, csrfHeader, csrf), 400, "INVALID_REQUEST"},
		"the token in another case": {append(cookie, csrfHeader, strings.ToUpper(csrf)), 403, "CSRF_TOKEN_INVALID"},
		"another site": {append(cookie, csrfHeader, csrf, "Sec-Fetch-Site", "cross-site"), 403,
			"FORBIDDEN_ORIGIN"},
		"another subdomain": {append(cookie, csrfHeader, csrf, "Sec-Fetch-Site", "same-site"), 403,
			"FORBIDDEN_ORIGIN"},
		"another origin": {append(cookie, csrfHeader, csrf, "Origin", "https://evil.example"), 403,
			"FORBIDDEN_ORIGIN"},
		"no origin at all": {append(cookie, csrfHeader, csrf, "Origin", "null"), 403, "FORBIDDEN_ORIGIN"},
		"this origin": {append(cookie, csrfHeader, csrf, "Origin", base, "Sec-Fetch-Site", "same-origin"),
			204, ""},
		"a form": {append(cookie, csrfHeader, csrf, "Content-Type", "text/plain"), 400,
			"INVALID_REQUEST"},
		"a made-up cookie": {[]string{"Cookie", "__Host-otpbridge=x"}, 401, "AUTH_003"},
		"a cookie without its MAC": {[]string{"Cookie", "__Host-otpbridge=" + strings.Split(c.Value, ".")[0]}, 401,
			"AUTH_003"},
		"a cookie with more":         {[]string{"Cookie", cookie[1] + "x"}, 401, "AUTH_003"},
		"two cookies":                {[]string{"Cookie", cookie[1] + "; " + cookieOf(t, other)[1]}, 400, "INVALID_REQUEST"},
		"a cookie of a sandbox":      {[]string{"Cookie", "otpbridge=" + c.Value}, 401, "AUTH_003"},
		"cookie and its own bearer":  {append(cookie, bearer(mine)...), 204, ""},
		"cookie and another bearer":  {append(cookie, bearer(other)...), 400, "INVALID_REQUEST"},
		"a bad cookie and a bearer":  {append(bearer(mine), "Cookie", "__Host-otpbridge=x"), 400, "INVALID_REQUEST"},
		"two bearers":                {append(bearer(mine), bearer(other)...), 400, "INVALID_REQUEST"},
		"a bearer and another key":   {append(bearer(mine), "X-API-Key", "otpb_live_x"), 400, "INVALID_REQUEST"},
		"bearer alone":               {bearer(mine), 204, ""},
		"a key alone":                {[]string{"X-API-Key", "otpb_live_x"}, 401, "AUTH_003"},
		"Basic":                      {[]string{"Authorization", "Basic YTpi"}, 401, "AUTH_003"},
		"nothing":                    {nil, 401, "AUTH_003"},
		"a refresh token as access":  {[]string{"Authorization", "Bearer " + mine.member("refresh_token")}, 401, "AUTH_003"},
		"over plain HTTP, a bearer":  {append(bearer(mine), "X-Test-Plain", "1"), 403, "HTTPS_REQUIRED"},
		"over plain HTTP, a cookie":  {append(cookie, "X-Test-Plain", "1"), 403, "HTTPS_REQUIRED"},
		"over plain HTTP, a mistake": {[]string{"Authorization", "Bearer x", "X-Test-Plain", "1"}, 403, "HTTPS_REQUIRED"},
	} {
		t.Run(name, func(t *testing.T) { d.wants(t, tt.status, tt.code, "POST", path, body, tt.headers...) })
	}
	d.wants(t, 403, "FORBIDDEN_ORIGIN", "POST", "/api/auth/login", `{}`, "Origin", "https://evil.example")
	d.wants(t, 403, "HTTPS_REQUIRED", "POST", "/api/auth/login", `{}`, "X-Test-Plain", "1")
	gone := d.wants(t, 204, "", "POST", "/api/auth/logout", "", append(cookie, csrfHeader, csrf)...)
	require.Less(t, gone.cookies[0].Expires.Unix(), time.Now().Unix())
}

func TestPeople_EveryRefusalHasItsCode(t *testing.T) {
	d := fresh(t)
	mine := d.owner(t)
	const register, login = "/api/auth/register", "/api/auth/login"
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no link": {"POST", register, `{"email":"a@b.example","password":"` + another + `","name":"A"}`, 403,
			"REGISTRATION_CLOSED"},
		"no link, known": {"POST", register, `{"email":"` + ownerEmail + `","password":"` + another +
			`","name":"A"}`, 403, "REGISTRATION_CLOSED"},
		"a bad link": {"POST", register, `{"email":"a@b.example","password":"` + another +
			`","name":"A","invitation":"x"}`, 403, "REGISTRATION_CLOSED"},
		"two links": {"POST", register, `{"email":"a@b.example","password":"` + another +
			`","name":"A","invitation":"x","setup_token":"y"}`, 400, "INVALID_REQUEST"},
		"a weak password": {"POST", register, `{"email":"a@b.example","password":"passwordpassword","name":"A"}`, 400,
			"INVALID_REQUEST"},
		"a role of one's own": {"POST", register, `{"email":"a@b.example","password":"` + another +
			`","name":"A","role":"owner"}`, 400, "INVALID_REQUEST"},
		"nothing":           {"POST", login, ``, 400, "INVALID_REQUEST"},
		"no JSON":           {"POST", login, `email=a`, 400, "INVALID_REQUEST"},
		"a list":            {"POST", login, `[]`, 400, "INVALID_REQUEST"},
		"null":              {"POST", login, `{"email":null,"password":"x"}`, 400, "INVALID_REQUEST"},
		"a member twice":    {"POST", login, `{"email":"a","email":"b","password":"x"}`, 400, "INVALID_REQUEST"},
		"a member too many": {"POST", login, `{"email":"a","password":"x","otp":"1"}`, 400, "INVALID_REQUEST"},
		"a long password": {"POST", login, `{"email":"a","password":"` + strings.Repeat("x", 600) + `"}`, 400,
			"INVALID_REQUEST"},
		"a large body":        {"POST", login, `{"email":"` + strings.Repeat("x", 70000) + `"}`, 400, "BODY_TOO_LARGE"},
		"a query":             {"POST", login + "?email=a", `{"email":"a","password":"x"}`, 400, "INVALID_REQUEST"},
		"a wrong password":    {"POST", login, `{"email":"` + ownerEmail + `","password":"x"}`, 401, "AUTH_001"},
		"no refresh token":    {"POST", "/api/auth/refresh", `{}`, 400, "INVALID_REQUEST"},
		"a bad refresh token": {"POST", "/api/auth/refresh", `{"refresh_token":"otpr_x"}`, 401, "AUTH_004"},
		"an access token there": {"POST", "/api/auth/refresh", `{"refresh_token":"` + mine.member("access_token") + `"}`,
			401, "AUTH_004"},
		"a bad recovery": {"POST", "/api/auth/recover", `{"recovery_token":"x","password":"` + another + `"}`, 403,
			"REGISTRATION_CLOSED"},
		"no session": {"DELETE", "/api/auth/sessions/ses_00000000000000000000000000", ``, 404, "NOT_FOUND"},
		"a person as session": {"DELETE", "/api/auth/sessions/" + mine.members["user"].(map[string]any)["id"].(string),
			``, 404, "NOT_FOUND"},
		"no factor":           {"DELETE", "/api/auth/mfa/x", ``, 404, "NOT_FOUND"},
		"a body for logout":   {"POST", "/api/auth/logout", `{"all":true}`, 400, "INVALID_REQUEST"},
		"no codes to replace": {"POST", "/api/auth/mfa/backup-codes", ``, 404, "NOT_FOUND"},
		"a code of no factor": {"POST", "/api/auth/mfa/confirm", `{"id":"fac_x","code":"123456"}`, 404, "NOT_FOUND"},
		"no code":             {"POST", "/api/auth/mfa/confirm", `{"id":"fac_x"}`, 400, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) { d.wants(t, tt.status, tt.code, tt.method, tt.path, tt.body, bearer(mine)...) })
	}
	for _, r := range routes {
		if r.who == person {
			d.wants(t, 401, "AUTH_003", r.method, strings.Replace(r.path, ":id", "x", 1), "")
		}
	}
	require.NotContains(t, d.log.String(), "call failed", "a refusal is no fault")
}

func TestPeople_GuessersAreHeldBackAndLearnNoAddress(t *testing.T) {
	d := fresh(t)
	mine := d.owner(t)
	app := d.wants(t, 201, "", "POST", "/api/auth/mfa/enable", "", bearer(mine)...)
	d.wants(t, 200, "", "POST", "/api/auth/mfa/confirm", `{"id":"`+app.member("id")+`","code":"`+shows(t,
		app.member("secret"), 0)+`"}`, bearer(mine)...)
	known := d.wants(t, 401, "AUTH_001", "POST", "/api/auth/login", `{"email":"`+ownerEmail+`","password":"`+another+`"}`)
	unknown := d.wants(t, 401, "AUTH_001", "POST", "/api/auth/login",
		`{"email":"nobody@shop.example","password":"`+another+`"}`)
	require.Equal(t, known.text, unknown.text)
	require.Equal(t, known.header, unknown.header)

	for range 5 {
		require.Equal(t, "AUTH_006", d.login(t, `,"mfa_code":"12345"`).member("code"))
	}
	locked := d.login(t, `,"mfa_code":"12345"`)
	require.Equal(t, 423, locked.status)
	require.Equal(t, "AUTH_007", locked.member("code"))
	require.NotEmpty(t, locked.header.Get("Retry-After"))
	require.Equal(t, "AUTH_001", d.ask(t, "POST", "/api/auth/login",
		`{"email":"`+ownerEmail+`","password":"x"}`).member("code"),
		"only who knows the password learns of the lock")
	limited := reply{}
	for range 50 {
		if limited = d.ask(t, "POST", "/api/auth/login",
			`{"email":"nobody@shop.example","password":"x"}`); limited.status != 401 {
			break
		}
	}
	require.Equal(t, 429, limited.status)
	require.NotEmpty(t, limited.header.Get("Retry-After"))
}

func TestPeople_ASandboxOnLoopbackTakesAPlainCookie(t *testing.T) {
	d := fresh(t, func(o *Options) { o.Sandbox, o.PublicURL = true, "" })
	server := httptest.NewServer(d.router)
	defer server.Close()
	post := func(host string) *http.Response {
		r, err := http.NewRequest("POST", server.URL+"/api/auth/register",
			strings.NewReader(`{"email":"`+ownerEmail+`","password":"`+password+`","name":"Olga"}`))
		require.NoError(t, err)
		r.Host = host
		r.Header.Set("Content-Type", "application/json")
		response, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response
	}
	require.Equal(t, 403, post("rebound.evil.example").StatusCode)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	require.NoError(t, err)
	made := post("localhost:" + port)
	require.Equal(t, 201, made.StatusCode, "registration is open")
	c := made.Cookies()[0]
	require.True(t, c.Name == "otpbridge" && !c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode)
	r, err := http.NewRequest("GET", server.URL+"/api/auth/me", nil)
	require.NoError(t, err)
	r.AddCookie(c)
	response, err := server.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)
}
