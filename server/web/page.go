package web

import (
	"strconv"

	"github.com/gin-gonic/gin"
)

// Page is one page of a list.
type Page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null: this is the last page
	HasMore    bool    `json:"has_more"`
}

// NewPage returns a page with data. If it is not the last one, next is the cursor of the next page, and the answer gets
// the Link header of RFC 8288.
func NewPage[T any](c *gin.Context, data []T, limit int, next string) Page[T] {
	page := Page[T]{Data: append([]T{}, data...)} // in JSON an empty page is [] and not null
	if next == "" {
		return page
	}
	page.NextCursor, page.HasMore = &next, true
	query := c.Request.URL.Query()
	query.Set("limit", strconv.Itoa(limit))
	query.Set("cursor", next)
	c.Header("Link", "<"+c.Request.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	return page
}

// PageOf returns the first of what was found, as many as limit, which is one more if there is another page. show
// returns an element as the answer has it, and cursor its place in the list.
func PageOf[R, T any](c *gin.Context, found []R, limit int, show func(R) T, cursor func(R) string) Page[T] {
	next := ""
	if len(found) > limit {
		found, next = found[:limit], cursor(found[limit-1])
	}
	data := make([]T, len(found))
	for i, each := range found {
		data[i] = show(each)
	}
	return NewPage(c, data, limit, next)
}

// AsIs is the show of elements that an answer has as they were found.
func AsIs[T any](each T) T { return each }
