package main

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/people"
)

// A mail goes to the first mail server that accepts it. Other channels are not tried.
func TestPost_AsksMailServersInOrder(t *testing.T) {
	server, box := startMailbox(t)
	channels, err := deliver.Parse("smtp://127.0.0.1:1?tls=off&from=otp@shop.example&name=first,smtp://"+server+
		"?tls=off&from=otp@shop.example", deliver.Options{Medium: "email"})
	require.NoError(t, err)
	log := new(output)
	out := outlets{email: channels, operators: []string{"ops@shop.example"}}
	p := newPost(out, slog.New(slog.NewTextHandler(log, nil)))
	p.toPeople()(people.Mail{To: "dev@shop.example", Subject: "Your invitation to OTPBridge", Text: "the link\n"})
	p.toOperators()("OTPBridge alert: clock", "the clocks are 600 ms apart")
	p.close(t.Context())
	require.Len(t, box.ids, 2)
	require.Contains(t, box.ids[0], "mail_")
	require.Contains(t, log.String(), "was not sent", "of the first server")
	require.NotContains(t, log.String(), "dev@shop.example")

	inbox, err := deliver.Parse("inbox:", deliver.Options{Medium: "email", Sandbox: true, Inbox: deliver.NewInbox()})
	require.NoError(t, err)
	require.Nil(t, newPost(outlets{email: inbox}, nil).toPeople())
}
