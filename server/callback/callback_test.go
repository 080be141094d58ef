package callback

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFields_AreReadFromQueryFormAndJSON(t *testing.T) {
	query := url.Values{"id": {"q"}, "only": {"query"}}
	for _, row := range []struct{ kind, body, id, status string }{
		{"", "", "q", ""},
		{"application/x-www-form-urlencoded", "id=f&status=DELIVRD", "f", "DELIVRD"},
		{"application/json; charset=utf-8", `{"id":"j","status":"ok","more":{"id":"inner"}}`, "j", "ok"},
		{"application/json", `{"id":12345,"status":true}`, "12345", "true"},
	} {
		found, err := fields(query, row.kind, []byte(row.body))
		require.NoError(t, err)
		require.Equal(t, row.id, found["id"])
		require.Equal(t, row.status, found["status"])
		require.Equal(t, "query", found["only"])
	}
	for _, body := range []string{`[]`, `{"id":`, `null x`} {
		_, err := fields(nil, "application/json", []byte(body))
		require.Error(t, err, body)
	}
}

// Whatever a stranger sends is read or refused, and never more than so many fields.
func FuzzFields(f *testing.F) {
	f.Add("id=1&status=x", "application/json", `{"id":"1"}`)
	f.Add("%zz", "application/x-www-form-urlencoded", "a=%")
	f.Add("", "text/plain;;", "\x00")
	f.Fuzz(func(t *testing.T, query, kind, body string) {
		values, _ := url.ParseQuery(query)
		found, err := fields(values, kind, []byte(body))
		require.True(t, err != nil || len(found) <= maxFields)
	})
}
