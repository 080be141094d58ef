package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"time"

	"otpbridge/server/otp"
)

// The states of a notice.
const (
	NoticePending   = "pending"
	NoticeDelivered = "delivered"
	NoticeDead      = "dead"    // it has been tried the maximum number of times
	NoticeSkipped   = "skipped" // its endpoint was off
)

// Notice is one message for one endpoint. Its source is the event or change with the id Event. The text is made when
// it is first sent, and stored from then on.
type Notice struct {
	Endpoint    otp.ID
	ID          otp.ID // in the order in which an endpoint gets the notices of a challenge
	Event       otp.ID // of the history; for a key, of the changes
	Account     string
	Environment string
	Type        string
	Challenge   otp.ID     // zero for none
	Recipient   otp.ID     // its hash; zero for none
	At          otp.Millis // of the event
	DueAt       otp.Millis // of the next try; 0: none
	State       string
	Attempts    int
	Status      int    // of the last answer; 0: none
	Reason      string // why the last try failed; empty if it did not
	TriedAt     otp.Millis
	Request     []byte // sealed body; nil until the first try
	Answer      []byte // sealed start of the last answer
}

var notices = table[Notice]{"webhook_deliveries", func(n *Notice) []column {
	return []column{
		{"endpoint_id", &n.Endpoint}, {"id", &n.ID}, {"event_id", &n.Event}, {"esme_address", &n.Account},
		{"environment", &n.Environment}, {"type", &n.Type}, {"challenge_id", &n.Challenge},
		{"recipient_hash", &n.Recipient}, {"at", &n.At}, {"due_at", &n.DueAt}, {"state", &n.State},
		{"attempts", &n.Attempts}, {"status", &n.Status}, {"reason", &n.Reason}, {"tried_at", &n.TriedAt},
		{"request", &n.Request}, {"answer", &n.Answer},
	}
}}

// noticeID returns an id that orders the notices of one challenge for an endpoint: by the time, which never goes
// backwards for a challenge; then by the stage of the challenge, for servers with different clocks; then by the place
// in the batch.
func noticeID(at otp.Millis, told otp.NoticeType, place int) otp.ID {
	id := NewID() // random from its ninth byte on
	binary.BigEndian.PutUint64(id[:8], uint64(at)<<16|7<<12|uint64(min(place, 1<<10-1)))
	return staged(id, told)
}

// staged returns the id with the stage of a notice type.
func staged(id otp.ID, told otp.NoticeType) otp.ID {
	stage := uint64(1)
	switch told {
	case otp.NoticeSent:
		stage = 0
	case otp.NoticeVerified, otp.NoticeCanceled, otp.NoticeReplaced, otp.NoticeMaxAttempts, otp.NoticeExpired:
		stage = 2
	case otp.NoticeLocked:
		stage = 3
	}
	first := binary.BigEndian.Uint64(id[:8])
	binary.BigEndian.PutUint64(id[:8], first&^(3<<10)|stage<<10)
	return id
}

// expiryGrace is how long after its expiry a challenge is checked for having been used: an operation that was in time
// may commit a moment later.
const expiryGrace = maxTrying + patience

// begin makes a notice due at once, or skipped if its endpoint is off.
func (n *Notice) begin(to *Endpoint, now otp.Millis) {
	n.DueAt, n.State = now, NoticePending
	if to.Off != "" {
		n.DueAt, n.State = 0, NoticeSkipped
	}
}

func writeNotices(writes *script, into *layout, all []Notice) {
	inserts := make([]driver.Value, 0, len(into.columns)*len(all))
	for i := range all {
		inserts = append(inserts, notices.values(&all[i])...)
	}
	writes.insert(into, inserts)
}

// Tell adds a notice, in tx, to each endpoint of an account that subscribes to its type. Event is its source: the
// change that tx records, or Request holds the text. It returns the number of notices.
func (w *Webhooks) Tell(tx *Tx, n Notice, now otp.Millis) (int, error) {
	listening, err := endpoints.lock(tx.ctx, tx, `esme_address = ? ORDER BY id`, n.Account)
	if err != nil {
		return 0, err
	}
	told := 0
	for i := range listening {
		if to := &listening[i]; to.wants(otp.NoticeType(n.Type), n.Environment) {
			if err := w.TellOne(tx, to, n, now); err != nil {
				return told, err
			}
			told++
		}
	}
	return told, nil
}

// TellOne adds a notice to one endpoint, whatever it subscribes to.
func (w *Webhooks) TellOne(tx *Tx, to *Endpoint, n Notice, now otp.Millis) error {
	row := Notice{Endpoint: to.ID, ID: noticeID(n.At, otp.NoticeType(n.Type), 0), Account: to.Account, Type: n.Type,
		At: n.At, Event: n.Event, Environment: n.Environment, Request: n.Request}
	row.begin(to, now)
	return notices.insert(tx.ctx, tx, &row)
}

// tellChange adds a change to an account's endpoints, if it is of a type they can subscribe to.
func (tx *Tx) tellChange(c *otp.Change) error {
	told, known := c.Kind.Notice()
	if !known || c.Account == "" {
		return nil
	}
	_, err := tx.store.Webhooks.Tell(tx, Notice{Account: c.Account, Environment: c.Details["environment"],
		Type: string(told), Event: c.ID, At: c.At}, c.At)
	return err
}

// Erase removes the notices about a recipient, given by its hash: all of them, or only those of the named challenges.
// It returns how many there were.
func (w *Webhooks) Erase(tx *Tx, recipient otp.ID, challenges ...otp.ID) (int64, error) {
	where, args := `recipient_hash = ?`, []driver.Value{recipient[:]}
	if len(challenges) > 0 {
		list, ids := in(challenges, idValue)
		where, args = where+` AND challenge_id IN `+list, append(args, ids...)
	}
	if err := w.settle(tx, otp.At(time.Now())); err != nil {
		return 0, err
	}
	if err := tx.exec(tx.ctx, `DELETE FROM webhook_texts WHERE `+where, args...); err != nil {
		return 0, err
	}
	return tx.affect(tx.ctx, `DELETE FROM webhook_deliveries WHERE `+where, args...)
}

// NoticeQuery selects notices of an endpoint, newest first or oldest first. Zero fields select everything.
type NoticeQuery struct {
	State       string
	OldestFirst bool
	After       otp.ID // only those that come after it in the order
	Limit       int
}

// where returns the condition and the order of the rows that q selects. Those of a state are found in the index of
// states first: SQLite takes that index only where it need not look at the rows.
func (q *NoticeQuery) where(endpoint otp.ID) (string, []any) {
	where, args := `endpoint_id = ?`, []any{endpoint[:]}
	if q.State != "" {
		where, args = where+` AND state = ?`, append(args, q.State)
	}
	beyond, direction := `<`, ` DESC`
	if q.OldestFirst {
		beyond, direction = `>`, ``
	}
	if !q.After.IsZero() {
		where, args = where+` AND id `+beyond+` ?`, append(args, q.After[:])
	}
	where, args = where+` ORDER BY id`+direction+` LIMIT ?`, append(args, q.Limit)
	if q.State == "" {
		return where, args
	}
	return `endpoint_id = ? AND id IN (SELECT id FROM (SELECT id FROM webhook_deliveries WHERE ` + where + `) AS page)
		ORDER BY id` + direction, append([]any{endpoint[:]}, args...)
}

// Notices reads the notices of an endpoint, sent or not.
func (w *Webhooks) Notices(ctx context.Context, endpoint otp.ID, q NoticeQuery) ([]Notice, error) {
	where, args := q.where(endpoint)
	return notices.find(ctx, w.store, where, args...)
}

// Notice reads one notice; ErrNotFound if there is none.
func (w *Webhooks) Notice(ctx context.Context, endpoint, id otp.ID) (Notice, error) {
	return notices.one(ctx, w.store, `endpoint_id = ? AND id = ?`, endpoint[:], id[:])
}

// failedNotices selects the notices that a replay since a moment sends again.
const failedNotices = ` FROM webhook_deliveries WHERE endpoint_id = ? AND id >= ? AND state IN ('dead', 'skipped')`

// Failed counts the notices since a moment that are dead or were skipped.
func (w *Webhooks) Failed(ctx context.Context, endpoint otp.ID, since otp.Millis) (n int, err error) {
	oldest := firstID(since)
	err = w.store.reads.GetContext(ctx, &n, `SELECT COUNT(*)`+failedNotices, endpoint[:], oldest[:])
	return n, err
}

const replayed = `UPDATE webhook_deliveries SET due_at = ?, state = 'pending', attempts = 0 WHERE endpoint_id = ? AND `

// Replay makes a notice due again at now, and with it the later ones of its challenge that waited for it. It returns
// how many notices have the id: one or none.
func (w *Webhooks) Replay(tx *Tx, endpoint, id otp.ID, now otp.Millis) (int64, error) {
	found, err := notices.lock(tx.ctx, tx, `endpoint_id = ? AND id = ?`, endpoint[:], id[:])
	if err != nil || len(found) == 0 {
		return 0, err
	}
	if challenge := found[0].Challenge; !challenge.IsZero() {
		_, err = tx.affect(tx.ctx, `
			UPDATE webhook_deliveries
			SET due_at = ?
			WHERE challenge_id = ? AND endpoint_id = ? AND id > ? AND due_at > ? AND attempts = 0`,
			int64(now), challenge[:], endpoint[:], id[:], int64(now))
	}
	if err != nil {
		return 0, err
	}
	return tx.affect(tx.ctx, replayed+`id = ?`, int64(now), endpoint[:], id[:])
}

// replayChunk is how many notices one transaction makes due again: few enough that batches hardly wait for it.
const replayChunk = 500

// ReplaySince makes all notices since a moment that are dead or were skipped due again at now, in the order in which
// they are sent. It returns how many, also those of before a fault.
func (w *Webhooks) ReplaySince(ctx context.Context, endpoint otp.ID, since, now otp.Millis) (n int64, err error) {
	// Of each state the index has the first ones, and what is done has left its state.
	const ofState = `SELECT id FROM (SELECT id FROM webhook_deliveries WHERE endpoint_id = ? AND state = ? AND id >= ?
		ORDER BY id LIMIT ?) AS `
	var next []driver.Value
	oldest := firstID(since)
	for _, state := range []string{NoticeDead, NoticeSkipped} {
		next = append(next, endpoint[:], state, oldest[:], int64(replayChunk))
	}
	next = append(next, int64(replayChunk))
	for done := int64(replayChunk); done == replayChunk; n += done {
		err := w.store.write(ctx, func(tx *session) error {
			var ids []otp.ID
			err := tx.query(ctx, ofState+`dead UNION ALL `+ofState+`skipped ORDER BY id LIMIT ?`, next, func(found row) error {
				r := reader{row: found}
				ids = append(ids, r.id())
				return r.err
			})
			if done = 0; err != nil || len(ids) == 0 {
				return err
			}
			list, args := in(ids, idValue)
			done, err = tx.affect(ctx, replayed+`id IN `+list, append([]driver.Value{int64(now), endpoint[:]}, args...)...)
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Texts reads the texts of notices, by the ids of the notices.
func (w *Webhooks) Texts(ctx context.Context, of []Notice) (map[otp.ID]Text, error) {
	texts := make(map[otp.ID]Text, len(of))
	if len(of) == 0 {
		return texts, nil
	}
	list, args := in(of, func(n Notice) driver.Value { return idValue(n.ID) })
	text := `SELECT id, masked, whole FROM webhook_texts WHERE id IN ` + list
	return texts, w.store.look(ctx, "read what webhooks are told", lookup{text, args, func(found row) error {
		r := reader{row: found}
		texts[r.id()] = Text{r.bytes(), r.bytes()}
		return r.err
	}})
}

// Change reads the change that a notice is about; ErrNotFound if there is none.
func (w *Webhooks) Change(ctx context.Context, id otp.ID) (otp.Change, error) {
	found, err := changes.one(ctx, w.store, `id = ?`, id[:])
	if err != nil {
		return otp.Change{}, err
	}
	return found.read()
}

// noticeMemory is how long a notice is kept, in days, unless its account keeps its history for less.
const noticeMemory = 30

// sweepNotices removes notices that are too old, and those of removed endpoints. One sweep reads only part of a long
// table; the next sweep continues there.
func (s *Store) sweepNotices(ctx context.Context, now otp.Millis) (removed int, err error) {
	for range sweepIdle {
		doomed, err := s.oldNotices(ctx, now)
		if err != nil {
			return removed, err
		}
		for endpoint, ids := range doomed {
			list, args := in(ids, idValue)
			if err := s.exec(ctx, `DELETE FROM webhook_deliveries WHERE endpoint_id = ? AND id IN `+list,
				append([]driver.Value{endpoint[:]}, args...)...); err != nil {
				return removed, err
			}
			removed += len(ids)
		}
		if s.noticeWalk[0].IsZero() {
			break
		}
	}
	return removed, nil
}

// oldNotices reads one chunk of notices and returns those to remove, by endpoint.
func (s *Store) oldNotices(ctx context.Context, now otp.Millis) (map[otp.ID][]otp.ID, error) {
	from := &s.noticeWalk
	doomed, looked := map[otp.ID][]otp.ID{}, 0
	err := s.each(ctx, "look for old deliveries", `
		SELECT d.endpoint_id, d.id, COALESCE(a.retention_days, ?), e.id IS NULL
		FROM webhook_deliveries d
		LEFT JOIN webhook_endpoints e ON e.id = d.endpoint_id
		LEFT JOIN otp_auth_config a ON a.esme_address = d.esme_address
		WHERE d.endpoint_id >= ? AND (d.endpoint_id > ? OR d.id > ?)
		ORDER BY d.endpoint_id, d.id
		LIMIT ?`, []any{noticeMemory, from[0][:], from[0][:], from[1][:], sweepChunk}, func(rows *sql.Rows) error {
		var days otp.Millis
		var orphan bool
		err := rows.Scan(idScan{&from[0]}, idScan{&from[1]}, &days, &orphan)
		looked++
		if err == nil && (orphan || now-idTime(from[1]) > min(max(1, days), noticeMemory)*otp.Day) {
			doomed[from[0]] = append(doomed[from[0]], from[1])
		}
		return err
	})
	if looked < sweepChunk {
		*from = [2]otp.ID{}
	}
	return doomed, err
}
