package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// One mailbox has one budget and one code in any spelling; another mailbox that looks similar or folds to the same
// text has its own.
func TestSend_OneMailboxInAllItsSpellingsAndNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
		address := c.Account.Address
		sent(t, h, c, engine.Send{Target: to(t, h, c, "victim@gİthub.example", "", "", ""), Method: "email"})
		messages, err := h.Inbox.List(background, engine.MessageQuery{Account: address})
		require.NoError(t, err)
		require.Len(t, messages, 1)
		require.Equal(t, "victim@xn--github-qyd.example", messages[0].To)
		code := messages[0].Code
		_, err = h.VerifyNamed(background, c, engine.Proof{Target: to(t, h, c, "victim@github.example", "", "", ""),
			Code: code})
		require.Equal(t, otp.NotFound, otp.KindOf(err), "another mailbox's code")
		_, err = h.Recipients.Find(background, address, c.Environment, "victim@github.example")
		require.Equal(t, otp.NotFound, otp.KindOf(err))
		_, err = h.Inbox.List(background, engine.MessageQuery{Account: address, To: "é@github.example"})
		require.Equal(t, otp.Invalid, otp.KindOf(err))

		// A wrong guess under any spelling counts for all.
		spellings := []string{"victim@gi\u0307thub.example", "VICTIM@GİTHUB.example", "victim@XN--GITHUB-QYD.example",
			"victim@gİthub。example"}
		for i, spelling := range spellings {
			person, err := h.Recipients.Find(background, address, c.Environment, spelling)
			require.NoError(t, err, spelling)
			require.Equal(t, i, person.Failures, spelling)
			require.Equal(t, "v•••@xn--github-qyd.example", person.Mask)
			found, err := h.Inbox.List(background, engine.MessageQuery{Account: address, To: spelling})
			require.NoError(t, err)
			require.Len(t, found, 1, spelling)
			_, err = h.VerifyNamed(background, c, engine.Proof{Target: to(t, h, c, spelling, "", "", ""), Code: wrongFor(code)})
			require.Equal(t, otp.WrongCode, otp.KindOf(err), spelling)
		}
		verified, err := h.VerifyNamed(background, c, engine.Proof{Target: to(t, h, c, "Victim@ＧİＴＨＵＢ.example", "", "", ""),
			Code: code})
		require.NoError(t, err)
		require.Equal(t, len(spellings), verified.Attempts)
	})
}

// Any text before an @ is sent or refused by name; it never causes a fault.
func TestSend_NoAddressFailsAsAFault(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, func(a *otp.Account) { a.EmailEnabled = true })
		for _, mailbox := range []string{"é@example.com", "用户@example.com", "\u0301a@example.com", "\U0001f600@example.com",
			"\xff@example.com", "\x00@example.com", `"é"@example.com`} {
			_, err := c.TargetOf(mailbox, "", "", nil)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", mailbox)
			_, err = c.TargetOf(someNumber, "", mailbox, nil)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", mailbox)
			_, err = c.Target(someNumber, "10.0.0.1", mailbox)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", mailbox)
			_, err = h.Recipients.Find(background, c.Account.Address, c.Environment, mailbox)
			require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", mailbox)
		}
		for _, mailbox := range []string{"a@é.example", "a@用户.example", "x@xn--99aa99a9b9a9.example", "a@مثال.example"} {
			if target, err := c.TargetOf(mailbox, "", "", nil); err == nil {
				sent(t, h, c, engine.Send{Target: target, Method: "email"})
			} else {
				require.Equal(t, otp.Invalid, otp.KindOf(err), "%q", mailbox)
			}
		}
	})
}

func wrongFor(code string) string {
	first := "1"
	if code[:1] == first {
		first = "2"
	}
	return first + code[1:]
}
