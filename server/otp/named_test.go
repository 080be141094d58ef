package otp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Guesses at a challenge by id that is not its slot's newest are never compared, at any door, and change nothing.
func TestVerify_AnOlderChallengeByIDIsNeverCompared(t *testing.T) {
	replaced := func(also func(*Challenge)) *Challenge {
		return challenge(func(c *Challenge) {
			c.ReplacedAt, c.UpdatedAt = noon+2*Minute, noon+2*Minute
			if also != nil {
				also(c)
			}
		})
	}
	for _, row := range []struct {
		state     string
		recipient *Recipient
		challenge *Challenge
		now       Millis
		kind      Kind
	}{
		{"live until then", &Recipient{}, replaced(nil), noon + 3*Minute, Replaced},
		{"used before", &Recipient{}, replaced(func(c *Challenge) { c.UsedAt = noon + Minute }), noon + 3*Minute, Used},
		{"cancelled before", &Recipient{}, replaced(func(c *Challenge) { c.CanceledAt = noon + Minute }), noon + 3*Minute,
			Canceled},
		{"out of attempts before", &Recipient{}, replaced(func(c *Challenge) { c.Wrong = 3 }), noon + 3*Minute, Replaced},
		{"expired by now", &Recipient{}, replaced(nil), expiry, Replaced},
		{"of a locked recipient", lockedRecipient(), replaced(nil), noon + 3*Minute, Replaced},
		{"forgotten", &Recipient{}, replaced(nil), expiry + Hour + 1, NotFound},
	} {
		for _, closed := range []Closed{ClosedIsCompared, ClosedIsFinal} {
			for _, matches := range []bool{true, false} {
				before, recipient := *row.challenge, *row.recipient
				require.Equal(t, row.kind, KindOf(Verify(row.recipient, row.challenge, closed, matches, row.now)), row.state)
				require.Equal(t, before, *row.challenge, row.state)
				require.Equal(t, recipient, *row.recipient, row.state)
			}
		}
		before := *row.challenge
		require.Equal(t, row.kind, KindOf(Resend(row.recipient, nil, row.challenge, Policy{MaxRegenerations: 3}, row.now)),
			row.state)
		require.Equal(t, row.kind, KindOf(Cancel(row.challenge, row.now)), row.state)
		require.Equal(t, before, *row.challenge, row.state)
	}
}

func TestMeant_TheBindingMustBeTheSameAndTheTypeOneOfThoseThatAreMeant(t *testing.T) {
	one, other := ID{1}, ID{2}
	servlets := challenge(nil)
	plain := challenge(func(c *Challenge) { c.Details = &Details{Type: "two_factor"} })
	bound := challenge(func(c *Challenge) { c.Details = &Details{Type: "two_factor", Binding: one} })
	for _, row := range []struct {
		challenge *Challenge
		binding   ID
		types     string
		meant     bool
	}{
		{nil, ID{}, "verification", false},
		{servlets, ID{}, "verification", true},
		{servlets, ID{}, "two_factor,verification", true},
		{servlets, ID{}, "two_factor", false},
		{servlets, ID{}, "", false},
		{servlets, one, "verification", false},
		{plain, ID{}, "two_factor", true},
		{plain, ID{}, "verification,transaction,two_factor", true},
		{plain, ID{}, "verification", false},
		{plain, ID{}, "Two_factor", false},
		{plain, ID{}, "", false},
		{plain, one, "two_factor", false},
		{bound, ID{}, "two_factor", false},
		{bound, one, "two_factor", true},
		{bound, one, "password_reset", false},
		{bound, one, "", false},
		{bound, other, "two_factor", false},
	} {
		meant := row.challenge.Meant(row.binding, strings.Split(row.types, ","))
		require.Equal(t, row.meant, meant != nil, "%+v", row)
		if meant != nil {
			require.Same(t, row.challenge, meant)
		}
	}
}

func TestStage_SaysWhatEndedAChallenge(t *testing.T) {
	for _, row := range []struct {
		change func(*Challenge)
		now    Millis
		stage  Stage
	}{
		{nil, expiry - 1, StageLive},
		{nil, expiry, StageExpired},
		{func(c *Challenge) { c.Wrong = 2 }, noon, StageLive},
		{func(c *Challenge) { c.Wrong = 3 }, noon, StageExhausted},
		{func(c *Challenge) { c.Wrong = 3 }, expiry, StageExhausted},
		{func(c *Challenge) { c.UsedAt = noon }, expiry, StageVerified},
		{func(c *Challenge) { c.UsedAt, c.ReplacedAt = noon, noon }, noon, StageVerified},
		{func(c *Challenge) { c.CanceledAt, c.ReplacedAt = noon, noon }, noon, StageCanceled},
		{func(c *Challenge) { c.ReplacedAt = noon }, expiry, StageReplaced},
	} {
		require.Equal(t, row.stage, challenge(row.change).Stage(row.now))
	}
}

func TestAttemptsLeft_IsTheLesserOfTheChallengesAndTheBudgets(t *testing.T) {
	c := challenge(func(c *Challenge) { c.Wrong = 1 })
	r := &Recipient{}
	require.Equal(t, 2, r.AttemptsLeft(c, noon))
	for range FailuresPerHour - 1 {
		r.Failures = append(r.Failures, noon)
	}
	require.Equal(t, 1, r.AttemptsLeft(c, noon))
	require.Zero(t, lockedRecipient().AttemptsLeft(c, noon))
	require.Zero(t, (&Recipient{LockedUntil: noon + 1}).AttemptsLeft(c, noon))
	require.Equal(t, 2, (&Recipient{LockedUntil: noon}).AttemptsLeft(c, noon))
}

// A fallback completes the first request: it is no regeneration, but a send that counts.
func TestReroute_CountsAsASendAndNotAsARegeneration(t *testing.T) {
	policy := Policy{MaxRegenerations: 0, Limits: []Limit{{Minute, 2}}}
	c, r := challenge(nil), &Recipient{}
	require.NoError(t, Reroute(r, nil, c, policy, noon))
	require.NoError(t, Reroute(r, nil, c, policy, noon+1))
	require.Equal(t, 3, c.Sends)
	require.Zero(t, c.Regenerations)
	require.Equal(t, Window{noon, noon + 1}, r.Sends)
	before := *c
	require.Equal(t, OverLimit, KindOf(Reroute(r, nil, c, policy, noon+2)))
	require.Equal(t, before, *c)
	require.Equal(t, Expired, KindOf(Reroute(r, nil, c, policy, expiry)))
}
