package console

import (
	"maps"
	"net/url"
)

// list is what a page's URL says of its list: a filter, an order and a place. So a list can be sent to a colleague.
type list struct {
	page   string // its path, after Path
	filter url.Values
	Cursor string // where the shown part begins; empty for the beginning
	Sort   string // one of Orders; empty for the usual one
	Orders []order
	First  string // the URL of the list's beginning; empty if that is shown
	Next   string // the URL of the next part; empty on the last
}

// order is one order to choose.
type order struct {
	Sort  string // as the API writes it; empty for the usual order
	Title string
}

// list returns what the URL says of the list on a page. filters are the names of its parameters. A page that answers a
// form shows the list's beginning, without a filter.
func (x *exchange) list(page string, filters []string, orders ...order) list {
	l := list{page: page, filter: url.Values{}, Cursor: x.query("cursor"), Sort: x.query("sort"), Orders: orders}
	for _, name := range filters {
		if value := x.query(name); value != "" {
			l.filter.Set(name, value)
		}
	}
	if l.Cursor != "" {
		l.First = l.at("")
	}
	return l
}

// at returns the URL of the same list from a place on.
func (l list) at(cursor string) string {
	values := maps.Clone(l.filter)
	for name, value := range map[string]string{"sort": l.Sort, "cursor": cursor} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return Path + l.page
	}
	return Path + l.page + "?" + values.Encode()
}

// Filtered reports whether the list can lack something that exists.
func (l list) Filtered() bool { return l.Cursor != "" || len(l.filter) > 0 }

// part returns the elements to show of those that were found, which are one more if there is a next part. cursor
// returns an element's place in the list.
func part[T any](l *list, found []T, shown int, cursor func(T) string) []T {
	if len(found) <= shown {
		return found
	}
	l.Next = l.at(cursor(found[shown-1]))
	return found[:shown]
}
