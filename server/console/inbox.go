package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"otpbridge/server/engine"
)

// sandboxPages are the pages for trying an integration. They do not exist in production.
var sandboxPages = []route{
	{method: get, path: "inbox", who: tester, serve: (*exchange).inbox},
	{method: post, path: "inbox/empty", who: tester, serve: (*exchange).emptyInbox},
	{method: get, path: "inbox/live", who: tester, serve: (*exchange).followInbox},
	{method: get, path: "inbox/message/:id", who: tester, serve: (*exchange).message},
	{method: get, path: "requests", who: tester, serve: (*exchange).requests},
	{method: get, path: "try", who: tester, serve: (*exchange).tryForm},
	{method: post, path: "try", who: tester, serve: (*exchange).try},
	{method: get, path: "components", who: tester, serve: (*exchange).components},
}

const (
	shownMessages = 50
	shownRequests = 50
)

// inboxBody is the list of messages that would have been sent.
type inboxBody struct {
	Account, To string
	Accounts    []string
	Messages    []engine.Message
	Live        string     // the URL that tells the page of changes
	Refused     *inspected // the latest call, if it was refused
}

// search returns the inbox's filter from the URL.
func (x *exchange) search() engine.MessageQuery {
	return engine.MessageQuery{Account: x.query("account"), To: strings.TrimSpace(x.query("to")), Limit: shownMessages}
}

func (x *exchange) inbox() error {
	q := x.search()
	body := inboxBody{Account: q.Account, To: q.To, Live: Path + "inbox/live?" + x.gin.Request.URL.RawQuery}
	var err error
	if body.Accounts, err = x.addresses(); err != nil {
		return err
	}
	if body.Messages, err = x.door.Engine.Inbox.List(x.ctx, q); err != nil {
		return x.refuse(err, "inbox", "Inbox", body)
	}
	body.Refused = x.latestRefused(q.Account)
	body.Live += "&seen=" + markOf(body.Messages, body.Refused)
	return x.show("inbox", "Inbox", body)
}

// latestRefused returns the latest call of an account, or for "" of every account, if it was refused.
func (x *exchange) latestRefused(account string) *inspected {
	for _, call := range x.door.Requests.Latest(account, 1) {
		if found := outcomeOf(call); !found.Ok() {
			return &inspected{Call: call, Outcome: found}
		}
	}
	return nil
}

// addresses returns the accounts that the reader may see.
func (x *exchange) addresses() ([]string, error) {
	all, err := x.door.Manage.Accounts.Addresses(x.ctx)
	return slices.DeleteFunc(all, func(a string) bool { return !x.who.MaySee(a) }), err
}

// chosen returns the chosen account, or all that the reader sees if none was chosen.
func chosen(one string, seen []string) []string {
	if one == "" {
		return seen
	}
	return slices.DeleteFunc(slices.Clone(seen), func(a string) bool { return a != one })
}

func (x *exchange) emptyInbox() error {
	if asked, err := x.ask(question{Title: "Empty the inbox?", Do: "Empty it", Back: "inbox",
		What: "This removes the messages of all accounts. Codes that were sent stay valid."}); asked {
		return err
	}
	if err := x.door.Engine.Inbox.Clear(x.ctx); err != nil {
		return err
	}
	return x.goTo("inbox?done=emptied")
}

// message shows one message as its recipient gets it.
func (x *exchange) message() error {
	found, err := x.door.Engine.Inbox.Find(x.ctx, x.gin.Param("id"))
	if err != nil {
		return err
	}
	return x.show("message", "Message to "+found.To, found)
}

// liveFor is how long one stream lasts; the browser reconnects.
const liveFor = 10 * time.Minute

// followInbox tells the page by server-sent events that the list is no longer the one that it shows, whose mark is the
// parameter seen. The page then loads the list, so that it shows the same as a reload.
func (x *exchange) followInbox() error {
	c := x.gin
	control := http.NewResponseController(c.Writer)
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no") // otherwise nginx buffers the events
	ctx := c.Request.Context()
	say := func(text string) bool {
		if control.SetWriteDeadline(time.Now().Add(patience)) != nil {
			return false
		}
		_, err := c.Writer.WriteString(text)
		return err == nil && control.Flush() == nil
	}
	q := x.search()
	before := x.query("seen")
	var spoke time.Time
	for over := time.Now().Add(liveFor); time.Now().Before(over); {
		found, err := x.door.Engine.Inbox.List(ctx, q)
		if err != nil || ctx.Err() != nil {
			return nil // the client reconnects
		}
		present := markOf(found, x.latestRefused(q.Account))
		switch {
		case present != before:
			if !say("event: changed\ndata: inbox\n\n") {
				return nil
			}
			spoke = time.Now()
		case time.Since(spoke) > 15*time.Second:
			if !say(": still here\n\n") {
				return nil
			}
			spoke = time.Now()
		}
		before = present
		wanted := q
		if len(found) > 0 {
			wanted.After = found[0].ID
		}
		select {
		case <-x.door.Stopping:
			return nil
		default:
		}
		if _, err := x.door.Engine.Inbox.Await(ctx, wanted, time.Second); err != nil {
			return nil
		}
	}
	return nil
}

// markOf returns a short text that differs whenever the page would.
func markOf(messages []engine.Message, refused *inspected) string {
	mark := sha256.New()
	for _, m := range messages {
		mark.Write([]byte(m.ID))
	}
	if refused != nil {
		mark.Write([]byte(refused.RequestID))
	}
	return hex.EncodeToString(mark.Sum(nil)[:8])
}
