package engine_test

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// house is an engine on a database of its own, as a sandbox runs it.
type house struct {
	*engine.Engine
	path   string
	faults *deliver.Faults
}

var peer = netip.MustParseAddr("127.0.0.1")

var keyringText = crypto.NewKeyringText("test")

func open(t testing.TB, path string) house { return openWith(t, path, func(*engine.Options) {}) }

func openWith(t testing.TB, path string, adjust func(*engine.Options)) house {
	t.Helper()
	ctx := context.Background()
	store, err := sql.Open(ctx, "sqlite:"+path, sql.Options{Sandbox: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	inbox, faults := deliver.NewInbox(), &deliver.Faults{}
	channels := []deliver.Channel{deliver.Faulty{Channel: inbox, Faults: faults}}
	options := engine.Options{
		Store: store, Keyring: keyring, SMS: channels, Email: channels,
		DeliveryWait: 5 * time.Second, Sandbox: true, Inbox: inbox, Faults: faults, Log: slog.New(slog.DiscardHandler),
	}
	adjust(&options)
	e, err := engine.New(ctx, options)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return house{e, path, faults}
}

func TestEngine_GeneratesResendsAndVerifiesOnce(t *testing.T) {
	ctx := context.Background()
	h := open(t, filepath.Join(t.TempDir(), "a #?b.db"))
	caller, err := h.Authenticate(ctx, otp.ServletDoor, "ZGVtby1hY2Nlc3Mta2V5MQ==", peer)
	require.NoError(t, err)
	target, err := h.Address(caller, "919551492394", "10.20.51.122", "")
	require.NoError(t, err)
	_, err = h.Generate(ctx, caller, target)
	require.NoError(t, err)
	_, err = h.Resend(ctx, caller, target)
	require.NoError(t, err)
	messages, err := h.Messages(ctx, engine.MessageQuery{To: "+91 95514-92394"})
	require.NoError(t, err)
	require.Len(t, messages, 2)
	require.Equal(t, messages[0].Code, messages[1].Code)
	require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(ctx, caller, target, "")))
	require.NoError(t, h.Verify(ctx, caller, target, messages[0].Code))
	require.Equal(t, otp.Used, otp.KindOf(h.Verify(ctx, caller, target, messages[0].Code)))
	for _, check := range h.Ready(ctx) {
		require.NoError(t, check.Err, check.Name)
	}
}
