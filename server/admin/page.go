package admin

import (
	"net/http"
	"slices"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// The parameters of every list, for route.parameters.
const (
	limitParameter  = "limit"  // the size of the page, 1 to 100
	cursorParameter = "cursor" // the next_cursor of the previous page
)

// The parameters of lists that can be sorted and searched.
const (
	sortParameter   = "sort"
	searchParameter = "search"
	stateParameter  = "state"
)

// usualPage is the size of a page by default.
const usualPage = 50

// paged answers with the requested page of a short list. The list is in the order of its ids, so that a cursor stays
// valid when elements are added or removed. isID reports whether a text can be the id of an element.
func paged[T, S any](x *exchange, all []T, show func(T) S, id func(T) string, isID func(string) bool) (answer, error) {
	query := web.ReadQuery(x.gin, limitParameter, cursorParameter)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	after, given := query.Given(cursorParameter)
	if given && !isID(after) {
		query.Fault(cursorParameter, notCursor)
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	rest := slices.DeleteFunc(all, func(each T) bool { return id(each) <= after })
	return answer{http.StatusOK, web.PageOf(x.gin, rest, limit, show, id)}, nil
}

// cursorID returns the id in the cursor parameter; zero if there is none.
func cursorID(query *web.Query, prefix string) otp.ID {
	cursor, given := query.Given(cursorParameter)
	id, ok := otp.ParseID(prefix, cursor)
	if given && !ok {
		query.Fault(cursorParameter, notCursor)
	}
	return id
}

const notCursor = "must be the next_cursor of an answer of this list"

// idOf returns a function that reports whether a text is an id with this prefix, as answers have it.
func idOf(prefix string) func(string) bool {
	return func(text string) bool {
		id, ok := otp.ParseID(prefix, text)
		return ok && id.Text(prefix) == text
	}
}

// seeAccount refuses an account that the caller does not see or that does not exist. Calls about data of deleted
// accounts, such as the audit log, do not use it. Refusal: NotFound.
func (x *exchange) seeAccount(account string) error {
	if err := x.who.See(account); err != nil {
		return err
	}
	_, err := x.door.Manage.Accounts.Find(x.ctx, account)
	return err
}

// ownEnvironment returns the environment of a search: the asked one, and for an API key its own, since keys see nothing
// of another one. Call it before the query's faults are read.
func (x *exchange) ownEnvironment(query *web.Query, asked otp.Environment) otp.Environment {
	if x.apiKey == nil {
		return asked
	}
	if asked != "" && asked != x.apiKey.Environment {
		query.Fault("environment", "is not that of the key; leave it out")
	}
	return x.apiKey.Environment
}

// oneAccount returns the account of a search, "" for all. A caller who sees several accounts but not all must name
// one. Call it last: it also returns the query's faults.
func (x *exchange) oneAccount(query *web.Query) (string, error) {
	account := query.Text("account")
	switch seen := x.who.Grant.Accounts; {
	case account != "" || seen == nil:
	case len(seen) == 1:
		account = seen[0]
	default:
		query.Fault("account", "must name one of your accounts, because you do not see all")
	}
	if err := query.Err(); err != nil {
		return "", err
	}
	if account == "" {
		return "", nil
	}
	return account, x.who.See(account)
}
