package v1

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

func TestSend_IsAnsweredAtOnceAndTheCodeArrives(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	a := c.post("/v1/send",
		`{"to":"`+number+`","method":"sms","type":"two_factor","metadata":{"user_id":"u-17","n":1.50}}`)
	require.Equal(t, 201, a.status, a.text)
	require.Equal(t, "/v1/status/"+a.json["id"].(string), a.header.Get("Location"))
	require.Equal(t, "+91••••••3210", strings.ReplaceAll(a.json["to"].(string), "•••••••", "••••••"))
	require.Equal(t, "sms", a.json["method"])
	require.Equal(t, "two_factor", a.json["type"])
	require.Equal(t, "queued", a.json["status"])
	require.Equal(t, 5.0, a.json["attempts_remaining"])
	require.Equal(t, 3.0, a.json["resends_remaining"])
	require.Contains(t, a.text, `"metadata":{"user_id":"u-17","n":1.50}`)
	created, err := time.Parse(time.RFC3339, a.json["created_at"].(string))
	require.NoError(t, err)
	expires, err := time.Parse(time.RFC3339, a.json["expires_at"].(string))
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, expires.Sub(created))
	right, _ := c.codes()
	require.Len(t, right, 6)
	require.Equal(t, "1000", a.header.Get("X-RateLimit-Limit"))
	require.Equal(t, "999", a.header.Get("X-RateLimit-Remaining"))
	require.Equal(t, "60", a.header.Get("X-RateLimit-Window"))
	require.Equal(t, []string{"ok", c.Address}, []string{c.told.Kind, c.told.Account})
}

func TestSend_TakesWhatIsAskedOfIt(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	a := c.post("/v1/send",
		`{"to":"`+number+`","method":"email","email":"user@example.com","fallback":["sms"],"type":"password_reset","ttl":3600,"length":8,"locale":"pt-BR","ip":"203.0.113.7","binding":{"amount":10}}`)
	require.Equal(t, 201, a.status, a.text)
	created, _ := time.Parse(time.RFC3339, a.json["created_at"].(string))
	expires, _ := time.Parse(time.RFC3339, a.json["expires_at"].(string))
	require.Equal(t, 10*time.Minute, expires.Sub(created), "cut, and the truth is told")
	right, _ := c.codes()
	require.Len(t, right, 8)
	require.Equal(t, "email", a.json["method"])
}

func TestVerify_TheRightCodeOnce(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, right, wrong := c.sent(`{"to":"` + number + `","method":"sms","type":"verification","metadata":{"order":17}}`)
	a := c.post("/v1/verify", `{"id":"`+id+`","code":"`+wrong+`"}`)
	require.Equal(t, 200, a.status)
	require.Equal(t, map[string]any{"valid": false, "reason": "MISMATCH", "attempts_remaining": 4.0}, a.json)
	require.Equal(t, "wrong_code", c.told.Kind)
	a = c.post("/v1/verify", `{"to":"`+number+`","code":"`+right+`"}`)
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, true, a.json["valid"])
	require.Equal(t, id, a.json["id"])
	require.Equal(t, 1.0, a.json["attempts"])
	require.Equal(t, map[string]any{"order": 17.0}, a.json["metadata"])
	require.Len(t, strings.Split(a.json["receipt"].(string), "."), 3)
	a = c.post("/v1/verify", `{"id":"`+id+`","code":"`+right+`"}`)
	require.Equal(t, map[string]any{"valid": false, "reason": "ALREADY_VERIFIED"}, a.json)
}

// Each reason, by the id and by the recipient.
func TestVerify_EveryReason(t *testing.T) {
	for name, story := range map[string]func(c client, id, right, wrong string) (reason string){
		"MISMATCH": func(c client, id, right, wrong string) string { return wrong },
		"EXPIRED": func(c client, id, right, wrong string) string {
			c.forward(301 * time.Second)
			return right
		},
		"MAX_ATTEMPTS": func(c client, id, right, wrong string) string {
			for range 5 {
				c.post("/v1/verify", `{"id":"`+id+`","code":"`+wrong+`"}`)
			}
			return right
		},
		"ALREADY_VERIFIED": func(c client, id, right, wrong string) string {
			require.Equal(c.t, true, c.post("/v1/verify", `{"id":"`+id+`","code":"`+right+`"}`).json["valid"])
			return right
		},
		"CANCELED": func(c client, id, right, wrong string) string {
			require.Equal(c.t, "canceled", c.post("/v1/cancel", `{"id":"`+id+`"}`).json["status"])
			return right
		},
		"NOT_FOUND": func(c client, id, right, wrong string) string {
			c.forward(2 * time.Hour)
			return right
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newHouse(t).newClient(t, nil)
			id, right, wrong := c.sent(sendBody)
			code := story(c, id, right, wrong)
			for _, by := range []string{`"id":"` + id + `"`, `"to":"` + number + `"`} {
				a := c.post("/v1/verify", `{`+by+`,"code":"`+code+`"}`)
				require.Equal(t, 200, a.status, a.text)
				require.Equal(t, name, a.json["reason"])
				require.Equal(t, name == "MISMATCH", a.json["attempts_remaining"] != nil)
			}
		})
	}
	c := newHouse(t).newClient(t, nil)
	first, right, _ := c.sent(sendBody)
	c.sent(sendBody)
	require.Equal(t, map[string]any{"valid": false, "reason": "REPLACED"},
		c.post("/v1/verify", `{"id":"`+first+`","code":"`+right+`"}`).json)
}

func TestVerify_BindingTypeAndAddressAreHeldTo(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, right, _ := c.sent(`{"to":"` + number +
		`","method":"sms","type":"transaction","ip":"203.0.113.7","binding":{"b":1,"a":[2.0]}}`)
	for _, body := range []string{
		`{"id":"` + id + `","type":"transaction","code":"` + right + `"}`,
		`{"id":"` + id + `","type":"transaction","code":"` + right + `","binding":{"b":1,"a":[3]}}`,
		`{"id":"` + id + `","type":"transaction","code":"` + right + `","binding":null}`,
		`{"id":"` + id + `","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
		`{"to":"` + number + `","ip":"203.0.113.7","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
		`{"to":"` + number + `","type":"transaction","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
		`{"to":"` + number + `","ip":"203.0.113.8","type":"transaction","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
		`{"id":"` + id + `","code":"` + right + `"}`,
		`{"id":"` + id + `","code":"` + right + `","binding":{"b":1,"a":[3]}}`,
		`{"id":"` + id + `","code":"` + right + `","binding":null}`,
		`{"id":"` + id + `","code":"` + right + `","binding":{"b":1,"a":[2]},"type":"verification"}`,
		`{"to":"` + number + `","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
		`{"to":"` + number + `","ip":"203.0.113.8","code":"` + right + `","binding":{"b":1,"a":[2]}}`,
	} {
		require.Equal(t, map[string]any{"valid": false, "reason": "NOT_FOUND"}, c.post("/v1/verify", body).json, body)
	}
	a := c.post("/v1/verify",
		`{"to":"`+number+`","ip":"203.0.113.7","code":"`+right+`","binding":{"a":[2],"b":1e0},"type":"transaction"}`)
	require.Equal(t, true, a.json["valid"], a.text)
}

func TestVerify_ACodeOfTheServletsAndTheOtherWayRound(t *testing.T) {
	c := newHouse(t).newClient(t, func(a *otp.Account) { a.PlainValidation = true })
	servlet := func(name, more string) string {
		r := httptest.NewRequest("GET", "/otpauthapi/"+name+"?ipaddress=203.0.113.7&mobile=919876543210"+more, nil)
		r.Header.Set("access_key", c.AccessKey)
		return c.do(r).text
	}
	require.Equal(t, "OTP Generated Successfully", servlet("otpgenservlet", ""))
	right, wrong := c.codes()
	require.Equal(t, "Wrong PIN. No of Retries remaining #2", servlet("plainotpvalidationservlet", "&otp="+wrong))
	require.Equal(t, 1.0,
		c.post("/v1/verify", `{"to":"`+number+`","ip":"203.0.113.7","code":"`+wrong+`"}`).json["attempts_remaining"])
	require.Equal(t, true, c.post("/v1/verify", `{"to":"`+number+`","ip":"203.0.113.7","code":"`+right+`"}`,
		"Authorization", "", "access_key", c.AccessKey).json["valid"])
	require.Equal(t, "OTPEXPIRED", servlet("plainotpvalidationservlet", "&otp="+right))

	_, right, _ = c.sent(`{"to":"` + number + `","method":"sms","type":"verification","ip":"203.0.113.7"}`)
	require.Equal(t, "Verified successfully", servlet("plainotpvalidationservlet", "&otp="+right))
}

func TestResend_TheSameCodeAsOftenAsAllowed(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, first, _ := c.sent(sendBody)
	for left := 2.0; left >= 0; left-- {
		a := c.post("/v1/resend", `{"id":"`+id+`"}`)
		require.Equal(t, 200, a.status, a.text)
		require.Equal(t, left, a.json["resends_remaining"])
		again, _ := c.codes()
		require.Equal(t, first, again)
	}
	requireProblem(t, c.post("/v1/resend", `{"id":"`+id+`"}`), 409, "MAX_RESENDS")
	require.Equal(t, true, c.post("/v1/verify", `{"id":"`+id+`","code":"`+first+`"}`).json["valid"])
	requireProblem(t, c.post("/v1/resend", `{"id":"`+id+`"}`), 409, "ALREADY_VERIFIED")
	a := c.post("/v1/resend", `{"id":"`+id+`","method":"email"}`)
	requireProblem(t, a, 400, "INVALID_REQUEST")
	require.Equal(t, "/method", a.json["errors"].([]any)[0].(map[string]any)["pointer"])
	for _, call := range []string{"resend", "cancel"} {
		requireProblem(t, c.post("/v1/"+call, `{"id":"otp_00000000000000000000000000"}`), 404, "NOT_FOUND")
	}
	require.JSONEq(t, `{"valid":false,"reason":"NOT_FOUND"}`,
		c.post("/v1/verify", `{"id":"otp_00000000000000000000000000","code":"123456"}`).text)
}

func TestCancel_EndsTheCode(t *testing.T) {
	h := newHouse(t)
	c := h.newClient(t, nil)
	id, right, _ := c.sent(sendBody)
	other := h.newClient(t, nil)
	requireProblem(t, other.post("/v1/cancel", `{"id":"`+id+`"}`), 404, "NOT_FOUND")
	a := c.post("/v1/cancel", `{"id":"`+id+`"}`)
	require.Equal(t, 200, a.status, a.text)
	require.Equal(t, "canceled", a.json["status"])
	require.NotContains(t, a.json, "attempts_remaining")
	require.Equal(t, "CANCELED", c.post("/v1/verify", `{"id":"`+id+`","code":"`+right+`"}`).json["reason"])
	requireProblem(t, c.post("/v1/cancel", `{"id":"`+id+`"}`), 409, "CANCELED")
}

func TestStatus_TellsWithoutCharging(t *testing.T) {
	h := newHouse(t)
	c := h.newClient(t, nil)
	id, right, wrong := c.sent(sendBody)
	c.post("/v1/verify", `{"id":"`+id+`","code":"`+wrong+`"}`)
	for range 3 {
		a := c.get("/v1/status/" + id)
		require.Equal(t, 200, a.status, a.text)
		require.Equal(t, 4.0, a.json["attempts_remaining"])
		require.Equal(t, 1.0, a.json["attempts"])
		require.Len(t, a.json["sends"], 1)
	}
	require.Equal(t, true, c.post("/v1/verify", `{"id":"`+id+`","code":"`+right+`"}`).json["valid"])
	a := c.get("/v1/status/" + id)
	require.Equal(t, "verified", a.json["status"])
	require.NotEmpty(t, a.json["verified_at"])
	require.NotContains(t, a.json, "attempts_remaining")

	requireProblem(t, h.newClient(t, nil).get("/v1/status/"+id), 404, "NOT_FOUND")
	for _, path := range []string{"otp_x", strings.ToUpper(id), "key_" + id[4:], id + "0"} {
		requireProblem(t, c.get("/v1/status/"+path), 400, "INVALID_REQUEST")
	}
	requireProblem(t, c.get("/v1/status/"+id+"?full=1"), 400, "INVALID_REQUEST")
}

func TestLimits_A429DescribesTheLimitThatRefused(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	var right, wrong string
	for range 10 {
		_, right, wrong = c.sent(sendBody)
	}
	a := c.post("/v1/send", sendBody)
	requireProblem(t, a, 429, "RATE_LIMIT_EXCEEDED")
	require.Equal(t, []string{"10", "0", "60"}, []string{
		a.header.Get("X-RateLimit-Limit"), a.header.Get("X-RateLimit-Remaining"), a.header.Get("X-RateLimit-Window"),
	})
	require.NotEmpty(t, a.header.Get("Retry-After"))

	for i := range 4 {
		c.forward(time.Duration(i+1) * time.Minute)
		if i > 0 {
			_, right, wrong = c.sent(sendBody)
		}
		for range 5 {
			require.Equal(t, "MISMATCH", c.post("/v1/verify", `{"to":"`+number+`","code":"`+wrong+`"}`).json["reason"])
		}
	}
	a = c.post("/v1/verify", `{"to":"`+number+`","code":"`+right+`"}`)
	requireProblem(t, a, 429, "RECIPIENT_LOCKED")
	require.Equal(t, []string{"20", "0", "3600"}, []string{
		a.header.Get("X-RateLimit-Limit"), a.header.Get("X-RateLimit-Remaining"), a.header.Get("X-RateLimit-Window"),
	})
	requireProblem(t, c.post("/v1/send", sendBody), 429, "RECIPIENT_LOCKED")
}

func TestServe_AClientThatHasGoneIsServedAndCharged(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	id, _, wrong := c.sent(sendBody)
	gone, hangUp := context.WithCancel(context.Background())
	hangUp()
	r := httptest.NewRequestWithContext(gone, "POST", "/v1/verify",
		strings.NewReader(`{"id":"`+id+`","code":"`+wrong+`"}`))
	r.Header.Set("Authorization", "Bearer "+c.APIKey)
	r.Header.Set("Content-Type", "application/json")
	c.do(r)
	require.Equal(t, 3.0, c.post("/v1/verify", `{"id":"`+id+`","code":"`+wrong+`"}`).json["attempts_remaining"])
}

func TestServe_AFaultIsLoggedOnceAndAnsweredNeutrally(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	for kind, logged := range map[string]string{"error": "injected", "panic": "stack="} {
		c.log.Reset()
		c.engine.Faults.Set([]deliver.Fault{{Target: "v1", Kind: kind, Count: 1}})
		a := c.post("/v1/send", sendBody)
		requireProblem(t, a, 500, "INTERNAL")
		require.NotContains(t, a.text, "injected")
		require.Equal(t, 1, strings.Count(c.log.String(), "level=ERROR"), c.log)
		require.Contains(t, c.log.String(), logged)
		require.Contains(t, c.log.String(), "request_id=req-12345678")
		require.Equal(t, []string{"fault", c.Address}, []string{c.told.Kind, c.told.Account})
		require.Equal(t, 201, c.post("/v1/send", sendBody).status)
	}
}

func TestServe_WhatIsNotThere(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	requireProblem(t, c.get("/v1/nothing"), 404, "NOT_FOUND")
	requireProblem(t, c.get("/v1/send"), 405, "METHOD_NOT_ALLOWED")
	require.Equal(t, "POST, OPTIONS", c.get("/v1/send").header.Get("Allow"))
}

func TestKeys_ArePublic(t *testing.T) {
	c := newHouse(t).newClient(t, nil)
	a := c.get("/.well-known/jwks.json", "Authorization", "")
	require.Equal(t, 200, a.status)
	require.NotEmpty(t, a.json["keys"])
	require.Equal(t, "*", a.header.Get("Access-Control-Allow-Origin"))
}
