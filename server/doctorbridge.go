package main

import (
	"context"
	"net/http"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// bridges checks the accounts that are moving from another service, and their calls of the last week.
func (f *findings) bridges(ctx context.Context, guard *deliver.Guard, store *sql.Store,
	accounts []manage.ManagedAccount) {
	now := otp.At(time.Now())
	client := guard.Client(5 * time.Second)
	defer client.CloseIdleConnections()
	for i := range accounts {
		a := &accounts[i].Account
		if a.UpstreamURL != nil && (a.Bridge != otp.BridgeLocal || a.Handling(now).Mode != otp.BridgeLocal) {
			f.upstream(ctx, guard, client, a)
		}
		if a.CutOverAt == nil && a.ServletsSunsetAt == nil {
			continue
		}
		counts, err := store.Calls.Since(ctx, now-7*otp.Day, []string{a.Address})
		if err != nil {
			f.fail("cut-over", "see the message", "%v", err)
			return
		}
		f.lateCalls(a, counts, now)
	}
	for _, check := range []string{"upstreams", "cut-over", "servlets"} {
		if !f.found(check) {
			f.pass(check, "in order, %d looked at", len(accounts))
		}
	}
}

// upstream checks that an account's upstream may be called and answers. Its request has no key.
func (f *findings) upstream(ctx context.Context, guard *deliver.Guard, client *http.Client, a *otp.Account) {
	if _, err := guard.ParseBase(*a.UpstreamURL); err != nil {
		f.fail("upstreams", "otpbridge account upstream "+a.Address+" https://HOST/PATH",
			"account %s: upstream_url %v, so its servlets answer ERROR", a.Address, err)
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, *a.UpstreamURL, nil)
	if err == nil {
		var response *http.Response
		if response, err = client.Do(request); err == nil {
			response.Body.Close()
			return
		}
	}
	f.warn("upstreams", "let this machine reach it, or correct it with otpbridge account upstream "+a.Address,
		"account %s: its upstream does not answer: %s", a.Address, deliver.Phrase(err))
}

// lateCalls finds calls that were passed on after the cut-over, and servlet calls after the servlets' sunset.
func (f *findings) lateCalls(a *otp.Account, counts []sql.CallCount, now otp.Millis) {
	var passedOn, callers int64
	for _, n := range counts {
		if a.CutOverAt != nil && n.Passed != "" && n.LastAt > *a.CutOverAt {
			if h := a.Handling(n.LastAt); h.Mode == otp.BridgeLocal && !h.HandOver {
				passedOn += n.Calls
			}
		}
		if a.ServletsSunsetAt != nil && n.Door == string(otp.ServletDoor) && n.LastAt > *a.ServletsSunsetAt {
			callers += n.Calls
		}
	}
	if passedOn > 0 {
		f.warn("cut-over", "update and restart every server, and synchronise their clocks",
			"account %s: its calls were passed on after its cut-over was over, in hours with %d of them", a.Address, passedOn)
	}
	if callers > 0 && now > *a.ServletsSunsetAt {
		f.warn("servlets", "otpbridge migration report --account "+a.Address+" says who; with servlets_grace=1 they go on",
			"account %s: its servlets have ended and are still called, in hours with %d calls", a.Address, callers)
	}
}
