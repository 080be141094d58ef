package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/otp"
)

// watched brings what happened until now, and a range of numbers that was stopped, onto the page Security.
func (b *booted) watched(t *testing.T) {
	t.Helper()
	now := otp.At(time.Now())
	b.counts.Events([]otp.Event{{Kind: otp.EventPrefixStop, Account: "10000000000001", Environment: otp.Live,
		Sending: otp.Sending{Channels: otp.SMS, Prefix: "919876"}}}, now)
	require.NoError(t, b.insight.Write(t.Context(), now))
	require.NoError(t, b.insight.Evaluate(t.Context(), now))
}

// An operator sees what happened and of what they are warned, says that they know, and reviews the checklist.
func TestConsole_SecurityIsWatched(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919876543210"))
	s.servlet("otpgenservlet", "nobody-has-this-key", person("919876543210"))
	s.watched(t)
	b := newBrowser(t, s.URL())
	b.open(console.Path + "watch")
	for _, text := range []string{"prefix_stopped", "+919876", "Why, and lift", "servlet unknown_credential", "IP2Location",
		"Keys are rotated every 90 days"} {
		b.sees(text)
	}
	b.press("Acknowledge prefix_stopped +919876")
	b.sees("It is noted that you know")
	b.sees("acknowledged")
	b.open(console.Path + "watch?span=week&account=10000000000001")
	b.sees("By day")
	response := s.do("POST", console.Path+"watch/review", "item=csrf&note=looked", "Content-Type",
		"application/x-www-form-urlencoded", "Origin", s.URL())
	require.Contains(t, []int{200, 303}, response.status, response.body)
	b.open(console.Path + "watch")
	b.sees("looked")
}
