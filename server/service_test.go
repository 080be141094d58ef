package main

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

func TestService_GetsItsTokenFromAServerWhoseAPIIsOpen(t *testing.T) {
	for doors, want := range map[string]int{"servlet,api": 200, "servlet,v1": 404} {
		s := boot(t, variables(t, "OTPBRIDGE_DOORS="+doors, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s")...)
		made, secret, err := s.people.Services.Create(t.Context(), people.Operator(), people.NewService{
			Name: "cron", Grant: people.Grant{Role: people.Auditor}, Method: people.BySecret,
		})
		require.NoError(t, err)
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {made.ID}, "client_secret": {string(secret.Bytes())},
		}.Encode()
		got := s.from("127.0.0.1:1", "POST", people.TokenPath, form, "Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, want, got.Code, got.Body)
		require.NotContains(t, s.log.String(), string(secret.Bytes()))
		if want == 200 {
			require.Equal(t, 405, s.from("127.0.0.1:1", "GET", people.TokenPath, "").Code)
		}
	}
	s := boot(t, append(productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s")), "OTPBRIDGE_HTTPS=require")...)
	got := s.from("198.51.100.1:1", "POST", people.TokenPath,
		`{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}`,
		"Content-Type", "application/json")
	require.Equal(t, 403, got.Code)
	require.Contains(t, got.Body.String(), "HTTPS_REQUIRED")
}
