package admin

import (
	"net/http"
	"strconv"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// The parameters of every list, for route.parameters.
const (
	limitParameter  = "limit"  // how many to answer, 1 to 100
	cursorParameter = "cursor" // the next_cursor of the answer before
)

// usualPage is how many are answered where nobody says how many.
const usualPage = 50

// page is one part of a list.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null: this is the last part
	HasMore    bool    `json:"has_more"`
}

// paged answers the part of a short list that was asked for. All are in the order of their ids, so that a cursor
// stays good when others come and go.
func paged[T any](x *exchange, all []T, id func(T) string) (answer, error) {
	query := web.ReadQuery(x.gin, limitParameter, cursorParameter)
	limit, after := query.Number(limitParameter, usualPage, 1, 100), query.Text(cursorParameter)
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

// cursorID is the id that is the cursor, with its prefix; zero for none.
func cursorID(query *web.Query, prefix string) otp.ID {
	cursor, given := query.Given(cursorParameter)
	id, ok := otp.ParseID(prefix, cursor)
	if given && !ok {
		query.Fault(cursorParameter, "must be the next_cursor of an answer")
	}
	return id
}

// next returns the cursor of the next part, and links to it (RFC 8288).
func (x *exchange) next(limit int, last string) *string {
	query := x.gin.Request.URL.Query()
	query.Set(limitParameter, strconv.Itoa(limit))
	query.Set(cursorParameter, last)
	x.gin.Header("Link", "<"+x.gin.Request.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	return &last
}

// seeAccount refuses an account that is not among the caller's, and one that does not exist. What is kept of accounts
// that were deleted, such as the audit log, is asked for without it. Refusal: NotFound.
func (x *exchange) seeAccount(account string) error {
	if err := x.who.See(account); err != nil {
		return err
	}
	_, err := x.door.Manage.Accounts.Find(x.ctx, account)
	return err
}

// oneAccount is the account that a search is about, "" for all. Who sees single accounts must name one, unless there is
// only one. It ends the reading of the query.
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
