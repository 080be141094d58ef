package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/audit"
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
	out := outlets{email: channels, operators: []string{"ops@shop.example"},
		keepers: []string{"auditor@elsewhere.example"}}
	p := newPost(out, slog.New(slog.NewTextHandler(log, nil)))
	p.toPeople()(people.Mail{To: "dev@shop.example", Subject: "Your invitation to OTPBridge", Text: "the link\n"})
	p.toOperators()("OTPBridge alert: clock", "the clocks are 600 ms apart")
	const note = "otpbridge-1\n12345\nsmb3ufYnvQB1DVtVyB4P1vRS1DtHYXUfsxIDaBnl/8Q=\n2026-11-29T12:00:00Z\n\n" +
		"— otpbridge-1 5iginVwjXvMzHfLxhbPnkwmYZ6gzSmaCcOQ0RQ2cYbG9QfSnN9pGkJ3v7Z0Cq2qzRWJp2lP0Vv8iXg1dQyXwzq0=\n"
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(mailCheckpoints - 1)} { // the second one is too soon
		p.checkpoint(audit.Checkpoint{Size: 12345, Note: note}, at)
	}
	p.close(t.Context())
	require.Len(t, box.ids, 3)
	require.Contains(t, strings.Join(box.texts, ""), "\n\n"+note, "verify reads it as it is in the mail")
	require.Contains(t, box.ids[0], "mail_")
	require.Contains(t, log.String(), "was not sent", "of the first server")
	require.NotContains(t, log.String(), "dev@shop.example")

	inbox, err := deliver.Parse("inbox:", deliver.Options{Medium: "email", Sandbox: true, Inbox: deliver.NewInbox()})
	require.NoError(t, err)
	require.Nil(t, newPost(outlets{email: inbox}, nil).toPeople())
}

// A checkpoint that no mail server took, as at the start of a machine, is mailed again soon and not a day later.
func TestPost_ACheckpointThatWasNotSentIsMailedAgain(t *testing.T) {
	server, box := startMailbox(t)
	open := func(address string) outlets {
		channels, err := deliver.Parse("smtp://"+address+"?tls=off&from=otp@shop.example", deliver.Options{Medium: "email"})
		require.NoError(t, err)
		return outlets{email: channels, keepers: []string{"auditor@elsewhere.example", "board@elsewhere.example"}}
	}
	p := newPost(open("127.0.0.1:1"), slog.New(slog.DiscardHandler))
	now := time.Now()
	p.checkpoint(audit.Checkpoint{Size: 1, Note: "1"}, now)
	p.running.Wait()
	p.servers = mailServers(open(server).email) // it is up now
	for i, later := range []time.Duration{mailAgain - 1, mailAgain, 2 * mailAgain} {
		p.checkpoint(audit.Checkpoint{Size: int64(i), Note: "note"}, now.Add(later))
		p.running.Wait()
	}
	p.close(t.Context())
	require.Len(t, box.ids, 2)
	require.Contains(t, strings.Join(box.texts, ""), "has 1 entries")
}
