package sandbox

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/web"
)

// clockReading is how far a clock is ahead and what it shows. Account is empty for the clock of
// all accounts; the offset of one is the larger of its own and that of all.
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

// setClock sets an absolute offset, so that a test that is run twice sets the same clock.
func (d *door) setClock(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	var asked struct {
		Offset  string `json:"offset"`
		Account string `json:"account"`
	}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	offset, err := time.ParseDuration(asked.Offset)
	if err != nil {
		return web.Invalid(web.Fault{Pointer: "/offset", Detail: "must be a duration such as 10m or 1h30m"})
	}
	if err := d.Engine.SetClock(c.Request.Context(), asked.Account, offset); err != nil {
		return err
	}
	return d.answerClock(c, asked.Account)
}

func (d *door) answerClock(c *gin.Context, account string) error {
	offset, now, err := d.Engine.Clock(c.Request.Context(), account)
	if err != nil {
		return err
	}
	c.PureJSON(http.StatusOK, clockReading{Account: account, Offset: offset.String(), Now: now.UTC().Truncate(time.Millisecond)})
	return nil
}

// reset forgets what an account did, or, without one, everything: throwaway accounts, the faults
// set and the requests recorded too.
func (d *door) reset(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	var asked struct {
		Account string `json:"account"`
	}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	if err := d.Engine.Reset(c.Request.Context(), asked.Account); err != nil {
		return err
	}
	if asked.Account == "" {
		d.Engine.Faults().Set(nil)
		d.Requests.Clear()
	}
	c.Status(http.StatusNoContent)
	return nil
}
