package engine_test

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// house is an engine with a sandbox's settings.
type house struct {
	*engine.Engine
	*manage.Manager
	at     place
	faults *deliver.Faults
	store  *store.Store
}

// sweep removes what no rule uses any more.
func (h house) sweep(t testing.TB) {
	t.Helper()
	_, err := h.store.Sweep(context.Background(), otp.At(time.Now()))
	require.NoError(t, err)
}

var peer = netip.MustParseAddr("127.0.0.1")

var keyringText = crypto.NewKeyringText("test")

// place is the URL of a test's own database.
type place string

func TestMain(m *testing.M) { sqltest.Main(m) }

// onBoth runs a test on each database. In a synctest bubble inside it, time is fake for the engine and everything
// below, including the driver.
func onBoth(t *testing.T, test func(t *testing.T, at place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, place(migrated.At(t, filepath.Join(t.TempDir(), "odd # name?.db")))) })
	t.Run("mariadb", func(t *testing.T) { test(t, place(migrated.MariaDB(t))) })
}

// byHand opens the database directly, as an operator does.
func byHand(t testing.TB, at place) *sqlx.DB {
	t.Helper()
	return sqltest.Connect(t, string(at))
}

func open(t testing.TB, at place) house { return openWith(t, at, func(*engine.Options) {}) }

func openWith(t testing.TB, at place, adjust func(*engine.Options)) house {
	t.Helper()
	ctx := context.Background()
	opened, err := store.Open(ctx, string(at), store.Options{Sandbox: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	inbox, faults := deliver.NewInbox(), &deliver.Faults{}
	channels := []deliver.Channel{deliver.Faulty{Channel: inbox, Faults: faults}}
	options := engine.Options{
		Store: opened, Keyring: keyring, SMS: channels, Email: channels,
		DeliveryWait: 5 * time.Second, Sandbox: true, Inbox: inbox, Faults: faults, Log: slog.New(slog.DiscardHandler),
	}
	adjust(&options)
	e, err := engine.New(ctx, options)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return house{e, managerOf(t, options, e), at, faults, opened}
}

// managerOf returns a manager beside an engine, with the demo accounts created.
func managerOf(t testing.TB, o engine.Options, e *engine.Engine) *manage.Manager {
	t.Helper()
	m, err := manage.Open(context.Background(), manage.Options{
		Store: o.Store, Keyring: o.Keyring, Files: o.Files, Sandbox: o.Sandbox, Changed: e.Forget,
	})
	require.NoError(t, err)
	if o.Sandbox {
		require.NoError(t, m.Sandbox.SeedDemo(context.Background()))
	}
	return m
}

func TestEngine_GeneratesResendsAndVerifiesOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		h := open(t, at)
		caller, err := h.Authenticate(ctx, otp.ServletDoor, "ZGVtby1hY2Nlc3Mta2V5MQ==", peer)
		require.NoError(t, err)
		target, err := caller.Target("919551492394", "10.20.51.122", "")
		require.NoError(t, err)
		_, err = h.Generate(ctx, caller, target)
		require.NoError(t, err)
		_, err = h.Resend(ctx, caller, target)
		require.NoError(t, err)
		messages, err := h.Inbox.List(ctx, engine.MessageQuery{To: "+91 95514-92394"})
		require.NoError(t, err)
		require.Len(t, messages, 2)
		require.Equal(t, messages[0].Code, messages[1].Code)
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(ctx, caller, target, "")))
		require.NoError(t, h.Verify(ctx, caller, target, messages[0].Code))
		require.Equal(t, otp.Used, otp.KindOf(h.Verify(ctx, caller, target, messages[0].Code)))
		for _, check := range h.Ready(ctx) {
			require.NoError(t, check.Err, check.Name)
		}
	})
}
