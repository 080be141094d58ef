package webhook

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Query selects a page of endpoints. Empty members match all.
type Query struct {
	Accounts []string // nil: all
	State    string   // one of EndpointStates
	Search   string   // a part of the URL, in any case
	Sort     string   // one of EndpointSorts; empty: the oldest first
	After    string   // the cursor of the last endpoint of the page before
	Limit    int
}

// EndpointStates returns the states of endpoints. One is failing while its last delivery failed.
func EndpointStates() []string { return []string{"on", "failing", "off"} }

// EndpointSorts returns the orders of endpoints. A minus is for the reverse order.
func EndpointSorts() []string { return []string{"created", "-created", "account", "-account"} }

// DeliverySorts returns the orders of deliveries: the newest first, or the oldest.
func DeliverySorts() []string { return []string{"-at", "at"} }

// Check refuses what no page can be selected by. Refusal: Invalid, which names the field.
func (q *Query) Check() error {
	switch {
	case q.Sort != "" && !slices.Contains(EndpointSorts(), q.Sort):
		return otp.RefuseField("sort", "must be one of "+strings.Join(EndpointSorts(), ", "))
	case q.State != "" && !slices.Contains(EndpointStates(), q.State):
		return otp.RefuseField("state", "must be one of "+strings.Join(EndpointStates(), ", "))
	}
	return nil
}

// order returns what to sort by, and whether backward.
func (q *Query) order() (by string, backward bool) {
	return strings.CutPrefix(cmp.Or(q.Sort, "created"), "-")
}

// Cursor returns the cursor of an endpoint: its place in the order of q.
func (q *Query) Cursor(e Endpoint) string {
	if by, _ := q.order(); by == "account" {
		return e.ID + " " + e.Account
	}
	return e.ID
}

// Page returns the endpoints that a query selects. Refusals: those of Check, and Invalid for a text that is no cursor.
func (w *Webhooks) Page(ctx context.Context, q Query) ([]Endpoint, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	by, backward := q.order()
	part := sql.EndpointQuery{Accounts: q.Accounts, State: q.State, Search: strings.ToLower(q.Search),
		ByAccount: by == "account", Backward: backward, Limit: q.Limit}
	if q.After != "" {
		id, account, sorted := strings.Cut(q.After, " ")
		var ok bool
		if part.After.ID, ok = otp.ParseID(EndpointPrefix, id); !ok || sorted != part.ByAccount {
			return nil, otp.RefuseField("cursor", "must be the next_cursor of an answer of this list in the same order")
		}
		part.After.Account = account
	}
	found, err := w.Store.Webhooks.Page(ctx, part)
	all := make([]Endpoint, len(found))
	for i := range found {
		all[i] = shown(&found[i], "")
	}
	return all, err
}
