package sandbox

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/manage"
	"otpbridge/server/web"
)

// clockReading is a clock's offset and time. Account is empty for the common clock of all accounts. An account's
// offset is the larger of its own and the common one.
type clockReading struct {
	Account string    `json:"account"`
	Offset  string    `json:"offset"`
	Now     time.Time `json:"now"`
}

func (d *door) clock(c *gin.Context) error {
	q := web.ReadQuery(c, "account")
	if err := q.Err(); err != nil {
		return err
	}
	return d.answerClock(c, q.Text("account"))
}

// setClock moves a clock forward: to an offset from the real time, or on from its current time. A script that runs
// twice without a reset needs the second form, because the clock already has the offset of the first run.
func (d *door) setClock(c *gin.Context) error {
	var asked struct {
		Offset  *string `json:"offset" null:"refused"`
		Advance *string `json:"advance" null:"refused"`
		Account string  `json:"account"`
	}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	switch {
	case asked.Offset != nil && asked.Advance != nil:
		return web.Invalid(web.Fault{Pointer: "/advance", Detail: "must not be given with offset; which one is meant?"})
	case asked.Advance != nil:
		by, err := time.ParseDuration(*asked.Advance)
		if err != nil || by < time.Millisecond || by > manage.MaxClock {
			return web.Invalid(web.Fault{Pointer: "/advance",
				Detail: "must be a duration of 1ms or more, such as 6m or 1h30m, and at most a hundred years"})
		}
		if err := d.Manage.Sandbox.AdvanceClock(c.Request.Context(), asked.Account, by); err != nil {
			return err
		}
	default:
		if err := d.setOffset(c, asked.Account, asked.Offset); err != nil {
			return err
		}
	}
	return d.answerClock(c, asked.Account)
}

func (d *door) setOffset(c *gin.Context, account string, text *string) error {
	wrong := web.Invalid(web.Fault{Pointer: "/offset",
		Detail: "must be a duration such as 10m or 1h30m, and at most a hundred years; or give advance"})
	if text == nil {
		return wrong
	}
	offset, err := time.ParseDuration(*text)
	if err != nil || offset > manage.MaxClock {
		return wrong
	}
	return d.Manage.Sandbox.SetClock(c.Request.Context(), account, offset)
}

func (d *door) answerClock(c *gin.Context, account string) error {
	offset, now, err := d.Manage.Sandbox.Clock(c.Request.Context(), account)
	if err != nil {
		return err
	}
	c.PureJSON(http.StatusOK, clockReading{Account: account, Offset: offset.String(),
		Now: now.UTC().Truncate(time.Millisecond)})
	return nil
}

// reset removes an account's data or, without an account, everything: also throwaway accounts, injected faults and
// recorded requests. With a list of accounts it also makes these, in the same step, and answers with them; a list with
// a fault changes nothing.
func (d *door) reset(c *gin.Context) error {
	var asked struct {
		Account  *string           `json:"account" null:"refused"`
		Accounts []json.RawMessage `json:"accounts" null:"refused"`
	}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	account := ""
	if asked.Account != nil {
		if account = *asked.Account; account == "" { // mostly a variable that was not set
			return web.Invalid(web.Fault{Pointer: "/account", Detail: "must not be empty; leave it out to reset everything"})
		}
	}
	if asked.Accounts != nil {
		return d.seed(c, account, asked.Accounts)
	}
	if err := d.Manage.Sandbox.Reset(c.Request.Context(), account); err != nil {
		return err
	}
	if account == "" {
		d.forget()
	}
	c.Status(http.StatusNoContent)
	return nil
}

// forget clears this server's memory: faults and recorded requests.
func (d *door) forget() {
	d.Engine.Faults.Set(nil)
	d.Requests.Clear()
}
