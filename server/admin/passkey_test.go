package admin

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people/passkeytest"
)

// answers returns the body with a passkey's answer to another call's challenge.
func answers(t *testing.T, asked reply, answer func(options []byte) []byte) string {
	t.Helper()
	options, err := json.Marshal(asked.members["options"])
	require.NoError(t, err)
	return `{"id":"` + asked.member("id") + `","credential":` + string(answer(options)) + `}`
}

// A passkey is added, logs in, reauthenticates, and is removed.
func TestPasskeys_ThroughTheCalls(t *testing.T) {
	d := fresh(t)
	mine := bearer(d.owner(t))
	key := passkeytest.New(base, "otp.shop.example")
	offered := d.wants(t, 201, "", "POST", "/api/auth/passkeys", `{"name":"laptop"}`, mine...)
	adding := answers(t, offered, key.Create)
	added := d.wants(t, 200, "", "POST", "/api/auth/passkeys/confirm", adding, mine...)
	require.Len(t, added.members["backup_codes"], 10)
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/auth/passkeys/confirm", adding, mine...)
	offered = d.wants(t, 201, "", "POST", "/api/auth/passkeys", "", mine...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/auth/passkeys/confirm", answers(t, offered, key.Create), mine...)

	ask := func() reply { return d.wants(t, 201, "", "POST", "/api/auth/passkeys/begin", "") }
	login := answers(t, ask(), key.Sign)
	answer := d.wants(t, 200, "", "POST", "/api/auth/passkeys/login", login)
	require.Len(t, answer.cookies, 1, "a browser keeps the session")
	mine = bearer(answer)
	d.wants(t, 401, "AUTH_001", "POST", "/api/auth/passkeys/login", login)
	require.Equal(t, ownerEmail, d.wants(t, 200, "", "GET", "/api/auth/me", "", mine...).member("email"))

	proof := answers(t, ask(), key.Sign)
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/auth/reauthenticate", `{"mfa_code":"123456","passkey":`+proof+`}`,
		mine...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", "/api/auth/reauthenticate", `{"passkey":{}}`, mine...)
	d.wants(t, 204, "", "POST", "/api/auth/reauthenticate", `{"passkey":`+proof+`}`, mine...)
	d.wants(t, 401, "AUTH_001", "POST", "/api/auth/reauthenticate", `{"passkey":`+proof+`}`, mine...)

	for name, tt := range map[string]struct{ path, body, code string }{
		"no id":           {"login", `{"credential":{}}`, "INVALID_REQUEST"},
		"no answer":       {"login", `{"id":"cer_x"}`, "INVALID_REQUEST"},
		"a member more":   {"login", `{"id":"cer_x","credential":{},"email":"x"}`, "INVALID_REQUEST"},
		"a name to login": {"begin", `{"email":"x"}`, "INVALID_REQUEST"},
		"an answer twice": {"login", `{"id":"cer_x","credential":{"id":1,"id":2}}`, "INVALID_REQUEST"},
	} {
		t.Run(name, func(t *testing.T) { d.wants(t, 400, tt.code, "POST", "/api/auth/passkeys/"+tt.path, tt.body) })
	}
	listed := d.wants(t, 200, "", "GET", "/api/auth/mfa", "", mine...)
	passkey := listed.members["data"].([]any)[0].(map[string]any)
	require.Equal(t, "passkey", passkey["kind"])
	require.Equal(t, "laptop", passkey["name"])
	d.wants(t, 204, "", "DELETE", "/api/auth/mfa/"+passkey["id"].(string), "", mine...)
	d.wants(t, 401, "AUTH_001", "POST", "/api/auth/passkeys/login", answers(t, ask(), key.Sign))
}
