package sql

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"

	"otpbridge/server/otp"
)

// Privacy finds and erases the records about one person.
type Privacy struct{ store *Store }

// Subject is a person of an account, identified by keyed hashes.
type Subject struct {
	Account     string
	Environment otp.Environment
	User        otp.ID // of the user_id in metadata
	Recipient   otp.ID // of a number or mailbox; zero for none
}

// found is an event that leads to a challenge. An unlocking has no challenge and is found itself.
type found struct{ event, challenge otp.ID }

// finder is one way to find a subject's challenges by an index. It leaves out those that the earlier finders find.
type finder struct {
	where string
	args  []any
}

const (
	byUser      = `e.user_hash = ?`
	byRecipient = `e.recipient_hash = ? AND e.kind IN ('sent', 'unlocked')`
	byMailbox   = `e.mailbox_hash = ?`

	notByUser    = ` AND NOT EXISTS (SELECT 1 FROM events o WHERE o.challenge_id = e.challenge_id AND o.user_hash = ?)`
	notRecipient = ` AND e.recipient_hash <> ?`
	firstMail    = ` AND NOT EXISTS (
		SELECT 1 FROM events o
		WHERE o.challenge_id = e.challenge_id AND o.mailbox_hash = e.mailbox_hash AND o.id < e.id)`
)

func (s *Subject) finders() []finder {
	all := []finder{{byUser, []any{s.User[:]}}}
	if !s.Recipient.IsZero() {
		all = append(all, finder{byRecipient + notByUser, []any{s.Recipient[:], s.User[:]}},
			finder{byMailbox + notRecipient + firstMail + notByUser, []any{s.Recipient[:], s.Recipient[:], s.User[:]}})
	}
	return all
}

// next returns the statement that reads the finder's results between two events, oldest first.
func (f finder) next(after, before otp.ID, limit int) (text string, args []any) {
	return `
		SELECT e.id, e.challenge_id
		FROM events e
		WHERE ` + f.where + ` AND e.id > ? AND e.id < ?
		ORDER BY e.id
		LIMIT ?`, append(slices.Clone(f.args), after[:], before[:], limit)
}

// pageOf reads the next challenges of a finder, oldest first.
func (p *Privacy) pageOf(ctx context.Context, f finder, after, before otp.ID, limit int) (page []found, err error) {
	text, args := f.next(after, before, limit)
	err = p.store.each(ctx, "look for a person's history", text, args, func(rows *sql.Rows) error {
		var f found
		err := rows.Scan(idScan{&f.event}, idScan{&f.challenge})
		page = append(page, f)
		return err
	})
	return page, err
}

// The number of records read, or erased in one transaction: small enough that batches hardly wait for it.
const privacyChunk = 100

// Page is a part of the records about a subject: challenges, and events without one.
type Page struct{ Challenges, Loose []otp.ID }

// Each visits a subject's history in pages, limited to what began before a moment (0: no limit). Each page is read
// after the previous one was visited, so visit may erase it.
func (p *Privacy) Each(ctx context.Context, s Subject, before otp.Millis, visit func(Page) error) error {
	end := otp.ID(slices.Repeat([]byte{0xff}, len(otp.ID{})))
	if before != 0 {
		end = firstID(before)
	}
	for _, f := range s.finders() {
		for after := (otp.ID{}); ; {
			found, err := p.pageOf(ctx, f, after, end, privacyChunk)
			if err != nil || len(found) == 0 {
				if err != nil {
					return err
				}
				break
			}
			var page Page
			for _, one := range found {
				if one.challenge.IsZero() {
					page.Loose = append(page.Loose, one.event)
				} else {
					page.Challenges = append(page.Challenges, one.challenge)
				}
				after = one.event
			}
			if err := visit(page); err != nil {
				return err
			}
		}
	}
	return nil
}

// Unhashed is a send of an older server, which did not store the hashes.
type Unhashed struct {
	Event, Challenge otp.ID
	Account          string
	Environment      otp.Environment
	Mailbox          []byte // sealed; nil for none
	Metadata         []byte // the same
}

// EachUnhashed visits such sends, in bounded steps. A new database has none, and an old one none once they are too old
// to be kept.
func (p *Privacy) EachUnhashed(ctx context.Context, visit func(Unhashed) error) error {
	end, err := p.hashedFrom(ctx)
	if err != nil || end.IsZero() {
		return err
	}
	const step = 1000
	for after := (otp.ID{}); ; {
		looked, sends := 0, []Unhashed(nil)
		err := p.store.each(ctx, "look through the history", `
			SELECT id, challenge_id, esme_address, environment, mailbox, summary, user_hash IS NULL, mailbox_hash IS NULL
			FROM events
			WHERE id > ? AND id < ?
			ORDER BY id
			LIMIT ?`, []any{after[:], end[:], step}, func(rows *sql.Rows) error {
			var u Unhashed
			var summary []byte
			var noUser, noMailbox bool
			err := rows.Scan(idScan{&u.Event}, idScan{&u.Challenge}, &u.Account, &u.Environment, &u.Mailbox, &summary, &noUser,
				&noMailbox)
			kept, decoding := decodeSummary(summary)
			if err == nil {
				err = decoding
			}
			if kept != nil && noUser {
				u.Metadata = kept.Metadata
			}
			if !noMailbox {
				u.Mailbox = nil
			}
			if u.Metadata != nil || u.Mailbox != nil {
				sends = append(sends, u)
			}
			after = u.Event
			looked++
			return err
		})
		if err != nil {
			return err
		}
		for _, u := range sends {
			if err := visit(u); err != nil {
				return err
			}
		}
		if looked < step {
			return nil
		}
	}
}

// hashedFrom returns the event from which on every server stores the hashes, zero if all have from the start. An older
// server may have run beside this one for a day.
func (p *Privacy) hashedFrom(ctx context.Context) (otp.ID, error) {
	const migration = 64
	var begun, hashed int64
	at := `SELECT ` + p.store.dialect.migrated + ` FROM goose_db_version WHERE version_id = ? AND is_applied ORDER BY id DESC LIMIT 1`
	err := p.store.reads.GetContext(ctx, &begun, at, 1)
	if err == nil {
		err = p.store.reads.GetContext(ctx, &hashed, at, migration)
	}
	if err != nil {
		return otp.ID{}, fmt.Errorf("read when the schema was changed: %w", err)
	}
	if hashed-begun < 60 {
		return otp.ID{}, nil
	}
	return firstID(otp.Millis(hashed)*otp.Second + otp.Day), nil
}

// Trace is one event of a subject's history, with its recipient.
type Trace struct {
	otp.Event
	Sealed []byte // the recipient; nil if it is gone
	Row    otp.ID // the id of its row
}

// Traces reads all events of a page, oldest first: those with a challenge, then the others.
func (p *Privacy) Traces(ctx context.Context, page Page) (all []Trace, err error) {
	for _, part := range page.parts() {
		if all, err = p.traces(ctx, part, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p *Privacy) traces(ctx context.Context, part pagePart, all []Trace) ([]Trace, error) {
	text, args := part.traces()
	err := p.store.each(ctx, "read a person's history", text, args, func(rows *sql.Rows) error {
		var t Trace
		var summary, row []byte
		err := rows.Scan(idScan{&t.ID}, &t.At, &t.Account, &t.Environment, &t.Kind, &t.Door, idScan{&t.Recipient},
			idScan{&t.Challenge}, &t.Send, &t.Channels, &t.Mailbox, &t.Remaining, &summary, &row, &t.Sealed)
		if err == nil {
			t.Summary, err = decodeSummary(summary)
		}
		copy(t.Row[:], row)
		all = append(all, t)
		return err
	})
	return all, err
}

// pagePart is a column of events with a page's values in it.
type pagePart struct {
	column string
	ids    []otp.ID
}

// traces returns the statement that reads the events of a part, oldest first.
func (part *pagePart) traces() (text string, args []any) {
	list, args := in(part.ids, idArg)
	return `
		SELECT e.id, e.at, e.esme_address, e.environment, e.kind, e.door, e.recipient_hash, e.challenge_id, e.send,
			e.channels, e.mailbox, e.remaining, e.summary, r.id, r.sealed
		FROM events e
		LEFT JOIN recipients r ON r.hash = e.recipient_hash AND r.mask <> ''
		WHERE e.` + part.column + ` IN ` + list + `
		ORDER BY e.id`, args
}

func (p Page) parts() (parts []pagePart) {
	if len(p.Challenges) > 0 {
		parts = append(parts, pagePart{"challenge_id", p.Challenges})
	}
	if len(p.Loose) > 0 {
		parts = append(parts, pagePart{"id", p.Loose})
	}
	return parts
}

// Tale is a webhook message about a subject, sent or not.
type Tale struct {
	At    otp.Millis
	Type  string
	State string
	Host  string // of the endpoint's URL
}

// told returns the statement that reads the webhook messages about a page's challenges.
func (p Page) told() (text string, args []any) {
	list, challenges := in(p.Challenges, idArg)
	return `
		SELECT d.at, d.type, d.state, COALESCE(e.url, '')
		FROM webhook_deliveries d
		LEFT JOIN webhook_endpoints e ON e.id = d.endpoint_id
		WHERE d.recipient_hash IN (SELECT recipient_hash FROM events WHERE challenge_id IN ` + list + `)
			AND d.challenge_id IN ` + list + `
		ORDER BY d.id`, append(challenges, challenges...)
}

// Told reads the webhook messages about a page's challenges.
func (p *Privacy) Told(ctx context.Context, page Page) (all []Tale, err error) {
	if len(page.Challenges) == 0 {
		return nil, nil
	}
	text, args := page.told()
	err = p.store.each(ctx, "read what webhooks were told", text, args, func(rows *sql.Rows) error {
		var t Tale
		var target string
		err := rows.Scan(&t.At, &t.Type, &t.State, &target)
		if parsed, wrong := url.Parse(target); wrong == nil {
			t.Host = parsed.Hostname()
		}
		all = append(all, t)
		return err
	})
	return all, err
}

// classes finds the first record of each class of data about people, using an index: an id, which contains its time,
// or the time.
var classes = map[string]struct {
	query string
	isID  bool
}{
	"history":    {`SELECT MIN(id) FROM events`, true},
	"recipients": {`SELECT MIN(id) FROM recipients`, true},
	"challenges": {`SELECT MIN(id) FROM challenges`, true},
	"deliveries": {`SELECT MIN(id) FROM deliveries`, true},
	"webhook_deliveries": {`
		SELECT MIN(first)
		FROM (SELECT (SELECT MIN(d.id) FROM webhook_deliveries d WHERE d.endpoint_id = e.id) AS first
			FROM webhook_endpoints e) f`, true},
	"stored_answers":  {`SELECT MIN(created_at) FROM idempotency_keys`, false},
	"test_recipients": {`SELECT MIN(created_at) FROM test_recipients`, false},
	"audit_changes":   {`SELECT MIN(id) FROM changes`, true},
	"audit_calls":     {`SELECT MIN(sealed_at) FROM audit_pages WHERE calls IS NOT NULL`, false},
	"calls":           {`SELECT MIN(hour) FROM calls`, false},
	"alerts":          {`SELECT MIN(id) FROM alerts`, true},
	"people":          {`SELECT MIN(id) FROM persons`, true},
}

// Oldest returns the time of the oldest record of a class, 0 for none. For recipients it is when the recipient was
// first known.
func (p *Privacy) Oldest(ctx context.Context, class string) (otp.Millis, error) {
	look, known := classes[class]
	if !known {
		panic("sql: nothing is kept as " + class)
	}
	var id []byte
	var at *int64
	target := any(&at)
	if look.isID {
		target = &id
	}
	if err := p.store.reads.QueryRowContext(ctx, look.query).Scan(target); err != nil {
		return 0, fmt.Errorf("look for the oldest of %s: %w", class, err)
	}
	switch {
	case len(id) == len(otp.ID{}):
		return idTime(otp.ID(id)), nil
	case at != nil:
		return otp.Millis(*at), nil
	}
	return 0, nil
}

// Exports counts the changes of a kind by account.
func (p *Privacy) Exports(ctx context.Context, kind string) (map[string]int, error) {
	return p.store.counts(ctx, "count exports",
		`SELECT esme_address, COUNT(*) FROM changes WHERE kind = ? GROUP BY esme_address`, kind)
}
