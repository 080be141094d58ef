package admin

import (
	"net/http"
	"strconv"

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

// page is one page of a list.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null: this is the last page
	HasMore    bool    `json:"has_more"`
}

// paged answers with the requested page of a short list. The list is in the order of its ids, so that a cursor stays
// valid when elements are added or removed. isID reports whether a text can be the id of an element.
func paged[T any](x *exchange, all []T, id func(T) string, isID func(string) bool) (answer, error) {
	query := web.ReadQuery(x.gin, limitParameter, cursorParameter)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	after, given := query.Given(cursorParameter)
	if given && !isID(after) {
		query.Fault(cursorParameter, notCursor)
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	shown := page[T]{Data: []T{}}
	for _, each := range all {
		if id(each) <= after {
			continue
		}
		if len(shown.Data) == limit {
			shown.NextCursor, shown.HasMore = x.next(limit, id(shown.Data[limit-1])), true
			break
		}
		shown.Data = append(shown.Data, each)
	}
	return answer{http.StatusOK, shown}, nil
}

// pageOf answers with the first of what was found, as many as limit, which is one more if there is another page.
func pageOf[R, T any](x *exchange, found []R, limit int, show func(R) T, cursor func(R) string) answer {
	shown := page[T]{Data: []T{}}
	for _, each := range found[:min(len(found), limit)] {
		shown.Data = append(shown.Data, show(each))
	}
	if len(found) > limit {
		shown.NextCursor, shown.HasMore = x.next(limit, cursor(found[limit-1])), true
	}
	return answer{http.StatusOK, shown}
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

// next returns the cursor of the next page, and sets the Link header (RFC 8288).
func (x *exchange) next(limit int, last string) *string {
	query := x.gin.Request.URL.Query()
	query.Set(limitParameter, strconv.Itoa(limit))
	query.Set(cursorParameter, last)
	x.gin.Header("Link", "<"+x.gin.Request.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	return &last
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
