package admin

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/people"
)

func TestWebhooks_AStoryFromMakingToDeleting(t *testing.T) {
	d := fresh(t)
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	const wish = `{"account":"4711","url":"https://hooks.shop.example/otp","events":["otp.verified"],"recipients":"full"}`
	made := d.wants(t, 201, "", "POST", "/api/webhooks", wish, who...)
	require.Regexp(t, `^whsec_`, made.member("secret"))
	require.Equal(t, `"1"`, made.header.Get("ETag"))
	path := "/api/webhooks/" + made.member("id")
	require.NotContains(t, d.wants(t, 200, "", "GET", path, "", who...).text, "whsec_")
	require.Len(t, d.wants(t, 200, "", "GET", "/api/webhooks?account=4711", "", who...).members["data"], 1)

	d.wants(t, 428, "PRECONDITION_REQUIRED", "PATCH", path, `{"enabled":false}`, who...)
	off := d.wants(t, 200, "", "PATCH", path, `{"enabled":false}`, append(who, "If-Match", `"1"`)...)
	require.Equal(t, "disabled", off.member("off_reason"))
	d.wants(t, 412, "PRECONDITION_FAILED", "PATCH", path, `{"enabled":true}`, append(who, "If-Match", `"1"`)...)
	rotated := d.wants(t, 200, "", "POST", path+"/rotate", `{}`, append(who, "If-Match", `"2"`)...)
	require.NotEqual(t, made.member("secret"), rotated.member("secret"))
	require.Empty(t, d.wants(t, 200, "", "GET", path+"/deliveries?state=dead", "", who...).members["data"])
	require.Equal(t, 0.0, d.wants(t, 200, "", "GET", path+"/replay?since=2026-01-01T00:00:00Z", "",
		who...).members["count"])
	d.wants(t, 200, "", "POST", path+"/replay", `{"since":"2026-01-01T00:00:00Z"}`, who...)
	require.Equal(t, []int{1, 1, 1, 1}, []int{d.recorded(t, "webhook.created"), d.recorded(t, "webhook.changed"),
		d.recorded(t, "webhook.secret_rotated"), d.recorded(t, "webhook.replayed")})
	d.wants(t, 204, "", "DELETE", path, "", append(who, "If-Match", "*")...)
	d.wants(t, 404, "NOT_FOUND", "GET", path, "", who...)
	for _, secret := range []string{made.member("secret"), rotated.member("secret")} {
		require.NotContains(t, d.log.String(), secret)
	}
}

func TestWebhooks_WhatIsAskedWronglyOrByOthersIsRefused(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "12")
	who := d.proved(t)
	d.wants(t, 201, "", "POST", "/api/accounts", shopAccount, who...)
	made := d.wants(t, 201, "", "POST", "/api/webhooks", `{"account":"4711","url":"https://hooks.shop.example"}`, who...)
	path := "/api/webhooks/" + made.member("id")
	foreign, auditor := d.member(t, people.Auditor, "12"), d.member(t, people.Auditor)
	for _, tt := range []struct {
		who                []string
		status             int
		code               string
		method, path, body string
	}{
		{who, 400, "INVALID_REQUEST", "GET", "/api/webhooks?cursor=whk_1", ""},
		{who, 400, "INVALID_REQUEST", "GET", path + "/deliveries?sort=state", ""},
		{who, 400, "INVALID_REQUEST", "GET", "/api/webhooks?account=4711&page=2", ""},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"url":"https://hooks.shop.example"}`},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"account":"4711"}`},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"account":"4711","url":null}`},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"account":"4711","url":"https://10.0.0.1/"}`},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"account":"4711","url":"https://a.example","secret":"x"}`},
		{who, 400, "INVALID_REQUEST", "POST", "/api/webhooks", `{"account":"4711","url":"https://a.example","environment":"prod"}`},
		{who, 400, "INVALID_REQUEST", "GET", path + "/deliveries?state=lost", ""},
		{who, 400, "INVALID_REQUEST", "GET", path + "/deliveries?cursor=5", ""},
		{who, 400, "INVALID_REQUEST", "GET", path + "/replay?since=yesterday", ""},
		{who, 400, "INVALID_REQUEST", "POST", path + "/replay", `{}`},
		{who, 404, "NOT_FOUND", "GET", path + "/deliveries/wdl_1", ""},
		{who, 404, "NOT_FOUND", "GET", "/api/webhooks/whk_1", ""},
		{foreign, 404, "NOT_FOUND", "GET", path, ""},
		{foreign, 404, "NOT_FOUND", "GET", "/api/webhooks?account=4711", ""},
		{auditor, 403, "PERMISSION_DENIED", "POST", path + "/test", ""},
		{auditor, 200, "", "GET", path, ""},
	} {
		d.wants(t, tt.status, tt.code, tt.method, tt.path, tt.body, tt.who...)
	}
	d.wants(t, 204, "", "DELETE", "/api/accounts/4711", `{"confirm":"Shop"}`, who...)
	d.wants(t, 404, "NOT_FOUND", "GET", path, "", who...)
}
