package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The guides' own programs run against a sandbox, line by line. Changed lines are marked "deviation", and have a row
// in doc/management.md.
func TestSamples_OfTheGuidesRun(t *testing.T) {
	needs(t, "bash", "curl", "sed", "node", "python3")
	t.Parallel()
	available(t, "python", "python3", []string{"python3", "-c", "import cryptography"})
	s := boot(t, variables(t)...)
	const account = "10000000000001"
	sample := func(program, file string, arguments ...string) map[string]string {
		t.Helper()
		command := []string{"testdata/samples/" + file}
		if program == "bash" {
			command = []string{"-euo", "pipefail", command[0]}
		}
		command = append(append(command, s.URL()), arguments...)
		out, err := ran(t, ".", []string{"PYTHONWARNINGS=ignore"}, program, command...)
		require.NoError(t, err, "%s\n%s", out, s.log)
		said := map[string]string{}
		for line := range strings.Lines(out) {
			for _, marker := range sampleMarkers {
				if what, found := strings.CutPrefix(line, marker+" "); found {
					said[marker] = strings.TrimSpace(what)
					break
				}
			}
		}
		return said
	}

	t.Run("curl", func(t *testing.T) {
		said := sample("bash", "session.sh", account)
		require.Contains(t, said["registered"], `"token_type":"Bearer","expires_in":3600,"user":{"id":"per_`)
		require.Contains(t, said["used"], `"email":"user@example.com","name":"John Doe","created_at":"`)
		require.Contains(t, said["created"], `"name":"Production Server"`)
		require.Contains(t, said["created"], `"expires_at":"2125-01-08T00:00:00Z"`)
		require.Contains(t, said["called"], `"kind":"key"`)
		require.Contains(t, said["listed"], `"name":"Production Server"`)
		require.Contains(t, said["called again"], `"AUTH_004"`)
		require.Contains(t, said["used again"], `"AUTH_002"`)
	})
	a := s.do("POST", "/api/auth/login", `{"email":"user@example.com","password":"SecureP@ssw0rd!"}`,
		"Content-Type", "application/json")
	require.Equal(t, 200, a.status, a.body)
	var login struct {
		Token string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &login))

	t.Run("rotation and service account in Python", func(t *testing.T) {
		said := sample("python3", "rotation.py", account, login.Token)
		require.Equal(t, map[string]string{
			"should rotate": "False True", "rotated": "True active 24",
			"bound":   "['203.0.113.0/24', '198.51.100.42'] ['192.168.0.0/16', '10.0.0.0/8']",
			"service": "['read:accounts', 'read:audit', 'read:statistics']", "refused": "403 PERMISSION_DENIED",
		}, said)
	})
	t.Run("signing in Python", func(t *testing.T) {
		a := s.do("POST", "/api/keys", `{"account":"`+account+`","name":"signs","signing":"required"}`,
			"Content-Type", "application/json", "Authorization", "Bearer "+login.Token)
		require.Equal(t, 201, a.status, a.body)
		var made struct {
			Key    string `json:"key"`
			Secret string `json:"signing_secret"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.body), &made))
		said := sample("python3", "signing.py", made.Key, made.Secret)
		const refused = "401 SIGNATURE_INVALID"
		require.Equal(t, map[string]string{"sent": "201", "read": "200", "repeated": refused, "unsigned": refused,
			"changed": refused, "other secret": refused}, said)
	})
	t.Run("keys and CSRF in JavaScript", func(t *testing.T) {
		said := sample("node", "keys.mjs", account, login.Token)
		require.Equal(t, map[string]string{
			"dev": "201 127.0.0.1,::1 send:otp,verify:otp", "prod": "201 *", "fallback": "queued",
			"bad address": `400 /allowed_ips/0 allowed_ips[0]: "52.44.123.456" is no address; write one like 203.0.113.7 or ` +
				`a network like 203.0.113.0/24`,
			"token and cookie": "201", "cookie": "201",
			"no CSRF token": "403 CSRF_TOKEN_INVALID", "wrong CSRF token": "403 CSRF_TOKEN_INVALID",
		}, said)
	})
}

// sampleMarkers begin the lines that the samples print, longer ones first.
var sampleMarkers = []string{
	"registered", "used again", "used", "refreshed", "created", "called again", "called", "listed", "revoked",
	"logged out", "should rotate", "rotated", "bound", "service", "refused", "sent", "read", "repeated", "unsigned",
	"changed", "other secret", "dev", "prod", "bad address", "fallback", "token and cookie", "cookie", "no CSRF token",
	"wrong CSRF token",
}
