package sql

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// byID is a guess by an application of account 1 that knows only the challenge's id.
func byID(challenge otp.ID, right bool) *Operation {
	op := &Operation{Event: nextID(), Account: "1", Challenge: challenge, Now: noon}
	op.Found = func(c *otp.Challenge, r *otp.Recipient) error {
		if r.Account == "1" && r.Environment == otp.Live {
			op.Recipient = r.Hash
		}
		return nil
	}
	op.Decide = func(s *State) error {
		err := otp.Verify(s.Recipient, s.Challenge, otp.ClosedIsFinal, right, s.Now)
		if err == nil || otp.KindOf(err) == otp.WrongCode {
			s.Record(otp.Event{ID: op.Event, At: s.Now, Account: "1", Environment: otp.Live, Kind: otp.EventWrong,
				Challenge: s.Challenge.ID, Recipient: op.Recipient})
		}
		return err
	}
	return op
}

// owned makes a challenge with a new recipient, in the given account and environment.
func owned(t *testing.T, s *Store, account string, environment otp.Environment) *otp.Challenge {
	op, made := generate(nextID(), nextID(), policy, noon)
	decide := op.Decide
	op.Decide = func(s *State) error {
		err := decide(s)
		s.Recipient.Account, s.Recipient.Environment = account, environment
		return err
	}
	require.NoError(t, s.Do(op))
	return made
}

// All of these share one batch, in which each gets its own answer.
func TestDo_FindsAChallengeByItsIDAloneInItsBatch(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		mine, other, elsewhere := owned(t, s, "1", otp.Live), owned(t, s, "2", otp.Live), owned(t, s, "1", otp.Test)
		spent, known := owned(t, s, "1", otp.Live), owned(t, s, "1", otp.Live)
		var knownHash otp.ID
		with := func(op *Operation, change func(op *Operation)) *Operation { change(op); return op }
		refuses := func(err error) func(*Operation) {
			return func(op *Operation) { op.Found = func(*otp.Challenge, *otp.Recipient) error { return err } }
		}
		rows := []struct {
			name string
			op   *Operation
			kind otp.Kind // 0 for the right code
			text string   // of a fault, instead of a kind
		}{
			{"no such id", byID(otp.ID{1}, true), otp.NotFound, ""},
			{"the zero id", byID(otp.ID{}, true), otp.NotFound, ""},
			{"a recipient's id", byID(mine.Recipient, true), otp.NotFound, ""},
			{"another account's", byID(other.ID, true), otp.NotFound, ""},
			{"the other environment's", byID(elsewhere.ID, true), otp.NotFound, ""},
			{"wrong", byID(mine.ID, false), otp.WrongCode, ""},
			{"wrong again, in the same batch", byID(mine.ID, false), otp.WrongCode, ""},
			{"right", byID(mine.ID, true), 0, ""},
			{"right, after it was used", byID(mine.ID, true), otp.Used, ""},
			{"wrong, after it was used", byID(mine.ID, false), otp.Used, ""},
			{"refused as it is found", with(byID(spent.ID, true), refuses(otp.Refuse(otp.Invalid, "no"))), otp.Invalid, ""},
			{"a fault as it is found", with(byID(spent.ID, true), refuses(errors.New("sealed by another key"))), 0,
				"sealed by another key"},
			{"a panic as it is found", with(byID(spent.ID, true), func(op *Operation) {
				op.Found = func(*otp.Challenge, *otp.Recipient) error { panic("boom") }
			}), 0, "boom"},
			{"found for another recipient", with(byID(spent.ID, true), func(op *Operation) {
				op.Found = func(*otp.Challenge, *otp.Recipient) error { op.Recipient = nextID(); return nil }
			}), otp.NotFound, ""},
			{"with a counter that it needs then", with(byID(known.ID, true), func(op *Operation) {
				found, decide := op.Found, op.Decide
				op.Found = func(c *otp.Challenge, r *otp.Recipient) error {
					op.Counters, knownHash = []otp.ID{r.Hash}, r.Hash
					return found(c, r)
				}
				op.Decide = func(s *State) error {
					s.Counters[0].Total += 7
					return decide(s)
				}
			}), 0, ""},
		}
		var operations []*Operation
		for _, row := range rows {
			operations = append(operations, row.op)
		}
		s.commit(operations)
		for _, row := range rows {
			if row.text != "" {
				require.ErrorContains(t, row.op.err, row.text, row.name)
				require.Zero(t, otp.KindOf(row.op.err), row.name)
				continue
			}
			require.Equal(t, row.kind, otp.KindOf(row.op.err), "%s: %v", row.name, row.op.err)
			require.Equal(t, row.kind == 0, row.op.err == nil, "%s: %v", row.name, row.op.err)
		}
		require.Equal(t, 2, count(t, s, `SELECT wrong FROM challenges WHERE id = ?`, mine.ID[:]))
		require.Equal(t, 2, count(t, s, `SELECT COUNT(*) FROM challenges WHERE used_at IS NOT NULL`))
		require.Equal(t, 5, count(t, s, `SELECT COUNT(*) FROM challenges WHERE wrong = 0 OR used_at IS NOT NULL`))
		require.Equal(t, 5, count(t, s, `SELECT COUNT(*) FROM recipients`), "nothing was made for what was not found")
		require.Equal(t, 7, count(t, s, `SELECT total FROM counters WHERE id = ?`, knownHash[:]))
		require.Equal(t, 5+4, count(t, s, `SELECT COUNT(*) FROM events`))
	})
}

// A batch that runs again finds on its second try what it found on its first.
func TestCommit_AChallengeThatWasFoundIsDecidedAnewOnEachTry(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		made := owned(t, s, "1", otp.Live)
		op := byID(made.ID, false)
		found, decide, tries := op.Found, op.Decide, 0
		op.Found = func(c *otp.Challenge, r *otp.Recipient) error { tries++; return found(c, r) }
		decided := 0
		op.Decide = func(state *State) error {
			if decided++; decided == 1 {
				defer func() { state.Challenge.Version += 5 }() // as if another server had written it since
			}
			return decide(state)
		}
		s.commit([]*Operation{op})
		require.Equal(t, otp.WrongCode, otp.KindOf(op.err), "%v", op.err)
		require.Equal(t, []int{1, 2}, []int{tries, decided})
		require.Equal(t, 1, count(t, s, `SELECT wrong FROM challenges WHERE id = ?`, made.ID[:]))
	})
}

// Two servers guess by id and by recipient at many challenges concurrently, each in another order. Recipients are
// locked in order, so there is no deadlock, and each guess counts once.
func TestDo_ByIDAndByRecipientOnTwoStoresRace(t *testing.T) {
	onBoth(t, func(t *testing.T, databaseURL string) {
		stores := []*Store{openTest(t, databaseURL, Options{}), openTest(t, databaseURL, Options{})}
		const people, guesses = 16, 8
		lenient := policy
		lenient.MaxAttempts = 1000
		var made [people]*otp.Challenge
		var recipients, slots [people]otp.ID
		for i := range people {
			recipients[i], slots[i] = scattered(nextID()), nextID()
			var op *Operation
			op, made[i] = generate(recipients[i], slots[i], lenient, noon)
			require.NoError(t, stores[0].Do(op))
		}
		before := deadlocks(t, stores[0])
		var all sync.WaitGroup
		kinds := make(chan string, 2*people*guesses)
		for n, s := range stores {
			for i := range people {
				for g := range guesses {
					who := (i*7 + g + n*5) % people
					all.Go(func() {
						op := byID(made[who].ID, false)
						if g%2 == 1 {
							op = verify(recipients[who], slots[who], false, noon)
						}
						err := s.Do(op)
						kinds <- fmt.Sprint(otp.KindOf(err))
					})
				}
			}
		}
		all.Wait()
		close(kinds)
		counts := map[string]int{}
		for kind := range kinds {
			counts[kind]++
		}
		evaluated := counts[fmt.Sprint(otp.WrongCode)]
		require.Equal(t, 2*people*guesses, evaluated+counts[fmt.Sprint(otp.Locked)], "%v", counts)
		require.Equal(t, evaluated, count(t, stores[0], `SELECT SUM(wrong) FROM challenges`), "each counted once")
		require.Equal(t, evaluated, count(t, stores[0], `SELECT COUNT(*) FROM events WHERE kind = ?`, string(otp.EventWrong)))
		require.Equal(t, before, deadlocks(t, stores[0]), "no two batches waited for each other")
	})
}

// deadlocks counts the deadlocks that the database had to break; SQLite, with one writer, has none.
func deadlocks(t *testing.T, s *Store) int {
	if s.dialect.name != "mysql" {
		return 0
	}
	return count(t, s,
		`SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'INNODB_DEADLOCKS'`)
}
