package sql

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func someClaim(now otp.Millis) *Claim {
	return &Claim{Credential: nextID(), Key: nextID(), Request: [32]byte{1}, Challenge: nextID(), ClaimedUntil: now +
		10*otp.Second, CreatedAt: now}
}

func TestClaim_ChangesHandsOnlyWhileItIsWhatItWas(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		claim := someClaim(noon)
		_, err := s.Claims.Find(ctx, claim.Credential, claim.Key)
		require.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, s.Claims.Insert(ctx, claim))
		require.ErrorIs(t, s.Claims.Insert(ctx, claim), ErrTaken)
		read, err := s.Claims.Find(ctx, claim.Credential, claim.Key)
		require.NoError(t, err)
		require.Equal(t, claim, read)

		held, err := s.Claims.Hold(ctx, read, noon+20*otp.Second)
		require.NoError(t, err)
		require.True(t, held)
		held, err = s.Claims.Hold(ctx, claim, noon+30*otp.Second)
		require.NoError(t, err)
		require.False(t, held, "another has it")
		require.NoError(t, s.Claims.Drop(ctx, claim), "and so it stays")

		claim.Status, claim.Answer = 201, []byte{0, 0xff}
		kept, err := s.Claims.Answer(ctx, claim)
		require.NoError(t, err)
		require.True(t, kept)
		kept, err = s.Claims.Answer(ctx, claim)
		require.NoError(t, err)
		require.False(t, kept, "the first answer is the answer")
		read, err = s.Claims.Find(ctx, claim.Credential, claim.Key)
		require.NoError(t, err)
		require.Equal(t, claim.Answer, read.Answer)
		require.NoError(t, s.Claims.Drop(ctx, read))
		_, err = s.Claims.Find(ctx, claim.Credential, claim.Key)
		require.NoError(t, err, "an answer is not given up")
		require.NoError(t, s.Claims.Expire(ctx, read))
		_, err = s.Claims.Find(ctx, claim.Credential, claim.Key)
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestSweep_RemovesClaimsOlderThanADay(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		now := noon + 2*otp.Day
		for n := range sweepChunk + 3 {
			require.NoError(t, s.Claims.Insert(ctx, someClaim(now-otp.Day-otp.Millis(n))))
		}
		require.NoError(t, s.Claims.Insert(ctx, someClaim(now-otp.Day+1)))
		_, err := s.Sweep(ctx, now)
		require.NoError(t, err)
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM idempotency_keys`))
	})
}

func TestSigningKey_TheFirstServerWins(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		first := SigningKey{Number: 1, ID: "first", Public: []byte{0, 0xff}, Sealed: []byte{1}, CreatedAt: noon}
		require.NoError(t, s.Keyring.AddSigningKey(ctx, first))
		require.ErrorIs(t, s.Keyring.AddSigningKey(ctx, SigningKey{Number: 1, ID: "late", Public: []byte{2},
			Sealed: []byte{2}, CreatedAt: noon}), ErrTaken)
		keys, err := s.Keyring.SigningKeys(ctx)
		require.NoError(t, err)
		require.Equal(t, []SigningKey{first}, keys)
	})
}

var errHappened = errors.New("it happened before")

// repeating makes a generate that may repeat one: if it does, it changes nothing.
func repeating(recipient, slot, event otp.ID) *Operation {
	op, _ := generate(recipient, slot, otp.Policy{Length: 6, TTL: otp.Minute, MaxAttempts: 3}, noon)
	decide, made := op.Decide, op.Event
	op.Event, op.Repeats = event, true
	op.Decide = func(s *State) error {
		if s.Happened {
			return errHappened
		}
		err := decide(s)
		if s.event.ID == made {
			s.event.ID = event
		}
		return err
	}
	return op
}

// However many callers repeat an operation, in one batch or in many, with others or alone: it happens once, and the
// others are not affected.
func TestDo_WhatRepeatsHappensOnceRace(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for range 20 {
			recipient, slot, event := nextID(), nextID(), nextID()
			var mu sync.Mutex
			answers := map[error]int{}
			var running sync.WaitGroup
			for range 32 {
				running.Go(func() {
					err := s.Do(repeating(recipient, slot, event))
					mu.Lock()
					defer mu.Unlock()
					answers[err]++
				})
				running.Go(func() {
					other, _ := generate(nextID(), nextID(), policy, noon)
					if err := s.Do(other); err != nil {
						panic(err)
					}
				})
			}
			running.Wait()
			require.Equal(t, map[error]int{nil: 1, errHappened: 31}, answers)
			require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM events WHERE recipient_hash = ?`, recipient[:]))
		}
		require.Equal(t, 20*33, count(t, s, `SELECT COUNT(*) FROM events`))
	})
}

// A retry checks whether its batch was committed. The event of a repeated operation may be from another batch, and
// must not count as this batch's receipt.
func TestRunBatch_ARetryDoesNotTakeARepeatedEventForItsOwn(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient, slot, event := nextID(), nextID(), nextID()
		require.NoError(t, s.Do(repeating(recipient, slot, event)))
		neighbour, made := generate(nextID(), nextID(), policy, noon)
		batch := []*Operation{repeating(recipient, slot, event), neighbour}
		require.NoError(t, s.write(ctx, func(w *session) error { return s.runBatch(w, batch, true) }))
		require.ErrorIs(t, batch[0].err, errHappened)
		require.NoError(t, neighbour.err)
		require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges WHERE id = ?`, made.ID[:]))
	})
}
