package admin

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

func TestMessages_APreviewSaysWhatAnSMSCosts(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4711","otp_cipher":"none","name":"Shop",
		"dlt_entity_id":"1101","templates":{"login/sms":"{code} logs you in to {account}","login/email":"Subject: {account}\n\n{code}"}}`, who...)
	const path = "/api/accounts/4711/templates/preview"
	p := d.wants(t, 200, "", "POST", path, `{"medium":"sms","template":"login"}`, who...)
	require.Equal(t, "123456 logs you in to Shop", p.member("text"))
	require.Equal(t, "1101", p.member("dlt_entity_id"))
	require.Equal(t, map[string]any{"encoding": "GSM-7", "units": 26.0, "count": 1.0, "left": 134.0},
		p.members["segments"])
	p = d.wants(t, 200, "", "POST", path, `{"medium":"sms","text":"DLT-Template-ID: 22\n\n{code} – {validity}"}`, who...)
	require.Equal(t, "22", p.member("dlt_template_id"))
	require.Equal(t, "UCS-2", p.members["segments"].(map[string]any)["encoding"])
	require.Len(t, p.members["warnings"], 1)
	p = d.wants(t, 200, "", "POST", path, `{"medium":"email","template":"login"}`, who...)
	require.Equal(t, "Shop", p.member("subject"))
	require.Nil(t, p.members["segments"])
	for _, body := range []string{
		`{}`, `{"medium":"fax"}`, `{"medium":"sms","template":"none"}`, `{"medium":"sms","text":"no code"}`,
		`{"medium":"sms","text":"{code}{"}`, `{"medium":"sms","text":"{nope} {code}"}`, `{"medium":"sms","text":"a","template":"login"}`,
		`{"medium":"email","text":"WebOTP: shop.example\n\n{code}"}`, `{"medium":"sms","text":"\u0000{code}"}`,
		`{"medium":"sms","size":1}`,
	} {
		d.wants(t, 400, "INVALID_REQUEST", "POST", path, body, who...)
	}
	d.wants(t, 404, "NOT_FOUND", "POST", "/api/accounts/4799/templates/preview", `{"medium":"sms"}`, who...)
}

func TestMessages_ATestMessageGoesThroughTheAccountsChannels(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	d.wants(t, 201, "", "POST", "/api/accounts", `{"esme_address":"4712","otp_cipher":"none"}`, who...)
	own := d.wants(t, 200, "", "GET", "/api/accounts/4711/channels", "", who...)
	require.NotContains(t, own.text, "hunter2secret")
	require.Equal(t, true, own.members["sms"].(map[string]any)["own"])
	require.Contains(t, own.text, "sms.example.com")
	const path = "/api/accounts/4712/send-test"
	sent := d.wants(t, 200, "", "POST", path, `{"to":"+919551492394"}`, who...)
	require.Equal(t, "sent", sent.member("outcome"))
	require.Equal(t, 1, d.recorded(t, "account.test_message_sent"))
	for _, body := range []string{`{}`, `{"to":"955"}`, `{"to":"+447700900123"}`, `{"to":"a@"}`, `{"to":"a@b.example"}`,
		`{"to":"+919551492394","channel":"none"}`} {
		d.wants(t, 400, "INVALID_REQUEST", "POST", path, body, who...)
	}
	d.wants(t, 403, "PERMISSION_DENIED", "POST", path, `{"to":"+919551492394"}`, d.member(t, people.Developer)...)
}
