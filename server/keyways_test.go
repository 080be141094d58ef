package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oddKeys are keys that must be refused, and why.
var oddKeys = map[string]string{
	"1":                            "is 1 characters long, and must be 16 to 512: a shorter one can be guessed",
	"fifteen-letters":              "is 15 characters long, and must be 16 to 512: a shorter one can be guessed",
	"Vx83mQpL0zTt61n":              "is 15 characters long, and must be 16 to 512: a shorter one can be guessed",
	strings.Repeat("Vx83mQpL", 65): "is 520 characters long, and must be at most 512",
	"Vx83mQpL 0zTt61nB":            "has a blank or a character that is not printable ASCII",
	" Vx83mQpL0zTt61nB":            "has a blank or a character that is not printable ASCII",
	"Vx83mQpL0zTt61nBé":            "has a blank or a character that is not printable ASCII",
	"Vx83mQpL0zTt61nB\n":           "has a blank or a character that is not printable ASCII",
	"Vx83mQpL\x7f0zTt61nB":         "has a blank or a character that is not printable ASCII",
	"abcd1234abcd1234":             "is easy to guess: it is a short text repeated",
	"aabbaabbbaabbbba":             "is easy to guess: it has fewer than 5 different characters",
	"passwordpassword1":            "is easy to guess: it is made of sequences, repetitions and well-known words",
	"abcdefgh-hgfedcba-12":         "is easy to guess: it is made of sequences, repetitions and well-known words",
	"Corner ShopCorner":            "has a blank or a character that is not printable ASCII",
	"otpb_live_sk_of_my_own_one":   "starts with otpb_ and is mistyped or cut short",
}

// Every way to import a key has the same check, also in a sandbox: the two of the command line, the management API and
// the two of the sandbox refuse a key with the same words and make nothing.
func TestKeys_AreCheckedTheSameWhicheverWayTheyComeIn(t *testing.T) {
	t.Parallel()
	environ := variables(t)
	s := boot(t, environ...)
	token := ownerToken(t, s.URL(), environ)
	before := s.do("GET", "/sandbox/accounts", "").body
	command := func(input string, arguments ...string) string {
		var out, problems output
		code := run(arguments, process{environ: environ, stdin: strings.NewReader(input), stdout: &out, stderr: &problems})
		require.Equal(t, exitUnusable, code, "%q %q", arguments, input)
		return problems.String()
	}
	for key, words := range oddKeys {
		quoted, err := json.Marshal(key)
		require.NoError(t, err)
		account := `{"esme_address":"4712","access_keys":[{"key":` + string(quoted) + `}]}`
		for way, said := range map[string]string{
			"sandbox":        detailOf(t, s.do("POST", "/sandbox/accounts", account)),
			"sandbox's seed": detailOf(t, s.do("POST", "/sandbox/reset", `{"accounts":[`+account+`]}`)),
			"API": detailOf(t, s.do("POST", "/api/accounts", strings.Replace(account, "{", `{"make_secrets":true,`, 1),
				"Authorization", "Bearer "+token, "Content-Type", "application/json")),
			"account import": command(account, "account", "import", "--profile", "live", "--make-secrets", "-"),
		} {
			require.Contains(t, said, "access_keys[0].key: the key "+words, "%s: %q", way, key)
			require.NotContains(t, said, "key "+key, way)
		}
		if strings.TrimSpace(key) == key { // a file ends with a line break, and what is around the key is left out
			require.Contains(t, command(key, "key", "create", demoAddress, "--kind", "access_key", "--import-file", "-"),
				"import: the key "+words)
		}
	}
	require.Equal(t, before, s.do("GET", "/sandbox/accounts", "").body)
}

// detailOf returns a refusal's detail.
func detailOf(t *testing.T, a answer) string {
	t.Helper()
	refused(t, a, 400, "INVALID_REQUEST")
	return decoded(t, a)["detail"].(string)
}
