package sql

import (
	"cmp"
	"context"
	"slices"

	"otpbridge/server/otp"
)

// Webhooks stores the endpoints of accounts and the notices for them.
//
// Notices are exact: a row for each is inserted in the transaction of its event. A cursor over the history would miss
// events, because ids are made before their transactions and commit in any order. A moment later the row is removed,
// and in the same transaction each endpoint that existed gets a notice: written with the event, the notices would cost
// more than the event itself.
//
// Each batch must know whether its accounts have endpoints, and most have none. A server keeps all endpoints in
// memory, with the number in webhook_version when it read them. Each batch reads that number in the packet of its
// first SELECT, without an additional round trip. If the number has changed, the batch reads the endpoints again, in
// its own transaction. Every change of the endpoints increases the number in its transaction. So a batch always sees
// an endpoint that was committed before the batch began, whichever server made it, and a server that knows the number
// knows the endpoints.
//
// On Galera a node applies another's commits a moment later. There an endpoint counts for the events of a node from
// then on.
type Webhooks struct {
	// Text makes the text of a notice. It is set before the store is used, by the holder of the keys; without it no
	// notices are made.
	Text func(t *Telling, told otp.NoticeType, id otp.ID) Text

	store    *Store
	happened chan struct{}

	// Used by batches, guarded by Store.writing.
	known   map[string][]Endpoint // by account; without secrets
	version int64                 // when known was read; -1: never
	seen    int64                 // by the batch in progress
}

func newWebhooks(s *Store) *Webhooks {
	return &Webhooks{store: s, happened: make(chan struct{}, 1), version: -1}
}

// Endpoint is where an account wants to be told about events.
type Endpoint struct {
	ID              otp.ID
	Account         string
	Environment     string // whose events it gets; empty for all
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
	Since           int64 // its value of webhook_version; events that saw a lower one are not sent to it
}

var endpoints = table[Endpoint]{"webhook_endpoints", func(e *Endpoint) []column {
	return []column{
		{"id", &e.ID}, {"esme_address", &e.Account}, {"environment", &e.Environment},
		{"url", &e.URL}, {"events", &e.Events}, {"description", &e.Description}, {"format", &e.Format},
		{"signature_header", &e.SignatureHeader},
		{"recipients", &e.Recipients}, {"secret", &e.Secret}, {"old_secret", &e.OldSecret},
		{"old_until", &e.OldUntil}, {"off", &e.Off}, {"off_at", &e.OffAt}, {"version", &e.Version},
		{"created_at", &e.CreatedAt}, {"updated_at", &e.UpdatedAt}, {"failing_since", &e.FailingSince},
		{"owner", &e.Owner}, {"leased_until", &e.LeasedUntil}, {"since", &e.Since},
	}
}}

// wants reports whether an endpoint subscribes to a type of notice in an environment. Notices without an environment,
// such as an alert, count as live. Checkpoints of the audit log only go to endpoints that name them.
func (e *Endpoint) wants(told otp.NoticeType, of string) bool {
	return (e.Environment == "" || e.Environment == cmp.Or(of, string(otp.Live))) &&
		(slices.Contains(e.Events, string(told)) || told != otp.NoticeCheckpoint && slices.Contains(e.Events, "*"))
}

// ByID reads an account's endpoint; ErrNotFound if there is none.
func (w *Webhooks) ByID(ctx context.Context, account string, id otp.ID) (Endpoint, error) {
	return endpoints.one(ctx, w.store, `id = ? AND esme_address = ?`, id[:], account)
}

// AccountOf returns the account of an endpoint; ErrNotFound if there is none.
func (w *Webhooks) AccountOf(ctx context.Context, id otp.ID) (string, error) {
	e, err := endpoints.one(ctx, w.store, `id = ?`, id[:])
	return e.Account, err
}

// List reads accounts' endpoints, oldest first.
func (w *Webhooks) List(ctx context.Context, accounts ...string) ([]Endpoint, error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	list, args := in(accounts, func(a string) any { return a })
	return endpoints.find(ctx, w.store, `esme_address IN `+list+` ORDER BY id`, args...)
}

// Count counts an account's endpoints, and prevents others from changing their number until tx ends.
func (w *Webhooks) Count(tx *Tx, account string) (int, error) {
	if err := tx.countEndpoints(); err != nil {
		return 0, err
	}
	all, err := endpoints.lock(tx.ctx, tx, `esme_address = ?`, account)
	return len(all), err
}

// Insert adds an endpoint. It gets every event whose transaction begins after tx has committed.
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

// Lock reads an account's endpoint in a transaction that will decide on it; false if there is none.
func (w *Webhooks) Lock(tx *Tx, account string, id otp.ID) (Endpoint, bool, error) {
	return first(endpoints.lock(tx.ctx, tx, `id = ? AND esme_address = ?`, id[:], account))
}

// Update writes an endpoint's columns that people and outcomes change, if the row still has e's version, and raises
// the version by one. Earlier events are delivered under the old settings.
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

// Delete removes an account's endpoint. Its notices are swept later.
func (w *Webhooks) Delete(tx *Tx, account string, id otp.ID, version int64) (bool, error) {
	if err := tx.countEndpoints(); err != nil {
		return false, err
	}
	return tx.changed(`DELETE FROM webhook_endpoints WHERE id = ? AND esme_address = ? AND version = ?`, id[:], account,
		version)
}

// countEndpoints records that the endpoints change. Its lock makes concurrent changes run one after the other.
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

// refresh reads the endpoints again inside a batch that has seen another version.
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

// readEndpoints reads the columns that decide who is told, by account.
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

// SetFailing records since when deliveries to an endpoint fail; 0: they do not.
func (w *Webhooks) SetFailing(id otp.ID, since otp.Millis) error {
	return w.store.aside(func(writes *script) {
		where := ` WHERE id = ?`
		if since != 0 {
			where += ` AND failing_since IS NULL`
		}
		writes.count(nil, `UPDATE webhook_endpoints SET failing_since = ?`+where, moment(since), id[:])
	})
}

// aside adds writes to the next batch, in its transaction. Doing them twice must have the same effect: after a COMMIT
// that was not answered nothing shows whether it happened.
func (s *Store) aside(write func(*script)) error {
	return s.Do(&Operation{aside: write, Rank: Settling})
}

// EndpointQuery selects a page of endpoints in the order in which they were made, or by account and then so. Empty
// members match all.
type EndpointQuery struct {
	Accounts  []string // nil: all
	State     string   // a key of endpointStates
	Search    string   // a part of the URL, in lower case
	ByAccount bool
	Backward  bool
	After     EndpointPlace // the place of the last endpoint of the page before; zero for the first page
	Limit     int
}

// EndpointPlace is an endpoint's place in a list.
type EndpointPlace struct {
	ID      otp.ID
	Account string // used in the order of accounts
}

// endpointStates are the conditions of an endpoint's states; exactly one is true.
var endpointStates = map[string]string{
	"on":      `off = '' AND failing_since IS NULL`,
	"failing": `off = '' AND failing_since IS NOT NULL`,
	"off":     `off <> ''`,
}

// where returns the condition and the order of the rows that q selects.
func (q *EndpointQuery) where() (string, []any) {
	where, args := among(q.Accounts)
	if q.State != "" {
		where += ` AND ` + endpointStates[q.State]
	}
	if q.Search != "" {
		where, args = where+` AND INSTR(LOWER(url), ?) > 0`, append(args, q.Search)
	}
	beyond, direction := `>`, ``
	if q.Backward {
		beyond, direction = `<`, ` DESC`
	}
	order := `id` + direction
	if q.ByAccount {
		order = `esme_address` + direction + `, ` + order
	}
	switch id := q.After.ID[:]; {
	case q.After.ID.IsZero():
	case q.ByAccount: // the first condition is for the index
		where += ` AND esme_address ` + beyond + `= ? AND (esme_address ` + beyond + ` ? OR id ` + beyond + ` ?)`
		args = append(args, q.After.Account, q.After.Account, id)
	default:
		where, args = where+` AND id `+beyond+` ?`, append(args, id)
	}
	return where + ` ORDER BY ` + order + ` LIMIT ?`, append(args, q.Limit)
}

// Page reads the page that a query selects. Both orders have an index.
func (w *Webhooks) Page(ctx context.Context, q EndpointQuery) ([]Endpoint, error) {
	where, args := q.where()
	return endpoints.find(ctx, w.store, where, args...)
}
