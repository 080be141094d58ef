package sql

import (
	"context"

	"otpbridge/server/otp"
)

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
