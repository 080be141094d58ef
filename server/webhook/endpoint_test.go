package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

func text(s string) *string { return &s }

func TestCreate_RefusesWhatMakesNoSense(t *testing.T) {
	h := plain(t)
	url := text("https://hooks.example.com/otp")
	for name, tt := range map[string]struct {
		wish  Wish
		field string
	}{
		"no url":             {Wish{}, "url"},
		"no https":           {Wish{URL: text("http://hooks.example.com")}, "url"},
		"no host":            {Wish{URL: text("https:///otp")}, "url"},
		"a fragment":         {Wish{URL: text("https://hooks.example.com/#x")}, "url"},
		"unknown event":      {Wish{URL: url, Events: []string{"otp.sent", "otp.read"}}, "events"},
		"wrong case":         {Wish{URL: url, Events: []string{"OTP.sent"}}, "events"},
		"no events":          {Wish{URL: url, Events: []string{}}, "events"},
		"an event twice":     {Wish{URL: url, Events: []string{"otp.sent", "otp.sent"}}, "events"},
		"a wildcard in part": {Wish{URL: url, Events: []string{"otp.*"}}, "events"},
		"a test":             {Wish{URL: url, Events: []string{"webhook.test"}}, "events"},
		"unknown format":     {Wish{URL: url, Format: text("xml")}, "format"},
		"another header":     {Wish{URL: url, SignatureHeader: text("Authorization")}, "signature_header"},
		"unknown recipients": {Wish{URL: url, Recipients: text("some")}, "recipients"},
		"long description":   {Wish{URL: url, Description: text(strings.Repeat("ö", 1001))}, "description"},
		"right to left":      {Wish{URL: url, Description: text("abc\u202edef")}, "description"},
		"isolates":           {Wish{URL: url, Description: text("\u2066abc\u2069")}, "description"},
		"no width":           {Wish{URL: url, Description: text("a\u200bb")}, "description"},
		"a terminal's words": {Wish{URL: url, Description: text("\x1b[2J")}, "description"},
		"NUL":                {Wish{URL: url, Description: text("a\x00b")}, "description"},
		"no text":            {Wish{URL: url, Description: text("caf\xe9")}, "description"},
	} {
		_, err := h.Create(ctx, me, otp.ID{}, tt.wish)
		refusal, _ := err.(*otp.Error)
		require.NotNil(t, refusal, name)
		require.Equal(t, tt.field, refusal.Field, name)
	}
	all, err := h.List(ctx, me.Environment, me.Account)
	require.NoError(t, err)
	require.Empty(t, all)
	for range maxEndpoints {
		_, err := h.Create(ctx, me, otp.ID{}, Wish{URL: url})
		require.NoError(t, err)
	}
	_, err = h.Create(ctx, me, otp.ID{}, Wish{URL: url})
	require.Equal(t, otp.Invalid, otp.KindOf(err))
	_, err = h.Create(ctx, Asker{Account: "4712", Actor: me.Actor}, otp.ID{}, Wish{URL: url})
	require.Equal(t, otp.NotFound, otp.KindOf(err), "an account that nobody has")
}

// A key can neither switch on whole recipients nor send them to another URL, and sees only its own environment.
func TestEndpoint_AKeyCannotReachFurtherThanItsRights(t *testing.T) {
	h := plain(t)
	any := func(int64) error { return nil }
	e, _ := h.listen(t, "hooks.example.com", Wish{Recipients: text(full)})
	key := Asker{Account: me.Account, Actor: otp.Actor{Kind: "key"}}
	_, err := h.Create(ctx, key, otp.ID{}, Wish{URL: text("https://hooks.example.com"), Recipients: text(full)})
	require.Equal(t, otp.Forbidden, otp.KindOf(err))
	_, err = h.Change(ctx, key, e.ID, any, Wish{URL: text("https://elsewhere.example.com")})
	require.Equal(t, otp.Forbidden, otp.KindOf(err))
	_, err = h.Change(ctx, key, e.ID, any, Wish{Description: text("orders")})
	require.NoError(t, err)
	_, err = h.Change(ctx, key, e.ID, any, Wish{URL: text("https://elsewhere.example.com"), Recipients: text(masked)})
	require.Equal(t, otp.Forbidden, otp.KindOf(err), "in one step as well")

	key.Environment = otp.Test
	for name, ask := range map[string]func(by Asker) error{
		"find":   func(by Asker) error { _, err := h.Find(ctx, by, e.ID); return err },
		"change": func(by Asker) error { _, err := h.Change(ctx, by, e.ID, any, Wish{}); return err },
		"rotate": func(by Asker) error { _, err := h.Rotate(ctx, by, e.ID, any); return err },
		"delete": func(by Asker) error { return h.Delete(ctx, by, e.ID, any) },
		"test":   func(by Asker) error { _, err := h.Test(ctx, by, e.ID); return err },
		"failed": func(by Asker) error { _, err := h.Failed(ctx, by, e.ID, time.Now()); return err },
		"list":   func(by Asker) error { _, err := h.Deliveries(ctx, by, e.ID, DeliveryQuery{Limit: 1}); return err },
		"show":   func(by Asker) error { _, err := h.Delivery(ctx, by, e.ID, "wdl_1"); return err },
		"replay": func(by Asker) error {
			_, err := h.Replay(ctx, by, e.ID, Replay{Since: text("2026-01-01T00:00:00Z")})
			return err
		},
		"no such": func(by Asker) error { _, err := h.Find(ctx, me, "whk_1"); return err },
	} {
		require.Equal(t, otp.NotFound, otp.KindOf(ask(key)), name)
		require.Equal(t, otp.NotFound, otp.KindOf(ask(Asker{Account: "4712"})), name)
	}
	all, err := h.List(ctx, key.Environment, key.Account)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestRetryAfter_ReadsBothFormsAndBoundsThem(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "60": time.Minute, "86400": 24 * time.Hour, "86401": 24 * time.Hour, "-1": 0, "1.5": 0, "soon": 0,
		"99999999999999999999": 0, " 60": 0, now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
		now.Add(-time.Hour).Format(http.TimeFormat): 0, now.Add(1000 * time.Hour).Format(http.TimeFormat): 24 * time.Hour,
	} {
		require.Equal(t, want, retryAfter(header, now), header)
	}
}

// The audit log says what of a webhook was changed, and who has had whole recipients sent, but quotes no URL: that may
// hold a secret.
func TestChange_IsRecordedByItsMembers(t *testing.T) {
	h := plain(t)
	any := func(int64) error { return nil }
	e, _ := h.listen(t, "hooks.example.com", Wish{})
	_, err := h.Change(ctx, me, e.ID, any, Wish{URL: text("https://elsewhere.example.com/s3cret"), Recipients: text(full)})
	require.NoError(t, err)
	_, err = h.Change(ctx, me, e.ID, any, Wish{Description: text("orders"), Recipients: text(masked)})
	require.NoError(t, err)
	whole, _ := h.listen(t, "whole.example.com", Wish{Recipients: text(full)})
	var details []string
	require.NoError(t, sqltest.Connect(t, h.url).Select(&details,
		`SELECT details FROM changes WHERE kind IN ('webhook.created', 'webhook.changed') ORDER BY id`))
	require.Equal(t, []string{`{"webhook":"` + e.ID + `"}`,
		`{"changed":"url, recipients","recipients":"full","webhook":"` + e.ID + `"}`,
		`{"changed":"description, recipients","recipients":"masked","webhook":"` + e.ID + `"}`,
		`{"recipients":"full","webhook":"` + whole.ID + `"}`}, details)
}
