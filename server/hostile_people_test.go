package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// Whatever stands in the paths, queries, headers and forms of the doors for people, nothing fails in MariaDB, which
// refuses what SQLite stores, and nothing of it keeps the server from counting and sealing what others do.
func TestHostileTexts_AtTheDoorsForPeople(t *testing.T) {
	t.Parallel()
	environ := variables(t, "OTPBRIDGE_DATABASE_URL="+sqltest.Shared(t).Schema(t))
	s := boot(t, environ...)
	token := ownerToken(t, s.URL(), environ)
	cookie, csrf := s.browserSession(token)
	const shop, long = "10000000000001", "a blank and much else: <<<<"
	bearer := []string{"Authorization", "Bearer " + token, "X-Request-Id", strings.Repeat("r", 128)}
	session := []string{"Cookie", cookie, "Content-Type", formType, "Origin", s.url, "X-Request-Id",
		strings.Repeat("r", 65)}
	ask := func(name, method, path, body string, headers ...string) {
		t.Helper()
		a := s.do(method, path, body, headers...)
		require.Less(t, a.status, 500, "%s %s: %.300s", method, name, a.body)
	}
	texts := []string{strings.Repeat(long, 30), hostileTexts["Latin-1"], shop + " "}
	for _, field := range []string{"account", "action", "actor", "address", "credential", "result"} {
		for _, text := range append(texts, strings.Repeat("<", 12_000)) {
			query := "audit?" + url.Values{field: {text}}.Encode()
			ask(query, "GET", "/api/"+query, "", bearer...)
			ask(query, "GET", "/console/"+query, "", session...)
		}
	}
	for _, list := range []string{"accounts", "people", "webhooks", "migration", "alerts"} {
		for _, text := range append(texts, hostileTexts["NUL"], hostileTexts["four bytes"], hostileTexts["quotes"], "%_[a-") {
			for _, field := range []string{"search", "cursor", "sort=name&cursor", "sort=account&cursor", "sort", "state",
				"mode", "role", "account"} {
				query := list + "?" + field + "=" + url.QueryEscape(text)
				ask(query, "GET", "/api/"+query, "", bearer...)
				ask(query, "GET", "/console/"+query, "", session...)
			}
		}
	}
	form := url.Values{"csrf": {csrf}}
	for _, field := range strings.Fields("account certificate channel checkpoints code confirm countries days delivery " +
		"department description email environment events format id item mode name note number prefix reason role template " +
		"text to type url version") {
		form.Set(field, texts[0])
	}
	for _, route := range s.router().Routes() {
		path := func(text string) string { return pathParameter.ReplaceAllString(route.Path, url.PathEscape(text)) }
		isAPI := strings.HasPrefix(route.Path, "/api/")
		switch {
		case !isAPI && !strings.HasPrefix(route.Path, "/console/"), strings.HasSuffix(route.Path, "/live"),
			strings.Contains(route.Path, "log"), strings.Contains(route.Path, "/security"),
			strings.HasPrefix(route.Path, "/api/auth/"): // they would end the session, or are slow: they ask for a password
		case isAPI && strings.Contains(route.Path, ":"):
			for _, text := range texts {
				ask(route.Path, route.Method, path(text), `{"x":1}`, append(bearer, "Content-Type", "application/json")...)
			}
		case !isAPI && route.Method == http.MethodPost:
			ask(route.Path, route.Method, path(shop), form.Encode(), session...)
		case !isAPI && strings.Contains(route.Path, ":"):
			ask(route.Path, route.Method, path(texts[1]), "", session...)
		}
	}
	require.Equal(t, 404, s.do("GET", "/api/accounts/"+shop+"%20", "", bearer...).status, "MariaDB pads with blanks")
	require.Equal(t, 404, s.do("POST", "/api/keys", `{"account":"`+shop+` "}`,
		append(bearer, "Content-Type", "application/json")...).status)
	now := otp.At(time.Now())
	require.NoError(t, s.insight.Write(t.Context(), now))
	_, err := s.audit.Seal(t.Context())
	require.NoError(t, err)
	require.NotContains(t, s.log.String(), "level=ERROR")
}
