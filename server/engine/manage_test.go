package engine_test

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// A command that opens a production database as a sandbox leaves nothing that production refuses.
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
		made, err := m.Accounts.Import(background, otp.Actor{}, []manage.Imported{asked}, false)
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
		_, err = h.Recipients.Unlock(background, otp.Actor{}, address, otp.Test, number, "called us")
		require.Equal(t, otp.Invalid, otp.KindOf(err), "not locked: the budget is not filled up by the way")

		lock("locked_until")
		require.Equal(t, otp.Locked, otp.KindOf(h.Verify(background, caller, target, "000000")))
		person, err := h.Recipients.Find(background, address, otp.Test, "+91 95514 92394")
		require.NoError(t, err)
		require.NotNil(t, person.LockedUntil)
		require.NotContains(t, person.Mask, "9551")
		event, err := h.Recipients.Unlock(background, otp.Actor{}, address, otp.Test, number, "called us")
		require.NoError(t, err)
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, target, "x")), "the code is live again")

		var kind, door string
		require.NoError(t, db.QueryRow(`SELECT kind, door FROM events WHERE id = ?`, event[:]).Scan(&kind, &door))
		require.Equal(t, []string{"unlocked", "command"}, []string{kind, door})
		var account, details string
		require.NoError(t, db.QueryRow(`SELECT esme_address, details FROM changes WHERE kind = 'recipient.unlocked'`).Scan(
			&account, &details))
		require.Equal(t, address, account)
		require.Contains(t, details, "called us")
		require.NotContains(t, details, "9551")
		_, err = h.Inbox.List(background, engine.MessageQuery{To: number})
		require.NoError(t, err, "the inbox is not disturbed by it")

		_, err = h.Recipients.Unlock(background, otp.Actor{}, address, otp.Live, number, "called us")
		require.Equal(t, otp.NotFound, otp.KindOf(err), "another environment is another recipient")
		_, err = h.Recipients.Unlock(background, otp.Actor{}, "4799", otp.Test, number, "called us")
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
		managed.TTLSeconds = 60
		require.NoError(t, changeTo(h, managed.Account, "otp_ttl_seconds"))
		now, err := h.Accounts.Find(background, "10000000000001")
		require.NoError(t, err)
		require.Equal(t, 8, now.Length, "what somebody changed with plain SQL meanwhile stays")
		require.Equal(t, 60, now.TTLSeconds)
	})
}

// changeTo sets columns of an account to their values in to.
func changeTo(h house, to otp.Account, columns ...string) error {
	_, err := h.Accounts.Change(background, manage.Edit{Account: to.Address, Columns: columns,
		Set: func(n *manage.Imported) error {
			n.Account = to
			return nil
		}})
	return err
}

// Of 64 changes based on the same version of the account, through two servers, one is made, and recorded once.
func TestChange_OneOfThoseWithOneVersionRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		servers := []house{open(t, at), open(t, at)}
		const address = "10000000000001"
		was, err := servers[0].Accounts.Find(background, address)
		require.NoError(t, err)
		read := servers[0].Accounts.Version(&was.Account)
		match := func(version int64) error {
			if version != read {
				return otp.Refuse(otp.Outdated, "")
			}
			return nil
		}
		outcomes := make([]error, 64)
		var all sync.WaitGroup
		for i := range outcomes {
			all.Go(func() {
				_, outcomes[i] = servers[i%2].Accounts.Change(background, manage.Edit{
					Account: address, Match: match, Columns: []string{"otp_ttl_seconds"},
					Set: func(n *manage.Imported) error { n.TTLSeconds = 60 + i%2; return nil },
				})
			})
		}
		all.Wait()
		made := 0
		for _, err := range outcomes {
			if err == nil {
				made++
				continue
			}
			require.Equal(t, otp.Outdated, otp.KindOf(err), "%v", err)
		}
		require.Equal(t, 1, made)
		recorded := 0
		require.NoError(t, byHand(t, at).QueryRow(`SELECT COUNT(*) FROM changes WHERE kind = 'account.changed'`).Scan(&recorded))
		require.Equal(t, 1, recorded)
		same, err := servers[1].Accounts.Find(background, address)
		require.NoError(t, err)
		_, err = servers[1].Accounts.Change(background, manage.Edit{Account: address, Columns: []string{"otp_ttl_seconds"},
			Set: func(*manage.Imported) error { return nil }})
		require.NoError(t, err)
		again, err := servers[1].Accounts.Find(background, address)
		require.NoError(t, err)
		require.NotEqual(t, servers[1].Accounts.Version(&same.Account), servers[1].Accounts.Version(&again.Account),
			"a change that changes nothing makes another version too")
	})
}
