package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// application returns an account's caller at the JSON API.
func application(t testing.TB, h house, adjust func(*otp.Account)) *engine.Caller {
	t.Helper()
	return atAPI(throwaway(t, h, adjust))
}

// atAPI returns the same credential's caller at the JSON API.
func atAPI(c *engine.Caller) *engine.Caller {
	same := *c
	same.Door = otp.V1Door
	return &same
}

func to(t testing.TB, h house, c *engine.Caller, recipient, ip, email, binding string) engine.Target {
	t.Helper()
	target, err := c.TargetOf(recipient, ip, email, json.RawMessage(binding))
	require.NoError(t, err)
	return target
}

func sent(t testing.TB, h house, c *engine.Caller, s engine.Send) engine.Challenge {
	t.Helper()
	if s.Method == "" {
		s.Method = "sms"
	}
	challenge, err := h.Send(background, c, s)
	require.NoError(t, err)
	return challenge
}

const someNumber = "+919551492394"

func TestRecipient_NamesTheFieldThatIsWrong(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, nil)
		for _, row := range []struct{ to, ip, email, binding, field string }{
			{"", "", "", "", "to"}, {"919551492394", "", "", "", "to"}, {"+91 9551492394", "", "", "", "to"}, {"+15550100", "",
				"", "", "to"},
			{"00919551492394", "", "", "", "to"}, {"+4915112345678", "", "", "", "to"}, {"A <a@b.example>", "", "", "",
				"to"}, {"a@", "", "", "", "to"},
			{someNumber, strings.Repeat("x", 65), "", "", "ip"}, {someNumber, "é", "", "", "ip"},
			{someNumber, "", "nobody", "", "email"}, {"a@b.example", "", "c@d.example", "", "email"},
			{someNumber, "", "", `{"a":1,"a":1}`, "binding"}, {someNumber, "", "", `{`, "binding"},
		} {
			_, err := c.TargetOf(row.to, row.ip, row.email, json.RawMessage(row.binding))
			refusal, ok := errors.AsType[*otp.Error](err)
			require.True(t, ok, "%+v", row)
			require.Equal(t, otp.Invalid, refusal.Kind)
			require.Equal(t, row.field, refusal.Field, "%+v", row)
			require.True(t, strings.HasPrefix(refusal.Message, row.field+" "), refusal.Message)
		}
		full, err := c.TargetOf(someNumber, "::ffff:10.0.0.1", "User@example.com", json.RawMessage(` {"b": 1.0, "a": null} `))
		require.NoError(t, err)
		require.Equal(t, engine.Target{Recipient: someNumber, Subject: "10.0.0.1", Mailbox: "user@example.com",
			Binding: `{"a":null,"b":1}`}, full)
		require.Equal(t, engine.Target{Recipient: "user@example.com", Mailbox: "user@example.com"},
			to(t, h, c, "User@example.com", "", "", "null"))

		loose := application(t, h, func(a *otp.Account) { a.KeyOnIP = false })
		require.Empty(t, to(t, h, loose, someNumber, "10.0.0.1", "", "").Subject)
	})
}

func TestSend_RefusesWhatItCannotGrantByFieldAndChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, func(a *otp.Account) {
			a.Length, a.Templates = 6, map[string]string{"welcome": "{code}"}
		})
		number, mailbox := to(t, h, c, someNumber, "", "", ""), to(t, h, c, "a@b.example", "", "", "")
		mail := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
		for _, row := range []struct {
			caller *engine.Caller
			send   engine.Send
			field  string
		}{
			{c, engine.Send{Target: number}, "method"},
			{c, engine.Send{Target: number, Method: "whatsapp"}, "method"},
			{c, engine.Send{Target: mailbox, Method: "email"}, "method"}, // switched off
			{mail, engine.Send{Target: mailbox, Method: "sms"}, "method"},
			{mail, engine.Send{Target: number, Method: "email"}, "method"}, // no address
			{mail, engine.Send{Target: number, Method: "sms", Fallback: []string{"email"}}, "fallback"},
			{c, engine.Send{Target: number, Method: "sms", Fallback: []string{"sms"}}, "fallback"},
			{c, engine.Send{Target: number, Method: "sms", Fallback: []string{"pigeon"}}, "fallback"},
			{c, engine.Send{Target: number, Method: "sms", Type: "marketing"}, "type"},
			{c, engine.Send{Target: number, Method: "sms", Template: "farewell"}, "template"},
			{c, engine.Send{Target: number, Method: "sms", Locale: "no locale"}, "locale"},
			{c, engine.Send{Target: number, Method: "sms", TTL: 29 * time.Second}, "ttl"},
			{c, engine.Send{Target: number, Method: "sms", TTL: -time.Second}, "ttl"},
			{c, engine.Send{Target: number, Method: "sms", Length: 5}, "length"},
			{c, engine.Send{Target: number, Method: "sms", Length: 11}, "length"},
			{c, engine.Send{Target: number, Method: "sms", Metadata: json.RawMessage(`[1]`)}, "metadata"},
			{c, engine.Send{Target: number, Method: "sms", Metadata: json.RawMessage(`{"a":"` + strings.Repeat("x", 1024-7) +
				`"}`)}, "metadata"},
		} {
			_, err := h.Send(background, row.caller, row.send)
			refusal, ok := errors.AsType[*otp.Error](err)
			require.True(t, ok, "%+v: %v", row.send, err)
			require.Equal(t, otp.Invalid, refusal.Kind)
			require.Equal(t, row.field, refusal.Field, "%+v", row.send)
		}
		require.Zero(t, ask(t, h, `SELECT COUNT(*) FROM challenges`))
		sent(t, h, c, engine.Send{Target: number, Template: "welcome", Locale: "pt-BR", Length: 10,
			Metadata: json.RawMessage(` {"a": "` + strings.Repeat("x", 1024-8) + `"}`)})
	})
}

func TestSend_AnswersAtOnceAndGrantsWhatWasAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			c := application(t, h, nil)
			now := time.Now().UTC()
			target := to(t, h, c, someNumber, "", "", "")
			for _, row := range []struct{ asked, granted time.Duration }{
				{0, 300 * time.Second}, {30 * time.Second, 30 * time.Second}, {600 * time.Second, 600 * time.Second}, {time.Hour,
					600 * time.Second},
			} {
				challenge := sent(t, h, c, engine.Send{Target: target, TTL: row.asked})
				require.Equal(t, now.Add(row.granted), challenge.ExpiresAt)
				require.Equal(t, now, challenge.CreatedAt)
			}
			challenge := sent(t, h, c, engine.Send{Target: target, Type: "two_factor", Length: 8,
				Metadata: json.RawMessage(`{"user_id": "u 1"}`)})
			require.Equal(t, "queued", challenge.Status)
			require.Equal(t, "+91••••••2394", challenge.To)
			require.Equal(t, "two_factor", challenge.Type)
			require.Equal(t, "sms", challenge.Method)
			require.Equal(t, 5, *challenge.AttemptsRemaining)
			require.Equal(t, 3, *challenge.ResendsRemaining)
			require.JSONEq(t, `{"user_id":"u 1"}`, string(challenge.Metadata))
			require.Len(t, code(t, h, c, someNumber), 8)
			status, err := h.Status(background, c, challenge.ID)
			require.NoError(t, err)
			require.Equal(t, "sent", status.Status)
			require.Equal(t, challenge.ExpiresAt, status.ExpiresAt)
			require.JSONEq(t, `{"user_id":"u 1"}`, string(status.Metadata))
			require.Zero(t, ask(t, h, `SELECT COUNT(*) FROM challenges WHERE details LIKE '%user_id%'`), "metadata is sealed")

			long := application(t, h, func(a *otp.Account) { a.TTLSeconds = 1800 })
			challenge = sent(t, h, long, engine.Send{Target: to(t, h, long, someNumber, "", "", "")})
			require.Equal(t, now.Add(600*time.Second), challenge.ExpiresAt, "no code of the API lives longer")
		})
	})
}

func TestSend_ExactlyTenOfManyAtOnceGoOutInAnyMinute(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			houses := two(t, at)
			c := application(t, houses[0], nil)
			target := to(t, houses[0], c, someNumber, "", "", "")
			send := func(i int) error {
				_, err := houses[i%2].Send(background, c, engine.Send{Target: target, Method: "sms"})
				return err
			}
			kinds := map[otp.Kind]int{}
			for _, err := range atOnce(64, send) {
				kinds[otp.KindOf(err)]++
			}
			require.Equal(t, map[otp.Kind]int{0: 10, otp.OverLimit: 54}, kinds)
			refusal, _ := errors.AsType[*otp.Error](send(0))
			require.Greater(t, refusal.RetryAfter, 50*time.Second)
			time.Sleep(refusal.RetryAfter - time.Millisecond)
			refusal, _ = errors.AsType[*otp.Error](send(0))
			require.Equal(t, otp.OverLimit, refusal.Kind)
			require.Equal(t, time.Millisecond, refusal.RetryAfter)
			time.Sleep(time.Millisecond)
			require.NoError(t, send(0))

			// The same by the sandbox's clock.
			other := application(t, houses[0], nil)
			target = to(t, houses[0], other, someNumber, "", "", "")
			for range 10 {
				sent(t, houses[0], other, engine.Send{Target: target})
			}
			_, err := houses[1].Send(background, other, engine.Send{Target: target, Method: "sms"})
			require.Equal(t, otp.OverLimit, otp.KindOf(err))
			require.NoError(t, houses[0].Sandbox.SetClock(background, other.Account.Address, time.Minute))
			challenge, err := houses[1].Send(background, other, engine.Send{Target: target, Method: "sms"})
			require.NoError(t, err)
			require.Equal(t, time.Now().Add(time.Minute).UTC(), challenge.CreatedAt)
		})
	})
}

func TestSend_AMailboxIsARecipientOfItsOwnAndCountedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
		for i := range 10 {
			spelling := []string{"user@example.com", "User@Example.com"}[i%2]
			sent(t, h, c, engine.Send{Target: to(t, h, c, spelling, "", "", ""), Method: "email"})
		}
		_, err := h.Send(background, c, engine.Send{Target: to(t, h, c, "user@example.com", "", "", ""), Method: "email"})
		require.Equal(t, otp.OverLimit, otp.KindOf(err))
		_, err = h.Send(background, c, engine.Send{Target: to(t, h, c, someNumber, "", "user@example.com", ""),
			Method: "email"})
		require.Equal(t, otp.OverLimit, otp.KindOf(err), "the mailbox has had its ten, whoever is the recipient")
		right := code(t, h, c, "User@Example.com")
		verified, err := h.VerifyNamed(background, c, engine.Proof{Target: to(t, h, c, "USER@example.com", "", "", ""),
			Code: right})
		require.NoError(t, err)
		_, err = h.VerifyNamed(background, c, engine.Proof{ID: verified.ID, Code: right})
		require.Equal(t, otp.Used, otp.KindOf(err))
	})
}

func TestSend_TellsHowItsDeliveryEndedAndRefundsOneThatSurelyFailed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			for _, row := range []struct {
				outcome        deliver.Outcome
				status, single string
			}{
				{deliver.Sent, "sent", "sent"}, {deliver.NotSent, "failed", "failed"}, {deliver.Unknown, "sent", "unknown"},
			} {
				slow := &slowly{outcome: row.outcome}
				h := openWith(t, at, func(o *engine.Options) { o.SMS = []deliver.Channel{slow} })
				c := application(t, h, func(a *otp.Account) { a.SendsPerMinute = 1 })
				started := time.Now()
				challenge := sent(t, h, c, engine.Send{Target: to(t, h, c, someNumber, "", "", "")})
				require.Equal(t, started, time.Now(), "it does not wait")
				status, err := h.Status(background, c, challenge.ID)
				require.NoError(t, err)
				require.Equal(t, "queued", status.Status)
				time.Sleep(time.Minute - time.Millisecond)
				synctest.Wait()
				status, err = h.Status(background, c, challenge.ID)
				require.NoError(t, err)
				require.Equal(t, row.status, status.Status)
				require.Len(t, status.Sends, 1)
				require.Equal(t, row.single, status.Sends[0].Status)
				_, err = h.Send(background, c, engine.Send{Target: to(t, h, c, someNumber, "", "", ""), Method: "sms"})
				require.Equal(t, row.outcome == deliver.NotSent, err == nil, "refunded or not")
			}
		})
	})
}

// slowly takes 20 seconds for every message.
type slowly struct {
	outcome deliver.Outcome
	calls   atomic.Int32
}

func (s *slowly) Name() string { return "slow" }

func (s *slowly) Waits() bool { return true }

func (s *slowly) Send(_ context.Context, m deliver.Message) deliver.Result {
	s.calls.Add(1)
	time.Sleep(20 * time.Second)
	return deliver.Result{Outcome: s.outcome}
}

func TestSend_FallsBackToTheNextMethodOnlyAfterSurelyNotSent(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			for _, row := range []struct {
				first, second deliver.Outcome
				calls         int32 // of the second
				status        string
				sends         string
			}{
				{deliver.Sent, deliver.Sent, 0, "sent", "1 sms sent"},
				{deliver.Unknown, deliver.Sent, 0, "sent", "1 sms unknown"},
				{deliver.NotSent, deliver.Sent, 1, "sent", "1 sms failed, 2 email sent"},
				{deliver.NotSent, deliver.NotSent, 1, "failed", "1 sms failed, 2 email failed"},
			} {
				sms, email := &slowly{outcome: row.first}, &slowly{outcome: row.second}
				h := openWith(t, at, func(o *engine.Options) { o.SMS, o.Email = []deliver.Channel{sms}, []deliver.Channel{email} })
				c := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
				target := to(t, h, c, someNumber, "", "user@example.com", "")
				challenge := sent(t, h, c, engine.Send{Target: target, Fallback: []string{"email"}})
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, row.calls, email.calls.Load())
				status, err := h.Status(background, c, challenge.ID)
				require.NoError(t, err)
				require.Equal(t, row.status, status.Status)
				var sends []string
				for _, s := range status.Sends {
					sends = append(sends, fmt.Sprint(s.Number, " ", s.Method, " ", s.Status))
				}
				require.Equal(t, row.sends, strings.Join(sends, ", "))
				require.Equal(t, 3, *status.ResendsRemaining, "a fallback is no resend")
			}
		})
	})
}

func TestResendNamed_CountsLikeARegenerationAndKeepsCodeAndExpiry(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			c := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
			target := to(t, h, c, someNumber, "", "user@example.com", "")
			challenge := sent(t, h, c, engine.Send{Target: target})
			right := code(t, h, c, someNumber)
			time.Sleep(time.Minute)
			for left, method := range []string{"", "sms", "email"} {
				again, err := h.ResendNamed(background, c, engine.Named{ID: challenge.ID}, method, otp.ID{})
				require.NoError(t, err)
				require.Equal(t, "queued", again.Status)
				require.Equal(t, 2-left, *again.ResendsRemaining)
				require.Equal(t, challenge.ExpiresAt, again.ExpiresAt)
			}
			messages, err := h.Inbox.List(background, engine.MessageQuery{Account: c.Account.Address})
			require.NoError(t, err)
			require.Len(t, messages, 4)
			require.Equal(t, "user@example.com", messages[0].To)
			for _, message := range messages {
				require.Equal(t, right, message.Code)
			}
			_, err = h.ResendNamed(background, c, engine.Named{ID: challenge.ID}, "", otp.ID{})
			require.Equal(t, otp.RegenerationsExhausted, otp.KindOf(err))
			_, err = h.ResendNamed(background, c, engine.Named{ID: challenge.ID}, "pigeon", otp.ID{})
			require.Equal(t, otp.Invalid, otp.KindOf(err))
			time.Sleep(4 * time.Minute)
			_, err = h.ResendNamed(background, c, engine.Named{ID: challenge.ID}, "", otp.ID{})
			require.Equal(t, otp.Expired, otp.KindOf(err), "the challenge's state is asked for first")
		})
	})
}

// A test key may be widely known: its sends cost nothing and reach nobody, in production too.
func TestSend_OfTestAndDevReachesSimulatedChannelsOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		test := application(t, open(t, at), nil)
		live, dev := *test, *test
		live.Environment, dev.Environment = otp.Live, otp.Dev
		opened, err := store.Open(background, string(at), store.Options{})
		require.NoError(t, err)
		defer opened.Close()
		keyring, err := crypto.ParseKeyring(keyringText)
		require.NoError(t, err)
		channel := &scripted{outcomes: []deliver.Outcome{deliver.Sent}}
		production, err := engine.New(background, engine.Options{
			Store: opened, Keyring: keyring, SMS: []deliver.Channel{channel}, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		for _, c := range []*engine.Caller{test, &dev, &live} {
			target, err := c.TargetOf(someNumber, "", "", nil)
			require.NoError(t, err)
			challenge, err := production.Send(background, c, engine.Send{Target: target, Method: "sms"})
			require.NoError(t, err)
			if c != &live {
				status, err := production.Status(background, c, challenge.ID)
				require.NoError(t, err)
				require.Equal(t, "sent", status.Status)
				require.Zero(t, channel.calls.Load())
			}
		}
		production.Close()
		require.EqualValues(t, 1, channel.calls.Load())
	})
}
