package engine_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// Both doors share one engine: a code of either door can be verified at the other, and they share its attempts.
func TestProve_ACodeOfEitherDoorVerifiesAtTheOther(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		servlets := throwaway(t, h, nil)
		api := atAPI(servlets)
		fromServlets := target(t, h, servlets, "919551492394", "10.20.51.122")
		fromAPI := to(t, h, api, someNumber, "10.20.51.122", "", "")

		_, err := h.Generate(background, servlets, fromServlets)
		require.NoError(t, err)
		right := code(t, h, servlets, someNumber)
		_, err = h.VerifyNamed(background, api, engine.Proof{Target: fromAPI, Code: ""})
		require.Equal(t, 2, left(t, err), "the servlets' limit of three")
		require.Equal(t, 1, left(t, h.Verify(background, servlets, fromServlets, "")))
		_, err = h.VerifyNamed(background, api, engine.Proof{Target: to(t, h, api, someNumber, "", "", ""), Code: right})
		require.Equal(t, otp.NotFound, otp.KindOf(err), "without ip only what was sent without one")
		verified, err := h.VerifyNamed(background, api, engine.Proof{Target: fromAPI, Code: right, Type: "verification"})
		require.NoError(t, err)
		require.Equal(t, 2, verified.Attempts)
		require.Equal(t, otp.Used, otp.KindOf(h.Verify(background, servlets, fromServlets, right)))

		sent(t, h, api, engine.Send{Target: fromAPI})
		right = code(t, h, servlets, someNumber)
		require.Equal(t, 4, left(t, h.Verify(background, servlets, fromServlets, "")), "the API's limit of five")
		_, err = h.VerifyNamed(background, api, engine.Proof{Target: fromAPI, Code: ""})
		require.Equal(t, 3, left(t, err))
		require.NoError(t, h.Verify(background, servlets, fromServlets, right))
		_, err = h.VerifyNamed(background, api, engine.Proof{Target: fromAPI, Code: right})
		require.Equal(t, otp.Used, otp.KindOf(err))
		require.Equal(t, 2, left(t, h.Verify(background, servlets, fromServlets, "")),
			"a used code is compared at the servlets")
	})
}

// left returns the attempts that a wrong code leaves.
func left(t testing.TB, err error) int {
	t.Helper()
	refusal, ok := errors.AsType[*otp.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, otp.WrongCode, refusal.Kind)
	return refusal.Remaining
}

func TestProve_NothingCrossesBindingTypeEnvironmentOrAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c, stranger := application(t, h, nil), application(t, h, nil)
		live := *c
		live.Environment = otp.Live
		dev := *c
		dev.Environment = otp.Dev
		const binding, same, other = `{"amount": 1, "to": ["x"]}`, ` {"to":["x"],"amount":1.0}`, `{"amount":2,"to":["x"]}`
		canonical := func(binding string) string {
			text, err := engine.CanonicalBinding(json.RawMessage(binding))
			require.NoError(t, err)
			return text
		}
		bound := func(c *engine.Caller, binding string) engine.Target { return to(t, h, c, someNumber, "", "", binding) }
		for _, row := range []struct {
			sent string // binding
			kind string // type
		}{{"", "verification"}, {binding, "two_factor"}} {
			challenge := sent(t, h, c, engine.Send{Target: bound(c, row.sent), Type: row.kind})
			right := code(t, h, c, someNumber)
			for _, crossing := range []struct {
				what   string
				caller *engine.Caller
				proof  engine.Proof
			}{
				{"another account by target", stranger, engine.Proof{Target: bound(stranger, row.sent)}},
				{"another account by id", stranger, engine.Proof{ID: challenge.ID, Binding: canonical(row.sent)}},
				{"another environment by target", &live, engine.Proof{Target: bound(&live, row.sent)}},
				{"another environment by id", &live, engine.Proof{ID: challenge.ID, Binding: canonical(row.sent)}},
				{"a third environment by target", &dev, engine.Proof{Target: bound(&dev, row.sent)}},
				{"a third environment by id", &dev, engine.Proof{ID: challenge.ID, Binding: canonical(row.sent)}},
				{"another binding by target", c, engine.Proof{Target: bound(c, other)}},
				{"another binding by id", c, engine.Proof{ID: challenge.ID, Binding: canonical(other)}},
				{"another type by target", c, engine.Proof{Target: bound(c, row.sent), Type: "transaction"}},
				{"another type by id", c, engine.Proof{ID: challenge.ID, Binding: canonical(row.sent), Type: "transaction"}},
				{"no such id", c, engine.Proof{ID: otp.ID{1}, Binding: canonical(row.sent)}},
			} {
				for _, guess := range []string{right, ""} {
					crossing.proof.Code = guess
					_, err := h.VerifyNamed(background, crossing.caller, crossing.proof)
					require.Equal(t, otp.NotFound, otp.KindOf(err), crossing.what)
				}
			}
			if row.sent != "" {
				_, err := h.VerifyNamed(background, c, engine.Proof{ID: challenge.ID, Code: right})
				require.Equal(t, otp.NotFound, otp.KindOf(err), "the binding is missing")
			}
			status, err := h.Status(background, c, challenge.ID)
			require.NoError(t, err)
			require.Zero(t, status.Attempts, "nothing was compared")
			spelled := row.sent
			if spelled != "" {
				spelled = same
			}
			_, err = h.VerifyNamed(background, c, engine.Proof{Target: bound(c, spelled), Code: right, Type: row.kind})
			require.NoError(t, err, "another spelling of the same binding")
		}
		for _, call := range []func(*engine.Caller, otp.ID) error{
			func(c *engine.Caller, id otp.ID) error { _, err := h.Status(background, c, id); return err },
			func(c *engine.Caller, id otp.ID) error {
				_, err := h.CancelNamed(background, c, engine.Named{ID: id})
				return err
			},
			func(c *engine.Caller, id otp.ID) error {
				_, err := h.ResendNamed(background, c, engine.Named{ID: id}, "", otp.ID{})
				return err
			},
		} {
			challenge := sent(t, h, c, engine.Send{Target: bound(c, "")})
			require.Equal(t, otp.NotFound, otp.KindOf(call(stranger, challenge.ID)))
			require.Equal(t, otp.NotFound, otp.KindOf(call(&live, challenge.ID)))
			require.NoError(t, call(c, challenge.ID))
		}
	})
}

// The answer by id once its challenge is over, or another has replaced it.
func TestProve_ByIDTheTableOfWhatIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			for _, row := range []struct {
				state  string
				end    func(c *engine.Caller, id otp.ID, right string)
				kind   otp.Kind // of its id while it is the newest
				older  otp.Kind // once another replaced it
				status string
				after  string // status, once another replaced it
			}{
				{"live", func(*engine.Caller, otp.ID, string) {}, 0, otp.Replaced, "sent", "replaced"},
				{"used", func(c *engine.Caller, id otp.ID, right string) {
					_, err := h.VerifyNamed(background, c, engine.Proof{ID: id, Code: right})
					require.NoError(t, err)
				}, otp.Used, otp.Used, "verified", "verified"},
				{"cancelled", func(c *engine.Caller, id otp.ID, _ string) {
					challenge, err := h.CancelNamed(background, c, engine.Named{ID: id})
					require.NoError(t, err)
					require.Equal(t, "canceled", challenge.Status)
				}, otp.Canceled, otp.Canceled, "canceled", "canceled"},
				{"exhausted", func(c *engine.Caller, id otp.ID, _ string) {
					for i := range 5 {
						_, err := h.VerifyNamed(background, c, engine.Proof{ID: id})
						require.Equal(t, 4-i, left(t, err))
					}
				}, otp.AttemptsExhausted, otp.Replaced, "max_attempts", "replaced"},
				{"expired", func(*engine.Caller, otp.ID, string) { time.Sleep(5 * time.Minute) }, otp.Expired, otp.Replaced,
					"expired", "replaced"},
			} {
				c := application(t, h, nil)
				target := to(t, h, c, someNumber, "", "", "")
				first := sent(t, h, c, engine.Send{Target: target})
				right := code(t, h, c, someNumber)
				row.end(c, first.ID, right)
				status := func() engine.Challenge {
					status, err := h.Status(background, c, first.ID)
					require.NoError(t, err)
					return status
				}
				before := status()
				require.Equal(t, row.status, before.Status, row.state)
				require.Equal(t, row.kind == 0, before.AttemptsRemaining != nil, "what remains is told only while it is live")
				require.Equal(t, row.kind == 0, before.ResendsRemaining != nil)
				require.Equal(t, row.state == "used", before.VerifiedAt != nil)
				if row.kind != 0 {
					for _, guess := range []string{right, ""} {
						_, err := h.VerifyNamed(background, c, engine.Proof{ID: first.ID, Code: guess})
						require.Equal(t, row.kind, otp.KindOf(err), row.state)
						_, err = h.VerifyNamed(background, c, engine.Proof{Target: target, Code: guess})
						require.Equal(t, row.kind, otp.KindOf(err), row.state)
					}
				}
				second := sent(t, h, c, engine.Send{Target: target})
				for _, guess := range []string{right, ""} {
					_, err := h.VerifyNamed(background, c, engine.Proof{ID: first.ID, Code: guess})
					require.Equal(t, row.older, otp.KindOf(err), row.state)
				}
				_, err := h.ResendNamed(background, c, engine.Named{ID: first.ID}, "", otp.ID{})
				require.Equal(t, row.older, otp.KindOf(err), row.state)
				_, err = h.CancelNamed(background, c, engine.Named{ID: first.ID})
				require.Equal(t, row.older, otp.KindOf(err), row.state)
				after := status()
				require.Equal(t, row.after, after.Status, row.state)
				require.Equal(t, before.Attempts, after.Attempts, "nothing was compared")
				newest, err := h.Status(background, c, second.ID)
				require.NoError(t, err)
				require.Zero(t, newest.Attempts)

				// Its row is swept, its history says the same.
				time.Sleep(2 * time.Hour)
				before = after
				bySQL(t, h, `DELETE FROM challenges`)
				after = status()
				require.Equal(t, before.Status, after.Status, row.state)
				require.Equal(t, before.Attempts, after.Attempts, row.state)
				require.Equal(t, before.ExpiresAt, after.ExpiresAt)
				require.Equal(t, before.VerifiedAt, after.VerifiedAt)
				require.Equal(t, before.To, after.To)
				bySQL(t, h, `DELETE FROM events`)
				_, err = h.Status(background, c, first.ID)
				require.Equal(t, otp.NotFound, otp.KindOf(err))
			}
		})
	})
}

func TestProve_ALockedRecipientIsToldWhenToComeBack(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			c := application(t, h, nil)
			target := to(t, h, c, someNumber, "", "", "")
			for range 4 {
				sent(t, h, c, engine.Send{Target: target})
				for range 5 {
					_, err := h.VerifyNamed(background, c, engine.Proof{Target: target})
					require.Equal(t, otp.WrongCode, otp.KindOf(err))
				}
			}
			for _, call := range []func() error{
				func() error { _, err := h.VerifyNamed(background, c, engine.Proof{Target: target}); return err },
				func() error { _, err := h.Send(background, c, engine.Send{Target: target, Method: "sms"}); return err },
			} {
				refusal, ok := errors.AsType[*otp.Error](call())
				require.True(t, ok)
				require.Equal(t, otp.Locked, refusal.Kind)
				require.Equal(t, time.Hour, refusal.RetryAfter)
			}
		})
	})
}

func TestReceipt_SaysWhatWasVerifiedAndOpensWithThePublishedKeyOnEveryServer(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		houses := two(t, at)
		c := application(t, houses[0], nil)
		target := to(t, houses[0], c, someNumber, "", "", `{"amount":1}`)
		challenge := sent(t, houses[0], c, engine.Send{Target: target, Type: "transaction",
			Metadata: json.RawMessage(`{"order":7}`)})
		right := code(t, houses[0], c, someNumber)
		verified, err := houses[0].VerifyNamed(background, c,
			engine.Proof{ID: challenge.ID, Code: right, Type: "transaction", Binding: target.Binding})
		require.NoError(t, err)
		require.JSONEq(t, `{"order":7}`, string(verified.Metadata))

		set, err := houses[1].JWKS(background)
		require.NoError(t, err)
		var published struct {
			Keys []struct{ Kty, Crv, Alg, Use, Kid, X string }
		}
		require.NoError(t, json.Unmarshal(set, &published))
		require.Len(t, published.Keys, 2, "one server's key won; the other is that of erasure certificates")
		key := published.Keys[0]
		require.Equal(t, []string{"OKP", "Ed25519", "EdDSA", "sig"}, []string{key.Kty, key.Crv, key.Alg, key.Use})
		public, err := jwt.NewParser().DecodeSegment(key.X)
		require.NoError(t, err)
		receipt, err := crypto.OpenReceipt(verified.Receipt, map[string][]byte{key.Kid: public})
		require.NoError(t, err)
		id := challenge.ID.Text("otp")
		require.NotEmpty(t, receipt.ID)
		require.NotZero(t, receipt.IssuedAt)
		require.Equal(t, receipt.IssuedAt+600, receipt.ExpiresAt)
		receipt.ID, receipt.IssuedAt, receipt.ExpiresAt = "", 0, 0
		require.Equal(t, crypto.Receipt{
			Issuer: "otpbridge", Challenge: id, Audience: c.Account.Address, Account: c.Account.Address, Environment: "test",
			Type:          "transaction",
			RecipientHash: crypto.ReceiptHash(id, someNumber), BindingHash: crypto.ReceiptHash(id, `{"amount":1}`),
			VerifiedAt: verified.VerifiedAt.Unix(),
		}, receipt)
		require.NotContains(t, verified.Receipt, someNumber)
	})
}

func TestAllowedOrigins_IsTheUnionOfAllAccountsWithinSeconds(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			throwaway(t, h, func(a *otp.Account) { a.CORSOrigins = []string{"https://b.example", "https://a.example"} })
			throwaway(t, h, func(a *otp.Account) { a.CORSOrigins = []string{"https://a.example"} })
			origins, err := h.AllowedOrigins(background)
			require.NoError(t, err)
			require.Equal(t, map[string]engine.Pages{"https://a.example": {}, "https://b.example": {}}, origins)
			throwaway(t, h, func(a *otp.Account) { a.CORSOrigins = []string{"https://c.example"} })
			time.Sleep(3 * time.Second)
			origins, err = h.AllowedOrigins(background)
			require.NoError(t, err)
			require.Len(t, origins, 3)
		})
	})
}
