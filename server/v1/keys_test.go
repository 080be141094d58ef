package v1

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

var three, many = 3, 1_000_000

// unlimitedKey is a key whose limit no test reaches.
var unlimitedKey = manage.NewKey{Name: "test", RequestsPerMinute: &many}

func TestCarriers_OneCredentialInAnyOfThreeHeaders(t *testing.T) {
	h := newHouse(t)
	c, other := h.newClient(t, nil), h.newClient(t, nil)
	const none = "Authorization"
	for name, tt := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"bearer":                   {[]string{none, "bearer   " + c.APIKey}, 201, ""},
		"X-API-Key":                {[]string{none, "", "X-API-Key", c.APIKey}, 201, ""},
		"access_key, an API key":   {[]string{none, "", "access_key", c.APIKey}, 201, ""},
		"access_key":               {[]string{none, "", "access_key", c.AccessKey}, 201, ""},
		"bearer, an access key":    {[]string{none, "Bearer " + c.AccessKey}, 201, ""},
		"twice the same":           {[]string{"X-API-Key", c.APIKey, "access_key", c.APIKey}, 201, ""},
		"two of one account":       {[]string{"access_key", c.AccessKey}, 400, "INVALID_REQUEST"},
		"two of two accounts":      {[]string{"X-API-Key", other.APIKey}, 400, "INVALID_REQUEST"},
		"one good, one bad":        {[]string{"X-API-Key", "nonsense"}, 400, "INVALID_REQUEST"},
		"none":                     {[]string{none, ""}, 401, "AUTH_003"},
		"no token":                 {[]string{none, "Bearer"}, 401, "AUTH_003"},
		"empty X-API-Key":          {[]string{none, "", "X-API-Key", " "}, 401, "AUTH_003"},
		"another scheme":           {[]string{none, "Basic dXNlcjpwYXNz"}, 401, "AUTH_003"},
		"two words":                {[]string{none, "Bearer a b"}, 401, "AUTH_003"},
		"not ASCII":                {[]string{none, "Bearer schl\u00fcssel"}, 401, "AUTH_003"},
		"too long":                 {[]string{none, "Bearer " + strings.Repeat("x", 2000)}, 401, "AUTH_003"},
		"mistyped":                 {[]string{none, "Bearer " + strings.ToLower(c.APIKey)}, 401, "AUTH_003"},
		"unknown":                  {[]string{none, "Bearer somebody-elses-key"}, 401, "AUTH_004"},
		"in the query":             {[]string{none, ""}, 401, "AUTH_003"},
		"a cookie is not a header": {[]string{none, "", "Cookie", "access_key=" + c.AccessKey}, 401, "AUTH_003"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/v1/send"
			if name == "in the query" {
				path += "?access_key=" + c.APIKey
			}
			c := c
			c.t = t
			a := c.post(path, sendBody, tt.headers...)
			if tt.code == "" {
				require.Equal(t, tt.status, a.status, a.text)
				return
			}
			requireProblem(t, a, tt.status, tt.code)
			require.Equal(t, tt.status == 401, a.header.Get("WWW-Authenticate") != "")
			require.NotContains(t, a.text, c.APIKey)
			require.Empty(t, a.header.Get("X-RateLimit-Limit"), "nobody is told how a key stands that is not theirs")
		})
	}
}

func TestKeys_RefusedOnesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		c := h.newClient(t, nil)
		soon := time.Now().Add(time.Minute)
		expiring := c.with(manage.NewKey{Name: "soon", ExpiresAt: &soon})
		require.Equal(t, 201, expiring.post("/v1/send", sendBody).status)
		time.Sleep(time.Minute)
		a := expiring.post("/v1/send", sendBody)
		requireProblem(t, a, 401, "AUTH_002")
		require.Equal(t, `Bearer realm="otpbridge", error="invalid_token"`, a.header.Get("WWW-Authenticate"))

		requireProblem(t, c.with(manage.NewKey{Name: "elsewhere", AllowedIPs: []string{"203.0.113.0/24"}}).post("/v1/send",
			sendBody), 403, "AUTH_005")
		reader := c.with(manage.NewKey{Name: "reader", Kind: otp.ReadOnlyKey})
		requireProblem(t, reader.post("/v1/send", sendBody), 403, "PERMISSION_DENIED")
		require.NotEmpty(t, reader.post("/v1/send", sendBody).header.Get("X-RateLimit-Limit"),
			"its owner is told how it stands")
		id, _, _ := c.sent(sendBody)
		require.Equal(t, 200, reader.get("/v1/status/"+id).status)

		revoked := c.with(manage.NewKey{Name: "gone"})
		keys, err := h.manage.Keys.List(t.Context(), c.Address)
		require.NoError(t, err)
		for _, key := range keys {
			if key.Name == "gone" {
				require.NoError(t, h.manage.Keys.Revoke(t.Context(), manage.Operator(), key.ID))
			}
		}
		time.Sleep(time.Second)
		requireProblem(t, revoked.post("/v1/send", sendBody), 401, "AUTH_004")
	})
}

func TestLimits_OfAKeyAndOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		c := h.newClient(t, nil)
		limited := c.with(manage.NewKey{Name: "three", RequestsPerMinute: &three})
		for left := 2; left >= 0; left-- {
			a := limited.post("/v1/cancel", `{}`)
			requireProblem(t, a, 400, "INVALID_REQUEST")
			require.Equal(t, strconv.Itoa(left), a.header.Get("X-RateLimit-Remaining"))
		}
		a := limited.post("/v1/send", sendBody)
		requireProblem(t, a, 429, "RATE_LIMIT_EXCEEDED")
		require.Equal(t, []string{"3", "0", "60", "20"}, []string{
			a.header.Get("X-RateLimit-Limit"), a.header.Get("X-RateLimit-Remaining"), a.header.Get("X-RateLimit-Window"),
			a.header.Get("Retry-After"),
		})
		// The documented client waits until X-RateLimit-Reset.
		reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64)
		require.NoError(t, err)
		time.Sleep(time.Until(time.Unix(reset, 0)))
		for range 3 {
			require.Equal(t, 201, limited.post("/v1/send", sendBody).status)
		}

		for range 60 {
			requireProblem(t, c.post("/v1/send", sendBody, "Authorization", "Bearer wrong-key-of-somebody"), 401, "AUTH_004")
		}
		a = c.post("/v1/send", sendBody, "Authorization", "Bearer wrong-key-of-somebody")
		requireProblem(t, a, 429, "RATE_LIMIT_EXCEEDED")
		require.NotEmpty(t, a.header.Get("Retry-After"))
		require.Equal(t, []string{"60", "0"}, []string{a.header.Get("X-RateLimit-Limit"),
			a.header.Get("X-RateLimit-Remaining")})
		require.Equal(t, 404, c.get("/v1/status/otp_00000000000000000000000000").status, "a right key is let in")
		unused := c.with(manage.NewKey{Name: "never used before"})
		require.Equal(t, 404, unused.get("/v1/status/otp_00000000000000000000000000").status, "also the first time")
		r := httptest.NewRequest("GET", "/v1/status/otp_00000000000000000000000000", nil)
		r.RemoteAddr = "192.0.2.11:1"
		r.Header.Set("X-API-Key", c.APIKey)
		require.Equal(t, 404, c.do(r).status, "another address is not held up")
	})
}

func TestDebug_TellsAKeyThatMayKnow(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, _, _ := c.sent(sendBody)
	require.Empty(t, c.get("/v1/status/"+id, "X-Debug-Auth", "1").header.Get("X-Auth-Method"), "without the permission")
	debugging := c.with(manage.NewKey{Name: "debugging", Permissions: []string{"read:otp", "debug"}})
	require.Empty(t, debugging.get("/v1/status/"+id).header.Get("X-Auth-Method"), "without the question")
	a := debugging.get("/v1/status/"+id, "X-Debug-Auth", "1")
	require.Equal(t, 200, a.status)
	require.Equal(t, "api_key", a.header.Get("X-Auth-Method"))
	require.Equal(t, c.Address, a.header.Get("X-Auth-User-ID"))
	require.Regexp(t, `^key_[0-9a-v]{26}$`, a.header.Get("X-Auth-Key-ID"))
	require.Equal(t, "192.0.2.10", a.header.Get("X-Auth-IP"))
	require.Equal(t, a.header.Get("X-RateLimit-Remaining"), a.header.Get("X-Auth-Remaining-Quota"))
	unlimited := c.with(manage.NewKey{Kind: otp.AccessKey, Name: "unlimited", Permissions: []string{"read:otp", "debug"}})
	a = unlimited.get("/v1/status/"+id, "X-Debug-Auth", "1")
	require.Equal(t, "access_key", a.header.Get("X-Auth-Method"))
	require.NotContains(t, a.header, "X-Auth-Remaining-Quota", "there is no limit")
}

func TestSend_MetadataIsMeasuredWithoutBlanks(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	body := func(blanks, text int) string {
		return `{"to":"+919876543210","method":"sms","type":"verification","metadata":{"a":` + strings.Repeat(" ", blanks) +
			`"` + strings.Repeat("x", text) + `"}}`
	}
	require.Equal(t, 201, c.post("/v1/send", body(2000, 1016)).status)
	requireProblem(t, c.post("/v1/send", body(0, 1017)), 400, "INVALID_REQUEST")
}

func TestSignatures_AreHeldToWhereTheKeySaysSo(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	_, secret, signing, err := c.manage.Keys.Create(context.Background(), manage.Operator(),
		manage.NewKey{Account: c.Address, Name: "signed", Signing: otp.SigningRequired})
	require.NoError(t, err)
	c.APIKey = string(secret.Bytes())
	sign := func(method, path, body string) []string {
		nonce := make([]byte, 16)
		rand.Read(nonce)
		headers := []string{"X-Timestamp", strconv.FormatInt(time.Now().Unix(), 10), "X-Nonce", hex.EncodeToString(nonce)}
		mac := hmac.New(sha256.New, signing.Bytes())
		mac.Write([]byte(method + path + headers[1] + headers[3] + body))
		return append(headers, "X-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	requireProblem(t, c.post("/v1/send", sendBody), 401, "SIGNATURE_INVALID")
	headers := sign("POST", "/v1/send", sendBody)
	a := c.post("/v1/send", sendBody, headers...)
	require.Equal(t, 201, a.status, a.text)
	requireProblem(t, c.post("/v1/send", sendBody, headers...), 401, "SIGNATURE_INVALID")
	requireProblem(t, c.post("/v1/send", sendBody+" ", sign("POST", "/v1/send", sendBody+"  ")...), 401,
		"SIGNATURE_INVALID")
	canonical := `{"method": "sms", "to": "` + number + `", "type": "verification"}`
	require.Equal(t, 201, c.post("/v1/send", sendBody, sign("POST", "/v1/send", canonical)...).status,
		"over Python's form")
	path := "/v1/status/" + a.json["id"].(string)
	require.Equal(t, 200, c.get(path, sign("GET", path, "")...).status)
	a = c.get(path+"?x=%41", sign("GET", path+"?x=%41", "")...)
	requireProblem(t, a, 400, "INVALID_REQUEST") // signed as it was sent, and still unknown
}

func TestIdempotency_ARepeatedRequestCountsOnce(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	sends := func() int {
		messages, err := c.engine.Inbox.List(context.Background(), engine.MessageQuery{Account: c.Address, Limit: 50})
		require.NoError(t, err)
		return len(messages)
	}
	first := c.post("/v1/send", sendBody, "Idempotency-Key", "order 17")
	require.Equal(t, 201, first.status, first.text)
	require.Empty(t, first.header.Get("Idempotent-Replayed"))
	again := c.post("/v1/send", sendBody, "Idempotency-Key", "order 17")
	require.Equal(t, 201, again.status)
	require.Equal(t, first.text, again.text)
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, sends())

	requireProblem(t, c.post("/v1/send", sendBody+" ", "Idempotency-Key", "order 17"), 422, "IDEMPOTENCY_MISMATCH")
	resend := `{"id":"` + first.json["id"].(string) + `"}`
	requireProblem(t, c.post("/v1/resend", resend, "Idempotency-Key", "order 17"), 422, "IDEMPOTENCY_MISMATCH")
	require.Equal(t, 200, c.post("/v1/resend", resend, "Idempotency-Key", "again").status)
	require.Equal(t, "true", c.post("/v1/resend", resend, "Idempotency-Key", "again").header.Get("Idempotent-Replayed"))
	require.Equal(t, 2, sends())

	for _, key := range []string{strings.Repeat("k", 256), "schl\u00fcssel", "\t"} {
		a := c.post("/v1/send", sendBody, "Idempotency-Key", key)
		requireProblem(t, a, 400, "INVALID_REQUEST")
		require.Equal(t, "Idempotency-Key", a.json["errors"].([]any)[0].(map[string]any)["header"])
	}
	require.Equal(t, 201, c.post("/v1/send", sendBody, "Idempotency-Key", strings.Repeat("k", 255)).status)

	// A refused request uses no key.
	requireProblem(t, c.post("/v1/send", `{}`, "Idempotency-Key", "new"), 400, "INVALID_REQUEST")
	require.Equal(t, 201, c.post("/v1/send", sendBody, "Idempotency-Key", "new").status)
}

func TestIdempotency_ManyAtOnceSendOnceRace(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	answers := make(chan answer, 16)
	handler := c.handler.(validated).next // the test's recorder is not safe for concurrent use
	for range cap(answers) {
		go func() {
			r := httptest.NewRequest("POST", "/v1/send", strings.NewReader(sendBody))
			r.Header.Set("X-API-Key", c.APIKey)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "one")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			answers <- answer{status: w.Code, text: w.Body.String(), header: w.Header()}
		}()
	}
	replayed, texts := 0, map[string]bool{}
	for range cap(answers) {
		a := <-answers
		require.Equal(t, 201, a.status, a.text)
		texts[a.text] = true
		if a.header.Get("Idempotent-Replayed") == "true" {
			replayed++
		}
	}
	require.Len(t, texts, 1)
	require.Equal(t, cap(answers)-1, replayed)
	messages, err := c.engine.Inbox.List(context.Background(), engine.MessageQuery{Account: c.Address, Limit: 50})
	require.NoError(t, err)
	require.Len(t, messages, 1)
}

func TestCORS_IsPerAccountAndExact(t *testing.T) {
	h := newHouse(t)
	const page = "https://shop.example"
	c := h.newClient(t, func(a *otp.Account) { a.CORSOrigins = []string{page, "http://localhost:3000"} })
	other := h.newClient(t, func(a *otp.Account) { a.CORSOrigins = []string{"https://other.example"} })

	for _, tt := range []struct {
		client  client
		origin  string
		allowed bool
	}{
		{c, page, true},
		{c, "http://localhost:3000", true},
		{c, "https://other.example", false},
		{other, "https://other.example", true},
		{other, page, false},
		{c, "https://shop.example.evil.example", false},
		{c, "https://SHOP.example", false},
		{c, "https://shop.example:443", false},
		{c, "null", false},
		{c, "", false},
	} {
		a := tt.client.post("/v1/send", sendBody, "Origin", tt.origin)
		require.Equal(t, 201, a.status)
		require.Equal(t, "Origin", a.header.Get("Vary"))
		require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"))
		want := ""
		if tt.allowed {
			want = tt.origin
		}
		require.Equal(t, want, a.header.Get("Access-Control-Allow-Origin"), "%q", tt.origin)
		require.Equal(t, tt.allowed, strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Retry-After"))
	}
	for origin, allowed := range map[string]bool{page: true, "https://other.example": true,
		"https://evil.example": false, "null": false} {
		a := c.call("OPTIONS", "/v1/send", "", "Authorization", "", "Origin", origin, "Access-Control-Request-Method", "POST")
		require.Equal(t, 204, a.status)
		require.Equal(t, "Origin", a.header.Get("Vary"))
		require.Equal(t, allowed, a.header.Get("Access-Control-Allow-Origin") == origin, fmt.Sprint(origin, a.header))
		require.Equal(t, allowed, a.header.Get("Access-Control-Allow-Methods") == "POST")
	}
	a := c.post("/v1/send", sendBody, "Origin", page, "Authorization", "Bearer nobodys-key-at-all")
	require.Equal(t, page, a.header.Get("Access-Control-Allow-Origin"), "the page can read why")

	narrow := h.newClient(t, func(a *otp.Account) { a.CORSOrigins, a.CORSMethods = []string{page}, []string{"GET"} })
	require.Empty(t, narrow.post("/v1/send", sendBody, "Origin", page).header.Get("Access-Control-Allow-Origin"))
}

// A preflight carries no key, so it is answered by what the accounts that list the origin allow together.
func TestCORS_APreflightAllowsTheListedMethodsAndHeaders(t *testing.T) {
	h := newHouse(t)
	const page = "https://shop.example"
	h.newClient(t, func(a *otp.Account) {
		a.CORSOrigins, a.CORSMethods = []string{page}, []string{"POST"}
		a.CORSHeaders = []string{"X-API-Key", "Content-Type"}
	})
	ask := func(path, method string) http.Header {
		c := h.newClient(t, nil)
		return c.call("OPTIONS", path, "", "Authorization", "", "Origin", page,
			"Access-Control-Request-Method", method).header
	}
	require.Equal(t, "X-API-Key, Content-Type", ask("/v1/send", "POST").Get("Access-Control-Allow-Headers"))
	require.Equal(t, page, ask("/v1/send", "POST").Get("Access-Control-Allow-Origin"))
	require.Empty(t, ask("/v1/status", "GET").Get("Access-Control-Allow-Origin"))

	other := newHouse(t)
	for _, headers := range [][]string{{"X-API-Key"}, {"Authorization"}, nil} {
		other.newClient(t, func(a *otp.Account) { a.CORSOrigins, a.CORSHeaders = []string{page}, headers })
	}
	h = other
	require.Contains(t, ask("/v1/send", "POST").Get("Access-Control-Allow-Headers"), "Idempotency-Key",
		"one account allows all")
}

func TestClientKeys_AreGoodFromTheirPagesOnly(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	c = c.with(manage.NewKey{Name: "page", Kind: otp.ClientKey, AllowedOrigins: []string{"https://shop.example"}})
	require.Equal(t, 201, c.post("/v1/send", sendBody, "Origin", "https://shop.example").status)
	for _, origin := range []string{"", "https://evil.example", "null"} {
		requireProblem(t, c.post("/v1/send", sendBody, "Origin", origin), 403, "ORIGIN_NOT_ALLOWED")
	}
	id := c.post("/v1/send", sendBody, "Origin", "https://shop.example").json["id"].(string)
	requireProblem(t, c.post("/v1/cancel", `{"id":"`+id+`"}`, "Origin", "https://shop.example"), 403, "PERMISSION_DENIED")
}

func TestLimits_ARefusalForItsCostShowsNoQuotaOfTheKey(t *testing.T) {
	for kind, shown := range map[otp.Kind]string{otp.CostLimited: "", otp.RateLimited: "60", otp.Locked: "20"} {
		w := httptest.NewRecorder()
		c, _ := gin.CreateTestContext(w)
		x := &exchange{gin: c}
		x.showQuota(engine.Quota{Limit: 60, Remaining: 59, Reset: time.Now(), Window: time.Minute})
		refusal := &otp.Error{Kind: kind, RetryAfter: time.Hour}
		if kind == otp.Locked {
			refusal.Limit, refusal.Window = 20, time.Hour
		}
		require.Equal(t, refusal, x.dressed(refusal))
		for _, part := range []string{"Limit", "Remaining", "Reset", "Window"} {
			require.Equal(t, shown != "", w.Header().Get("X-RateLimit-"+part) != "", "%s %s", kind, part)
		}
		require.Equal(t, shown, w.Header().Get("X-RateLimit-Limit"), kind)
	}
}
