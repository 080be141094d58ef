package sql

import (
	"cmp"
	"context"
	"slices"

	"otpbridge/server/otp"
)

// Webhooks holds where accounts want to be told of events, and what is to be told there.
//
// What is to be told is exact: a row that says so is inserted in the transaction of its event. A cursor over the
// history would miss events, because ids are made before their transactions and commit in any order. A moment later
// the row is taken off the list, and in the same transaction each endpoint that was there gets a notice: written
// with the event, they would cost more than the event itself.
//
// Each batch has to know whether its accounts have endpoints, and most have none. A server keeps
// all endpoints in memory, with the number that webhook_version had when it read them. The batch reads that
// number, in the packet of its first SELECT, so that it costs no round trip; if it has changed, it reads the
// endpoints anew, all in its own transaction. Whoever makes, changes or removes an endpoint counts the number
// up in the transaction that does so. So an endpoint that was committed before a batch began is always seen,
// whichever server made it, and a server that knows the number knows the endpoints.
//
// On Galera a node applies what another has committed a moment later. There an endpoint counts for the events
// of a node from that moment on.
type Webhooks struct {
	// Text makes what is told of an event. It is set before anything happens, by whoever holds the keys; without it
	// nothing is given to endpoints.
	Text func(t *Telling, told otp.NoticeType, id otp.ID) Text

	store    *Store
	happened chan struct{}

	// The batches' own, guarded by Store.writing.
	known   map[string][]Endpoint // by account; without secrets
	version int64                 // that known was read at; -1: never
	seen    int64                 // by the batch that runs
}

func newWebhooks(s *Store) *Webhooks {
	return &Webhooks{store: s, happened: make(chan struct{}, 1), version: -1}
}

// Endpoint is where an account wants to be told of events.
type Endpoint struct {
	ID              otp.ID
	Account         string
	Environment     string // whose events it is told of; empty for all
	URL             string
	Events          []string // types of notices, or "*"
	Description     string
	Format          string
	SignatureHeader string
	Recipients      string // masked or full
	Secret          []byte // sealed
	OldSecret       []byte // sealed; nil for none
	OldUntil        otp.Millis
	Off             string     // why nothing is sent there; empty while it is on
	OffAt           otp.Millis // 0: on
	Version         int64      // counts changes by people
	CreatedAt       otp.Millis
	UpdatedAt       otp.Millis
	FailingSince    otp.Millis // 0: the last delivery succeeded, or there was none
	Owner           otp.ID     // the server that delivers there; zero for none
	LeasedUntil     otp.Millis
	Since           int64 // what webhook_version became by it; events that saw less are not told
}

var endpoints = table[Endpoint]{"webhook_endpoints", func(e *Endpoint) []column {
	return []column{
		{"id", &e.ID}, {"esme_address", &e.Account}, {"environment", &e.Environment},
		{"url", &e.URL}, {"events", &e.Events}, {"description", &e.Description}, {"format", &e.Format}, {"signature_header", &e.SignatureHeader},
		{"recipients", &e.Recipients}, {"secret", &e.Secret}, {"old_secret", &e.OldSecret},
		{"old_until", &e.OldUntil}, {"off", &e.Off}, {"off_at", &e.OffAt}, {"version", &e.Version},
		{"created_at", &e.CreatedAt}, {"updated_at", &e.UpdatedAt}, {"failing_since", &e.FailingSince},
		{"owner", &e.Owner}, {"leased_until", &e.LeasedUntil}, {"since", &e.Since},
	}
}}

// wants reports whether an endpoint asked for a type of notice of an environment. What belongs to none, such as a
// change of a key, is live. Checkpoints of the audit log are no events of an account, and go to those who name them.
func (e *Endpoint) wants(told otp.NoticeType, of string) bool {
	return (e.Environment == "" || e.Environment == cmp.Or(of, string(otp.Live))) &&
		(slices.Contains(e.Events, string(told)) || told != otp.NoticeCheckpoint && slices.Contains(e.Events, "*"))
}

// ByID reads an account's endpoint; ErrNotFound for none.
func (w *Webhooks) ByID(ctx context.Context, account string, id otp.ID) (Endpoint, error) {
	return endpoints.one(ctx, w.store, `id = ? AND esme_address = ?`, id[:], account)
}

// AccountOf reads whose an endpoint is; ErrNotFound for none.
func (w *Webhooks) AccountOf(ctx context.Context, id otp.ID) (string, error) {
	e, err := endpoints.one(ctx, w.store, `id = ?`, id[:])
	return e.Account, err
}

// Mine reads an endpoint that is on and owner's at now; ErrNotFound for any other.
func (w *Webhooks) Mine(ctx context.Context, id, owner otp.ID, now otp.Millis) (Endpoint, error) {
	return endpoints.one(ctx, w.store, `id = ? AND off_at IS NULL AND owner = ? AND leased_until > ?`, id[:], owner[:],
		int64(now))
}

// List reads accounts' endpoints, in the order in which they came.
func (w *Webhooks) List(ctx context.Context, accounts ...string) ([]Endpoint, error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	list, args := in(accounts, func(a string) any { return a })
	return endpoints.find(ctx, w.store, `esme_address IN `+list+` ORDER BY id`, args...)
}

// Count counts an account's endpoints, and keeps others from changing how many there are until tx ends.
func (w *Webhooks) Count(tx *Tx, account string) (int, error) {
	if err := tx.countEndpoints(); err != nil {
		return 0, err
	}
	all, err := endpoints.lock(tx.ctx, tx, `esme_address = ?`, account)
	return len(all), err
}

// Insert adds an endpoint. It is told of every event whose transaction begins after tx has committed.
func (w *Webhooks) Insert(tx *Tx, e Endpoint) error {
	if err := tx.countEndpoints(); err != nil {
		return err
	}
	if err := tx.query(tx.ctx, w.versionLookup().text, nil, func(found row) error {
		r := reader{row: found}
		e.Since = r.number()
		return r.err
	}); err != nil {
		return err
	}
	return endpoints.insert(tx.ctx, tx, &e)
}

// Lock reads an account's endpoint in a transaction that is going to decide on it; false for none.
func (w *Webhooks) Lock(tx *Tx, account string, id otp.ID) (Endpoint, bool, error) {
	return first(endpoints.lock(tx.ctx, tx, `id = ? AND esme_address = ?`, id[:], account))
}

// Update writes what people and outcomes change of an endpoint, if the row still has e's version, which it
// raises by one. What happened before is told as the endpoint was.
func (w *Webhooks) Update(tx *Tx, e Endpoint) (bool, error) {
	if err := tx.countEndpoints(); err != nil {
		return false, err
	}
	if err := w.settle(tx, e.UpdatedAt); err != nil {
		return false, err
	}
	return tx.changed(`
		UPDATE webhook_endpoints
		SET url = ?, events = ?, description = ?, format = ?, signature_header = ?, recipients = ?, secret = ?,
			old_secret = ?, old_until = ?, off = ?, off_at = ?, failing_since = ?, updated_at = ?, version = version + 1
		WHERE id = ? AND version = ?`,
		e.URL, column{"events", &e.Events}.value(), e.Description, e.Format, e.SignatureHeader, e.Recipients, e.Secret,
		nullable(e.OldSecret), moment(e.OldUntil), e.Off, moment(e.OffAt), moment(e.FailingSince), int64(e.UpdatedAt),
		e.ID[:], e.Version)
}

// Delete removes an account's endpoint. What was to be told there is swept later.
func (w *Webhooks) Delete(tx *Tx, account string, id otp.ID, version int64) (bool, error) {
	if err := tx.countEndpoints(); err != nil {
		return false, err
	}
	return tx.changed(`DELETE FROM webhook_endpoints WHERE id = ? AND esme_address = ? AND version = ?`, id[:], account,
		version)
}

// countEndpoints notes that the endpoints change. It locks, so that two who change them go one after the other.
func (tx *Tx) countEndpoints() error {
	return tx.exec(tx.ctx, `UPDATE webhook_version SET version = version + 1 WHERE id = 1`)
}

// versionLookup reads the version of the endpoints, which changes with every change of one.
func (w *Webhooks) versionLookup() lookup {
	return lookup{`SELECT version FROM webhook_version WHERE id = 1`, nil, func(found row) error {
		r := reader{row: found}
		w.seen = r.number()
		return r.err
	}}
}

// refresh reads the endpoints inside a batch that has seen another version.
func (w *Webhooks) refresh(ctx context.Context, in *session) error {
	if w.seen == w.version {
		return nil
	}
	known, err := readEndpoints(ctx, in)
	if err == nil {
		w.known, w.version = known, w.seen
	}
	return err
}

// readEndpoints reads what decides who is told, by account.
func readEndpoints(ctx context.Context, in *session) (map[string][]Endpoint, error) {
	known := map[string][]Endpoint{}
	return known, in.query(ctx, `SELECT id, esme_address, environment, events, off, since FROM webhook_endpoints ORDER BY id`,
		nil, func(found row) error {
			var e Endpoint
			for i, field := range []column{{"id", &e.ID}, {"esme_address", &e.Account}, {"environment", &e.Environment},
				{"events", &e.Events}, {"off", &e.Off}, {"since", &e.Since}} {
				if err := field.Scan(found[i]); err != nil {
					return err
				}
			}
			known[e.Account] = append(known[e.Account], e)
			return nil
		})
}

// Claim makes endpoints owner's until a moment, those of them that are on and nobody else's at now, and
// returns which.
func (w *Webhooks) Claim(owner otp.ID, ids []otp.ID, now, until otp.Millis) (claimed []otp.ID, err error) {
	matched := make([]int64, len(ids))
	err = w.store.aside(func(writes *script) {
		for i := range ids {
			writes.count(&matched[i], `
				UPDATE webhook_endpoints
				SET owner = ?, leased_until = ?
				WHERE id = ? AND off_at IS NULL AND (owner = ? OR leased_until IS NULL OR leased_until <= ?)`,
				owner[:], int64(until), ids[i][:], owner[:], int64(now))
		}
	})
	for i, n := range matched {
		if n == 1 {
			claimed = append(claimed, ids[i])
		}
	}
	return claimed, err
}

// Release gives owner's endpoints up.
func (w *Webhooks) Release(owner otp.ID) error {
	return w.store.aside(func(writes *script) {
		writes.count(nil, `UPDATE webhook_endpoints SET leased_until = NULL WHERE owner = ?`, owner[:])
	})
}

// SetFailing notes since when deliveries to an endpoint fail, 0 that they do not.
func (w *Webhooks) SetFailing(id otp.ID, since otp.Millis) error {
	return w.store.aside(func(writes *script) {
		where := ` WHERE id = ?`
		if since != 0 {
			where += ` AND failing_since IS NULL`
		}
		writes.count(nil, `UPDATE webhook_endpoints SET failing_since = ?`+where, moment(since), id[:])
	})
}

// aside has writes made along with the next batch, in its transaction. They must come to the same when they
// are made twice: after a COMMIT that was not answered nothing reports whether it happened.
func (s *Store) aside(write func(*script)) error {
	return s.Do(&Operation{aside: write, Rank: Settling})
}
