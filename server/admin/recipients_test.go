package admin

import (
	"testing"

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
	support := d.member(t, people.Support, "4712")
	d.wants(t, 404, "NOT_FOUND", "POST", lookup, `{"account":"4711","to":"+919551492394"}`, support...)
	d.wants(t, 403, "PERMISSION_DENIED", "POST", lookup, `{"account":"4712","to":"+919551492394"}`,
		d.member(t, people.Auditor)...)
	require.NotContains(t, d.log.String(), "9551492394")
}
