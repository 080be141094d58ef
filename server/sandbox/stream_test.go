package sandbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
)

func TestEvents(t *testing.T) {
	text, err := events(nil)
	require.NoError(t, err)
	require.Equal(t, ": still here\n\n", text, "a comment, which no client takes for a message")

	text, err = events([]engine.Message{{ID: "msg_1", Text: "two\nlines"}, {ID: "msg_2"}})
	require.NoError(t, err)
	require.Regexp(t,
		`^id: msg_1\nevent: message\ndata: \{.*"text":"two\\nlines".*\}\n\nid: msg_2\nevent: message\ndata: \{.*\}\n\n$`,
		text)
}

// The follower forgets settled messages, and reads the others again.
func TestFollower_SettlesInOrder(t *testing.T) {
	f := follower{told: map[string]time.Time{}}
	f.remember([]engine.Message{{ID: "msg_b"}, {ID: "msg_d"}})
	require.Equal(t, "msg_d", f.newest)
	f.settle()
	require.Empty(t, f.query.After, "one may still come before them")

	f.told["msg_b"] = time.Now().Add(-settled)
	f.remember([]engine.Message{{ID: "msg_c"}})
	require.Equal(t, "msg_d", f.newest, "msg_c came late")
	f.settle()
	require.Equal(t, "msg_b", f.query.After)
	require.Len(t, f.told, 2)

	f.told["msg_d"] = time.Now().Add(-settled)
	f.settle()
	require.Equal(t, "msg_b", f.query.After, "msg_c has not settled, so nothing above it has")
}
