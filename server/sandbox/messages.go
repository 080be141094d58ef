package sandbox

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/web"
)

const (
	defaultMessages = 50
	maxMessages     = 500
	maxWait         = 30 * time.Second

	// writeTime is how long a client may take to receive what is written to it at once.
	writeTime = 10 * time.Second
)

// credentials lists the demo accounts with everything needed to call as one of them.
func (d *door) credentials(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	c.PureJSON(http.StatusOK, gin.H{"accounts": d.Manage.Sandbox.DemoCredentials()})
	return nil
}

// messages answers what would have been sent, newest first. With wait it answers as soon as there is a
// match, at the latest when the wait is over or the server stops. A wait without after matches only what
// comes while it waits: an older message is the code of another run, which a test would take for its own.
func (d *door) messages(c *gin.Context) error {
	q := web.ReadQuery(c, "account", "to", "after", "limit", "wait")
	wanted := engine.MessageQuery{
		Account: q.Text("account"), To: q.Text("to"), After: q.Text("after"),
		Limit: q.Number("limit", defaultMessages, 1, maxMessages),
	}
	wait := q.Duration("wait", maxWait)
	if err := q.Err(); err != nil {
		return err
	}
	if wait == 0 {
		found, err := d.Engine.Inbox.List(c.Request.Context(), wanted)
		if err != nil {
			return err
		}
		return answerList(c, found)
	}

	web.Allow(c, wait+writeTime)
	ctx, cancel := d.untilStop(c.Request.Context())
	defer cancel()
	if wanted.After == "" {
		return d.awaitNew(ctx, c, wanted, wait)
	}
	found, err := d.Engine.Inbox.Await(ctx, wanted, wait)
	if err != nil && !d.stopped() {
		return err
	}
	return answerList(c, found)
}

// onlyNewer is the note of a wait that ended without a message.
const onlyNewer = "no message came; without after, wait answers only messages that are newer than the request. " +
	"Leave wait out for those that are there, or give after"

// awaitNew waits for messages that are not there yet.
func (d *door) awaitNew(ctx context.Context, c *gin.Context, wanted engine.MessageQuery, wait time.Duration) error {
	limit := wanted.Limit
	wanted.Limit = maxMessages
	f := follower{engine: d.Engine, told: make(map[string]time.Time), query: wanted}
	err := f.begin(ctx)
	var found []engine.Message
	for ends := time.Now().Add(wait); err == nil && len(found) == 0 && ctx.Err() == nil && time.Now().Before(ends); {
		found, err = f.next(ctx, min(lookBack, time.Until(ends)))
	}
	if err != nil && !d.stopped() {
		return err
	}
	if len(found) == 0 {
		c.PureJSON(http.StatusOK, list[engine.Message]{Data: []engine.Message{}, Note: onlyNewer})
		return nil
	}
	slices.Reverse(found)
	return answerList(c, found[:min(limit, len(found))])
}

func (d *door) clearMessages(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	if err := d.Engine.Inbox.Clear(c.Request.Context()); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// relay really sends one message, to somebody whom the settings allow.
func (d *door) relay(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	var asked struct {
		To string `json:"to"`
	}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	web.Allow(c, maxWait+writeTime)
	ctx, cancel := d.untilStop(c.Request.Context())
	defer cancel()
	relayed, err := d.Engine.Inbox.Relay(ctx, c.Param("id"), asked.To)
	if err != nil {
		return err
	}
	c.PureJSON(http.StatusOK, relayed)
	return nil
}

// untilStop is ctx that also ends when the server begins to stop.
func (d *door) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-d.Stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (d *door) stopped() bool {
	select {
	case <-d.Stopping:
		return true
	default:
		return false
	}
}
