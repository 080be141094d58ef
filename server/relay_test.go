package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

func TestRelay_ReachesAllowedRecipientsAlone(t *testing.T) {
	gateway := newGateway(t, http.StatusOK)
	const allowed = "OTPBRIDGE_SANDBOX_RELAY_RECIPIENTS=+919551490001,Me@shop.example"
	s := boot(t, variables(t, allowed, "OTPBRIDGE_SMS_CHANNELS=inbox:,"+gateway.url("gateway"),
		"OTPBRIDGE_EMAIL_CHANNELS=inbox:")...)
	account := s.account(`{"email_enabled":true}`)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", account.AccessKey,
		person("919551492394", "email", "person@customer.example")))
	sms, mail := s.messages("to=919551492394")[0], s.messages("to=person@customer.example")[0]
	relay := func(id, body string) answer { return s.do("POST", "/sandbox/messages/"+id+"/relay", body) }

	for _, to := range []string{"", "+919551492394", "919551490001", "+919551490001,+919551492394",
		"person@customer.example"} {
		wrong := relay(sms.ID, `{"to":"`+to+`"}`)
		refused(t, wrong, 400, "INVALID_REQUEST")
		require.Contains(t, wrong.body, `"/to"`)
		require.Contains(t, wrong.body, "OTPBRIDGE_SANDBOX_RELAY_RECIPIENTS")
	}
	refused(t, relay(sms.ID, `{"to":"me@shop.example"}`), 400, "INVALID_REQUEST")
	refused(t, relay(mail.ID, `{"to":"+919551490001"}`), 400, "INVALID_REQUEST")
	refused(t, relay(mail.ID, `{"to":"me@shop.example"}`), 403, "FEATURE_OFF")
	refused(t, relay(sms.ID, `{"to":"+919551490001","from":"x"}`), 400, "INVALID_REQUEST")
	for _, id := range []string{"msg_none", sms.ID + "x", sms.ChallengeID, "msg_06bq3c7k5sqn2e8v4g1t9hp0mc-sms"} {
		refused(t, relay(id, `{"to":"+919551490001"}`), 404, "NOT_FOUND")
	}
	require.Equal(t, 403, s.do("POST", "/sandbox/messages/"+sms.ID+"/relay", `{"to":"+919551490001"}`, "Origin",
		"https://evil.example").status)
	require.Empty(t, gateway.all(), "nothing was sent so far, the code itself neither")

	sent := relay(sms.ID, `{"to":"+919551490001"}`)
	require.Equal(t, 200, sent.status, sent.body)
	require.JSONEq(t, `{"channel":"gateway","outcome":"sent"}`, sent.body)
	require.Len(t, gateway.all(), 1)
	require.Equal(t, "+919551490001", gateway.all()[0]["to"])
	require.Equal(t, sms.Text, gateway.all()[0]["text"])
	require.Len(t, s.messages(""), 2, "a relay is no message of its own")
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", account.AccessKey,
		person("919551492394", "otp", encrypted(t, account.CipherKey, account.CipherIV, sms.Code))))

	require.Equal(t, 204, s.do("DELETE", "/sandbox/messages", "").status)
	refused(t, relay(sms.ID, `{"to":"+919551490001"}`), 404, "NOT_FOUND")

	_, err := config.Load(variables(t, allowed, "OTPBRIDGE_MODE=production"))
	require.ErrorContains(t, err, "OTPBRIDGE_SANDBOX_RELAY_RECIPIENTS")
}

func TestRelay_SaysWhyNoChannelTookIt(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	s := boot(t, variables(t, "OTPBRIDGE_SANDBOX_RELAY_RECIPIENTS=+919551490001",
		"OTPBRIDGE_SMS_CHANNELS=inbox:,"+dead.URL+"/?to={to}&text={text}#name=dead")...)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	a := s.do("POST", "/sandbox/messages/"+s.messages("")[0].ID+"/relay", `{"to":"+919551490001"}`)
	refused(t, a, 502, "UNDELIVERED")
	require.Contains(t, a.body, "dead: the connection was refused")
}
