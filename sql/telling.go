package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// tellingChunk is how many events are distributed to endpoints in one transaction: few enough that batches hardly wait
// for it.
const tellingChunk = 64

// Telling is an event that endpoints will be told about. Its row is written in the transaction of the event;
// Distribute makes the notices for the endpoints that existed then.
type Telling struct {
	ID    otp.ID // orders the notices of a challenge, across all endpoints
	Types []otp.NoticeType
	At    otp.Millis // when it happened
	Event otp.Event
	// Recipient holds what is still known, and First the summary of the challenge's first send if it was requested
	// through the JSON API, else nil.
	Recipient otp.Recipient
	First     *otp.Summary
	Whole     bool // an endpoint of the account may see whole recipients

	due     otp.Millis // 0: at once
	version int64      // of the endpoints that its transaction saw
	lapses  otp.Millis // when to check whether the challenge was used; 0: never
	untrue  bool       // its event is gone, or the challenge was used after all
	notices []Notice   // without endpoint, for the types that are due now
	texts   []Text     // of the notices
}

// Text is the sealed text of a notice: with the recipient's mask, and with the whole recipient for endpoints that may
// see it.
type Text struct{ Masked, Whole []byte }

// tellingRow is what the event's transaction writes.
type tellingRow struct {
	id, event otp.ID
	types     string
	lapses    otp.Millis
}

const tellingColumns = `due_at, id, event_id, types, version, lapses_at`

const textColumns = `id, esme_address, recipient_hash, challenge_id, masked, whole`

// tell adds what endpoints will be told about the events that op's decision recorded.
func (b *batch) tell(op *Operation, state *State, r *otp.Recipient, c *otp.Challenge) {
	listening := b.listening[state.event.Account]
	if len(listening) == 0 {
		return
	}
	if state.inserted != nil {
		c = state.inserted
	}
	types := state.event.Notices(r, c, state.Now)
	var lapses otp.Millis
	if state.event.Kind == otp.EventSent && c != nil {
		// An expiry has no event. It is announced later, if the code was not used by then.
		types = append(types, otp.NoticeExpired)
		lapses = op.Now + c.ExpiresAt - state.Now + otp.Span(expiryGrace)
	}
	b.tellOf(state.event, listening, types, lapses)
	for i := range state.also {
		b.tellOf(&state.also[i], listening, state.also[i].Notices(r, c, state.Now), 0)
	}
}

// tellOf adds the types that at least one endpoint subscribes to.
func (b *batch) tellOf(e *otp.Event, listening []Endpoint, types []otp.NoticeType, lapses otp.Millis) {
	var wanted []string
	for _, told := range types {
		if slices.ContainsFunc(listening, func(to Endpoint) bool { return to.wants(told, string(e.Environment)) }) {
			wanted = append(wanted, string(told))
		}
	}
	if len(wanted) == 0 {
		return
	}
	if !slices.Contains(wanted, string(otp.NoticeExpired)) {
		lapses = 0
	}
	b.tellings = append(b.tellings, tellingRow{id: noticeID(e.At, types[0], len(b.tellings)), event: e.ID,
		types: strings.Join(wanted, ","), lapses: lapses})
}

func (b *batch) writeTellings(writes *script, version int64) {
	v := &b.values
	inserts := make([]driver.Value, 0, len(b.layouts.tellings.columns)*len(b.tellings))
	for i := range b.tellings {
		t := &b.tellings[i]
		inserts = append(inserts, int64(0), v.id(t.id), v.id(t.event), v.text(t.types), version, v.moment(t.lapses))
	}
	writes.insert(b.layouts.tellings, inserts)
}

// Happened receives when this server has committed something to distribute.
func (w *Webhooks) Happened() <-chan struct{} { return w.happened }

func (w *Webhooks) wake() {
	select {
	case w.happened <- struct{}{}:
	default:
	}
}

// Distribute makes the notices that are due at now, as many as fit in one transaction. It returns whether there may be
// more, and the endpoints that have something to send. Without Text it does nothing.
func (w *Webhooks) Distribute(ctx context.Context, now otp.Millis) (more bool, awake []otp.ID, err error) {
	if w.Text == nil {
		return false, nil, nil
	}
	for _, due := range dueAt(now) {
		// Reading and sealing here keeps no batch waiting.
		found, err := w.tellings(func(l lookup) error { return w.store.look(ctx, "read events", l) }, due)
		if err != nil || len(found) == 0 {
			if err != nil {
				return false, awake, err
			}
			continue
		}
		var g giving
		err = w.store.write(ctx, func(in *session) (err error) {
			g, err = w.give(ctx, in, found, nil, now)
			return err
		})
		if err != nil {
			return false, awake, err
		}
		w.store.metrics.notices.Add(float64(len(g.notices)))
		awake, more = append(awake, g.awake...), more || len(found) == tellingChunk
	}
	return more, awake, nil
}

// settle makes all notices that are due at now, before tx changes subscriptions or the source of notices.
func (w *Webhooks) settle(tx *Tx, now otp.Millis) error {
	if w.Text == nil {
		return nil
	}
	known, err := readEndpoints(tx.ctx, tx.session)
	if err != nil {
		return err
	}
	for _, due := range dueAt(now) {
		for {
			found, err := w.tellings(func(l lookup) error { return tx.query(tx.ctx, l.text, l.args, l.scan) }, due)
			if err == nil && len(found) > 0 {
				_, err = w.give(tx.ctx, tx.session, found, known, now)
			}
			if err != nil {
				return err
			}
			if len(found) == 0 {
				break
			}
		}
	}
	return nil
}

// dueAt returns the conditions for what is due at once, which has no time, so that servers with different clocks take
// it in one order; and for what has become due by now.
func dueAt(now otp.Millis) []condition {
	return []condition{{`due_at = 0`, nil}, {`due_at BETWEEN 1 AND ?`, []driver.Value{int64(now)}}}
}

type condition struct {
	text string
	args []driver.Value
}

// tellings reads what is due, in order, and makes its texts.
func (w *Webhooks) tellings(look func(lookup) error, due condition) (all []Telling, err error) {
	err = look(lookup{`
		SELECT q.due_at, q.id, q.event_id, q.types, q.version, q.lapses_at,
			e.at, e.esme_address, e.environment, e.kind, e.door, e.recipient_hash, e.challenge_id, e.send, e.channels,
			e.summary, r.id, r.sealed, r.mask, sent.summary, c.expires_at,
			c.used_at IS NULL AND c.canceled_at IS NULL AND c.replaced_at IS NULL AND c.wrong < c.max_attempts,
			EXISTS (SELECT 1 FROM webhook_endpoints w WHERE w.esme_address = e.esme_address AND w.recipients = 'full')
		FROM (SELECT ` + tellingColumns + ` FROM webhook_events WHERE ` + due.text + ` ORDER BY due_at, id LIMIT ?) q
		LEFT JOIN events e ON e.id = q.event_id
		LEFT JOIN recipients r ON r.hash = e.recipient_hash AND r.mask <> ''
		LEFT JOIN events sent ON sent.challenge_id = e.challenge_id AND sent.kind = 'sent' AND e.door = 'v1'
		LEFT JOIN challenges c ON c.id = e.challenge_id AND q.due_at > 0
		ORDER BY q.due_at, q.id`, append(due.args[:len(due.args):len(due.args)], int64(tellingChunk)),
		func(found row) error {
			t, err := readTelling(found)
			if err == nil && (len(all) == 0 || all[len(all)-1].ID != t.ID) {
				all = append(all, t)
			}
			return err
		}})
	if err != nil {
		return nil, fmt.Errorf("read webhook_events: %w", err)
	}
	for i := range all {
		all[i].describe(w.Text)
	}
	return all, nil
}

func readTelling(found row) (t Telling, err error) {
	r := reader{row: found}
	t.due, t.ID, t.Event.ID = r.moment(), r.id(), r.id()
	for _, told := range strings.Split(r.text(), ",") {
		t.Types = append(t.Types, otp.NoticeType(told))
	}
	t.version, t.lapses = r.number(), r.moment()
	e := &t.Event
	e.At, e.Account, e.Environment, e.Kind = r.moment(), r.text(), otp.Environment(r.text()), otp.EventKind(r.text())
	e.Door, e.Recipient, e.Challenge = otp.Door(r.text()), r.optionalID(), r.optionalID()
	e.Send, e.Channels = int(r.number()), otp.Channels(r.number())
	summary := r.bytes()
	t.Recipient.ID, t.Recipient.Sealed, t.Recipient.Mask = r.optionalID(), r.bytes(), r.text()
	sent := r.bytes()
	expires, unused := r.moment(), r.number() == 1
	t.Whole = r.number() == 1
	if r.err != nil {
		return t, r.err
	}
	t.At, t.untrue = e.At, e.Account == "" // its event is gone
	if t.due > 0 {
		t.At, t.untrue = expires, t.untrue || !unused // a challenge that is gone is not announced as expired
	}
	if e.Summary, err = decodeSummary(summary); err == nil {
		t.First, err = decodeSummary(sent)
	}
	return t, err
}

// describe makes the notices and the texts that are due now.
func (t *Telling) describe(text func(*Telling, otp.NoticeType, otp.ID) Text) {
	if t.untrue {
		return
	}
	for _, told := range t.Types {
		if told == otp.NoticeExpired && t.due == 0 {
			continue
		}
		id := staged(t.ID, told)
		if t.due > 0 {
			id = noticeID(t.At, told, 0)
		}
		t.texts = append(t.texts, text(t, told, id))
		t.notices = append(t.notices, Notice{ID: id, Event: t.Event.ID, Account: t.Event.Account,
			Environment: string(t.Event.Environment), Type: string(told), Challenge: t.Event.Challenge,
			Recipient: t.Event.Recipient, At: t.At})
	}
}

// giving is what one transaction writes for endpoints.
type giving struct {
	notices []Notice
	awake   []otp.ID
	texts   []driver.Value
	later   []driver.Value
}

// TellAll tells all endpoints that subscribe to it about something that is not an event of their account. text makes
// the text.
func (w *Webhooks) TellAll(ctx context.Context, told otp.NoticeType, event otp.ID, at otp.Millis,
	text func(t *Telling, told otp.NoticeType, id otp.ID) Text) error {
	return w.store.write(ctx, func(in *session) error {
		known, err := readEndpoints(ctx, in)
		if err != nil {
			return err
		}
		var g giving
		for account, listening := range known {
			if !slices.ContainsFunc(listening, func(to Endpoint) bool { return to.wants(told, "") }) {
				continue
			}
			t := Telling{ID: noticeID(at, told, 0), Types: []otp.NoticeType{told}, At: at,
				Event: otp.Event{ID: event, Account: account}, version: math.MaxInt64}
			t.describe(text)
			g.add(&t, listening, at)
		}
		var writes script
		g.write(&writes, w.store.batch)
		return in.play(ctx, &writes)
	})
}

// give adds the notices of what is still listed, and removes it from the list. A second caller waits for the first
// one's locks, and finds nothing. known are the endpoints; with nil, those that the batches know.
func (w *Webhooks) give(ctx context.Context, tx *session, found []Telling, known map[string][]Endpoint,
	now otp.Millis) (g giving, err error) {
	where, args := `due_at = 0`, []driver.Value(nil)
	if found[0].due > 0 {
		where, args = `due_at BETWEEN ? AND ?`, []driver.Value{int64(found[0].due), int64(found[len(found)-1].due)}
	}
	list, ids := in(found, func(t Telling) driver.Value { return idValue(t.ID) })
	where, args = where+` AND id IN `+list, append(args, ids...)
	there := map[otp.ID]bool{}
	err = tx.queryAll(ctx, []lookup{{`SELECT id FROM webhook_events WHERE ` + where + ` ORDER BY id` + w.store.dialect.lock,
		args, func(found row) error {
			r := reader{row: found}
			there[r.id()] = true
			return r.err
		}}, w.versionLookup()})
	if err == nil && known == nil {
		err = w.refresh(ctx, tx)
		known = w.known
	}
	if err != nil || len(there) == 0 {
		return g, err
	}
	for i := range found {
		if t := &found[i]; there[t.ID] && !t.untrue {
			g.add(t, known[t.Event.Account], now)
		}
	}
	var writes script
	g.write(&writes, w.store.batch)
	writes.count(nil, `DELETE FROM webhook_events WHERE `+where, args...)
	return g, tx.play(ctx, &writes)
}

func (g *giving) write(writes *script, b *batch) {
	writes.insert(b.layouts.texts, g.texts)
	writes.insert(b.layouts.tellings, g.later)
	writeNotices(writes, b.layouts.notices, g.notices)
}

// add makes the notices of one event for its account's endpoints that existed when it happened and subscribe to it.
func (g *giving) add(t *Telling, listening []Endpoint, now otp.Millis) {
	for i := range t.notices {
		given := len(g.notices)
		for j := range listening {
			to := &listening[j]
			if to.Since > t.version || !to.wants(otp.NoticeType(t.notices[i].Type), t.notices[i].Environment) {
				continue
			}
			n := t.notices[i]
			n.Endpoint = to.ID
			n.begin(to, now)
			g.notices = append(g.notices, n)
			if n.DueAt != 0 && !slices.Contains(g.awake, to.ID) {
				g.awake = append(g.awake, to.ID)
			}
		}
		if n, text := &t.notices[i], &t.texts[i]; len(g.notices) > given {
			g.texts = append(g.texts, n.ID[:], n.Account, n.Recipient[:], n.Challenge[:], text.Masked, nullable(text.Whole))
		}
	}
	if t.due == 0 && t.lapses != 0 {
		g.later = append(g.later, int64(t.lapses), t.ID[:], t.Event.ID[:], string(otp.NoticeExpired), t.version, nil)
	}
}
