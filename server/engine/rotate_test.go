package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	store "otpbridge/sql"
)

// replica is one of several servers on a database. It can be restarted with another keyring while the others work on.
type replica struct {
	at    place
	using sync.RWMutex // write-locked while it is down
	store *store.Store
	*engine.Engine
	*manage.Manager
}

func (r *replica) restart(t *testing.T, keyring string) {
	t.Helper()
	r.using.Lock()
	defer r.using.Unlock()
	r.stop(t)
	ring, err := crypto.ParseKeyring(keyring)
	require.NoError(t, err)
	r.store, err = store.Open(context.Background(), string(r.at), store.Options{Sandbox: true})
	require.NoError(t, err)
	inbox, faults := deliver.NewInbox(), &deliver.Faults{}
	options := engine.Options{
		Store: r.store, Keyring: ring, SMS: []deliver.Channel{inbox}, Email: []deliver.Channel{inbox},
		DeliveryWait: 5 * time.Second, Sandbox: true, Inbox: inbox, Faults: faults, Log: slog.New(slog.DiscardHandler),
	}
	r.Engine, err = engine.New(context.Background(), options)
	require.NoError(t, err)
	r.Manager = managerOf(t, options, r.Engine)
}

func (r *replica) stop(t *testing.T) {
	if r.store != nil {
		r.Engine.Close()
		require.NoError(t, r.store.Close())
		r.store = nil
	}
}

// round generates a code on one server, then regenerates and verifies it on the other.
func round(ctx context.Context, first, second *replica, key, number string) error {
	first.using.RLock()
	caller, err := first.Authenticate(ctx, otp.ServletDoor, key, peer)
	target := engine.Target{}
	if err == nil {
		target, err = caller.Target(number, "10.0.0.1", "someone@mail.example")
	}
	sent := engine.Sent{}
	if err == nil {
		sent, err = first.Generate(ctx, caller, target)
	}
	first.using.RUnlock()
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	second.using.RLock()
	defer second.using.RUnlock()
	if caller, err = second.Authenticate(ctx, otp.ServletDoor, key, peer); err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	// Without a mailbox the stored one is used.
	target.Mailbox = ""
	if _, err := second.Resend(ctx, caller, target); err != nil {
		return fmt.Errorf("resend: %w", err)
	}
	messages, err := second.Inbox.List(ctx, engine.MessageQuery{To: number, Limit: 2})
	if err != nil {
		return fmt.Errorf("read the inbox: %w", err)
	}
	for _, m := range messages {
		if m.ChallengeID != sent.Challenge.Text("otp") {
			return fmt.Errorf("the newest message is of %s", m.ChallengeID)
		}
	}
	if err := second.Verify(ctx, caller, target, messages[0].Code); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// once requests a code as an application does: signed, with metadata, and at most once. It reports whether the answer
// was a replay.
func once(ctx context.Context, r *replica, secret string) (challenge string, replayed bool, err error) {
	caller, err := r.Authenticate(ctx, otp.V1Door, secret, peer)
	if err != nil {
		return "", false, err
	}
	send := func(id otp.ID) (engine.Answer, error) {
		target, err := caller.TargetOf("+919551400099", "", "someone@mail.example", nil)
		if err != nil {
			return engine.Answer{}, err
		}
		made, err := r.Send(ctx, caller, engine.Send{Target: target, Method: "email", Metadata: []byte(`{"order":"4711"}`),
			Challenge: id})
		return engine.Answer{Status: 200, Body: []byte(made.ID.Text("otp"))}, err
	}
	answer, replayed, err := r.Once(ctx, caller.Key.ID, "the same each time", [32]byte{1}, send,
		func(otp.ID) (engine.Answer, bool, error) {
			return engine.Answer{}, false, nil
		})
	if err != nil {
		return "", false, err
	}
	id, _ := otp.ParseID("otp", string(answer.Body))
	status, err := r.Status(ctx, caller, id)
	if err == nil && string(status.Metadata) != `{"order":"4711"}` {
		err = fmt.Errorf("the metadata is %s", status.Metadata)
	}
	return string(answer.Body), replayed, err
}

// A keyring is rotated on two servers that never both stop. Every value stays readable, and afterwards nothing needs
// the former key.
func TestReseal_RotatesUnderLoadAndTheFormerKeyCanGo(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		former, next := crypto.NewKeyringText("former"), crypto.NewKeyringText("next")
		servers := [2]*replica{{at: at}, {at: at}}
		for _, s := range servers {
			s.restart(t, former)
			t.Cleanup(func() { s.stop(t) })
		}
		asked := manage.NewAccount{Account: otp.DefaultAccount("4711")}
		asked.Account.EmailEnabled = true
		asked.Account.SendsPerMinute, asked.Account.SendsPerHour, asked.Account.SendsPerDay = 0, 0, 0
		_, credentials, err := servers[0].Sandbox.CreateAccount(ctx, asked)
		require.NoError(t, err)
		// History that is in no cache: enough for several chunks.
		for i := range 300 {
			require.NoError(t, round(ctx, servers[0], servers[0], credentials.AccessKey, fmt.Sprintf("9195514%05d", i)))
		}

		_, secret, _, err := servers[0].Keys.Create(ctx, manage.Operator(),
			manage.NewKey{Account: "4711", Signing: otp.SigningRequired})
		require.NoError(t, err)
		application := string(secret.Bytes())
		asOne, replayed, err := once(ctx, servers[1], application)
		require.NoError(t, err)
		require.False(t, replayed)

		var rounds atomic.Int64
		enough := make(chan struct{})
		var working sync.WaitGroup
		for worker := range 4 {
			working.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-enough:
						return
					default:
					}
					number := fmt.Sprintf("9198%d%07d", worker, i%50)
					if err := round(ctx, servers[i%2], servers[(i/2)%2], credentials.AccessKey, number); err != nil {
						t.Errorf("round %d of worker %d: %v", i, worker, err)
						return
					}
					rounds.Add(1)
				}
			})
		}
		worked := func() {
			t.Helper()
			for until, deadline := rounds.Load()+20, time.Now().Add(20*time.Second); rounds.Load() < until &&
				!t.Failed(); time.Sleep(time.Millisecond) {
				require.True(t, time.Now().Before(deadline), "nobody works any more")
			}
		}
		everywhere := func(keyring string) {
			t.Helper()
			for _, s := range servers {
				s.restart(t, keyring)
				worked()
			}
		}
		worked()
		everywhere(former + next) // first all can open what the new key seals
		everywhere(next + former) // then they seal with it

		// Interrupted after its first chunk, and repeated by two at once.
		interrupted, interrupt := context.WithCancel(ctx)
		_, err = servers[0].Keyring.Reseal(interrupted, otp.Actor{Kind: "operator"}, func(manage.Resealing) { interrupt() })
		require.ErrorIs(t, err, context.Canceled)
		resealed := atomic.Int64{}
		var resealing sync.WaitGroup
		for _, s := range servers {
			resealing.Go(func() {
				last := map[string]int{}
				retired, err := s.Keyring.Reseal(ctx, otp.Actor{Kind: "operator"},
					func(at manage.Resealing) { last[at.Column] = at.Resealed })
				if err != nil || len(retired) > 0 {
					t.Errorf("reseal: %v, and %v retired, which codes still need", err, retired)
				}
				for _, n := range last {
					resealed.Add(int64(n))
				}
			})
		}
		resealing.Wait()
		worked()
		close(enough)
		working.Wait()
		t.Logf("%d rounds on the way, %d values sealed anew after the interruption", rounds.Load(), resealed.Load())
		require.Greater(t, resealed.Load(), int64(300))
		use := keyUse(t, servers[0], "former")
		require.Empty(t, use.Sealed)
		require.Positive(t, use.Codes)
		require.False(t, use.Removable())

		// Two hours later the last code is forgotten, and with it the need for the key.
		_, err = servers[0].store.Sweep(ctx, otp.At(time.Now().Add(2*time.Hour)))
		require.NoError(t, err)
		retired, err := servers[1].Keyring.Reseal(ctx, otp.Actor{Kind: "operator"}, func(manage.Resealing) {})
		require.NoError(t, err)
		require.Equal(t, []string{"former"}, retired)
		var recorded string
		require.NoError(t, byHand(t, at).QueryRow(`SELECT details FROM changes WHERE kind = 'keyring.key_retired'`).
			Scan(&recorded))
		require.JSONEq(t, `{"key":"former"}`, recorded)
		use = keyUse(t, servers[0], "former")
		require.True(t, use.Removable())
		for _, check := range servers[0].Ready(ctx) {
			require.NoError(t, check.Err, check.Name)
		}
		require.True(t, keyUse(t, servers[1], "former").Removable(),
			"a server that still has the line does not bring it back")
		require.Empty(t, sealedUnder(t, at, "former"))

		everywhereIdle := func(keyring string) {
			for _, s := range servers {
				s.restart(t, keyring)
			}
		}
		everywhereIdle(next)
		require.NoError(t, round(ctx, servers[0], servers[1], credentials.AccessKey, "919551400001"))
		again, replayed, err := once(ctx, servers[0], application)
		require.NoError(t, err)
		require.True(t, replayed)
		require.Equal(t, asOne, again)
		_, err = servers[1].JWKS(ctx)
		require.NoError(t, err)
		_, err = servers[0].Inbox.List(ctx, engine.MessageQuery{Limit: 500})
		require.NoError(t, err)
		managed, err := servers[0].Accounts.Find(ctx, "4711")
		require.NoError(t, err)
		require.NoError(t, managed.Broken)
	})
}

func keyUse(t *testing.T, r *replica, id string) manage.KeyUse {
	t.Helper()
	uses, err := r.Keyring.Uses(context.Background())
	require.NoError(t, err)
	for _, use := range uses {
		if use.ID == id {
			return use
		}
	}
	require.Fail(t, "no key "+id)
	return manage.KeyUse{}
}

// sealedUnder searches every column of every table for bytes sealed under a key, in any encoding. So a sealed column
// that the rotation does not know fails its test once it has a value.
func sealedUnder(t *testing.T, at place, id string) map[string]int {
	t.Helper()
	found := map[string]int{}
	header := append([]byte{1, byte(len(id))}, id...)
	coded := base64.StdEncoding.EncodeToString(header)
	coded = strings.TrimRight(coded, "=")
	coded = coded[:len(header)*8/6] // the part that later bytes cannot change
	db := byHand(t, at)
	tables := `SELECT name FROM sqlite_master WHERE type = 'table'`
	if strings.HasPrefix(string(at), "mysql") {
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`
	}
	names, err := db.Query(tables)
	require.NoError(t, err)
	defer names.Close()
	var all []string
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		all = append(all, name)
	}
	require.Contains(t, all, "recipients")
	for _, name := range all {
		rows, err := db.Query("SELECT * FROM " + name)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		values, targets := make([]*[]byte, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		for rows.Next() {
			require.NoError(t, rows.Scan(targets...))
			for i, value := range values {
				if value != nil && (bytes.Contains(*value, header) || bytes.Contains(*value, []byte(coded))) {
					found[name+"."+columns[i]]++
				}
			}
		}
		require.NoError(t, rows.Err())
		rows.Close()
	}
	return found
}

// The walks and a search of the whole database find the same number.
func TestKeyUses_CountEverySealedColumn(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		r := &replica{at: at}
		former := crypto.NewKeyringText("former")
		r.restart(t, former)
		defer r.stop(t)
		factor := addFactor(t, r.store, former)
		addWebhook(t, r.store, former)
		asked := manage.NewAccount{Account: otp.DefaultAccount("4711")}
		asked.Account.EmailEnabled, asked.Account.SafeList = true, []string{"+919551400001"}
		_, credentials, err := r.Sandbox.CreateAccount(t.Context(), asked)
		require.NoError(t, err)
		require.NoError(t, round(t.Context(), r, r, credentials.AccessKey, "919551400001"))
		_, secret, _, err := r.Keys.Create(t.Context(), manage.Operator(),
			manage.NewKey{Account: "4711", Signing: otp.SigningRequired})
		require.NoError(t, err)
		_, _, err = once(t.Context(), r, string(secret.Bytes()))
		require.NoError(t, err)
		_, err = r.Tests.Add(t.Context(), otp.Actor{}, rehearsal("919551400009"))
		require.NoError(t, err)
		_, _, err = r.store.Webhooks.Distribute(t.Context(), otp.At(time.Now()))
		require.NoError(t, err)
		use := keyUse(t, r, "former")
		require.True(t, use.Primary && use.Held && use.Recorded)
		require.Len(t, use.Sealed, len(store.SealedColumns()), "something is in each of them: %v", use.Sealed)
		require.Equal(t, 2, use.Codes)
		require.Equal(t, use.Sealed, sealedUnder(t, at, "former"))

		next := crypto.NewKeyringText("next")
		r.restart(t, next+former)
		_, err = r.Keyring.Reseal(t.Context(), otp.Actor{Kind: "operator"}, func(manage.Resealing) {})
		require.NoError(t, err)
		row, err := r.store.People.Factor(t.Context(), factor.Person, factor.ID)
		require.NoError(t, err)
		ring, err := crypto.ParseKeyring(next)
		require.NoError(t, err)
		seed, err := ring.Open(vault.FactorSecret(factor.ID), row.Secret)
		require.NoError(t, err)
		require.Equal(t, "twenty random bytes.", string(seed))
	})
}

// addFactor adds a person's app, whose secret is sealed.
func addFactor(t *testing.T, s *store.Store, keyring string) store.Factor {
	t.Helper()
	ring, err := crypto.ParseKeyring(keyring)
	require.NoError(t, err)
	factor := store.Factor{ID: store.NewID(), Person: store.NewID(), Kind: "totp", CreatedAt: 1}
	factor.Secret = ring.Seal(vault.FactorSecret(factor.ID), []byte("twenty random bytes."))
	require.NoError(t, s.Change(t.Context(), func(tx *store.Tx) error {
		if err := tx.InsertFactor(factor); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: store.NewID(), At: 1, Kind: otp.FactorOffered})
	}))
	return factor
}

// addWebhook adds an endpoint with both secrets, and its notices.
func addWebhook(t *testing.T, s *store.Store, keyring string) {
	t.Helper()
	ring, err := crypto.ParseKeyring(keyring)
	require.NoError(t, err)
	s.Webhooks.Text = func(_ *store.Telling, _ otp.NoticeType, id otp.ID) store.Text {
		sealed := ring.Seal(vault.WebhookEvent(id), []byte("{}"))
		return store.Text{Masked: sealed, Whole: sealed}
	}
	e := store.Endpoint{ID: store.NewID(), Account: "4711", URL: "https://hooks.example.com", Events: []string{"*"},
		Version: 1, CreatedAt: 1, UpdatedAt: 1}
	e.Secret = ring.Seal(vault.WebhookSecret(e.ID), []byte("new"))
	e.OldSecret = ring.Seal(vault.WebhookSecret(e.ID), []byte("old"))
	require.NoError(t, s.Change(t.Context(), func(tx *store.Tx) error {
		if err := s.Webhooks.Insert(tx, e); err != nil {
			return err
		}
		if err := s.Webhooks.TellOne(tx, &e, store.Notice{Type: "key.created", Event: store.NewID(), At: 1}, 1); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: store.NewID(), At: 1, Kind: otp.WebhookCreated})
	}))
	told, _, err := s.WebhookQueue.Next(t.Context(), e.ID, 1, 1)
	require.NoError(t, err)
	told[0].Request = ring.Seal(vault.WebhookText(e.ID, told[0].ID), []byte("{}"))
	told[0].Answer = ring.Seal(vault.WebhookText(e.ID, told[0].ID), []byte("ok"))
	require.NoError(t, s.WebhookQueue.Settle(told))
}

// A value that is changed between a walk's read and its write keeps that change.
func TestReseal_WhoeverChangesAValueMeanwhileWins(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		r := &replica{at: at}
		former, next := crypto.NewKeyringText("former"), crypto.NewKeyringText("next")
		r.restart(t, former)
		defer r.stop(t)
		db := byHand(t, at)
		for _, column := range store.SealedColumns() {
			if column.Column != "cipher_key" {
				continue
			}
			require.NoError(t, r.store.Keyring.WalkSealed(t.Context(), column, func(row store.SealedRow) ([]byte, error) {
				_, err := db.Exec(`UPDATE otp_auth_config SET cipher_key = 'theirs' WHERE esme_address = ?`, string(row.Names[0]))
				return []byte("ours"), err
			}, func(int) {}))
		}
		var theirs int
		require.NoError(t, db.QueryRow(`SELECT COUNT(*) FROM otp_auth_config WHERE cipher_key = 'theirs'`).Scan(&theirs))
		require.Equal(t, 2, theirs)

		// A value that is not sealed does not stop a rotation.
		r.restart(t, next+former)
		retired, err := r.Keyring.Reseal(t.Context(), otp.Actor{Kind: "operator"}, func(manage.Resealing) {})
		require.NoError(t, err)
		require.Equal(t, []string{"former"}, retired)
	})
}

// A value that cannot be opened is reported with its row, and keeps its key.
func TestReseal_ADamagedValueIsNamedAndKeepsItsKey(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		r := &replica{at: at}
		former, next := crypto.NewKeyringText("former"), crypto.NewKeyringText("next")
		r.restart(t, former)
		defer r.stop(t)
		db := byHand(t, at)
		// One account's key moved to another's row.
		var moved []byte
		require.NoError(t,
			db.QueryRow(`SELECT cipher_key FROM otp_auth_config WHERE esme_address = '10000000000002'`).Scan(&moved))
		_, err := db.Exec(`UPDATE otp_auth_config SET cipher_key = ? WHERE esme_address = '10000000000001'`, string(moved))
		require.NoError(t, err)
		r.restart(t, next+former)
		_, err = r.Keyring.Reseal(t.Context(), otp.Actor{Kind: "operator"}, func(manage.Resealing) {})
		require.ErrorIs(t, err, crypto.ErrSealed)
		require.ErrorContains(t, err, "otp_auth_config.cipher_key of row 10000000000001")
		require.False(t, keyUse(t, r, "former").Removable())
	})
}
