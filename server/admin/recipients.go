package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// recipientRoutes are the calls that show and unlock recipients, and that stop or allow sends.
var recipientRoutes = []route{
	{method: http.MethodPost, path: "/api/recipients/lookup", who: person, needs: people.ReadRecipients,
		call: (*exchange).lookUpRecipient},
	{method: http.MethodPost, path: "/api/recipients/why", who: person, needs: people.ReadRecipients,
		call: (*exchange).whyNoMessage},
	{method: http.MethodPost, path: "/api/recipients/unlock", who: person, needs: people.Unlock, live: true,
		call: (*exchange).unlockRecipient},
	{method: http.MethodGet, path: "/api/accounts/:account/test-recipients", who: person, needs: people.ReadRecipients,
		parameters: []string{limitParameter, cursorParameter}, call: (*exchange).testRecipients},
	{method: http.MethodPost, path: "/api/accounts/:account/test-recipients", who: person, needs: people.WriteTests,
		live: true, once: true, call: reads((*exchange).addTestRecipient)},
	{method: http.MethodDelete, path: "/api/accounts/:account/test-recipients/:id", who: person,
		needs: people.WriteTests, live: true, call: readsNothing((*exchange).removeTestRecipient)},
	{method: http.MethodGet, path: "/api/accounts/:account/stopped-prefixes", who: person, needs: people.ReadGuards,
		parameters: []string{limitParameter, cursorParameter}, call: (*exchange).stoppedPrefixes},
	{method: http.MethodDelete, path: "/api/accounts/:account/stopped-prefixes/:prefix", who: person,
		needs: people.WriteGuards, live: true, call: readsNothing((*exchange).liftPrefix)},
}

// whose names a recipient of an account. The caller has to know the whole number or mailbox, so that the answer does
// not reveal it.
type whose struct {
	Account     string          `json:"account" missing:"refused"`
	Environment otp.Environment `json:"environment"`
	To          string          `json:"to" missing:"refused"`
}

// check refuses accounts that the caller does not see like those that do not exist.
func (w *whose) check(x *exchange) error {
	if err := x.who.See(w.Account); err != nil {
		return err
	}
	return w.Environment.Check()
}

func (x *exchange) lookUpRecipient() (answer, error) {
	asked := whose{Environment: otp.Live}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if err := asked.check(x); err != nil {
		return answer{}, err
	}
	found, err := x.door.Manage.Recipients.Look(x.ctx, x.who.Actor(), asked.Account, asked.Environment, asked.To)
	return answer{http.StatusOK, found}, err
}

func (x *exchange) whyNoMessage() (answer, error) {
	asked := whose{Environment: otp.Live}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if err := asked.check(x); err != nil {
		return answer{}, err
	}
	reasons, _, err := x.door.Manage.Recipients.Why(x.ctx, x.who.Actor(), asked.Account, asked.Environment, asked.To)
	return answer{http.StatusOK, map[string][]manage.Reason{"reasons": reasons}}, err
}

func (x *exchange) unlockRecipient() (answer, error) {
	var asked struct {
		whose
		Reason string `json:"reason"`
	}
	asked.Environment = otp.Live
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if err := asked.check(x); err != nil {
		return answer{}, err
	}
	_, err := x.door.Manage.Recipients.Unlock(x.ctx, x.who.Actor(), asked.Account, asked.Environment, asked.To,
		asked.Reason)
	return done, err
}

// testRecipient is a test recipient in an answer, without its code.
type testRecipient struct {
	ID        string    `json:"id"`
	Mask      string    `json:"recipient"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func shownTest(t manage.TestRecipient) testRecipient {
	return testRecipient{t.ID.Text(testPrefix), t.Mask, t.Reason, t.CreatedAt.Time(), t.ExpiresAt.Time()}
}

const testPrefix = "test"

func (x *exchange) testRecipients() (answer, error) {
	found, err := x.door.Manage.Tests.List(x.ctx, x.gin.Param("account"))
	if err != nil {
		return answer{}, err
	}
	return paged(x, found, shownTest, func(t manage.TestRecipient) string { return t.ID.Text(testPrefix) },
		idOf(testPrefix))
}

func (x *exchange) addTestRecipient(asked struct {
	Number    string    `json:"number" missing:"refused"`
	Code      string    `json:"code" missing:"refused"`
	Reason    string    `json:"reason" missing:"refused"`
	ExpiresAt time.Time `json:"expires_at"`
}) (answer, error) {
	made, err := x.door.Manage.Tests.Add(x.ctx, x.who.Actor(), manage.NewTestRecipient{Account: x.gin.Param("account"),
		Number: asked.Number, Code: asked.Code, Reason: asked.Reason, ExpiresAt: asked.ExpiresAt})
	return answer{http.StatusCreated, shownTest(made)}, err
}

func (x *exchange) removeTestRecipient() (answer, error) {
	id, ok := otp.ParseID(testPrefix, x.gin.Param("id"))
	if !ok {
		return answer{}, otp.Refuse(otp.NotFound, "the account has no such test recipient")
	}
	return done, x.door.Manage.Tests.Remove(x.ctx, x.who.Actor(), x.gin.Param("account"), id)
}

// stoppedPrefix is a range of numbers to which sending is stopped for a while.
type stoppedPrefix struct {
	Prefix       string          `json:"prefix"`
	Environment  otp.Environment `json:"environment"`
	Why          string          `json:"why"`
	StoppedAt    time.Time       `json:"stopped_at"`
	StoppedUntil time.Time       `json:"stopped_until"`
	CountedSince time.Time       `json:"counted_since"`
	Sends        int64           `json:"sends"`
	Verified     int64           `json:"verified"` // recipients
	Spend        int64           `json:"spend"`    // millionths of the currency of prices
	Loss         int64           `json:"loss"`     // at most, so far
}

func (x *exchange) stoppedPrefixes() (answer, error) {
	found, spent, err := x.door.Manage.Guards.Stopped(x.ctx, x.gin.Param("account"))
	if err != nil {
		return answer{}, err
	}
	all := make([]stoppedPrefix, len(found))
	for i, p := range found {
		all[i] = stoppedPrefix{p.Prefix, p.Environment,
			fmt.Sprintf("%d of %d codes were verified", p.Verified, p.Sends), p.StoppedAt.Time(), p.StoppedUntil.Time(),
			p.CountedSince.Time(), p.Sends, p.Verified, p.Spend, p.Loss}
	}
	slices.SortFunc(all, func(a, b stoppedPrefix) int { return strings.Compare(placeOf(a), placeOf(b)) })
	shown, err := paged(x, all, web.AsIs, placeOf, isPlace)
	if err != nil {
		return answer{}, err
	}
	return answer{shown.status, struct {
		web.Page[stoppedPrefix]
		SpendToday *int64 `json:"spend_today"` // null: the account has no cap, so spend is not counted
	}{shown.body.(web.Page[stoppedPrefix]), spent}}, nil
}

// placeOf returns the cursor of a stopped prefix.
func placeOf(p stoppedPrefix) string { return p.Prefix + " " + string(p.Environment) }

func isPlace(cursor string) bool {
	prefix, environment, _ := strings.Cut(strings.TrimPrefix(cursor, "+"), " ")
	return otp.Digits(prefix) && otp.Environment(environment).Check() == nil
}

func (x *exchange) liftPrefix() (answer, error) {
	return done, x.door.Manage.Guards.Lift(x.ctx, x.who.Actor(), x.gin.Param("account"), x.gin.Param("prefix"))
}
