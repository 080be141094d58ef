package otp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Literal times: a code made at noon that lives five minutes.
var (
	noon    = At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	expiry  = noon + 5*Minute
	forever = noon + 48*Hour
)

func challenge(change func(*Challenge)) *Challenge {
	c := &Challenge{Version: 1, Seq: 1, Length: 6, MaxAttempts: 3, Sends: 1, CreatedAt: noon, UpdatedAt: noon,
		ExpiresAt: expiry}
	if change != nil {
		change(c)
	}
	return c
}

func lockedRecipient() *Recipient {
	r := &Recipient{}
	for range FailuresPerHour {
		r.Failures = append(r.Failures, noon)
	}
	return r
}

// Each row of the table that every door's Verify follows, in order.
func TestVerify_FollowsTheTruthTable(t *testing.T) {
	used := func(c *Challenge) { c.UsedAt = noon + Minute }
	canceled := func(c *Challenge) { c.CanceledAt = noon + Minute }
	exhausted := func(c *Challenge) { c.Wrong = 3 }
	ok := Kind(0)
	rows := []struct {
		state        string
		recipient    *Recipient
		challenge    *Challenge
		now          Millis
		right, wrong Kind // if a used or expired code is compared, as at the servlets
		finalRight   Kind // if it is not, as at v1
		finalWrong   Kind
		wrongCharged bool // at the servlets
		finalCharged bool // at v1
	}{
		{"none", nil, nil, noon, NotFound, NotFound, NotFound, NotFound, false, false},
		{"cancelled", nil, challenge(canceled), noon + Minute, Canceled, Canceled, Canceled, Canceled, false, false},
		{"an hour past expiry, to the millisecond", nil, challenge(nil), expiry + Hour, Expired, WrongCode, Expired,
			Expired, true, false},
		{"more than an hour past expiry", nil, challenge(nil), expiry + Hour + 1, NotFound, NotFound, NotFound, NotFound,
			false, false},
		{"used, more than an hour past expiry", nil, challenge(used), expiry + Hour + 1, NotFound, NotFound, NotFound,
			NotFound, false, false},
		{"locked by budget", lockedRecipient(), challenge(nil), noon + Minute, Locked, Locked, Locked, Locked, false, false},
		{"locked by budget and used", lockedRecipient(), challenge(used), noon + Minute, Locked, Locked, Locked, Locked,
			false, false},
		{"locked by budget and none", lockedRecipient(), nil, noon + Minute, NotFound, NotFound, NotFound, NotFound, false,
			false},
		{"locked for a day", &Recipient{LockedUntil: noon + Hour}, challenge(nil), noon + Minute, Locked, Locked, Locked,
			Locked, false, false},
		{"wrong guesses = max", nil, challenge(exhausted), noon + Minute, AttemptsExhausted, AttemptsExhausted,
			AttemptsExhausted, AttemptsExhausted, false, false},
		{"wrong guesses = max, and expired", nil, challenge(exhausted), expiry, AttemptsExhausted, AttemptsExhausted,
			AttemptsExhausted, AttemptsExhausted, false, false},
		{"used", nil, challenge(used), noon + 2*Minute, Used, WrongCode, Used, Used, true, false},
		{"used and expired", nil, challenge(used), expiry, Used, WrongCode, Used, Used, true, false},
		{"at expiry", nil, challenge(nil), expiry, Expired, WrongCode, Expired, Expired, true, false},
		{"live, the last millisecond", nil, challenge(nil), expiry - 1, ok, WrongCode, ok, WrongCode, true, true},
		{"live", nil, challenge(nil), noon, ok, WrongCode, ok, WrongCode, true, true},
	}
	for _, row := range rows {
		t.Run(row.state, func(t *testing.T) {
			for _, guess := range []struct {
				name    string
				matches bool
				closed  Closed
				kind    Kind
				charged bool
			}{
				{"right at the servlets", true, ClosedIsCompared, row.right, false},
				{"wrong at the servlets", false, ClosedIsCompared, row.wrong, row.wrongCharged},
				{"right on v1", true, ClosedIsFinal, row.finalRight, false},
				{"wrong on v1", false, ClosedIsFinal, row.finalWrong, row.finalCharged},
			} {
				r := Recipient{}
				if row.recipient != nil {
					r = *row.recipient
				}
				var c, before *Challenge
				if row.challenge != nil {
					copied := *row.challenge
					c, before = &copied, row.challenge
				}
				wasRecipient := r
				err := Verify(&r, c, guess.closed, guess.matches, row.now)
				require.Equal(t, guess.kind, KindOf(err), guess.name)
				require.Equal(t, guess.kind == ok, err == nil, guess.name)
				switch {
				case guess.charged:
					require.Equal(t, before.Wrong+1, c.Wrong, guess.name)
					require.Equal(t, 1, r.Failures.Within(Hour, row.now), guess.name)
					require.Equal(t, 1, r.Run, guess.name)
				case guess.kind == ok:
					require.Equal(t, row.now, c.UsedAt, guess.name)
					require.Equal(t, before.Wrong, c.Wrong, guess.name)
				default:
					require.Equal(t, before, c, "%s changes nothing", guess.name)
					require.Equal(t, wasRecipient, r, "%s changes nothing", guess.name)
				}
			}
		})
	}
}

func TestVerify_WrongGuessesReadTwoOneZeroThenTheMaximum(t *testing.T) {
	r, c := &Recipient{}, challenge(nil)
	for _, left := range []int{2, 1, 0} {
		err := Verify(r, c, ClosedIsCompared, false, noon)
		require.Equal(t, &Error{Kind: WrongCode, Message: "the code is wrong", Remaining: left}, err)
	}
	require.Equal(t, AttemptsExhausted, KindOf(Verify(r, c, ClosedIsCompared, false, noon)))
	require.Equal(t, AttemptsExhausted, KindOf(Verify(r, c, ClosedIsCompared, true, noon)), "the right code too")
	require.Equal(t, 3, c.Wrong)
}

func TestVerify_RemainingIsCutByTheBudget(t *testing.T) {
	r, c := &Recipient{}, challenge(func(c *Challenge) { c.MaxAttempts = 10 })
	for range 17 {
		r.charge(noon)
	}
	var left []int
	for range 3 {
		err := Verify(r, c, ClosedIsCompared, false, noon+Minute)
		left = append(left, err.(*Error).Remaining)
	}
	require.Equal(t, []int{2, 1, 0}, left, "three of the hour's twenty were left, not nine of the challenge's ten")
	require.Equal(t, Locked, KindOf(Verify(r, c, ClosedIsCompared, true, noon+Minute)))
}

func TestBudget_LocksUntilTheOldestWrongGuessLeavesTheHour(t *testing.T) {
	r := &Recipient{}
	for i := range FailuresPerHour {
		r.charge(noon + Millis(i)*Minute)
	}
	require.Equal(t, 41*time.Minute, r.LockedFor(noon+19*Minute))
	require.Equal(t, time.Millisecond, r.LockedFor(noon+Hour-1))
	require.Zero(t, r.LockedFor(noon+Hour), "the guess made at noon left the hour at one")
	r.charge(noon + Hour)
	require.Equal(t, time.Minute, r.LockedFor(noon+Hour), "the one place that was free is taken")
}

func TestBudget_AHundredInARowLockForADayAndThenStartAgain(t *testing.T) {
	r := &Recipient{}
	now := noon
	for i := range FailuresInRun {
		require.Zero(t, r.LockedFor(now), "guess %d", i+1)
		r.charge(now)
		now += 4 * Minute // fifteen an hour: the hour's budget never locks
	}
	last := now - 4*Minute
	require.Equal(t, last+24*Hour, r.LockedUntil)
	require.Equal(t, time.Millisecond, r.LockedFor(last+24*Hour-1))
	require.Zero(t, r.LockedFor(last+24*Hour))
	r.charge(last + 24*Hour)
	require.Equal(t, 1, r.Run, "the run starts at 0 when the lock ends")
	require.Zero(t, r.LockedUntil)
}

func TestBudget_SuccessClearsTheRunOnly(t *testing.T) {
	r, c := &Recipient{}, challenge(func(c *Challenge) { c.MaxAttempts = 100 })
	for range 5 {
		require.Error(t, Verify(r, c, ClosedIsCompared, false, noon))
	}
	require.NoError(t, Verify(r, c, ClosedIsCompared, true, noon))
	require.Zero(t, r.Run)
	require.Equal(t, 5, r.Failures.Within(Hour, noon))
}

func TestBudget_TheRunLapsesADayAfterItsLastWrongGuess(t *testing.T) {
	r := &Recipient{}
	for range 10 {
		r.charge(noon)
	}
	r.charge(noon + 24*Hour - 1)
	require.Equal(t, 11, r.Run)
	r.charge(r.RunAt + 24*Hour)
	require.Equal(t, 1, r.Run)
}

func TestUnlock_LiftsBothLocksAndRestartsTheRun(t *testing.T) {
	r := lockedRecipient()
	r.Run, r.RunAt, r.LockedUntil = FailuresInRun, noon, noon+RunLock
	r.Unlock(noon + Minute)
	require.Zero(t, r.LockedFor(noon+Minute))
	require.Equal(t, FailuresPerHour, r.budgetLeft(noon+Minute))
}

var tenAMinute = Policy{Length: 6, TTL: 5 * Minute, MaxAttempts: 3, MaxRegenerations: 3,
	Limits: []Limit{{Minute, 10}, {Hour, 20}, {Day, 40}}}

func TestGenerate_ReplacesThePreviousAndStartsItsCountsAtZero(t *testing.T) {
	r := &Recipient{Seq: 4}
	previous := challenge(func(c *Challenge) { c.Wrong, c.Regenerations = 2, 3 })
	next := &Challenge{}
	require.NoError(t, Generate(r, nil, previous, next, tenAMinute, noon+Minute))
	require.Equal(t, noon+Minute, previous.ReplacedAt)
	require.Equal(t, int64(5), next.Seq)
	require.Equal(t, int64(5), r.Seq)
	require.Zero(t, next.Wrong)
	require.Zero(t, next.Regenerations)
	require.Equal(t, noon+6*Minute, next.ExpiresAt)
	require.Equal(t, Window{noon + Minute}, r.Sends)
}

func TestGenerate_IsExactlyTenInAnyMinute(t *testing.T) {
	r := &Recipient{}
	for i := range 10 {
		require.NoError(t, Generate(r, nil, nil, &Challenge{}, tenAMinute, noon+Millis(i)*Second))
	}
	err := Generate(r, nil, nil, &Challenge{}, tenAMinute, noon+Minute-1)
	require.Equal(t, OverLimit, KindOf(err))
	require.Equal(t, time.Millisecond, err.(*Error).RetryAfter)
	require.NoError(t, Generate(r, nil, nil, &Challenge{}, tenAMinute, noon+Minute), "the first has left")
	require.Equal(t, OverLimit, KindOf(Generate(r, nil, nil, &Challenge{}, tenAMinute, noon+Minute)))
}

func TestGenerate_HourAndDayHoldBesideTheMinute(t *testing.T) {
	r := &Recipient{}
	now, sent := noon, 0
	for ; now < noon+Day; now += Minute {
		if Generate(r, nil, nil, &Challenge{}, tenAMinute, now) == nil {
			sent++
		}
		if now == noon+Hour-Minute {
			require.Equal(t, 20, sent, "in the first hour")
		}
	}
	require.Equal(t, 40, sent, "in the day")
}

func TestGenerate_ZeroLiftsALimitAndRemembersNothing(t *testing.T) {
	lifted := tenAMinute
	lifted.Limits = []Limit{{Minute, 0}, {Hour, 0}, {Day, 0}}
	r := &Recipient{}
	for range 1000 {
		require.NoError(t, Generate(r, nil, nil, &Challenge{}, lifted, noon))
	}
	require.Empty(t, r.Sends)
}

func TestGenerate_ChargesNeitherRowWhenTheMailboxIsOverItsLimit(t *testing.T) {
	r, mailbox := &Recipient{}, &Recipient{}
	for range 10 {
		mailbox.send(tenAMinute.Limits, noon)
	}
	before := *mailbox
	previous := challenge(nil)
	require.Equal(t, OverLimit, KindOf(Generate(r, mailbox, previous, &Challenge{}, tenAMinute, noon)))
	require.Equal(t, &Recipient{}, r)
	require.Equal(t, &before, mailbox)
	require.Equal(t, challenge(nil), previous, "a refused generate leaves the old code live")
}

func TestGenerate_IsRefusedWhileLocked(t *testing.T) {
	r, previous := lockedRecipient(), challenge(nil)
	err := Generate(r, nil, previous, &Challenge{}, tenAMinute, noon+Minute)
	require.Equal(t, Locked, KindOf(err))
	require.Equal(t, 59*time.Minute, err.(*Error).RetryAfter)
	require.Equal(t, lockedRecipient(), r)
	require.Equal(t, challenge(nil), previous)
}

// The first failed check decides the answer, and nothing changes.
func TestResend_TestsInItsOrder(t *testing.T) {
	full := &Recipient{}
	for range 10 {
		full.send(tenAMinute.Limits, noon)
	}
	lockedAndFull := lockedRecipient()
	lockedAndFull.Sends = full.Sends
	spent := func(c *Challenge) { c.Regenerations = 3 }
	rows := []struct {
		name      string
		recipient *Recipient
		challenge *Challenge
		now       Millis
		kind      Kind
	}{
		{"nothing", lockedAndFull, nil, noon, NotFound},
		{"forgotten", lockedAndFull, challenge(spent), expiry + Hour + 1, NotFound},
		{"cancelled", lockedAndFull, challenge(func(c *Challenge) { spent(c); c.CanceledAt = noon }), noon, Canceled},
		{"used", lockedAndFull, challenge(func(c *Challenge) { spent(c); c.UsedAt = noon }), noon, Used},
		{"expired", lockedAndFull, challenge(spent), expiry, Expired},
		{"out of attempts", lockedAndFull, challenge(func(c *Challenge) { spent(c); c.Wrong = 3 }), noon, AttemptsExhausted},
		{"locked", lockedAndFull, challenge(spent), noon, Locked},
		{"regenerations", full, challenge(spent), noon, RegenerationsExhausted},
		{"send windows", full, challenge(nil), noon, OverLimit},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := *row.recipient
			var c *Challenge
			if row.challenge != nil {
				copied := *row.challenge
				c = &copied
			}
			require.Equal(t, row.kind, KindOf(Resend(&r, nil, c, tenAMinute, row.now)))
			require.Equal(t, *row.recipient, r)
			require.Equal(t, row.challenge, c)
		})
	}
}

func TestResend_ThreeSucceedAndTheFourthIsRefused(t *testing.T) {
	r, c := &Recipient{}, challenge(func(c *Challenge) { c.Wrong = 2 })
	for range 3 {
		require.NoError(t, Resend(r, nil, c, tenAMinute, noon+Minute))
	}
	require.Equal(t, RegenerationsExhausted, KindOf(Resend(r, nil, c, tenAMinute, noon+Minute)))
	require.Equal(t, expiry, c.ExpiresAt, "same expiry")
	require.Equal(t, 2, c.Wrong, "attempts are not reset")
	require.Equal(t, 4, c.Sends)
	require.Len(t, r.Sends, 3, "a resend is a send")
}

func TestRefund_TakesBackTheSendAndTheRegeneration(t *testing.T) {
	r, mailbox, c := &Recipient{}, &Recipient{}, &Challenge{}
	require.NoError(t, Generate(r, mailbox, nil, c, tenAMinute, noon))
	require.NoError(t, Resend(r, mailbox, c, tenAMinute, noon+Second))
	Refund(r, mailbox, c, true, noon+Second, noon+2*Second)
	require.Equal(t, Window{noon}, r.Sends)
	require.Equal(t, Window{noon}, mailbox.Sends)
	require.Zero(t, c.Regenerations)
	Refund(r, mailbox, c, false, noon, noon+2*Second)
	require.Empty(t, r.Sends)
	require.Zero(t, c.Regenerations)
	require.Zero(t, c.UsedAt+c.CanceledAt+c.ReplacedAt, "the code stays live")
}

func TestCancel_EndsALiveChallengeOnly(t *testing.T) {
	c := challenge(nil)
	require.NoError(t, Cancel(c, noon+Minute))
	require.Equal(t, noon+Minute, c.CanceledAt)
	require.Equal(t, Canceled, KindOf(Cancel(c, noon+Minute)))
	require.Equal(t, NotFound, KindOf(Cancel(nil, noon)))
	require.Equal(t, Used, KindOf(Cancel(challenge(func(c *Challenge) { c.UsedAt = noon }), noon)))
	require.Equal(t, Expired, KindOf(Cancel(challenge(nil), expiry)))
	require.Equal(t, NotFound, KindOf(Cancel(challenge(nil), forever)))
}

func TestMoment_NeverGoesBackBehindARow(t *testing.T) {
	require.Equal(t, noon+Second, Moment(noon, noon+Second, noon-Second))
	require.Equal(t, noon, Moment(noon, noon-Second))
}
