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

	// writeTime is how long a client may take to receive one write.
	writeTime = 10 * time.Second
)

// credentials answers with the demo accounts and all their credentials.
func (d *door) credentials(c *gin.Context) error {
	c.PureJSON(http.StatusOK, gin.H{"accounts": d.Manage.Sandbox.DemoCredentials()})
	return nil
}

// messages answers with the messages that would have been sent, newest first. With wait it answers at the first match,
// or when the wait is over or the server stops. A wait without after matches only messages that come while it waits: a
// test would take an older one, of an earlier run, for its own.
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

// onlyNewer is the note in the answer to a wait that ended without a message.
const onlyNewer = "no message came; without after, wait answers only messages that are newer than the request. " +
	"Leave wait out for those that are there, or give after"

// awaitNew waits for new messages.
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
	if err := d.Engine.Inbox.Clear(c.Request.Context()); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// relay really sends one message, to a recipient that the settings allow.
func (d *door) relay(c *gin.Context) error {
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

// untilStop returns a context that ends with ctx or when the server begins to stop.
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
