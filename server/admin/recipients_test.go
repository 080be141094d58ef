package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

func TestRecipients_AreLookedUpByTheWholeNumberAndUnlockedWithAReason(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4712","otp_cipher":"none"}`, who...)
	const lookup, unlock = "/api/recipients/lookup", "/api/recipients/unlock"
	d.wants(t, 404, "NOT_FOUND", "POST", lookup, `{"account":"4711","to":"+919551492394"}`, who...)
	require.Equal(t, 1, d.recorded(t, "recipient.read"), "that somebody asked is recorded")
	for _, tt := range []struct {
		status           int
		code, path, body string
	}{
		{400, "INVALID_REQUEST", lookup, `{"account":"4711"}`},
		{400, "INVALID_REQUEST", lookup, `{"to":"+919551492394"}`},
		{400, "INVALID_REQUEST", lookup, `{"account":"4711","to":"955"}`},
		{400, "INVALID_REQUEST", lookup, `{"account":"4711","to":"a@"}`},
		{400, "INVALID_REQUEST", lookup, `{"account":"4711","to":"+919551492394","environment":"prod"}`},
		{400, "INVALID_REQUEST", lookup, `{"account":"4711","to":"+919551492394","mask":true}`},
		{404, "NOT_FOUND", lookup, `{"account":"4799","to":"+919551492394"}`},
		{400, "INVALID_REQUEST", unlock, `{"account":"4711","to":"+919551492394"}`},
		{400, "INVALID_REQUEST", unlock, `{"account":"4711","to":"+919551492394","reason":" "}`},
		{400, "INVALID_REQUEST", unlock, `{"account":"4711","to":"+919551492394","reason":"a\u202eb"}`},
		{404, "NOT_FOUND", unlock, `{"account":"4711","to":"+919551492394","reason":"called us"}`},
	} {
		d.wants(t, tt.status, tt.code, "POST", tt.path, tt.body, who...)
	}
	long := `{"account":"` + strings.Repeat("x", 300) + `","to":"+919551492394"}`
	d.wants(t, 404, "NOT_FOUND", "POST", lookup, long, who...)
	require.Equal(t, 1, d.recorded(t, "recipient.read"), "in an account that does not exist nothing was looked up")
	support := d.member(t, people.Support, "4712")
	d.wants(t, 404, "NOT_FOUND", "POST", lookup, `{"account":"4711","to":"+919551492394"}`, support...)
	d.wants(t, 403, "PERMISSION_DENIED", "POST", lookup, `{"account":"4712","to":"+919551492394"}`,
		d.member(t, people.Auditor)...)
	require.NotContains(t, d.log.String(), "9551492394")
}

func TestTestRecipients_AreMadeShownMaskedAndRemoved(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4712","otp_cipher":"none"}`, who...)
	const path = "/api/accounts/4711/test-recipients"
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	asked := `{"number":"+919551492394","code":"246810","reason":"app review","expires_at":"` + until + `"}`
	made := d.wants(t, 201, "", "POST", path, asked, who...)
	require.NotContains(t, made.text, "246810")
	require.NotContains(t, made.text, "955149")
	require.Equal(t, until, made.member("expires_at"))
	d.wants(t, 400, "INVALID_REQUEST", "POST", path, asked, who...)
	d.wants(t, 400, "INVALID_REQUEST", "POST", path, `{"number":"+919551492395","code":"246810","reason":"x"}`, who...)
	list := d.wants(t, 200, "", "GET", path, "", who...)
	require.Equal(t, []any{made.members}, list.members["data"])
	id := made.member("id")
	d.wants(t, 404, "NOT_FOUND", "DELETE", "/api/accounts/4712/test-recipients/"+id, "", who...)
	d.wants(t, 404, "NOT_FOUND", "DELETE", path+"/key_00000000000000000000000001", "", who...)
	d.wants(t, 403, "PERMISSION_DENIED", "POST", path, asked, d.member(t, people.Developer)...)
	d.wants(t, 204, "", "DELETE", path+"/"+id, "", who...)
	require.Empty(t, d.wants(t, 200, "", "GET", path, "", who...).members["data"])
	require.Equal(t, []int{1, 1}, []int{d.recorded(t, "test_recipient.added"), d.recorded(t, "test_recipient.removed")})
	require.NotContains(t, d.log.String(), "246810")
}

func TestGuards_WhatIsNotStoppedIsNotLifted(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	const path = "/api/accounts/4711/stopped-prefixes"
	list := d.wants(t, 200, "", "GET", path, "", d.member(t, people.Support)...)
	require.Equal(t, []any{}, list.members["data"])
	require.Contains(t, list.members, "spend_today")
	d.wants(t, 404, "NOT_FOUND", "DELETE", path+"/+919551", "", who...)
	d.wants(t, 404, "NOT_FOUND", "GET", "/api/accounts/4799/stopped-prefixes", "", who...)
	d.wants(t, 403, "PERMISSION_DENIED", "DELETE", path+"/+919551", "", d.member(t, people.Developer)...)
}
