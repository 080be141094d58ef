package engine_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	store "otpbridge/sql"
)

// times returns how often a slower race runs: ten times as often with FULL=1.
func times(often int) int {
	if os.Getenv("FULL") == "1" {
		return 10 * often
	}
	return often
}

// request is a send that a door runs through Once.
type request struct {
	caller *engine.Caller
	target engine.Target
	key    string
	length int
}

func (r request) hash() [32]byte { return sha256.Sum256(fmt.Append(nil, r.target, r.length)) }

func (r request) on(h house) (engine.Answer, bool, error) {
	return h.Once(background, r.caller.Key.ID, r.key, r.hash(),
		func(id otp.ID) (engine.Answer, error) {
			challenge, err := h.Send(background, r.caller, engine.Send{Target: r.target, Method: "sms", Length: r.length,
				Challenge: id})
			return answerOf(challenge), err
		},
		func(id otp.ID) (engine.Answer, bool, error) {
			challenge, err := h.Made(background, r.caller, id)
			if otp.KindOf(err) == otp.NotFound {
				return engine.Answer{}, false, nil
			}
			return answerOf(challenge), err == nil, err
		})
}

func answerOf(c engine.Challenge) engine.Answer {
	body, err := json.Marshal(map[string]any{"id": c.ID.Text("otp"), "to": c.To, "status": c.Status,
		"expires_at": c.ExpiresAt, "remaining": c.AttemptsRemaining})
	if err != nil {
		panic(err)
	}
	return engine.Answer{Status: 201, Header: map[string]string{"Location": "/v1/status/" + c.ID.Text("otp")}, Body: body}
}

func messagesTo(t testing.TB, h house, c *engine.Caller, number string) int {
	t.Helper()
	messages, err := h.Inbox.List(background, engine.MessageQuery{Account: c.Account.Address, To: number, Limit: 500})
	require.NoError(t, err)
	return len(messages)
}

func TestOnce_ManyAtOnceMakeOneMessageAndGetOneAnswerRace(t *testing.T) {
	rounds := times(3)
	onBoth(t, func(t *testing.T, at place) {
		houses := two(t, at)
		c := application(t, houses[0], nil)
		for round := range rounds {
			number := fmt.Sprintf("+9198%08d", round)
			r := request{caller: c, target: to(t, houses[0], c, number, "", "", ""), key: fmt.Sprint("key ", round)}
			var mu sync.Mutex
			answers, first := map[string]int{}, 0
			for _, err := range atOnce(64, func(i int) error {
				answer, replayed, err := r.on(houses[i%2])
				mu.Lock()
				defer mu.Unlock()
				answers[fmt.Sprint(answer.Status, answer.Header, string(answer.Body))]++
				if !replayed {
					first++
				}
				return err
			}) {
				require.NoError(t, err)
			}
			require.Len(t, answers, 1, "%v", answers)
			require.Equal(t, 1, first)
			require.Equal(t, 1, messagesTo(t, houses[0], c, number))
		}
		require.Zero(t, ask(t, houses[0], `SELECT COUNT(*) FROM idempotency_keys WHERE answer LIKE '%otp_%'`),
			"answers are sealed")
	})
}

// Two servers may both believe that they own a claim. The id that they share decides.
func TestSend_WithOneIDSendsOnceRace(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		houses := two(t, at)
		c := application(t, houses[0], nil)
		for round := range times(4) {
			number := fmt.Sprintf("+9198%08d", round)
			target := to(t, houses[0], c, number, "", "", "")
			id := store.NewID()
			for _, err := range atOnce(64, func(i int) error {
				challenge, err := houses[i%2].Send(background, c, engine.Send{Target: target, Method: "sms", Challenge: id})
				if err == nil && (challenge.ID != id || challenge.Status != "queued") {
					err = fmt.Errorf("answered %+v", challenge)
				}
				return err
			}) {
				require.NoError(t, err)
			}
			require.Equal(t, 1, messagesTo(t, houses[0], c, number))

			again := store.NewID()
			for _, err := range atOnce(64, func(i int) error {
				_, err := houses[i%2].ResendNamed(background, c, engine.Named{ID: id}, "", again)
				return err
			}) {
				require.NoError(t, err)
			}
			require.Equal(t, 2, messagesTo(t, houses[0], c, number))
			_, err := houses[0].VerifyNamed(background, c, engine.Proof{ID: id, Code: code(t, houses[0], c, number)})
			require.NoError(t, err)
			challenge, err := houses[0].Send(background, c, engine.Send{Target: target, Method: "sms", Challenge: id})
			require.NoError(t, err)
			require.Equal(t, "verified", challenge.Status, "a late repetition tells how it stands")
		}
	})
}

func TestOnce_OneKeyIsOneRequestOfOneCredentialForADay(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, at)
			c, other := application(t, h, nil), application(t, h, nil)
			r := request{caller: c, target: to(t, h, c, someNumber, "", "", ""), key: "k"}
			first, replayed, err := r.on(h)
			require.NoError(t, err)
			require.False(t, replayed)
			again, replayed, err := r.on(h)
			require.NoError(t, err)
			require.True(t, replayed)
			require.Equal(t, first, again)

			mismatched := r
			mismatched.length = 8
			_, _, err = mismatched.on(h)
			require.Equal(t, otp.IdempotencyMismatch, otp.KindOf(err))

			others := request{caller: other, target: to(t, h, other, someNumber, "", "", ""), key: "k"}
			theirs, replayed, err := others.on(h)
			require.NoError(t, err)
			require.False(t, replayed)
			require.NotEqual(t, first, theirs)

			time.Sleep(24*time.Hour - time.Millisecond)
			_, replayed, err = r.on(h)
			require.NoError(t, err)
			require.True(t, replayed)
			time.Sleep(time.Millisecond)
			_, replayed, err = mismatched.on(h)
			require.NoError(t, err)
			require.False(t, replayed, "forgotten after a day, swept or not")
		})
	})
}

func TestOnce_ARefusalIsForgottenAndAFaultIsTakenOverWithTheSameID(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		c := application(t, h, nil)
		var ids []otp.ID
		fail := func(how func() error) func(otp.ID) (engine.Answer, error) {
			return func(id otp.ID) (engine.Answer, error) {
				ids = append(ids, id)
				return engine.Answer{}, how()
			}
		}
		nothing := func(otp.ID) (engine.Answer, bool, error) { return engine.Answer{}, false, nil }
		refused := fail(func() error { return otp.Refuse(otp.OverLimit, "") })
		_, _, err := h.Once(background, c.Key.ID, "k", [32]byte{}, refused, nothing)
		require.Equal(t, otp.OverLimit, otp.KindOf(err))
		_, _, err = h.Once(background, c.Key.ID, "k", [32]byte{1}, refused, nothing)
		require.Equal(t, otp.OverLimit, otp.KindOf(err), "another request may have the key: nothing was done under it")
		require.NotEqual(t, ids[0], ids[1])

		fault := errors.New("the database went away")
		_, _, err = h.Once(background, c.Key.ID, "k", [32]byte{}, fail(func() error { return fault }), nothing)
		require.ErrorIs(t, err, fault)
		require.Panics(t, func() {
			_, _, _ = h.Once(background, c.Key.ID, "k", [32]byte{}, fail(func() error { panic("a bug") }), nothing)
		})
		answer, replayed, err := h.Once(background, c.Key.ID, "k", [32]byte{}, fail(func() error { return nil }), nothing)
		require.NoError(t, err)
		require.False(t, replayed)
		require.Zero(t, answer.Status)
		require.Equal(t, ids[2], ids[3])
		require.Equal(t, ids[2], ids[4])
	})
}

func TestOnce_ATakeoverFromADeadServerNeverSendsTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		for _, died := range []string{"after its claim", "after its commit"} {
			t.Run(died, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var behind *store.Store
					dead := openWith(t, at, func(o *engine.Options) { behind = o.Store })
					alive := open(t, at)
					c := application(t, alive, nil)
					r := request{caller: c, target: to(t, alive, c, someNumber, "", "", ""), key: "k"}
					claimed, buried := make(chan otp.ID), make(chan struct{})
					go func() {
						_, _, _ = dead.Once(background, c.Key.ID, r.key, r.hash(), func(id otp.ID) (engine.Answer, error) {
							if died == "after its commit" {
								_, err := dead.Send(background, c, engine.Send{Target: r.target, Method: "sms", Challenge: id})
								require.NoError(t, err)
							}
							require.NoError(t, behind.Close())
							claimed <- id
							<-buried
							return engine.Answer{}, errors.New("it is dead")
						}, nil)
						close(claimed)
					}()
					id := <-claimed
					started := time.Now()
					_, _, err := r.on(alive)
					refusal, ok := errors.AsType[*otp.Error](err)
					require.True(t, ok, "%v", err)
					require.Equal(t, otp.IdempotencyBusy, refusal.Kind)
					require.Equal(t, 5*time.Second, time.Since(started))
					require.Equal(t, 5*time.Second, refusal.RetryAfter, "what is left of the lease")
					time.Sleep(refusal.RetryAfter)
					answer, replayed, err := r.on(alive)
					require.NoError(t, err)
					require.Equal(t, died == "after its commit", replayed)
					require.Equal(t, "/v1/status/"+id.Text("otp"), answer.Header["Location"])
					require.Equal(t, 1, messagesTo(t, alive, c, someNumber))
					again, replayed, err := r.on(alive)
					require.NoError(t, err)
					require.True(t, replayed)
					require.Equal(t, answer, again)
					close(buried)
					<-claimed
				})
			})
		}
	})
}

// A claim outlives its lease while its work goes on, and is not taken over.
func TestOnce_ASlowRequestKeepsItsClaim(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		synctest.Test(t, func(t *testing.T) {
			houses := two(t, at)
			c := application(t, houses[0], nil)
			runs := 0
			slow := func(otp.ID) (engine.Answer, error) {
				runs++
				time.Sleep(time.Minute)
				return engine.Answer{Status: 201}, nil
			}
			never := func(otp.ID) (engine.Answer, bool, error) { panic("nobody is dead") }
			done := make(chan error)
			go func() {
				_, _, err := houses[0].Once(background, c.Key.ID, "k", [32]byte{}, slow, never)
				done <- err
			}()
			time.Sleep(time.Millisecond)
			for range 8 {
				_, _, err := houses[1].Once(background, c.Key.ID, "k", [32]byte{}, slow, never)
				require.Equal(t, otp.IdempotencyBusy, otp.KindOf(err))
			}
			require.NoError(t, <-done)
			answer, replayed, err := houses[1].Once(background, c.Key.ID, "k", [32]byte{}, slow, never)
			require.NoError(t, err)
			require.True(t, replayed)
			require.Equal(t, 201, answer.Status)
			require.Equal(t, 1, runs)
		})
	})
}
