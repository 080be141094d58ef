package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// decoded reads an answer that must be a JSON object.
func decoded(t *testing.T, a answer) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &object), a.body)
	return object
}

// refused checks an answer to be a problem with this status and code.
func refused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	problem := decoded(t, a)
	require.Equal(t, code, problem["code"], a.body)
	require.Equal(t, problem["detail"], problem["message"])
	require.NotEmpty(t, problem["request_id"])
}

func TestSandbox_Credentials(t *testing.T) {
	s := boot(t, variables(t)...)
	var got struct{ Accounts []map[string]string }
	require.NoError(t, json.Unmarshal([]byte(s.do("GET", "/sandbox/credentials", "").body), &got))
	require.Len(t, got.Accounts, 2)
	for i, want := range []struct{ address, key, profile string }{
		{"10000000000001", documentedKey, "documented"},
		{"10000000000002", liveKey, "live"},
	} {
		require.Equal(t, want.address, got.Accounts[i]["esme_address"])
		require.Equal(t, want.key, got.Accounts[i]["access_key"])
		require.Equal(t, want.profile, got.Accounts[i]["message_profile"])
		require.Equal(t, sampleKey, got.Accounts[i]["cipher_key"])
		require.Equal(t, sampleIV, got.Accounts[i]["cipher_iv"])
		require.Regexp(t, `^otpb_test_sk_[0-9A-Za-z]{38}$`, got.Accounts[i]["api_key"])
	}
}

func TestSandbox_ThrowawayAccounts(t *testing.T) {
	s := boot(t, variables(t)...)
	a := s.do("POST", "/sandbox/accounts", "")
	require.Equal(t, 201, a.status, a.body)
	made := decoded(t, a)
	for column, want := range map[string]any{
		"enabled": true, "otp_enabled": true, "message_profile": nil, "message_overrides": nil, "strict_http": false,
		"otp_length": 6.0, "otp_ttl_seconds": 300.0, "max_attempts": nil, "max_regenerations": 3.0, "key_on_ip": true,
		"countries": []any{"IN", "AE"}, "sms_enabled": true, "email_enabled": false, "plain_validation_enabled": false,
		"otp_cipher": "aes-cbc", "otp_encoding": "auto", "department_mode": "ignore", "departments": []any{},
		"sends_per_minute": 10.0, "sends_per_hour": 20.0, "sends_per_day": 40.0, "requests_per_minute": nil, "burst": nil,
		"retention_days": 30.0, "servlet_types": []any{"verification"},
	} {
		require.Equal(t, want, made[column], column)
	}
	for _, column := range []string{"esme_address", "access_key", "api_key", "cipher_key", "cipher_iv", "created_at",
		"updated_at"} {
		require.NotEmpty(t, made[column], column)
	}
	require.NotContains(t, a.body, "ealed")

	asked := s.account(`{"esme_address":"4711","message_profile":"live","otp_length":8,"max_attempts":5,
		"message_overrides":{"generated":"sent!"},"cipher_key":"` + sampleIV + `~` + sampleKey + `",
		"access_keys":[{"key":"the-first-key-of-4711"},{"key":"the-second-key-of-4711"},{"key":"the-off-key-of-4711","enabled":false},{"key":"the-old-key-of-4711","expires_at":"2020-01-01T00:00:00Z"}]}`)
	require.Equal(t, "4711", asked.Address)
	require.Equal(t, "the-first-key-of-4711", asked.AccessKey)
	require.Equal(t, sampleKey, asked.CipherKey)
	require.Equal(t, sampleIV, asked.CipherIV)
	require.Equal(t, "sent!\r\n", s.servlet("otpgenservlet", "the-first-key-of-4711", person("919551492394")))
	code := s.messages("account=4711")[0].Code
	require.Len(t, code, 8)
	require.Equal(t, "Verified successfully\r\n", s.servlet("otpvalidationservlet", "the-second-key-of-4711",
		person("919551492394", "otp", encrypted(t, sampleKey, sampleIV, code))))
	for _, key := range []string{"the-off-key-of-4711", "the-old-key-of-4711"} {
		require.Equal(t, "UNAUTHERISED USER", s.servlet("otpgenservlet", key, person("919551492394")), key)
	}

	refused(t, s.do("POST", "/sandbox/accounts", `{"esme_address":"4711"}`), 409, "ACCOUNT_EXISTS")
	refused(t, s.do("POST", "/sandbox/accounts", `{"esme_address":"10000000000001"}`), 409, "ACCOUNT_EXISTS")
	refused(t, s.do("POST", "/sandbox/accounts", `{"access_keys":[{"key":"the-first-key-of-4711"}]}`), 409, "ACCOUNT_EXISTS")
	for body, named := range map[string]string{
		`{"esme_address":"0123"}`:           "esme_address",
		`{"otp_length":11}`:                 "otp_length",
		`{"otp_ttl_seconds":10}`:            "otp_ttl_seconds",
		`{"message_profile":"loud"}`:        "message_profile",
		`{"cipher_key":"AAEC"}`:             "cipher_key",
		`{"cipher_iv":"` + sampleKey + `"}`: "cipher_iv",
		`{"otp_lenght":6}`:                  "otp_lenght",
		`{"enabled":1}`:                     "/enabled",
		`{"access_keys":[{"key":"a-key-for-10.0.0.0-only","allowed_ips":["10.0.0.0/33"]}]}`: "allowed_ips",
	} {
		a := s.do("POST", "/sandbox/accounts", body)
		refused(t, a, 400, "INVALID_REQUEST")
		require.Contains(t, a.body, named)
		require.NotContains(t, a.body, sampleKey)
	}
}

func TestSandbox_Clock(t *testing.T) {
	s := boot(t, variables(t)...)
	reading := func(account string) (offset string, ahead time.Duration) {
		t.Helper()
		got := decoded(t, s.do("GET", "/sandbox/clock?account="+account, ""))
		require.Equal(t, account, got["account"])
		require.Regexp(t, `Z$`, got["now"])
		now, err := time.Parse(time.RFC3339, got["now"].(string))
		require.NoError(t, err)
		return got["offset"].(string), time.Until(now).Round(time.Minute)
	}
	set := func(body string) answer { return s.do("PUT", "/sandbox/clock", body) }

	offset, ahead := reading("")
	require.Equal(t, "0s", offset)
	require.Zero(t, ahead)

	account := s.account(`{}`)
	s.servlet("otpgenservlet", account.AccessKey, person("919551492001"))
	code := s.messages("")[0].Code
	a := set(`{"account":"` + account.Address + `","offset":"6m"}`)
	require.Equal(t, 200, a.status, a.body)
	require.Equal(t, "6m0s", decoded(t, a)["offset"])
	require.Equal(t, "OTPEXPIRED", s.servlet("otpvalidationservlet", account.AccessKey,
		person("919551492001", "otp", encrypted(t, account.CipherKey, account.CipherIV,
			code))), "five minutes have passed for this account")
	_, ahead = reading("10000000000001")
	require.Zero(t, ahead, "and for no other")

	require.Equal(t, 200, set(`{"account":"`+account.Address+`","offset":"6m"}`).status,
		"absolute, so again changes nothing")
	refused(t, set(`{"account":"`+account.Address+`","offset":"5m"}`), 409, "CLOCK_BACKWARDS")
	refused(t, set(`{"offset":"-1m"}`), 409, "CLOCK_BACKWARDS")

	require.Equal(t, 200, set(`{"offset":"10m"}`).status)
	_, ahead = reading(account.Address)
	require.Equal(t, 10*time.Minute, ahead, "the larger of the two")
	require.Equal(t, 200, set(`{"account":"`+account.Address+`","offset":"15m"}`).status)
	_, ahead = reading(account.Address)
	require.Equal(t, 15*time.Minute, ahead)

	refused(t, set(`{"account":"4711","offset":"1m"}`), 404, "NOT_FOUND")
	refused(t, s.do("GET", "/sandbox/clock?account=4711", ""), 404, "NOT_FOUND")
	for _, body := range []string{`{}`, `{"offset":"10"}`, `{"offset":600}`, `{"offset":"soon"}`,
		`{"offset":"1m","zone":"UTC"}`} {
		refused(t, set(body), 400, "INVALID_REQUEST")
	}

	for _, body := range []string{`{"account":""}`, `{"account":null}`, `{"account":"","accounts":[]}`, `{"account":" "}`} {
		require.GreaterOrEqual(t, s.do("POST", "/sandbox/reset", body).status, 400, body)
	}
	_, ahead = reading("10000000000001")
	require.Equal(t, 10*time.Minute, ahead, "an empty name is not everything")
	require.Equal(t, 204, s.do("POST", "/sandbox/reset", `{"account":"`+account.Address+`"}`).status)
	_, ahead = reading(account.Address)
	require.Equal(t, 10*time.Minute, ahead, "a reset takes an account's own clock back")
	require.Equal(t, 204, s.do("POST", "/sandbox/reset", `{}`).status)
	_, ahead = reading("")
	require.Zero(t, ahead)
}

func TestSandbox_Faults(t *testing.T) {
	s := boot(t, variables(t)...)
	set := func(body string) {
		t.Helper()
		a := s.do("PUT", "/sandbox/faults", body)
		require.Equal(t, 200, a.status, a.body)
	}
	generate := func(key string) string {
		return strings.TrimSpace(s.servlet("otpgenservlet", key, person("919551492394")))
	}
	const sent = "OTP Generated Successfully"

	set(`{"faults":[{"target":"inbox","kind":"not_sent","count":2}]}`)
	require.Equal(t, "SMSEMAILFAIL", generate(documentedKey))
	left := s.do("GET", "/sandbox/faults", "").body
	require.JSONEq(t, `{"faults":[{"target":"inbox","kind":"not_sent","account":"","probability":1,"count":1}]}`, left)
	set(left)
	require.Equal(t, "SMSEMAILFAIL", generate(documentedKey), "what GET answers PUT takes")
	require.Equal(t, sent, generate(documentedKey), "used up")

	set(`{"faults":[{"target":"inbox","kind":"unknown"}]}`)
	require.Equal(t, sent, generate(documentedKey), "in doubt counts as sent")
	set(`{"faults":[{"target":"inbox","kind":"delay","delay":"50ms"}]}`)
	began := time.Now()
	require.Equal(t, sent, generate(documentedKey))
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)

	for _, kind := range []string{"error", "panic"} {
		set(`{"faults":[{"target":"servlet","kind":"` + kind + `","account":"10000000000001"}]}`)
		require.Equal(t, "ERROR", generate(documentedKey), kind)
		require.Equal(t, sent, generate(liveKey), "the other account is not meant")
	}
	require.Equal(t, 204, s.do("DELETE", "/sandbox/faults", "").status)
	require.Equal(t, sent, generate(documentedKey))
	require.JSONEq(t, `{"faults":[]}`, s.do("GET", "/sandbox/faults", "").body)
}

func TestSandbox_Requests(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919551492394"))
	s.servlet("otpgenservlet", "no-such-key", person("919551492394"))
	s.do("POST", "/otpauthapi/OtpRegenServlet;jsessionid=ABC", person("919551492394").Encode(),
		"access_key", liveKey, "Content-Type", "application/x-www-form-urlencoded")
	a := s.do("GET", "/sandbox/requests", "")
	require.Equal(t, 200, a.status)
	for _, secret := range []string{"919551492394", "9551492394", documentedKey, liveKey, "no-such-key", "jsessionid"} {
		require.NotContains(t, a.body, secret)
	}
	var got struct {
		Data []struct {
			Method, Path, Account, Kind, Answer, Curl string
			RequestID                                 string `json:"request_id"`
			Status                                    int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	require.Len(t, got.Data, 3, "the sandbox's own calls are not among them")
	require.Equal(t, "POST", got.Data[0].Method)
	require.Equal(t, "/otpauthapi/OtpRegenServlet", got.Data[0].Path)
	require.Equal(t, "10000000000002", got.Data[0].Account)
	require.Equal(t, "ERROR\r\n", got.Data[0].Answer)
	require.Equal(t, "not_found", got.Data[0].Kind)
	require.Equal(t, "UNAUTHERISED USER", got.Data[1].Answer)
	require.Empty(t, got.Data[1].Account)
	require.Equal(t, "OTP Generated Successfully", got.Data[2].Answer)
	require.Contains(t, got.Data[2].Curl, s.url+"/otpauthapi/otpgenservlet")
	require.Contains(t, s.log.String(), "request_id="+got.Data[2].RequestID)

	mine := s.do("GET", "/sandbox/requests?account=10000000000001&limit=5", "")
	require.Equal(t, 1, strings.Count(mine.body, `"request_id"`))
}

func TestSandbox_UnknownCallsAreProblems(t *testing.T) {
	s := boot(t, variables(t)...)
	for call, status := range map[string]int{"GET /sandbox/nothing": 404, "POST /sandbox/clock": 405} {
		method, path, _ := strings.Cut(call, " ")
		a := s.do(method, path, "")
		require.Equal(t, status, a.status)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), a.body)
	}
}

func TestSandbox_Reset(t *testing.T) {
	s := boot(t, variables(t)...)
	account := s.account(`{"esme_address":"4711"}`)
	for range 10 {
		s.servlet("otpgenservlet", account.AccessKey, person("919551492394"))
	}
	require.Equal(t, "ERROR", s.servlet("otpgenservlet", account.AccessKey, person("919551492394")), "ten a minute")
	s.servlet("otpgenservlet", documentedKey, person("919551492394"))
	s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"servlet","kind":"error","account":"4711"}]}`)

	require.Equal(t, 204, s.do("POST", "/sandbox/reset", `{"account":"4711"}`).status)
	require.Len(t, s.messages(""), 1, "the other account's message")
	require.NotEqual(t, `{"faults":[]}`+"\n", s.do("GET", "/sandbox/faults", "").body)
	s.do("DELETE", "/sandbox/faults", "")
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", account.AccessKey, person("919551492394")),
		"its windows are empty")

	s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"servlet","kind":"error"}]}`)
	require.Equal(t, 204, s.do("POST", "/sandbox/reset", "").status)
	require.Empty(t, s.messages(""))
	require.Equal(t, `{"faults":[]}`+"\n", s.do("GET", "/sandbox/faults", "").body)
	require.Equal(t, `{"data":[]}`+"\n", s.do("GET", "/sandbox/requests", "").body)
	refused(t, s.do("GET", "/sandbox/clock?account=4711", ""), 404, "NOT_FOUND")
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")),
		"the demo accounts stay")

	refused(t, s.do("POST", "/sandbox/reset", `{"account":"4711"}`), 404, "NOT_FOUND")
	refused(t, s.do("POST", "/sandbox/reset", `{"acount":"4711"}`), 400, "INVALID_REQUEST")
}

func TestSandbox_PagesAreKeptOut(t *testing.T) {
	s := boot(t, variables(t)...)
	refused(t, s.do("GET", "/sandbox/messages", "", "Host", "evil.example"), 403, "FORBIDDEN_HOST")
	refused(t, s.do("POST", "/sandbox/reset", "", "Origin", "https://evil.example"), 403, "FORBIDDEN_ORIGIN")
	require.Equal(t, 200, s.do("GET", "/sandbox/messages", "", "Host", "localhost:1").status)
}
