package engine_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// live returns a caller of a new live account, at a door.
func live(t testing.TB, h house, door otp.Door) *engine.Caller {
	t.Helper()
	asked := manage.Imported{Account: otp.DefaultAccount("4711"), AccessKey: "the-shops-access-key"}
	asked.Cipher = "none"
	if _, err := h.Accounts.Find(background, "4711"); err != nil {
		_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{asked}, false)
		require.NoError(t, err)
	}
	caller, err := h.Authenticate(background, door, asked.AccessKey, peer)
	require.NoError(t, err)
	return caller
}

func rehearsal(number string) manage.NewTestRecipient {
	return manage.NewTestRecipient{Account: "4711", Number: number, Code: "246810", Reason: "app review",
		ExpiresAt: time.Now().Add(24 * time.Hour)}
}

func TestTestRecipients_HaveTheirCodeGetNothingAndAreMarked(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		next := &provider{name: "next"}
		h := guarded(t, at, next)
		live(t, h, otp.ServletDoor)
		made, err := h.Tests.Add(background, otp.Actor{}, rehearsal("919551492394"))
		require.NoError(t, err)
		require.NotContains(t, made.Mask, "9551")
		_, err = h.Tests.Add(background, otp.Actor{}, rehearsal("+91 95514 92394"))
		require.ErrorContains(t, err, "number is a test recipient already")

		other := openWith(t, at, func(o *engine.Options) { o.SMS = nil }) // another server, which has read nothing yet
		caller := live(t, h, otp.ServletDoor)
		fresh := live(t, other, otp.ServletDoor)
		for _, on := range []struct {
			h house
			c *engine.Caller
		}{{h, caller}, {other, fresh}} {
			_, err = on.h.Generate(background, on.c, target(t, on.h, on.c, "919551492394", "x"))
			require.NoError(t, err)
		}
		require.Zero(t, next.called(), "nothing is sent")
		to := target(t, h, caller, "919551492394", "x")
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, to, "246811")))
		require.NoError(t, h.Verify(background, caller, to, "246810"))
		require.Equal(t, otp.Used, otp.KindOf(h.Verify(background, caller, to, "246810")), "a code is good once")

		v1 := live(t, h, otp.V1Door)
		sent, err := h.Send(background, v1, engine.Send{Target: to, Method: "sms"})
		require.NoError(t, err)
		verified, err := h.VerifyNamed(background, v1, engine.Proof{ID: sent.ID, Code: "246810"})
		require.NoError(t, err)
		require.Equal(t, true, claims(t, verified.Receipt)["test"])

		require.NoError(t, h.Tests.Remove(background, otp.Actor{}, "4711", made.ID))
		_, err = h.Tests.Add(background, otp.Actor{}, rehearsal("919551492394"))
		require.NoError(t, err, "who verified it was a test recipient")
	})
}

func TestTestRecipients_AreNobodysNumberAndEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		next := &provider{name: "next"}
		h := guarded(t, at, next)
		caller := live(t, h, otp.ServletDoor)
		to := target(t, h, caller, "919551492394", "x")
		_, err := h.Generate(background, caller, to)
		require.NoError(t, err)

		// A code that is already sent is not replaced by the fixed one.
		early, err := h.Tests.Add(background, otp.Actor{}, rehearsal("919551492394"))
		require.NoError(t, err)
		caller = live(t, h, otp.ServletDoor)
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, to, "246810")))
		require.NoError(t, h.Tests.Remove(background, otp.Actor{}, "4711", early.ID))
		caller = live(t, h, otp.ServletDoor)
		require.NoError(t, h.Verify(background, caller, to, next.codes[0]))
		_, err = h.Tests.Add(background, otp.Actor{}, rehearsal("919551492394"))
		require.ErrorContains(t, err, "number belongs to somebody")

		// A removed test recipient no longer has its code, even for challenges made before.
		made, err := h.Tests.Add(background, otp.Actor{}, rehearsal("919551492395"))
		require.NoError(t, err)
		caller = live(t, h, otp.ServletDoor)
		to = target(t, h, caller, "919551492395", "x")
		_, err = h.Generate(background, caller, to)
		require.NoError(t, err)
		require.NoError(t, h.Tests.Remove(background, otp.Actor{}, "4711", made.ID))
		caller = live(t, h, otp.ServletDoor)
		require.Equal(t, otp.WrongCode, otp.KindOf(h.Verify(background, caller, to, "246810")))
		require.Equal(t, otp.NotFound, otp.KindOf(h.Tests.Remove(background, otp.Actor{}, "4711", made.ID)))

		for field, spoil := range map[string]func(*manage.NewTestRecipient){
			"code":        func(n *manage.NewTestRecipient) { n.Code = "1234" },
			"code ":       func(n *manage.NewTestRecipient) { n.Code = "12345x" },
			"number":      func(n *manage.NewTestRecipient) { n.Number = "955" },
			"number ":     func(n *manage.NewTestRecipient) { n.Number = "a@b.example" },
			"reason":      func(n *manage.NewTestRecipient) { n.Reason = " " },
			"reason ":     func(n *manage.NewTestRecipient) { n.Reason = strings.Repeat("x", 201) },
			"expires_at":  func(n *manage.NewTestRecipient) { n.ExpiresAt = time.Now().Add(30*24*time.Hour + time.Minute) },
			"expires_at ": func(n *manage.NewTestRecipient) { n.ExpiresAt = time.Now() },
		} {
			n := rehearsal("919551492396")
			spoil(&n)
			_, err := h.Tests.Add(background, otp.Actor{}, n)
			require.ErrorContains(t, err, strings.TrimSpace(field))
			require.Equal(t, otp.Invalid, otp.KindOf(err))
		}
	})
}

func claims(t testing.TB, token string) (all map[string]any) {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &all))
	return all
}
