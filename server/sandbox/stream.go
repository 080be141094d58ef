package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/web"
)

const (
	// heartbeat is the pause between two comments that keep proxies from closing a quiet stream.
	heartbeat = 15 * time.Second
	// lookBack is the pause between two searches for messages that were committed late.
	lookBack = time.Second
	// settled is the age after which no message can appear late: an operation gets its id before it is queued, and is
	// committed or abandoned within a few seconds.
	settled = 10 * time.Second
)

// stream sends messages as they come, as server-sent events. It starts with new messages, or after the one in after or
// in the Last-Event-ID of a browser that reconnects. It ends with the request or the server.
func (d *door) stream(c *gin.Context) error {
	q := web.ReadQuery(c, "account", "to", "after")
	f := follower{engine: d.Engine, told: make(map[string]time.Time), query: engine.MessageQuery{
		Account: q.Text("account"), To: q.Text("to"), After: q.Text("after"), Limit: maxMessages,
	}}
	if err := q.Err(); err != nil {
		return err
	}
	if last := c.GetHeader("Last-Event-ID"); last != "" {
		f.query.After = last
	}
	ctx, cancel := d.untilStop(c.Request.Context())
	defer cancel()
	if err := f.begin(ctx); err != nil {
		return err
	}

	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no") // otherwise nginx buffers the events
	if send(c, ": one event for every message\n\n") != nil {
		return nil
	}
	for spoke := time.Now(); ; {
		messages, err := f.next(ctx, lookBack)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// The status has been sent, so the stream can only end. The client reconnects.
			d.Log.ErrorContext(ctx, "message stream ended", "request_id", web.RequestOf(c).LogID, "error", err)
			return nil
		}
		if len(messages) == 0 && time.Since(spoke) < heartbeat {
			continue
		}
		text, err := events(messages)
		if err != nil || send(c, text) != nil {
			return nil
		}
		spoke = time.Now()
	}
}

// follower reads the inbox as it grows, each message once.
//
// Ids have the order in which operations began, which can differ from the order in which they were committed: the
// smaller id may appear second. A follower that asked only for messages after the newest one would sometimes miss one.
// So this one reads the last seconds again, and skips messages that it has sent.
type follower struct {
	engine *engine.Engine
	query  engine.MessageQuery  // all messages up to After have been sent
	told   map[string]time.Time // when messages newer than After were sent
	newest string               // the newest message that was sent
}

// begin starts at the newest message, unless the query has another start. It also checks the query, while the answer
// can still be a refusal.
func (f *follower) begin(ctx context.Context) error {
	present, err := f.engine.Inbox.List(ctx, f.query)
	if err != nil || f.query.After != "" {
		return err
	}
	f.remember(present)
	if len(present) == maxMessages {
		f.query.After = present[len(present)-1].ID
	}
	return nil
}

// next waits for messages, at most for patience, and returns those that have not been sent, oldest first.
func (f *follower) next(ctx context.Context, patience time.Duration) ([]engine.Message, error) {
	newer := f.query
	newer.After, newer.Limit = max(f.newest, f.query.After), 1
	if _, err := f.engine.Inbox.Await(ctx, newer, patience); err != nil {
		return nil, err
	}
	recent, err := f.engine.Inbox.List(ctx, f.query)
	if err != nil {
		return nil, err
	}
	slices.Reverse(recent)
	fresh := slices.DeleteFunc(recent, func(m engine.Message) bool { return !f.told[m.ID].IsZero() })
	f.remember(fresh)
	f.settle()
	return fresh, nil
}

func (f *follower) remember(messages []engine.Message) {
	now := time.Now()
	for _, m := range messages {
		f.told[m.ID] = now
		f.newest = max(f.newest, m.ID)
	}
}

// settle moves After up to the newest message before which no message can appear any more.
func (f *follower) settle() {
	for _, id := range slices.Sorted(maps.Keys(f.told)) {
		if time.Since(f.told[id]) < settled {
			return
		}
		f.query.After = id
		delete(f.told, id)
	}
}

// events formats messages for the stream; without messages it returns the heartbeat.
func events(messages []engine.Message) (string, error) {
	if len(messages) == 0 {
		return ": still here\n\n", nil
	}
	var text string
	for _, m := range messages {
		data, err := json.Marshal(m)
		if err != nil {
			return "", fmt.Errorf("write message %s as JSON: %w", m.ID, err)
		}
		text += "id: " + m.ID + "\nevent: message\ndata: " + string(data) + "\n\n"
	}
	return text, nil
}

// send writes and flushes text. An error means that the client is gone.
func send(c *gin.Context, text string) error {
	web.Allow(c, writeTime)
	if _, err := c.Writer.WriteString(text); err != nil {
		return err
	}
	return http.NewResponseController(c.Writer).Flush()
}
