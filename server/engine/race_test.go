package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// rounds is how often each race is run.
const rounds = 100

// atOnce runs do n times concurrently and returns the results.
func atOnce(n int, do func(i int) error) []error {
	answers := make([]error, n)
	var ready, running sync.WaitGroup
	ready.Add(n)
	for i := range n {
		running.Go(func() {
			ready.Done()
			ready.Wait()
			for tries := 0; ; tries++ {
				// A call that is refused undecided is repeated, as clients do: a slow machine is busy sooner.
				if answers[i] = do(i); otp.KindOf(answers[i]) != otp.Overloaded || tries == 1000 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	running.Wait()
	return answers
}

func tally(answers []error) map[string]int {
	counts := map[string]int{}
	for _, err := range answers {
		switch refusal, ok := err.(*otp.Error); {
		case err == nil:
			counts["ok"]++
		case ok && refusal.Kind == otp.WrongCode:
			counts[fmt.Sprint("wrong, ", refusal.Remaining, " left")]++
		default:
			counts[err.Error()]++
		}
	}
	return counts
}

// two returns two engines on one database, like two servers.
func two(t *testing.T, at place) [2]house {
	return [2]house{open(t, at), open(t, at)}
}

func throwaway(t testing.TB, h house, adjust func(*otp.Account)) *engine.Caller {
	t.Helper()
	account := otp.DefaultAccount("")
	if adjust != nil {
		adjust(&account)
	}
	_, credentials, err := h.Sandbox.CreateAccount(context.Background(), manage.NewAccount{Account: account})
	require.NoError(t, err)
	return authenticate(t, h, credentials.AccessKey)
}

func authenticate(t testing.TB, h house, key string) *engine.Caller {
	t.Helper()
	caller, err := h.Authenticate(context.Background(), otp.ServletDoor, key, peer)
	require.NoError(t, err)
	return caller
}

func target(t testing.TB, h house, c *engine.Caller, number, subject string) engine.Target {
	t.Helper()
	target, err := c.Target(number, subject, "")
	require.NoError(t, err)
	return target
}

func code(t testing.TB, h house, c *engine.Caller, number string) string {
	t.Helper()
	messages, err := h.Inbox.List(context.Background(), engine.MessageQuery{Account: c.Account.Address, To: number,
		Limit: 1})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	return messages[0].Code
}

// ask reads one number directly from the database.
func ask(t testing.TB, h house, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, byHand(t, h.at).QueryRow(query, args...).Scan(&n))
	return n
}

// wrongCount selects the number of wrong guesses at an account's newest challenge.
const wrongCount = `
	SELECT c.wrong FROM challenges c JOIN recipients r ON r.id = c.recipient_id
	WHERE r.esme_address = ? AND c.replaced_at IS NULL ORDER BY c.id DESC LIMIT 1`

func TestVerify_ExactlyTheLimitIsEvaluatedOfManyWrongAtOnceRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		houses := two(t, at)
		for _, limit := range []int{3, 5} {
			caller := throwaway(t, houses[0], func(a *otp.Account) { a.MaxAttempts = &limit })
			expected := map[string]int{"attempts_exhausted: no attempts are left; generate again": 64 - limit}
			for left := range limit {
				expected[fmt.Sprint("wrong, ", left, " left")] = 1
			}
			for round := range rounds {
				to := target(t, houses[0], caller, fmt.Sprintf("9198%08d", limit*1000+round), "10.0.0.1")
				_, err := houses[round%2].Generate(ctx, caller, to)
				require.NoError(t, err)
				answers := atOnce(64, func(i int) error { return houses[i%2].Verify(ctx, caller, to, "") })
				require.Equal(t, expected, tally(answers), "round %d", round)
				require.Equal(t, limit, ask(t, houses[0], wrongCount, caller.Account.Address), "the stored row agrees")
			}
		}
	})
}

func TestVerify_ExactlyOneOfManyRightAtOnceSucceedsRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		houses := two(t, at)
		caller := throwaway(t, houses[0], nil)
		for round := range rounds {
			number := fmt.Sprintf("9197%08d", round)
			to := target(t, houses[0], caller, number, "10.0.0.1")
			_, err := houses[round%2].Generate(ctx, caller, to)
			require.NoError(t, err)
			right := code(t, houses[0], caller, number)
			answers := atOnce(64, func(i int) error { return houses[i%2].Verify(ctx, caller, to, right) })
			require.Equal(t, map[string]int{"ok": 1, "used: the code is no longer valid; generate again": 63}, tally(answers))
			require.Zero(t, ask(t, houses[0], wrongCount, caller.Account.Address))
		}
	})
}

func TestGenerate_AThousandAtOnceLeaveOneLiveCodeRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		houses := two(t, at)
		lifted := throwaway(t, houses[0], func(a *otp.Account) { a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0 })
		to := target(t, houses[0], lifted, "919812345678", "10.0.0.1")
		answers := atOnce(1000, func(i int) error {
			_, err := houses[i%2].Generate(ctx, lifted, to)
			return err
		})
		require.Equal(t, map[string]int{"ok": 1000}, tally(answers))
		address := lifted.Account.Address
		require.Equal(t, 1000,
			ask(t, houses[0],
				`SELECT COUNT(*) FROM challenges c JOIN recipients r ON r.id = c.recipient_id WHERE r.esme_address = ?`, address))
		require.Equal(t, 1000, ask(t, houses[0], `SELECT MAX(c.seq) FROM challenges c JOIN recipients r ON r.id = c.recipient_id
			WHERE r.esme_address = ? AND c.replaced_at IS NULL HAVING COUNT(*) = 1`, address), "the one that is live is the last")
		_, err := houses[0].Resend(ctx, lifted, to)
		require.NoError(t, err)
		require.NoError(t, houses[1].Verify(ctx, lifted, to, code(t, houses[0], lifted, "919812345678")))

		limited := throwaway(t, houses[0], nil)
		to = target(t, houses[0], limited, "919812345678", "10.0.0.1")
		answers = atOnce(1000, func(i int) error {
			_, err := houses[i%2].Generate(ctx, limited, to)
			if otp.KindOf(err) == otp.OverLimit {
				return otp.Refuse(otp.OverLimit, "")
			}
			return err
		})
		require.Equal(t, map[string]int{"ok": 10, "over_limit": 990}, tally(answers))
	})
}

func TestVerify_TheBudgetHoldsOverManySubjectsRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		ctx := context.Background()
		houses := two(t, at)
		caller := throwaway(t, houses[0], func(a *otp.Account) { a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0 })
		var targets []engine.Target
		for i := range 256 {
			targets = append(targets, target(t, houses[0], caller, "919812345678", fmt.Sprintf("10.0.1.%d", i)))
		}
		for _, err := range atOnce(256, func(i int) error {
			_, err := houses[i%2].Generate(ctx, caller, targets[i])
			return err
		}) {
			require.NoError(t, err)
		}
		answers := atOnce(1024, func(i int) error { return houses[i%2].Verify(ctx, caller, targets[i%256], "") })
		kinds := map[otp.Kind]int{}
		for _, err := range answers {
			kinds[otp.KindOf(err)]++
		}
		require.Equal(t, map[otp.Kind]int{otp.WrongCode: 20, otp.Locked: 1004}, kinds)
		require.Equal(t, 20, ask(t, houses[0], `SELECT COUNT(*) FROM events WHERE esme_address = ? AND kind = 'wrong'`,
			caller.Account.Address), "counted in the events")
		_, err := houses[0].Generate(ctx, caller, targets[0])
		require.Equal(t, otp.Locked, otp.KindOf(err), "while locked nothing is sent")
	})
}
