package engine_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// A command that takes a production database for a sandbox leaves nothing that production refuses.
func TestOpen_LeavesNoMarkOfASandbox(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		opened, err := store.Open(background, string(at), store.Options{Sandbox: true})
		require.NoError(t, err)
		defer opened.Close()
		ring, err := crypto.ParseKeyring(keyringText)
		require.NoError(t, err)
		m, err := manage.Open(background, manage.Options{Store: opened, Keyring: ring, Sandbox: true})
		require.NoError(t, err)
		asked := manage.Imported{Account: otp.DefaultAccount("4711")}
		asked.MakeSecrets()
		made, err := m.Accounts.Import(background, []manage.Imported{asked}, false)
		require.NoError(t, err)
		require.Len(t, made[0].Keys, 1)
		require.NoError(t, m.RefuseSandboxRemains(background))
		e, err := engine.New(background, engine.Options{Store: opened, Keyring: ring, Sandbox: true,
			Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer e.Close()
		caller, err := e.Authenticate(background, otp.ServletDoor, asked.AccessKey, peer)
		require.NoError(t, err)
		require.Equal(t, otp.Live, caller.Environment)
	})
}

func TestUnlock_LiftsBothLocksAndIsRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		const address, number = "10000000000001", "919551492394"
		caller, err := h.Authenticate(background, otp.ServletDoor, "ZGVtby1hY2Nlc3Mta2V5MQ==", peer)
		require.NoError(t, err)
		target, err := caller.Target(number, "10.0.0.1", "")
		require.NoError(t, err)
		_, err = h.Generate(background, caller, target)
		require.NoError(t, err)
		db := byHand(t, at)
		lock := func(column string) {
			_, err := db.Exec(`UPDATE recipients SET ` + column + ` = 99999999999999, version = version + 1`)
			require.NoError(t, err)
		}
		_, err = h.Recipients.Unlock(background, address, otp.Test, number)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "not locked: the budget is not filled up by the way")

		lock("locked_until")
		require.Equal(t, otp.Locked, otp.KindOf(h.Verify(background, caller, target, "000000")))
		person, err := h.Recipients.Find(background, address, otp.Test, "+91 95514 92394")
		require.NoError(t, err)
		require.NotNil(t, person.LockedUntil)
		require.NotContains(t, person.Mask, "9551")
		event, err := h.Recipients.Unlock(background, address, otp.Test, number)
		require.NoError(t, err)
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, target, "x")), "the code is live again")

		var kind, door string
		require.NoError(t, db.QueryRow(`SELECT kind, door FROM events WHERE id = ?`, event[:]).Scan(&kind, &door))
		require.Equal(t, []string{"unlocked", "command"}, []string{kind, door})
		_, err = h.Inbox.List(background, engine.MessageQuery{To: number})
		require.NoError(t, err, "the inbox is not disturbed by it")

		_, err = h.Recipients.Unlock(background, address, otp.Live, number)
		require.Equal(t, otp.NotFound, otp.KindOf(err), "another environment is another recipient")
		_, err = h.Recipients.Unlock(background, "4799", otp.Test, number)
		require.Equal(t, otp.NotFound, otp.KindOf(err))
	})
}

func TestChange_WritesOnlyWhatWasNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		managed, err := h.Accounts.Find(background, "10000000000001")
		require.NoError(t, err)
		_, err = byHand(t, at).Exec(`UPDATE otp_auth_config SET otp_length = 8 WHERE esme_address = '10000000000001'`)
		require.NoError(t, err)
		changed := manage.Imported{Account: managed.Account}
		changed.TTLSeconds = 60
		require.NoError(t, h.Accounts.Change(background, changed, []string{"otp_ttl_seconds"}))
		now, err := h.Accounts.Find(background, "10000000000001")
		require.NoError(t, err)
		require.Equal(t, 8, now.Length, "what somebody changed with plain SQL meanwhile stays")
		require.Equal(t, 60, now.TTLSeconds)
	})
}
