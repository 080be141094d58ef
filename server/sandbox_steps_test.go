package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSandbox_TheDemoAccountsSendEmailToo(t *testing.T) {
	s := boot(t, variables(t)...)
	for _, key := range []string{documentedKey, liveKey} {
		s.do("POST", "/sandbox/reset", "")
		require.Contains(t, s.servlet("otpgenservlet", key, person("919551492394")), "OTP Generated Successfully")
		require.Len(t, s.messages(""), 1, "without an address SMS alone is enough")
		require.Contains(t, s.servlet("otpgenservlet", key, person("919551492395", "email", "me@mail.example")),
			"OTP Generated Successfully")
		require.Len(t, s.messages(""), 3)
	}
	a := s.do("POST", "/v1/send", `{"to":"me@mail.example","method":"email","type":"verification"}`, asAPI...)
	require.Equal(t, 201, a.status, a.body)
	require.Len(t, s.messages("to=me@mail.example"), 2)
}

// A script that advances the clock passes however often it runs.
func TestSandbox_AClockIsAdvanced(t *testing.T) {
	s := boot(t, variables(t)...)
	account := s.account(`{}`)
	offset := func(of string) time.Duration {
		t.Helper()
		d, err := time.ParseDuration(decoded(t, s.do("GET", "/sandbox/clock?account="+of, ""))["offset"].(string))
		require.NoError(t, err)
		return d
	}
	advance := func(body string) {
		t.Helper()
		a := s.do("PUT", "/sandbox/clock", body)
		require.Equal(t, 200, a.status, a.body)
	}
	for run := 1; run <= 2; run++ {
		s.servlet("otpgenservlet", documentedKey, person("919551492001"))
		code := s.messages("limit=1")[0].Code
		advance(`{"advance":"6m"}`)
		require.Equal(t, "OTPEXPIRED", s.servlet("otpvalidationservlet", documentedKey,
			person("919551492001", "otp", encrypted(t, sampleKey, sampleIV, code))), "run %d", run)
		require.Equal(t, time.Duration(run)*6*time.Minute, offset(""))
	}
	advance(`{"account":"` + account.Address + `","advance":"1m"}`)
	require.Equal(t, 13*time.Minute, offset(account.Address), "ahead of what it showed, which was everyone's")
	require.Equal(t, 12*time.Minute, offset(""))
	advance(`{"advance":"10m"}`)
	require.Equal(t, 23*time.Minute, offset(account.Address), "everyone's clock takes those that are ahead along")

	for body, named := range map[string]string{
		`{}`:                             "/offset",
		`{"offset":"1m","advance":"1m"}`: "/advance",
		`{"advance":""}`:                 "/advance",
		`{"advance":"0s"}`:               "/advance",
		`{"advance":"-1m"}`:              "/advance",
		`{"advance":"6"}`:                "/advance",
		`{"advance":6}`:                  "/advance",
		`{"advance":null}`:               "/advance",
		`{"advance":"900000h"}`:          "/advance",
		`{"advance":"500µs"}`:            "/advance",
		`{"offset":"900000h"}`:           "/offset",
		`{"offset":""}`:                  "/offset",
		`{"advance":"1m","acount":"1"}`:  "/acount",
	} {
		a := s.do("PUT", "/sandbox/clock", body)
		refused(t, a, 400, "INVALID_REQUEST")
		require.Contains(t, a.body, `"pointer":"`+named+`"`, body)
	}
	refused(t, s.do("PUT", "/sandbox/clock", `{"account":"4711","advance":"1m"}`), 404, "NOT_FOUND")
	require.Equal(t, 200, s.do("PUT", "/sandbox/clock", `{"offset":"876000h"}`).status)
	refused(t, s.do("PUT", "/sandbox/clock", `{"advance":"1h"}`), 400, "INVALID_REQUEST")
}

// Two scripts that move one clock at once move it twice.
func TestSandbox_AdvancesAddUpRace(t *testing.T) {
	const each = 8
	s := boot(t, variables(t)...)
	done := make(chan answer, each)
	for range each {
		go func() {
			a, _ := s.try("PUT", "/sandbox/clock", `{"advance":"1m"}`)
			done <- a
		}()
	}
	for range each {
		require.Equal(t, 200, (<-done).status)
	}
	require.Equal(t, "8m0s", decoded(t, s.do("GET", "/sandbox/clock", ""))["offset"])
}

// A wait without after returns only new messages: a test would take the code of an earlier run for its own.
func TestSandbox_AWaitIsForWhatIsNew(t *testing.T) {
	s := boot(t, variables(t)...)
	const number = "919551492001"
	s.servlet("otpgenservlet", documentedKey, person(number))
	old := s.messages("")[0]
	s.do("PUT", "/sandbox/clock", `{"advance":"6m"}`)

	a := s.do("GET", "/sandbox/messages?wait=300ms&to="+number, "")
	require.Empty(t, decoded(t, a)["data"], a.body)
	require.Contains(t, decoded(t, a)["note"], "newer than the request",
		"an answer without a message says what it waited for")
	require.Equal(t, []message{old}, s.messages("to="+number), "without a wait it is there")
	require.Equal(t, []message{old}, s.messages("wait=30s&after=2026-01-01T00:00:00Z"), "and with after too")
	require.NotContains(t, s.do("GET", "/sandbox/messages", "").body, "note")

	for _, query := range []string{"", "&to=" + number, "&account=10000000000001", "&to=" + number + "&limit=1"} {
		waited := make(chan answer, 1)
		go func() {
			a, _ := s.try("GET", "/sandbox/messages?wait=30s"+query, "")
			waited <- a
		}()
		// The wait may begin after any of these sends, so send until it ends.
		sent := map[string]bool{}
		var got answer
		for ended := false; !ended; {
			s.do("POST", "/sandbox/reset", `{"account":"10000000000001"}`)
			s.servlet("otpgenservlet", documentedKey, person(number))
			sent[s.messages("limit=1")[0].ID] = true
			select {
			case got = <-waited:
				ended = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		var list struct{ Data []message }
		require.NoError(t, json.Unmarshal([]byte(got.body), &list), got.body)
		require.NotEmpty(t, list.Data, query)
		for _, m := range list.Data {
			require.NotEqual(t, old.ID, m.ID)
		}
		old = s.messages("limit=1")[0]
	}
}

func TestSandbox_TestRecipientsAreNotThrottled(t *testing.T) {
	s := boot(t,
		variables(t,
			"OTPBRIDGE_SANDBOX_TEST_RECIPIENTS=+919000000001=sent:123456,+919000000002=not_sent,test@mail.example=sent")...)
	for i := range 45 {
		require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919000000001")), i)
	}
	for i := range 12 {
		require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", documentedKey, person("919000000002")), i)
		a := s.do("POST", "/v1/send", `{"to":"test@mail.example","method":"email","type":"verification"}`, asAPI...)
		require.Equal(t, 201, a.status, a.body)
	}
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", documentedKey,
		person("919000000001", "otp", encrypted(t, sampleKey, sampleIV, "123456"))))
	sent := func(parameters ...string) string {
		return s.servlet("otpgenservlet", documentedKey, person("919000000001", parameters...))
	}
	for range 10 {
		require.Equal(t, "OTP Generated Successfully", sent("email", "someone@mail.example"))
	}
	require.Equal(t, "ERROR", sent("email", "someone@mail.example"), "a person's mailbox keeps its limits")
	for range 10 {
		s.servlet("otpgenservlet", documentedKey, person("919551492001"))
	}
	require.Equal(t, "ERROR", s.servlet("otpgenservlet", documentedKey, person("919551492001")),
		"and so does a person's number")
}

func TestSandbox_AccountsAreListed(t *testing.T) {
	s := boot(t, variables(t)...)
	made := s.account(`{"esme_address":"4711","otp_length":8}`)
	var list struct{ Data []map[string]any }
	a := s.do("GET", "/sandbox/accounts", "")
	require.Equal(t, 200, a.status, a.body)
	require.NoError(t, json.Unmarshal([]byte(a.body), &list))
	require.Len(t, list.Data, 3)
	for i, want := range []struct {
		address   string
		throwaway bool
	}{{"10000000000001", false}, {"10000000000002", false}, {"4711", true}} {
		require.Equal(t, want.address, list.Data[i]["esme_address"])
		require.Equal(t, want.throwaway, list.Data[i]["throwaway"])
		require.Empty(t, list.Data[i]["fault"])
	}
	require.Equal(t, 8.0, list.Data[2]["otp_length"])
	require.Equal(t, []any{}, list.Data[2]["departments"])
	for _, secret := range []string{made.AccessKey, made.CipherKey, "ealed"} {
		require.NotContains(t, a.body, secret)
	}
	refused(t, s.do("GET", "/sandbox/accounts?account=1", ""), 400, "INVALID_REQUEST")
}

// One call resets a sandbox to a test's start, whatever the test before left.
func TestSandbox_ResetSeedsAccounts(t *testing.T) {
	s := boot(t, variables(t)...)
	const seed = `{"accounts":[
		{"esme_address":"4711","access_keys":[{"key":"first-key-of-the-seed"}],"cipher_key":"` + sampleIV + `~` + sampleKey + `"},
		{"esme_address":"4712","message_profile":"live","access_keys":[{"key":"second-key-of-the-seed"}]},
		{}]}`
	for run := range 2 {
		s.account(`{}`)
		s.do("PUT", "/sandbox/clock", `{"advance":"6m"}`)
		a := s.do("POST", "/sandbox/reset", seed)
		require.Equal(t, 201, a.status, a.body)
		var made struct {
			Data []struct {
				Address   string `json:"esme_address"`
				AccessKey string `json:"access_key"`
				CipherKey string `json:"cipher_key"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(a.body), &made))
		require.Len(t, made.Data, 3)
		require.Equal(t, "first-key-of-the-seed", made.Data[0].AccessKey)
		require.Equal(t, sampleKey, made.Data[0].CipherKey)
		require.NotEmpty(t, made.Data[2].Address)
		require.Empty(t, s.messages(""))
		require.Equal(t, "0s", decoded(t, s.do("GET", "/sandbox/clock", ""))["offset"])
		require.Equal(t, 5, strings.Count(s.do("GET", "/sandbox/accounts", "").body, `"esme_address"`), "run %d", run)
		require.Equal(t, "OTP Generated Successfully\r\n", s.servlet("otpgenservlet", "second-key-of-the-seed",
			person("919551492394")))
	}

	// A reset with a fault in its list changes nothing.
	for body, named := range map[string]string{
		`{"accounts":[{"esme_address":"1"},{"otp_length":11}]}`:                                   "/accounts/1",
		`{"accounts":[{"otp_lenght":6}]}`:                                                         "/accounts/0/otp_lenght",
		`{"accounts":[{"sms_channels":"https://gateway.example/?t={text}"}]}`:                     "/accounts/0",
		`{"accounts":[{"cipher_key":"AAEC"}]}`:                                                    "/accounts/0",
		`{"accounts":{}}`:                                                                         "/accounts",
		`{"accounts":[7]}`:                                                                        "/accounts/0",
		`{"account":"4711","accounts":[]}`:                                                        "/accounts",
		`{"accounts":[` + strings.Repeat(`{},`, 100) + `{}]}`:                                     "/accounts",
		`{"accounts":[{"access_keys":[{"key":"a-key-of-the-seed","allowed_ips":["10.0.0/8"]}]}]}`: "/accounts/0",
		`{"accounts":[{"enabled":"yes"}]}`:                                                        "/accounts/0/enabled",
	} {
		a := s.do("POST", "/sandbox/reset", body)
		refused(t, a, 400, "INVALID_REQUEST")
		require.Contains(t, a.body, `"pointer":"`+named+`"`, body)
	}
	for _, body := range []string{
		`{"accounts":[{"esme_address":"1"},{"esme_address":"1"}]}`,
		`{"accounts":[{"esme_address":"10000000000001"}]}`,
		`{"accounts":[{"access_keys":[{"key":"one-key-for-two-accounts"}]},{"access_keys":[{"key":"one-key-for-two-accounts"}]}]}`,
	} {
		refused(t, s.do("POST", "/sandbox/reset", body), 409, "ACCOUNT_EXISTS")
	}
	require.Len(t, s.messages(""), 1)
	require.Equal(t, 5, strings.Count(s.do("GET", "/sandbox/accounts", "").body, `"esme_address"`))
	require.Equal(t, 201, s.do("POST", "/sandbox/reset", `{"accounts":[]}`).status, "an empty list is an empty seed")
	require.Equal(t, 2, strings.Count(s.do("GET", "/sandbox/accounts", "").body, `"esme_address"`))
}
