//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

// peopleCases are a stranger's requests with a known and with an unknown address or token. Each request comes from
// another network, because guesses are counted by network.
func peopleCases(t *testing.T, s *booted) []timed {
	const password = "tandem-marzipan-kayak-41"
	known := "owner@shop.example"
	_, err := s.people.Register(t.Context(), people.Registration{Email: known, Password: password, Name: "Olga"},
		people.Client{})
	require.NoError(t, err)
	all, err := s.people.Staff.List(t.Context(), people.Operator())
	require.NoError(t, err)
	used, err := s.people.Staff.Recover(t.Context(), people.Operator(), all[0].ID)
	require.NoError(t, err)
	require.NoError(t, s.people.Recover(t.Context(), used.Token, password, people.Client{}))
	unknown := used.Token[:len(used.Token)-8] + strings.Repeat("A", 8)

	network := uint32(10 << 24)
	ask := func(path, body string) func() *http.Request {
		return func() *http.Request {
			network += 1 << 8
			r := httptest.NewRequest("POST", "https://127.0.0.1/api/auth/"+path, strings.NewReader(body))
			from := netip.AddrFrom4([4]byte{byte(network >> 24), byte(network >> 16), byte(network >> 8), 1})
			r.RemoteAddr = netip.AddrPortFrom(from, 1).String()
			r.Header.Set("Content-Type", "application/json")
			return r
		}
	}
	login := func(email string) func() *http.Request {
		return ask("login", fmt.Sprintf(`{"email":%q,"password":"quartz violin harbour 77"}`, email))
	}
	register := func(email string) func() *http.Request {
		return ask("register", fmt.Sprintf(`{"email":%q,"password":%q,"name":"Olga","invitation":%q}`, email, password,
			unknown))
	}
	recovery := func(token string) func() *http.Request {
		return ask("recover", fmt.Sprintf(`{"recovery_token":%q,"password":%q}`, token, password))
	}
	const stranger = "other@shop.example"
	return []timed{
		{"login, unknown address", [2]func() *http.Request{login(known), login(stranger)}, 300},
		{"registration, unknown address", [2]func() *http.Request{register(known), register(stranger)}, 300},
		{"recovery, unknown token", [2]func() *http.Request{recovery(used.Token), recovery(unknown)}, 300},
	}
}

// The time of an answer, which is that of hashing one password, does not reveal whether an address is known.
func TestTiming_AddressesAreNotToldApart(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("times are measured by make timing")
	}
	s := boot(t, variables(t, "OTPBRIDGE_LOG_LEVEL=error")...)
	for _, c := range peopleCases(t, s) {
		t.Run(c.name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			s.http.Handler.ServeHTTP(answer, c.ask[0]())
			require.Regexp(t, `"code":"(AUTH_001|REGISTRATION_CLOSED)"`, answer.Body.String())
			require.False(t, c.differs(t, s.http.Handler), "its time tells what the answer does not")
		})
	}
}
