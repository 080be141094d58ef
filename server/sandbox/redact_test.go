package sandbox

import (
	"encoding/json"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecorder_ShowsNoSecretOfTheAPI(t *testing.T) {
	const key, number, code, mail, id = "otpb_test_sk_3S59TEkdOgZ8jjhSxuHwbQrpyXxII3v72aEZ2o", "+919551492394", "482716",
		"someone@mail.example", "otp_06bq3c7k5sqn2e8v4g1t9hp0mc"
	secrets := []string{key, number, "9551492394", code, "someone", id, "SESSION77", "Private", "c2lnbmF0dXJl",
		"203.0.113.77999"}
	answer := `{"id":"` + id + `","to":"` + number +
		`","metadata":{"who":"Private"},"receipt":"c2lnbmF0dXJl","valid":true}`
	for name, tt := range map[string]struct{ path, body, answer string }{
		"send": {"/v1/send", `{"to":"` + number + `","email":"` + mail +
			`","method":"sms","metadata":{"who":"Private"},"binding":"Private"}`, answer},
		"mailbox": {"/v1/send", `{"to":"` + mail + `"}`, answer},
		"verify":  {"/v1/verify", `{"id":"` + id + `","code":"` + code + `"}`, answer},
		"a code as a number": {"/v1/verify", `{"code":` + code + `,"method":` + code + `,"fallback":[` + code + `,"` +
			code + `"]}`, answer},
		"in wrong members": {"/v1/send", `{"method":"` + number + `","type":"` + key + `","template":"` + code +
			`","locale":"` + mail + `"}`, answer},
		"as names":       {"/v1/send", `{"` + number + `":1,"` + key + `":2,"` + code + `":{"` + mail + `":1}}`, answer},
		"cut off":        {"/v1/send", `{"to":"` + number + `","code":"` + code, answer[:len(answer)-20]},
		"two values":     {"/v1/send", `{} {"to":"` + number + `"}`, answer + answer},
		"no JSON":        {"/v1/send", number + " " + code, "{" + code},
		"status":         {"/v1/status/" + id, ``, answer},
		"a number as id": {"/v1/status/" + number + ";s=SESSION77", ``, answer},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", tt.path, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+key)
			r.Header.Set("X-API-Key", key)
			r.Header.Set("X-Signature", "c2lnbmF0dXJl")
			shown := recorded(t, r, tt.answer)
			all, err := json.Marshal(shown)
			require.NoError(t, err)
			for _, secret := range secrets {
				require.NotContains(t, string(all), secret)
			}
			require.Equal(t, map[string]string{"Authorization": redacted, "X-API-Key": redacted}, shown.Headers)
		})
	}
}

func TestRecorder_ShowsWhatHelpsOfTheAPI(t *testing.T) {
	r := httptest.NewRequest("POST", "http://127.0.0.1:8080/v1/send",
		strings.NewReader(`{"to":"+919551492394","method":"sms","type":"verification","ttl":300,"colour":"red"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer x")
	shown := recorded(t, r,
		`{"title":"Bad Request","status":400,"code":"INVALID_REQUEST","errors":[{"pointer":"/colour","detail":"is not known here"}]}`)
	require.JSONEq(t, `{"to":"•••••••••••94","method":"sms","type":"verification","ttl":300,"colour":"[redacted]"}`,
		shown.Body)
	require.JSONEq(t,
		`{"title":"Bad Request","status":400,"code":"INVALID_REQUEST","errors":[{"pointer":"/colour","detail":"[redacted]"}]}`, shown.Answer)
	require.Equal(t,
		`curl -sS 'http://127.0.0.1:8080/v1/send' -H "Authorization: Bearer $API_KEY" -H 'Content-Type: application/json' `+
			`--data-binary '{"colour":"[redacted]","method":"sms","to":"'"$TO"'","ttl":300,"type":"verification"}'`, shown.Curl)

	if _, err := exec.LookPath("bash"); err == nil {
		out, err := exec.Command("bash", "-c", `curl() { printf '%s' "${@: -1}"; }; TO=+919551492394; `+shown.Curl).Output()
		require.NoError(t, err)
		require.JSONEq(t, `{"to":"+919551492394","method":"sms","type":"verification","ttl":300,"colour":"[redacted]"}`,
			string(out))
	}
	r = httptest.NewRequest("GET", "http://127.0.0.1:8080/v1/status/otp_06bq3c7k5sqn2e8v4g1t9hp0mc", nil)
	require.Equal(t, `curl -sS 'http://127.0.0.1:8080/v1/status/'"$ID"`, recorded(t, r, "{}").Curl)
}
