package sql

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// listen makes an endpoint of account 1.
func listen(t testing.TB, s *Store, events ...string) Endpoint {
	t.Helper()
	e := Endpoint{ID: NewID(), Account: "1", URL: "https://hooks.example.com", Events: events, Format: "standard",
		SignatureHeader: "X-OTP-Signature", Recipients: "masked", Secret: []byte("sealed"), Version: 1, CreatedAt: noon,
		UpdatedAt: noon}
	alter(t, s, func(tx *Tx) error { return s.Webhooks.Insert(tx, e) })
	return e
}

// alter makes a recorded change.
func alter(t testing.TB, s *Store, do func(*Tx) error) {
	t.Helper()
	require.NoError(t, s.Change(ctx, func(tx *Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		return tx.Record(otp.Change{ID: NewID(), At: noon, Kind: otp.WebhookChanged, Account: "1"})
	}))
}

// distribute makes the notices of a store's endpoints that are due at a moment.
func distribute(t testing.TB, s *Store, now otp.Millis) {
	t.Helper()
	s.Webhooks.Text = plainText
	for more := true; more; {
		var err error
		more, _, err = s.Webhooks.Distribute(ctx, now)
		require.NoError(t, err)
	}
}

func plainText(t *Telling, told otp.NoticeType, _ otp.ID) Text { return Text{Masked: []byte(told)} }

// told lists an endpoint's notices, oldest first, as type and state.
func told(t testing.TB, s *Store, e Endpoint) (all []string) {
	t.Helper()
	distribute(t, s, noon)
	found, err := s.Webhooks.Notices(ctx, e.ID, NoticeQuery{Limit: 1000})
	require.NoError(t, err)
	slices.Reverse(found)
	for _, n := range found {
		all = append(all, n.Type+" "+n.State)
	}
	return all
}

func TestWebhooks_ServersKnowEachOthersEndpointsFromTheNextBatchOn(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		one, two := openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})
		now := noon
		send := func(s *Store) {
			now++
			op, _ := generate(nextID(), nextID(), policy, now)
			require.NoError(t, s.Do(op))
		}
		send(two) // it knows by now that there is none
		all, some := listen(t, one, "*"), listen(t, one, "otp.verified", "otp.canceled")
		send(two)
		require.Equal(t, []string{"otp.sent pending"}, told(t, one, all))
		require.Empty(t, told(t, one, some))

		all.Off, all.OffAt = "disabled", noon
		alter(t, one, func(tx *Tx) error {
			written, err := one.Webhooks.Update(tx, all)
			require.True(t, written)
			return err
		})
		send(two)
		require.Equal(t, []string{"otp.sent pending", "otp.sent skipped"}, told(t, one, all))
		alter(t, one, func(tx *Tx) error {
			removed, err := one.Webhooks.Delete(tx, "1", all.ID, 2)
			require.True(t, removed)
			return err
		})
		send(two)
		require.Len(t, told(t, one, all), 2)
	})
}

// No server may remember a change that was not committed.
func TestWebhooks_AnEndpointThatWasRolledBackIsToldNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		s := openTest(t, databaseURL, Options{})
		e := listen(t, s, "*")
		ghost := e
		ghost.ID = NewID()
		require.ErrorIs(t, s.Change(ctx, func(tx *Tx) error {
			require.NoError(t, s.Webhooks.Insert(tx, ghost))
			return ErrNotFound
		}), ErrNotFound)
		op, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(op))
		require.Empty(t, told(t, s, ghost))
		require.Len(t, told(t, s, e), 1)
	})
}

// Endpoints are made on one server while another commits as fast as it can. Every send that began after an endpoint
// existed must be told to it, exactly once.
func TestWebhooks_AnEndpointIsExactFromItsCommitOnRace(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		one, two := openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})
		var mu sync.Mutex
		made := map[otp.ID][]otp.ID{} // the events that began after an endpoint existed
		var there []Endpoint
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for range 8 {
			busy.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					known := slices.Clone(there)
					mu.Unlock()
					op, _ := generate(nextID(), nextID(), policy, otp.At(time.Now()))
					if two.Do(op) != nil {
						continue
					}
					mu.Lock()
					for _, e := range known {
						made[e.ID] = append(made[e.ID], op.Event)
					}
					mu.Unlock()
				}
			})
		}
		for range 5 {
			e := listen(t, one, "otp.sent")
			mu.Lock()
			there = append(there, e)
			mu.Unlock()
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(made[e.ID]) > 0
			}, time.Minute, time.Millisecond)
		}
		close(stop)
		busy.Wait()
		for _, e := range there {
			distribute(t, one, otp.At(time.Now()))
			found, err := one.Webhooks.Notices(ctx, e.ID, NoticeQuery{Limit: 100_000})
			require.NoError(t, err)
			times := map[otp.ID]int{}
			for _, n := range found {
				times[n.Event]++
				require.Equal(t, 1, times[n.Event])
			}
			for _, event := range made[e.ID] {
				require.Equal(t, 1, times[event], "an event was missed")
			}
		}
		require.NotEmpty(t, made[there[0].ID])
	})
}

// Events that were committed before an endpoint changed are told under its old settings, and events before it was made
// are not told to it, however late they are distributed.
func TestDistribute_TellsByTheEndpointsOfTheEventsMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		s, other := openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})
		s.Webhooks.Text, other.Webhooks.Text = plainText, plainText
		send := func(on *Store) {
			op, _ := generate(nextID(), nextID(), policy, noon)
			require.NoError(t, on.Do(op))
		}
		old, gone := listen(t, s, "otp.sent"), listen(t, s, "otp.sent")
		send(s)
		young := listen(t, other, "*")
		old.Events, old.Off, old.OffAt = []string{"otp.verified"}, "disabled", noon
		alter(t, other, func(tx *Tx) error {
			written, err := other.Webhooks.Update(tx, old)
			require.True(t, written)
			return err
		})
		send(s)
		alter(t, s, func(tx *Tx) error {
			removed, err := s.Webhooks.Delete(tx, "1", gone.ID, 1)
			require.True(t, removed)
			return err
		})
		distribute(t, other, noon)
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, old))
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, gone), "before it was removed, in the first change")
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, young))
		distribute(t, s, noon+otp.Hour)
		require.Equal(t, []string{"otp.sent pending", "otp.expired pending"}, told(t, s, young))
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM webhook_events`))
		require.EqualValues(t, 3, count(t, s, `SELECT COUNT(*) FROM webhook_texts`), "one for each event")
	})
}

// Two servers that distribute the same events concurrently give each to each endpoint once.
func TestDistribute_TwoServersAtOnceRace(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		s, other := openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})
		ends := []Endpoint{listen(t, s, "*"), listen(t, s, "otp.sent")}
		const events = 300
		for range events {
			op, _ := generate(nextID(), nextID(), policy, noon)
			require.NoError(t, s.Do(op))
		}
		var both sync.WaitGroup
		for _, on := range []*Store{s, other} {
			both.Go(func() { distribute(t, on, noon+otp.Hour) })
		}
		both.Wait()
		require.Len(t, told(t, s, ends[0]), 2*events)
		require.Len(t, told(t, s, ends[1]), events)
		require.Zero(t, count(t, s, `SELECT COUNT(*) FROM webhook_events`))
	})
}

func TestWebhooks_ATryThatRolledBackLeavesNoRow(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		s := openTest(t, databaseURL, Options{})
		e := listen(t, s, "otp.sent")
		op, _ := generate(nextID(), nextID(), policy, noon)
		decide, tries := op.Decide, 0
		op.Decide = func(state *State) error {
			if tries++; tries < 3 {
				state.Recipient.Version = 99 // no row has it: the guard makes the batch run again
				state.Recipient.UpdatedAt = noon
				state.Record(otp.Event{ID: op.Event, At: noon, Account: "1", Kind: otp.EventSent, Challenge: nextID()})
				return nil
			}
			return decide(state)
		}
		require.NoError(t, s.Do(op))
		require.Equal(t, 3, tries)
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, e))
	})
}

func TestWebhooks_WrongGuessesTellOfTheLastOneAlone(t *testing.T) {
	s := fresh(t)
	e := listen(t, s, "*")
	recipient, slot := nextID(), nextID()
	op, _ := generate(recipient, slot, policy, noon)
	require.NoError(t, s.Do(op))
	for i := range 3 {
		require.Error(t, s.Do(verify(recipient, slot, false, noon+otp.Millis(i))))
	}
	require.Equal(t, []string{"otp.sent pending", "otp.max_attempts pending"}, told(t, s, e))
	distribute(t, s, noon+otp.Hour)
	require.Len(t, told(t, s, e), 2, "a code that ended otherwise does not expire")
}

func TestWebhooks_AKeysChangeIsToldInItsTransaction(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "key.created")
		for _, kind := range []otp.ChangeKind{"key.created", "key.revoked", otp.WebhookChanged} {
			require.NoError(t, s.Change(ctx, func(tx *Tx) error {
				return tx.Record(otp.Change{ID: NewID(), At: noon, Kind: kind, Account: "1"})
			}))
		}
		require.Equal(t, []string{"key.created pending"}, told(t, s, e))
	})
}

// A key's change is told to the endpoints of the key's environment. Older changes, which name none, count as live.
func TestWebhooks_AKeysChangeIsOfItsEnvironment(t *testing.T) {
	s := fresh(t)
	of := map[string]Endpoint{}
	for _, environment := range []string{"", "live", "test", "dev"} {
		e := Endpoint{ID: NewID(), Account: "1", URL: "https://hooks.example.com", Events: []string{"*"}, Format: "json",
			Environment: environment, SignatureHeader: "X-OTP-Signature", Recipients: "masked", Secret: []byte("sealed"),
			Version: 1, CreatedAt: noon, UpdatedAt: noon}
		alter(t, s, func(tx *Tx) error { return s.Webhooks.Insert(tx, e) })
		of[environment] = e
	}
	kinds := []otp.ChangeKind{otp.KeyCreated, otp.KeyRotated, otp.KeyCompromised}
	for i, environment := range []string{"live", "test", "dev", ""} {
		details := map[string]string{"environment": environment}
		if environment == "" {
			details = nil
		}
		require.NoError(t, s.Change(ctx, func(tx *Tx) error {
			return tx.Record(otp.Change{ID: NewID(), At: noon + otp.Millis(i), Kind: kinds[i%len(kinds)], Account: "1",
				Details: details})
		}))
	}
	environments := func(e Endpoint) (all []string) {
		found, err := s.Webhooks.Notices(ctx, e.ID, NoticeQuery{Limit: 10})
		require.NoError(t, err)
		for _, n := range found {
			all = append(all, n.Environment)
		}
		return all
	}
	require.Equal(t, []string{"", "dev", "test", "live"}, environments(of[""]))
	require.Equal(t, []string{"", "live"}, environments(of["live"]))
	require.Equal(t, []string{"test"}, environments(of["test"]))
	require.Equal(t, []string{"dev"}, environments(of["dev"]))
}

// exhausted generates a code and uses up its attempts, and returns the first operation.
func exhausted(t *testing.T, s *Store) *Operation {
	t.Helper()
	recipient, slot := nextID(), nextID()
	op, _ := generate(recipient, slot, policy, noon)
	require.NoError(t, s.Do(op))
	for range 3 {
		require.Error(t, s.Do(verify(recipient, slot, false, noon)))
	}
	return op
}

func TestNext_KeepsTheOrderWithinAChallengeAlone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "otp.sent", "otp.max_attempts")
		op := exhausted(t, s)
		other, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(other))

		distribute(t, s, noon)
		next := func(at otp.Millis, postponed ...string) (types []string, all []Notice) {
			all, held, err := s.WebhookQueue.Next(ctx, e.ID, at, 10)
			require.NoError(t, err)
			require.Equal(t, postponed, typesOf(held))
			require.NoError(t, s.WebhookQueue.Postpone(held))
			return typesOf(all), all
		}
		types, all := next(noon)
		require.Equal(t, []string{"otp.sent", "otp.sent"}, types, "what came after the first send waits for it")
		sent := all[slices.IndexFunc(all, func(n Notice) bool { return n.Event == op.Event })]
		sent.DueAt, sent.Attempts = noon+otp.Hour, 1
		require.NoError(t, s.WebhookQueue.Settle([]Notice{sent}))
		types, _ = next(noon+otp.Minute, "otp.max_attempts")
		require.Equal(t, []string{"otp.sent"}, types)
		types, _ = next(noon + otp.Minute)
		require.Equal(t, []string{"otp.sent"}, types, "what was postponed is not read again")
		types, _ = next(noon + otp.Hour)
		require.ElementsMatch(t, []string{"otp.sent", "otp.sent"}, types)
		sent.DueAt, sent.State = 0, NoticeDead
		require.NoError(t, s.WebhookQueue.Settle([]Notice{sent}))
		types, _ = next(noon + otp.Hour)
		require.ElementsMatch(t, []string{"otp.sent", "otp.max_attempts"}, types)
	})
}

func TestReplay_OfOneMakesThoseThatWaitedForItDue(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "otp.sent", "otp.max_attempts")
		exhausted(t, s)
		distribute(t, s, noon)
		ready, _, err := s.WebhookQueue.Next(ctx, e.ID, noon, 10)
		require.NoError(t, err)
		ready[0].DueAt = noon + otp.Hour
		require.NoError(t, s.WebhookQueue.Settle(ready))
		_, held, err := s.WebhookQueue.Next(ctx, e.ID, noon, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"otp.max_attempts"}, typesOf(held))
		require.NoError(t, s.WebhookQueue.Postpone(held))
		require.NoError(t, s.Change(ctx, func(tx *Tx) error {
			n, err := s.Webhooks.Replay(tx, e.ID, ready[0].ID, noon+otp.Minute)
			require.EqualValues(t, 1, n)
			require.NoError(t, err)
			return tx.Record(otp.Change{ID: NewID(), At: noon, Kind: otp.WebhookReplayed, Account: "1"})
		}))
		ready, held, err = s.WebhookQueue.Next(ctx, e.ID, noon+otp.Minute, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"otp.sent"}, typesOf(ready))
		require.Empty(t, held)
		ready[0].DueAt = 0
		require.NoError(t, s.WebhookQueue.Settle(ready))
		ready, _, err = s.WebhookQueue.Next(ctx, e.ID, noon+otp.Minute, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"otp.max_attempts"}, typesOf(ready))
	})
}

// The notices of an endpoint that does not answer are not read each time that something happens.
func TestNext_ReadsNoticesThatWaitOnce(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "otp.sent", "otp.max_attempts")
		const challenges = 100
		for range challenges {
			exhausted(t, s)
		}
		distribute(t, s, noon)
		tried, postponed := 0, 0
		for {
			ready, held, err := s.WebhookQueue.Next(ctx, e.ID, noon, 64)
			require.NoError(t, err)
			if len(ready)+len(held) == 0 {
				break
			}
			for i := range ready {
				require.Equal(t, "otp.sent", ready[i].Type)
				ready[i].DueAt = noon + otp.Hour
			}
			require.NoError(t, s.WebhookQueue.Settle(ready))
			require.NoError(t, s.WebhookQueue.Postpone(held))
			tried, postponed = tried+len(ready), postponed+len(held)
		}
		require.Equal(t, challenges, tried)
		require.Equal(t, challenges, postponed)
		due, err := s.WebhookQueue.Due(ctx, NewID(), noon+otp.Minute)
		require.NoError(t, err)
		require.Empty(t, due, "nothing is left to look at before the next try")
	})
}

func typesOf(all []Notice) (types []string) {
	for _, n := range all {
		types = append(types, n.Type)
	}
	return types
}

func TestNoticeID_OrdersByMomentStageAndPlace(t *testing.T) {
	var ids []otp.ID
	for _, at := range []otp.Millis{noon, noon + 1} {
		for _, kind := range []otp.NoticeType{otp.NoticeSent, otp.NoticeDelivered, otp.NoticeVerified, otp.NoticeLocked} {
			for _, place := range []int{0, 1, 255, 5000} {
				ids = append(ids, noticeID(at, kind, place))
			}
		}
	}
	require.True(t, slices.IsSortedFunc(ids, func(a, b otp.ID) int { return slices.Compare(a[:], b[:]) }), fmt.Sprint(ids))
	require.Equal(t, noon, idTime(ids[0]))
}

func TestClaim_GivesAnEndpointToOneServerAtATime(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e, one, two := listen(t, s, "*"), NewID(), NewID()
		claim := func(owner otp.ID, now otp.Millis) bool {
			claimed, err := s.WebhookQueue.Claim(owner, []otp.ID{e.ID}, now, now+otp.Lease)
			require.NoError(t, err)
			return len(claimed) == 1
		}
		require.True(t, claim(one, noon))
		require.False(t, claim(two, noon))
		require.True(t, claim(one, noon+otp.Second), "an owner renews")
		require.True(t, claim(two, noon+otp.Second+otp.Lease), "whose lease ran out loses it")
		require.False(t, claim(one, noon+2*otp.Second))
		require.NoError(t, s.WebhookQueue.Release(two))
		require.True(t, claim(one, noon+2*otp.Second))
	})
}

func TestSweep_RemovesOldNoticesAndThoseOfEndpointsThatAreGone(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		stays, goes := listen(t, s, "otp.sent"), listen(t, s, "otp.sent")
		for _, at := range []otp.Millis{noon, noon + 10*otp.Day} {
			op, _ := generate(nextID(), nextID(), policy, at)
			require.NoError(t, s.Do(op))
		}
		distribute(t, s, noon)
		alter(t, s, func(tx *Tx) error {
			_, err := s.Webhooks.Delete(tx, "1", goes.ID, 1)
			return err
		})
		swept, err := s.Sweep(ctx, noon+31*otp.Day)
		require.NoError(t, err)
		require.Equal(t, 3, swept.Notices)
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, stays))
		require.Empty(t, told(t, s, goes))
	})
}

func TestErase_RemovesWhatWasToldOfASubjectAndNothingElse(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "otp.sent")
		erase := func(recipient otp.ID, challenges ...otp.ID) (n int64) {
			alter(t, s, func(tx *Tx) (err error) {
				n, err = s.Webhooks.Erase(tx, recipient, challenges...)
				return err
			})
			return n
		}
		recipient, other := nextID(), nextID()
		for _, r := range []otp.ID{recipient, recipient, other} {
			op, _ := generate(r, nextID(), policy, noon)
			require.NoError(t, s.Do(op))
		}
		told(t, s, e)
		of := func() (challenges []otp.ID) {
			found, err := s.Webhooks.Notices(ctx, e.ID, NoticeQuery{Limit: 10})
			require.NoError(t, err)
			for _, n := range found {
				if n.Recipient == recipient {
					challenges = append(challenges, n.Challenge)
				}
			}
			return challenges
		}
		require.Len(t, of(), 2)
		require.Zero(t, erase(other, of()[0]), "another's challenge")
		require.EqualValues(t, 1, erase(recipient, of()[0]))
		require.EqualValues(t, 1, erase(recipient))
		require.Zero(t, erase(nextID()))
		require.Equal(t, []string{"otp.sent pending"}, told(t, s, e))
	})
}

// A cursor over the history's ids would miss what commits late: ids are made before their transactions.
func TestWebhooks_ACursorWouldLoseWhatCommitsLate(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		e := listen(t, s, "otp.sent")
		var cursor otp.ID
		read := func() (events []otp.ID) {
			rows, err := s.reads.Query(`SELECT id FROM events WHERE id > ? ORDER BY id`, cursor[:])
			require.NoError(t, err)
			defer rows.Close()
			for rows.Next() {
				require.NoError(t, rows.Scan(idScan{&cursor}))
				events = append(events, cursor)
			}
			return events
		}
		late, _ := generate(nextID(), nextID(), policy, noon) // waits, on a slow server
		early, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(early))
		seen := read()
		require.NoError(t, s.Do(late))
		require.Equal(t, []otp.ID{early.Event}, append(seen, read()...), "the cursor has lost one")
		require.Len(t, told(t, s, e), 2)
	})
}
