package admin

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/people"
	"otpbridge/server/web"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

const base = "https://otp.shop.example"

// office is a token endpoint with two service accounts.
type office struct {
	services      *people.Services
	byKey, secret people.Service
	key, text     crypto.Secret
	log           *bytes.Buffer
	router        *gin.Engine
}

func newOffice(t testing.TB) *office {
	ctx := context.Background()
	store, err := sql.Open(ctx, migrated.SQLite(t), sql.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	keyring, err := crypto.ParseKeyring(crypto.NewKeyringText("k1"))
	require.NoError(t, err)
	o := &office{services: people.NewServices(store, keyring, base), log: new(bytes.Buffer)}
	grant := people.Grant{Role: people.Developer}
	o.byKey, o.key, err = o.services.Create(ctx, people.Operator(), people.NewService{Name: "key", Grant: grant})
	require.NoError(t, err)
	o.secret, o.text, err = o.services.Create(ctx, people.Operator(),
		people.NewService{Name: "secret", Grant: grant, Method: people.BySecret})
	require.NoError(t, err)
	gin.SetMode(gin.TestMode)
	o.router = gin.New()
	o.router.Use(func(c *gin.Context) { web.Identify(c, "req-12345678") })
	MountOAuth(o.router, OAuthOptions{Services: o.services, Log: slog.New(slog.NewTextHandler(o.log, nil))})
	return o
}

func (o *office) assertion(t testing.TB, jti string) string {
	block, _ := pem.Decode(o.key.Bytes())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	text, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": o.byKey.ID, "sub": o.byKey.ID, "aud": base + people.TokenPath,
		"exp": time.Now().Add(time.Minute).Unix(), "jti": jti,
	}).SignedString(key)
	require.NoError(t, err)
	return text
}

// ask sends members as JSON or as a form.
func (o *office) ask(t testing.TB, form bool, members map[string]string, headers ...string) (int, map[string]any) {
	t.Helper()
	kind, body := "application/json", ""
	if form {
		values := url.Values{}
		for name, value := range members {
			values.Set(name, value)
		}
		kind, body = "application/x-www-form-urlencoded", values.Encode()
	} else {
		text, err := json.Marshal(members)
		require.NoError(t, err)
		body = string(text)
	}
	return o.post(t, kind, body, headers...)
}

func (o *office) post(t testing.TB, kind, body string, headers ...string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest("POST", people.TokenPath, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := judged(t, o.router, r, body)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, w.Code == 401, w.Header().Get("WWW-Authenticate") != "")
	var answer map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), w.Body.String())
	if w.Code != 200 {
		require.Equal(t, answer["detail"], answer["error_description"])
		require.Equal(t, "req-12345678", answer["request_id"])
		require.NotContains(t, w.Body.String(), string(o.text.Bytes()))
	}
	return w.Code, answer
}

func TestToken_JSONAndFormsAreTaken(t *testing.T) {
	o := newOffice(t)
	const grant = "client_credentials"
	for _, form := range []bool{false, true} {
		for name, members := range map[string]map[string]string{
			"a secret": {"grant_type": grant, "client_id": o.secret.ID, "client_secret": string(o.text.Bytes())},
			"an assertion": {"grant_type": grant, "client_assertion_type": assertionType,
				"client_assertion": o.assertion(t, name(form)+"1")},
			"an assertion and an id": {"grant_type": grant, "client_id": o.byKey.ID, "client_assertion_type": assertionType,
				"client_assertion": o.assertion(t, name(form)+"2")},
		} {
			status, answer := o.ask(t, form, members)
			require.Equal(t, 200, status, "%s: %v", name, answer)
			require.Equal(t, "Bearer", answer["token_type"])
			require.Equal(t, 3600.0, answer["expires_in"])
			require.Len(t, answer, 3)
			who, err := o.services.Authenticate(t.Context(), answer["access_token"].(string), people.Client{})
			require.NoError(t, err, name)
			require.Equal(t, people.Developer, who.Grant.Role)
		}
	}
	r := httptest.NewRequest("POST", people.TokenPath, strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
	r.SetBasicAuth(url.QueryEscape(o.secret.ID), url.QueryEscape(string(o.text.Bytes())))
	w := judged(t, o.router, r, "grant_type=client_credentials")
	require.Equal(t, 200, w.Code, w.Body)
}

// Secrets belong in the body or the Authorization header, once: a URL is in logs, and a proxy may have checked the
// other of two headers.
func TestToken_AQueryAndRepeatedHeadersAreRefused(t *testing.T) {
	o := newOffice(t)
	ask := func(path string, headers ...string) reply {
		body := url.Values{"grant_type": {"client_credentials"}, "client_id": {o.secret.ID},
			"client_secret": {string(o.text.Bytes())}}.Encode()
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		w := judged(t, o.router, r, body)
		got := reply{status: w.Code, text: w.Body.String()}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got.members))
		return got
	}
	require.Equal(t, 200, ask(people.TokenPath).status)
	for _, query := range []string{"?x=1", "?client_id=" + o.secret.ID} {
		got := ask(people.TokenPath + query)
		require.Equal(t, 400, got.status, got.text)
		require.Equal(t, "invalid_request", got.member("error"))
		require.Contains(t, got.text, "query")
	}
	for _, headers := range [][]string{{"Content-Type", "application/json"},
		{"Authorization", "Basic eA==", "Authorization", "Basic eQ=="}} {
		got := ask(people.TokenPath, headers...)
		require.Equal(t, 400, got.status, got.text)
		require.Equal(t, headers[0], got.members["errors"].([]any)[0].(map[string]any)["header"])
	}
	r := httptest.NewRequest("POST", people.TokenPath, strings.NewReader(`{"scope":"x"}`))
	r.Header.Set("Content-Type", "application/json")
	require.Contains(t, judged(t, o.router, r, `{"scope":"x"}`).Body.String(), `"errors":[{"pointer":"/scope"`)
}

func name(form bool) string {
	if form {
		return "form"
	}
	return "json"
}

func TestToken_RefusalsAreOAuths(t *testing.T) {
	o := newOffice(t)
	secret := string(o.text.Bytes())
	good := map[string]string{"grant_type": "client_credentials", "client_id": o.secret.ID, "client_secret": secret}
	with := func(more ...string) map[string]string {
		members := map[string]string{}
		for name, value := range good {
			members[name] = value
		}
		for i := 0; i < len(more); i += 2 {
			members[more[i]] = more[i+1]
			if more[i+1] == "" {
				delete(members, more[i])
			}
		}
		return members
	}
	for _, form := range []bool{false, true} {
		for name, tt := range map[string]struct {
			members map[string]string
			status  int
			code    string
		}{
			"no grant_type":    {with("grant_type", ""), 400, "invalid_request"},
			"a person's grant": {with("grant_type", "password"), 400, "unsupported_grant_type"},
			"a code":           {with("grant_type", "authorization_code"), 400, "unsupported_grant_type"},
			"a refresh token":  {with("grant_type", "refresh_token"), 400, "unsupported_grant_type"},
			"no client_id":     {with("client_id", ""), 400, "invalid_request"},
			"no secret":        {with("client_secret", ""), 400, "invalid_request"},
			"both": {with("client_assertion", "a.b.c", "client_assertion_type", assertionType), 400,
				"invalid_request"},
			"no type of assertion": {with("client_secret", "", "client_assertion", o.assertion(t, "x")), 400,
				"invalid_request"},
			"an odd assertion": {with("client_secret", "", "client_assertion", "x", "client_assertion_type", "saml2"),
				400, "invalid_request"},
			"something unknown": {with("username", "x"), 400, "invalid_request"},
			"a wrong secret":    {with("client_secret", secret+"x"), 401, "invalid_client"},
			"nobody":            {with("client_id", "svc_00000000000000000000000000"), 401, "invalid_client"},
			"the other account": {with("client_id", o.byKey.ID), 401, "invalid_client"},
			"an unreadable token": {with("client_secret", "", "client_assertion", "a.b.c", "client_assertion_type",
				assertionType), 401, "invalid_client"},
			"another's assertion": {with("client_secret", "", "client_assertion", o.assertion(t, "y"),
				"client_assertion_type", assertionType), 401, "invalid_client"},
			"a secret with NUL":      {with("client_secret", "a\x00b"), 401, "invalid_client"},
			"an id that is too long": {with("client_id", strings.Repeat("svc_", 5000)), 401, "invalid_client"},
		} {
			status, answer := o.ask(t, form, tt.members)
			require.Equal(t, tt.status, status, "%s: %v", name, answer)
			require.Equal(t, tt.code, answer["error"], "%s: %v", name, answer)
			if status == 401 {
				require.Equal(t, "AUTH_001", answer["code"])
			}
		}
	}
	_, unknown := o.ask(t, true, with("client_id", "svc_00000000000000000000000000"))
	_, wrong := o.ask(t, true, with("client_secret", "otps_wrong"))
	require.Equal(t, unknown, wrong, "nobody learns which service accounts there are")

	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {o.secret.ID},
		"client_secret": {secret}}.Encode()
	for name, tt := range map[string]struct{ kind, body, basic, code string }{
		"no content type":   {"", form, "", "invalid_request"},
		"text":              {"text/plain", form, "", "invalid_request"},
		"a form as JSON":    {"application/json", form, "", "invalid_request"},
		"a list":            {"application/json", "[]", "", "invalid_request"},
		"a member twice":    {"application/json", `{"grant_type":"a","grant_type":"b"}`, "", "invalid_request"},
		"a number":          {"application/json", `{"grant_type":1}`, "", "invalid_request"},
		"null":              {"application/json", `{"client_id":null}`, "", "invalid_request"},
		"a parameter twice": {"application/x-www-form-urlencoded", form + "&client_id=x", "", "invalid_request"},
		"half a percent":    {"application/x-www-form-urlencoded", form + "&a=%", "", "invalid_request"},
		"a scope":           {"application/x-www-form-urlencoded", form + "&scope=all", "", "invalid_scope"},
		"a large body": {"application/x-www-form-urlencoded", form + "&a=" + strings.Repeat("a", 70000), "",
			"invalid_request"},
		"Basic and a secret": {"application/x-www-form-urlencoded", form, "Basic YTpi", "invalid_request"},
		"Bearer":             {"application/x-www-form-urlencoded", form, "Bearer x", "invalid_request"},
		"Basic that is no base64": {"application/x-www-form-urlencoded", "grant_type=client_credentials", "Basic ?",
			"invalid_request"},
	} {
		headers := []string{}
		if tt.basic != "" {
			headers = append(headers, "Authorization", tt.basic)
		}
		status, answer := o.post(t, tt.kind, tt.body, headers...)
		require.Equal(t, 400, status, "%s: %v", name, answer)
		require.Equal(t, tt.code, answer["error"], "%s: %v", name, answer)
	}
	require.Empty(t, o.log.String(), "a refusal is no fault")
}
