package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// A text that a column cannot hold is refused by the column's name on both databases, without a fault.
func TestImport_RefusesTextsThatNoColumnHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		long := strings.Repeat("\U0001f511", 10_000)
		texts := []string{
			long, strings.Repeat("e\u0301", 5_000), "a\x00b", "caf\xe9", "\xed\xa0\x80", strings.Repeat("\ufffd", 400),
			strings.Repeat("\u200f", 400), "\ufffd", "\u200fa", strings.Repeat("\U0001f511", 64), strings.Repeat("x", 321),
		}
		made := 0
		for _, text := range texts {
			for column, set := range map[string]func(*otp.Account){
				"name":            func(a *otp.Account) { a.Name = text },
				"sms_sender":      func(a *otp.Account) { a.SMSSender = &text },
				"email_sender":    func(a *otp.Account) { a.EmailSender = &text },
				"dlt_entity_id":   func(a *otp.Account) { a.DLTEntityID = &text },
				"dlt_template_id": func(a *otp.Account) { a.DLTTemplateID = &text },
				"sms_template":    func(a *otp.Account) { all := "{code}" + strings.Repeat(text, 10); a.SMSTemplate = &all },
				"departments":     func(a *otp.Account) { a.Departments = []string{text, long, long} },
				"countries":       func(a *otp.Account) { a.Countries = strings.Split(strings.Repeat("IN,", 400)+"AE", ",") },
			} {
				n := manage.Imported{Account: otp.DefaultAccount(fmt.Sprintf("71%d", made))}
				made++
				n.Account.Cipher = "none"
				set(&n.Account)
				_, err := h.Accounts.Import(background, otp.Actor{}, []manage.Imported{n}, false)
				if err == nil {
					continue // it fits, and was stored
				}
				require.Equal(t, otp.Invalid, otp.KindOf(err), "%s %q: %v", column, otp.Cut(text, 2), err)
			}
		}
	})
}
