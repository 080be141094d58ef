package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// The limits are the same whether a guess names the challenge by id or by recipient, on any server. Strangers' guesses
// at the same id do not count.
func TestProve_ByIDAndByRecipientShareOneLimitRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		houses := two(t, at)
		c, stranger := application(t, houses[0], nil), application(t, houses[0], nil)
		for round := range rounds / 10 {
			number := fmt.Sprintf("+9197%08d", round)
			named := engine.Proof{Target: to(t, houses[0], c, number, "", "", "")}
			challenge := sent(t, houses[0], c, engine.Send{Target: named.Target})
			proof := func(i int) engine.Proof {
				if i%4 < 2 {
					return named
				}
				return engine.Proof{ID: challenge.ID}
			}
			guess := func(code string) map[string]int {
				return tally(atOnce(64, func(i int) error {
					if i%16 == 15 {
						_, err := houses[i%2].VerifyNamed(background, stranger, engine.Proof{ID: challenge.ID, Code: code})
						if otp.KindOf(err) == otp.NotFound {
							err = otp.Refuse(otp.NotFound, "")
						}
						return err
					}
					p := proof(i)
					p.Code = code
					_, err := houses[i%2].VerifyNamed(background, c, p)
					return err
				}))
			}
			right := code(t, houses[0], c, number)
			if round%2 == 0 {
				require.Equal(t, map[string]int{"ok": 1, "used: the code is no longer valid; generate again": 59, "not_found": 4},
					guess(right))
				require.Zero(t, ask(t, houses[0], wrongCount, c.Account.Address))
				continue
			}
			require.Equal(t, map[string]int{
				"wrong, 4 left": 1, "wrong, 3 left": 1, "wrong, 2 left": 1, "wrong, 1 left": 1, "wrong, 0 left": 1,
				"attempts_exhausted: no attempts are left; generate again": 55, "not_found": 4,
			}, guess(""))
			require.Equal(t, 5, ask(t, houses[0], wrongCount, c.Account.Address))
		}
	})
}

// The same for resends and cancelling. An e-mail locks two recipients for each resend; every second challenge has the
// other's mailbox.
func TestNamed_ByIDAndByRecipientShareOneLimitRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		houses := two(t, at)
		c := application(t, houses[0], func(a *otp.Account) {
			a.EmailEnabled, a.SendsPerMinute, a.SendsPerHour, a.SendsPerDay = true, 0, 0, 0
		})
		for round := range rounds / 20 {
			var named [2]engine.Named
			var ids [2]engine.Named
			for i := range named {
				mailbox := fmt.Sprintf("%d@%d.example.com", round, (i+round)%2)
				named[i].Target = to(t, houses[0], c, fmt.Sprintf("+9197%07d%d", round, i), "", mailbox, "")
				ids[i].ID = sent(t, houses[0], c, engine.Send{Target: named[i].Target, Method: "email"}).ID
			}
			each := func(i int) engine.Named { return [][2]engine.Named{named, ids}[i/2%2][i%2] }
			require.Equal(t, map[string]int{"ok": 2 * 3, "regenerations_exhausted: no regenerations are left": 58},
				tally(atOnce(64, func(i int) error {
					_, err := houses[i/4%2].ResendNamed(background, c, each(i), "", otp.ID{})
					return err
				})))
			require.Equal(t, map[string]int{"ok": 2, "canceled: the challenge was cancelled before": 62},
				tally(atOnce(64, func(i int) error {
					_, err := houses[i/4%2].CancelNamed(background, c, each(i))
					return err
				})))
		}
	})
}
