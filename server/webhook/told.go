package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Delivery is a delivery to an endpoint, sent or not, as the API shows it.
type Delivery struct {
	ID          string     `json:"id"`
	Event       string     `json:"event_id"` // the header webhook-id
	Type        string     `json:"type"`
	Environment string     `json:"environment,omitempty"`
	At          time.Time  `json:"at"`
	State       string     `json:"state"` // pending, delivered, dead or skipped
	Attempts    int        `json:"attempts"`
	Next        *time.Time `json:"next_attempt_at,omitempty"`
	Last        *time.Time `json:"last_attempt_at,omitempty"`
	Status      int        `json:"status,omitempty"` // of the last answer
	Reason      string     `json:"reason,omitempty"` // why the last try failed
	// Request is the body that was sent, and Answer the start of the last answer. Lists omit both.
	Request json.RawMessage `json:"request,omitempty"`
	Answer  *string         `json:"answer,omitempty"`
}

// Cursor returns the delivery's place in a list.
func (d Delivery) Cursor() string { return d.ID }

func told(n *sql.Notice) Delivery {
	return Delivery{
		ID: n.ID.Text(DeliveryPrefix), Event: otp.NoticeID(n.Event, otp.NoticeType(n.Type)).Text("evt"), Type: n.Type,
		Environment: n.Environment, At: n.At.Time(), State: n.State, Attempts: n.Attempts, Next: timeOf(n.DueAt),
		Last: timeOf(n.TriedAt), Status: n.Status, Reason: n.Reason,
	}
}

// States returns the states by which deliveries can be listed.
func States() []string {
	return []string{sql.NoticePending, sql.NoticeDelivered, sql.NoticeDead, sql.NoticeSkipped}
}

// DeliveryQuery selects a page of an endpoint's deliveries. Empty members match all.
type DeliveryQuery struct {
	State string // one of States
	Sort  string // one of DeliverySorts; empty: the newest first
	After string // the id of the last delivery of the page before
	Limit int
}

// Deliveries returns an endpoint's deliveries that a query selects. Refusals: NotFound, and Invalid, which names the
// field.
func (w *Webhooks) Deliveries(ctx context.Context, by Asker, endpoint string, q DeliveryQuery) ([]Delivery, error) {
	e, err := w.find(ctx, by, endpoint)
	if err != nil {
		return nil, err
	}
	query := sql.NoticeQuery{State: q.State, OldestFirst: q.Sort == "at", Limit: q.Limit}
	switch {
	case q.State != "" && !slices.Contains(States(), q.State):
		return nil, otp.RefuseField("state", "must be one of "+strings.Join(States(), ", "))
	case q.Sort != "" && !slices.Contains(DeliverySorts(), q.Sort):
		return nil, otp.RefuseField("sort", "must be one of "+strings.Join(DeliverySorts(), ", "))
	}
	if q.After != "" {
		var ok bool
		if query.After, ok = otp.ParseID(DeliveryPrefix, q.After); !ok {
			return nil, otp.RefuseField("cursor", "must be a next_cursor of this list")
		}
	}
	found, err := w.Store.Webhooks.Notices(ctx, e.ID, query)
	all := make([]Delivery, len(found))
	for i := range found {
		all[i] = told(&found[i])
	}
	return all, err
}

// Delivery returns one delivery with request and answer. They are about a person, so the audit log records who reads
// them, and the request has the mask of a whole recipient for a caller who may not have those sent. Refusal: NotFound.
func (w *Webhooks) Delivery(ctx context.Context, by Asker, endpoint, id string) (Delivery, error) {
	e, n, err := w.delivery(ctx, by, endpoint, id)
	if err == nil {
		err = w.record(ctx, by, otp.WebhookRead, &e, otp.At(time.Now()), "delivery", id)
	}
	if err != nil {
		return Delivery{}, err
	}
	shown := told(&n)
	if n.Attempts > 0 {
		texts, err := w.Store.Webhooks.Texts(ctx, []sql.Notice{n})
		if err != nil {
			return Delivery{}, err
		}
		if !by.Full {
			e.Recipients = masked
		}
		if shown.Request, err = w.text(ctx, &e, &n, texts[n.ID]); err != nil && !errors.Is(err, errUntrue) {
			return Delivery{}, err
		}
	}
	if n.Answer != nil {
		answer, err := w.Vault.Keyring.Open(vault.WebhookText(n.Endpoint, n.ID), n.Answer)
		if err != nil {
			return Delivery{}, err
		}
		text := strings.ToValidUTF8(string(answer), "\uFFFD")
		shown.Answer = &text
	}
	return shown, nil
}

func (w *Webhooks) delivery(ctx context.Context, by Asker, endpoint, text string) (e sql.Endpoint, n sql.Notice,
	err error) {
	if e, err = w.find(ctx, by, endpoint); err != nil {
		return e, n, err
	}
	id, ok := otp.ParseID(DeliveryPrefix, text)
	if !ok {
		return e, n, ErrNone
	}
	if n, err = w.Store.Webhooks.Notice(ctx, e.ID, id); errors.Is(err, sql.ErrNotFound) {
		err = ErrNone
	}
	return e, n, err
}

// Failed counts the deliveries since a time that Replay would send again: the dead and the skipped ones. Refusal:
// NotFound.
func (w *Webhooks) Failed(ctx context.Context, by Asker, endpoint string, since time.Time) (int, error) {
	e, err := w.find(ctx, by, endpoint)
	if err != nil {
		return 0, err
	}
	return w.Store.Webhooks.Failed(ctx, e.ID, otp.At(since))
}

// Replay names what to send again: one delivery, or all deliveries since a time that are dead or were skipped.
type Replay struct {
	Delivery *string `json:"delivery" null:"refused"`
	Since    *string `json:"since" null:"refused"`
}

// SinceForm says how Replay.Since is written, for error texts.
const SinceForm = "must be a time such as 2026-01-31T09:30:00Z"

// Replay sends deliveries again, with the same ids and texts, and returns their number. Of very many it takes as many
// as it can within the time that a door has; the next call takes the others. Refusals: NotFound, Invalid.
func (w *Webhooks) Replay(ctx context.Context, by Asker, endpoint string, asked Replay) (n int64, err error) {
	var one otp.ID
	var since time.Time
	switch {
	case (asked.Delivery == nil) == (asked.Since == nil):
		return 0, otp.RefuseField("delivery", "or since must be given, and not both")
	case asked.Delivery != nil:
		_, found, err := w.delivery(ctx, by, endpoint, *asked.Delivery)
		if err != nil {
			return 0, err
		}
		one = found.ID
	default:
		if since, err = time.Parse(time.RFC3339, *asked.Since); err != nil {
			return 0, otp.RefuseField("since", SinceForm)
		}
	}
	e, err := w.edit(ctx, by, endpoint, otp.WebhookReplayed, func(int64) error { return nil },
		func(tx *sql.Tx, e *sql.Endpoint, now otp.Millis) (err error) {
			if !one.IsZero() {
				n, err = w.Store.Webhooks.Replay(tx, e.ID, one, now)
			}
			return err
		})
	if err != nil || !one.IsZero() {
		return n, err
	}
	ctx, cancel := context.WithTimeout(ctx, inDoor)
	defer cancel()
	if n, err = w.Store.Webhooks.ReplaySince(ctx, e.ID, otp.At(since), otp.At(time.Now())); n > 0 && ctx.Err() != nil {
		err = nil
	}
	return n, err
}

// Tested is the result of an endpoint's test.
type Tested struct {
	Accepted Try `json:"signed"` // should be accepted
	Refused  Try `json:"forged"` // has wrong signatures and should be refused
	// OK reports whether the endpoint treated both correctly.
	OK bool `json:"ok"`
}

// Try is one request of a test.
type Try struct {
	Status int    `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Test sends an endpoint a test event, once with right and once with wrong signatures, and records the result. The
// endpoint may be off. Refusal: NotFound.
func (w *Webhooks) Test(ctx context.Context, by Asker, endpoint string) (t Tested, err error) {
	e, err := w.find(ctx, by, endpoint)
	if err != nil {
		return t, err
	}
	now := time.Now()
	secrets, err := w.secrets(&e, otp.At(now))
	if err != nil {
		return t, err
	}
	client := w.Guard.Client(inDoor)
	defer client.CloseIdleConnections()
	var both sync.WaitGroup
	for _, try := range []struct {
		secrets []string
		of      *Try
	}{{secrets, &t.Accepted}, {[]string{newSecret()}, &t.Refused}} {
		id := sql.NewID().Text("evt")
		text, err := json.Marshal(body{ID: id, Type: string(otp.NoticeTest), Timestamp: now.UTC(), Account: by.Account,
			Data: map[string]string{"webhook": endpoint}})
		if err != nil {
			return t, err
		}
		request, err := signed(&e, id, text, try.secrets, 0, now)
		if err != nil {
			return t, err
		}
		both.Go(func() { try.of.Status, _, _, try.of.Reason = exchange(ctx, client, request) })
	}
	both.Wait()
	t.OK = t.Accepted.Reason == "" && t.Refused.Status/100 == http.StatusBadRequest/100
	return t, w.record(ctx, by, otp.WebhookTested, &e, otp.At(now), "ok", strconv.FormatBool(t.OK))
}

// record adds to the audit log what was done with an endpoint at a time, with one more detail.
func (w *Webhooks) record(ctx context.Context, by Asker, kind otp.ChangeKind, e *sql.Endpoint, at otp.Millis,
	name, value string) error {
	return w.Store.Change(ctx, func(tx *sql.Tx) error {
		change := by.change(kind, e, at)
		change.Details[name] = value
		return tx.Record(change)
	})
}
