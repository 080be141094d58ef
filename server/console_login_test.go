package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
)

// A reader with a second factor types the password once. Between the steps the browser keeps a mark that scripts and
// other sites cannot use, that nobody else has, and that is gone after the login.
func TestConsole_ThePasswordIsTypedOnce(t *testing.T) {
	o := newOwnedSandbox(t)
	o.agent.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	post := func(page, cookie string, fields ...string) answer {
		return o.do("POST", console.Path+page, formOf(fields...), "Content-Type", formType, "Origin", o.url, "Cookie", cookie)
	}
	const code = `name="mfa_code"`
	wrong := post("login", "", "email", "owner@shop.example", "password", "not the password")
	require.Equal(t, 401, wrong.status)
	require.NotContains(t, wrong.body, code)
	require.Empty(t, wrong.header.Values("Set-Cookie"))

	first := post("login", "", "email", "owner@shop.example", "password", ownerPassword, "to", "/console/keys")
	require.Equal(t, 401, first.status)
	require.Contains(t, first.body, code)
	require.NotContains(t, first.body, `type="password"`)
	require.NotContains(t, first.body, ownerPassword)
	set := first.header.Values("Set-Cookie")
	require.Len(t, set, 1, "no session yet")
	for _, attribute := range []string{"otpbridge-login=", "; HttpOnly", "; SameSite=Strict", "; Expires="} {
		require.Contains(t, set[0], attribute)
	}
	mark, _, _ := strings.Cut(set[0], ";")
	right := appCodeOf(t, o.app, 30*time.Second)
	for name, cookie := range map[string]string{"another browser": "", "forged": mark + "A", "twice": mark + "; " + mark} {
		other := post("login/code", cookie, "mfa_code", right)
		require.Equal(t, 401, other.status, name)
		require.Contains(t, other.body, `type="password"`, "%s begins again", name)
	}
	mistyped := post("login/code", mark, "mfa_code", "000000", "to", "/console/keys")
	require.Equal(t, 401, mistyped.status)
	require.Contains(t, mistyped.body, code, "the code alone is asked again")
	require.NotContains(t, mistyped.body, `type="password"`)

	done := post("login/code", mark, "mfa_code", right, "to", "/console/keys")
	require.Equal(t, 303, done.status, done.body)
	require.Equal(t, "/console/keys", done.header.Get("Location"))
	set = done.header.Values("Set-Cookie")
	require.Len(t, set, 2)
	require.Contains(t, set[0], "otpbridge-login=;", "the mark is gone")
	require.Contains(t, set[1], "otpbridge=")
	require.Equal(t, 401, post("login/code", mark, "mfa_code", right).status, "once")

	plain := post("login", "", "email", "dev@shop.example", "password", ownerPassword)
	require.Equal(t, 303, plain.status, "without a second factor the password is enough")
}
