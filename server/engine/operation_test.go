package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

var background = context.Background()

func generated(t testing.TB, h house, c *engine.Caller, number string) (engine.Target, string) {
	t.Helper()
	to := target(t, h, c, number, "10.20.51.122")
	_, err := h.Generate(background, c, to)
	require.NoError(t, err)
	return to, code(t, h, c, number)
}

func TestVerify_TheCanceledRow(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, nil)
		to, right := generated(t, h, caller, "919551492394")
		_, err := h.CancelNamed(background, caller, engine.Named{Target: to})
		require.NoError(t, err)
		require.Equal(t, otp.Canceled, otp.KindOf(h.Verify(background, caller, to, right)))
		require.Equal(t, otp.Canceled, otp.KindOf(h.Verify(background, caller, to, "")))
		require.Zero(t, ask(t, h, wrongCount, caller.Account.Address), "nothing was charged")
		_, err = h.CancelNamed(background, caller, engine.Named{Target: to})
		require.Equal(t, otp.Canceled, otp.KindOf(err))
		_, err = h.Resend(background, caller, to)
		require.Equal(t, otp.Canceled, otp.KindOf(err))
	})
}

// In a bubble time is fake, for the engine and everything below it, so expiry takes no real time.
func TestVerify_ExpiresByTheEnginesOwnClock(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			caller := throwaway(t, h, nil)
			to, right := generated(t, h, caller, "919551492394")
			time.Sleep(300*time.Second - time.Millisecond)
			_, err := h.Resend(background, caller, to)
			require.NoError(t, err, "alive in its last millisecond")
			time.Sleep(time.Millisecond)
			require.Equal(t, otp.Expired, otp.KindOf(h.Verify(background, caller, to, right)), "a resend does not prolong")
			require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, to, "")))
			time.Sleep(time.Hour)
			require.Equal(t, otp.Expired, otp.KindOf(h.Verify(background, caller, to, right)))
			time.Sleep(time.Millisecond)
			require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, caller, to, right)))
		})
	})
}

func TestGenerate_SurelyUndeliveredIsRefundedAndLeavesTheNewCodeLive(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, nil)
		to, old := generated(t, h, caller, "919551492394")
		h.faults.Set([]deliver.Fault{{Target: "inbox", Kind: "not_sent", Account: caller.Account.Address}})
		for range 30 { // far beyond ten a minute: each is refunded
			_, err := h.Generate(background, caller, to)
			require.Equal(t, otp.Undelivered, otp.KindOf(err))
		}
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, to, old)), "the old code was replaced")
		for range 5 {
			_, err := h.Resend(background, caller, to)
			require.Equal(t, otp.Undelivered, otp.KindOf(err), "a refunded regeneration does not count")
		}
		messages, err := h.Inbox.List(background, engine.MessageQuery{Account: caller.Account.Address})
		require.NoError(t, err)
		require.Len(t, messages, 1, "what was not sent is not in the inbox")
		h.faults.Set(nil)
		sent, err := h.Resend(background, caller, to)
		require.NoError(t, err)
		require.Equal(t, 1, sent.Regenerations)
		require.NoError(t, h.Verify(background, caller, to, code(t, h, caller, "919551492394")))
	})
}

func TestGenerate_AnUnknownOutcomeCountsAsOnItsWay(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, nil)
		h.faults.Set([]deliver.Fault{{Target: "inbox", Kind: "unknown"}})
		generated(t, h, caller, "919551492394")
	})
}

func TestGenerate_WaitsForAnOutcomeNoLongerThanItsDeadline(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := openWith(t, at, func(o *engine.Options) { o.DeliveryWait = 2 * time.Second })
			caller := throwaway(t, h, nil)
			h.faults.Set([]deliver.Fault{{Target: "inbox", Kind: "delay", Delay: time.Second, Count: 1},
				{Target: "inbox", Kind: "delay", Delay: time.Hour}})
			started := time.Now()
			generated(t, h, caller, "919551492394")
			require.Equal(t, time.Second, time.Since(started))
			generated(t, h, caller, "919551492395")
			require.Equal(t, 3*time.Second, time.Since(started))
		})
	})
}

// scripted is a channel with given outcomes, one per call.
type scripted struct {
	outcomes []deliver.Outcome
	calls    atomic.Int32
}

func (s *scripted) Name() string { return "scripted" }

func (s *scripted) Waits() bool { return true }

func (s *scripted) Send(context.Context, deliver.Message) deliver.Result {
	outcome := s.outcomes[s.calls.Add(1)-1]
	if outcome == 0 {
		panic("the channel is broken")
	}
	return deliver.Result{Outcome: outcome, Reason: "as scripted"}
}

func TestDispatch_TriesTheNextChannelOnlyAfterSurelyNotSent(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		for _, row := range []struct {
			first, second deliver.Outcome
			calls         int32 // of the second channel
			kind          otp.Kind
		}{
			{deliver.Sent, deliver.Sent, 0, 0},
			{deliver.Unknown, deliver.Sent, 0, 0},
			{0, deliver.Sent, 0, 0}, // a panic says nothing about the message
			{deliver.NotSent, deliver.Sent, 1, 0},
			{deliver.NotSent, deliver.Unknown, 1, 0},
			{deliver.NotSent, deliver.NotSent, 1, otp.Undelivered},
		} {
			first, second := &scripted{outcomes: []deliver.Outcome{row.first}},
				&scripted{outcomes: []deliver.Outcome{row.second}}
			h := openWith(t, at, func(o *engine.Options) { o.SMS = []deliver.Channel{first, second} })
			caller := throwaway(t, h, nil)
			_, err := h.Generate(background, caller, target(t, h, caller, "919551492394", "x"))
			require.Equal(t, row.kind, otp.KindOf(err))
			require.Equal(t, row.calls, second.calls.Load())
		}
	})
}

func TestGenerate_WithoutAnyChannelNothingIsSent(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := openWith(t, at, func(o *engine.Options) { o.SMS = nil })
		caller := throwaway(t, h, nil)
		_, err := h.Generate(background, caller, target(t, h, caller, "919551492394", "x"))
		require.Equal(t, otp.Undelivered, otp.KindOf(err))
	})
}

func withMail(t *testing.T, h house, c *engine.Caller, mailbox string) engine.Target {
	t.Helper()
	to, err := c.Target("919551492394", "10.20.51.122", mailbox)
	require.NoError(t, err)
	return to
}

func TestGenerate_TravelsOnTheAccountsChannels(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		for _, row := range []struct {
			sms, email bool
			mailbox    string
			expected   string
		}{
			{true, false, "", "sms +919551492394"},
			{true, false, "User@example.com", "sms +919551492394"},
			{true, true, "", "sms +919551492394"},
			{true, true, "User@example.com", "sms +919551492394, email user@example.com"},
			{false, true, "User@example.com", "email user@example.com"},
		} {
			caller := throwaway(t, h, func(a *otp.Account) { a.SMSEnabled, a.EmailEnabled = row.sms, row.email })
			to := withMail(t, h, caller, row.mailbox)
			_, err := h.Generate(background, caller, to)
			require.NoError(t, err)
			messages, err := h.Inbox.List(background, engine.MessageQuery{Account: caller.Account.Address})
			require.NoError(t, err)
			var went []string
			for _, m := range messages {
				went = append(went, m.Channel+" "+m.To)
				require.Contains(t, m.Text, m.Code)
				require.NotContains(t, m.Subject, m.Code)
			}
			require.Equal(t, row.expected, strings.Join(went, ", "))
			require.NoError(t, h.Verify(background, caller, to, messages[0].Code), "one code on both")
		}
		mailOnly := throwaway(t, h, func(a *otp.Account) { a.SMSEnabled, a.EmailEnabled = false, true })
		_, err := h.Generate(background, mailOnly, withMail(t, h, mailOnly, ""))
		require.Equal(t, otp.Invalid, otp.KindOf(err))
		require.ErrorContains(t, err, "email")
	})
}

func TestResend_GoesToTheRequestsMailboxElseTheStoredOne(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, func(a *otp.Account) { a.SMSEnabled, a.EmailEnabled = false, true })
		_, err := h.Generate(background, caller, withMail(t, h, caller, "first@example.com"))
		require.NoError(t, err)
		_, err = h.Resend(background, caller, withMail(t, h, caller, "second@example.com"))
		require.NoError(t, err)
		_, err = h.Resend(background, caller, withMail(t, h, caller, ""))
		require.NoError(t, err)
		for mailbox, sends := range map[string]int{"first@example.com": 2, "SECOND@example.com": 1, "third@example.com": 0} {
			messages, err := h.Inbox.List(background, engine.MessageQuery{To: mailbox})
			require.NoError(t, err)
			require.Len(t, messages, sends, mailbox)
		}
	})
}

func TestGenerate_TheMailboxHasASendWindowOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, func(a *otp.Account) { a.SMSEnabled, a.EmailEnabled = false, true })
		refused := 0
		for i := range 12 {
			to, err := caller.Target("91955149230"+string(rune('0'+i%10)), "x", "same@Example.com")
			require.NoError(t, err)
			if _, err := h.Generate(background, caller, to); err != nil {
				require.Equal(t, otp.OverLimit, otp.KindOf(err))
				refused++
			}
		}
		require.Equal(t, 2, refused)
	})
}

func TestVerify_NothingCrossesAccountRecipientOrSubject(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		first, second := throwaway(t, h, nil), throwaway(t, h, nil)
		to, right := generated(t, h, first, "919551492394")
		other := target(t, h, second, "919551492394", "10.20.51.122")
		require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, second, other, right)))
		require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, first,
			target(t, h, first, "919551492395", "10.20.51.122"), right)))
		require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, first,
			target(t, h, first, "919551492394", "10.20.51.123"), right)))
		for _, environment := range []otp.Environment{otp.Live, otp.Dev} {
			elsewhere := *first
			elsewhere.Environment = environment
			require.Equal(t, otp.NotFound, otp.KindOf(h.Verify(background, &elsewhere, to, right)))
		}
		require.NoError(t, h.Verify(background, first, to, right))
	})
}

func TestVerify_ASubjectIsIgnoredWhereTheAccountDoesNotKeyOnIt(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, func(a *otp.Account) { a.KeyOnIP = false })
		_, right := generated(t, h, caller, "919551492394")
		require.NoError(t, h.Verify(background, caller, target(t, h, caller, "919551492394", "elsewhere"), right))
	})
}

func TestFixedCode_ReplacesEveryCodeOfItsLength(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := openWith(t, at, func(o *engine.Options) { o.FixedCode = "123456" })
		_, right := generated(t, h, throwaway(t, h, nil), "919551492394")
		require.Equal(t, "123456", right)
		_, right = generated(t, h, throwaway(t, h, func(a *otp.Account) { a.Length = 8 }), "919551492394")
		require.Len(t, right, 8)
	})
}

func TestAwaitMessages_EndsAtTheFirstMatchOrWhenTheWaitIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			caller := throwaway(t, h, nil)
			query := engine.MessageQuery{Account: caller.Account.Address, To: "0091 95514 92394"}
			started := time.Now()
			messages, err := h.Inbox.Await(background, query, 3*time.Second)
			require.NoError(t, err)
			require.Empty(t, messages)
			require.Equal(t, 3*time.Second, time.Since(started))
			go func() {
				time.Sleep(100 * time.Millisecond)
				_, err := h.Generate(background, caller, target(t, h, caller, "919551492394", "x"))
				if err != nil {
					t.Error(err)
				}
			}()
			messages, err = h.Inbox.Await(background, query, 30*time.Second)
			require.NoError(t, err)
			require.Len(t, messages, 1)
			require.Equal(t, 3100*time.Millisecond, time.Since(started))
			query.After = messages[0].ID
			messages, err = h.Inbox.Await(background, query, time.Second)
			require.NoError(t, err)
			require.Empty(t, messages, "nothing newer")
		})
	})
}

func TestMessages_CanBeEmptiedAndCodesStayLive(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, nil)
		to, right := generated(t, h, caller, "919551492394")
		require.NoError(t, h.Inbox.Clear(background))
		messages, err := h.Inbox.List(background, engine.MessageQuery{})
		require.NoError(t, err)
		require.Empty(t, messages)
		_, err = h.Resend(background, caller, to)
		require.NoError(t, err)
		messages, err = h.Inbox.List(background, engine.MessageQuery{})
		require.NoError(t, err)
		require.Len(t, messages, 1, "what comes later is shown")
		require.NoError(t, h.Verify(background, caller, to, right))
		for _, bad := range []string{"yesterday", "msg_xyz"} {
			_, err = h.Inbox.List(background, engine.MessageQuery{After: bad})
			require.Equal(t, otp.Invalid, otp.KindOf(err))
		}
	})
}

func TestMessages_PagesThroughMoreThanOneReadingOfTheInbox(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		caller := throwaway(t, h, func(a *otp.Account) {
			a.SMSEnabled, a.EmailEnabled = false, true
			a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = 0, 0, 0
		})
		for _, err := range atOnce(600, func(i int) error {
			to, err := caller.Target("919551492394", "x", "many@example.com")
			if err != nil {
				return err
			}
			if i == 0 {
				to.Mailbox = "once@example.com"
			}
			_, err = h.Generate(background, caller, to)
			return err
		}) {
			require.NoError(t, err)
		}
		messages, err := h.Inbox.List(background, engine.MessageQuery{To: "once@example.com"})
		require.NoError(t, err)
		require.Len(t, messages, 1)
	})
}
