package v1

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"otpbridge/server/web"
)

// readers read the bodies of the calls as far as the door checks them.
var readers = map[string]func(body []byte) error{
	"/v1/send": func(body []byte) error {
		var asked sendRequest
		if err := web.Decode(body, &asked); err != nil {
			return err
		}
		return asked.check()
	},
	"/v1/verify": func(body []byte) error {
		var asked verifyRequest
		if err := web.Decode(body, &asked); err != nil {
			return err
		}
		_, err := asked.check()
		return err
	},
}

// Every body that the door accepts is allowed by the document.
func FuzzRequests(f *testing.F) {
	for path, body := range valid {
		if readers[path] != nil {
			f.Add(path == "/v1/send", []byte(body))
		}
	}
	for i, m := range append(generated(f), byHand()...) {
		if readers[m.path] != nil && i%7 == 0 && len(m.body) < 2000 {
			f.Add(m.path == "/v1/send", []byte(m.body))
		}
	}
	document := openapi(f)
	f.Fuzz(func(t *testing.T, send bool, body []byte) {
		path := "/v1/verify"
		if send {
			path = "/v1/send"
		}
		if readers[path](body) != nil {
			return
		}
		var value any
		if json.Unmarshal(body, &value) != nil {
			return // a number in free JSON beyond Go's range, which the engine refuses
		}
		schema := document.Paths.Value(path).Post.RequestBody.Value.Content["application/json"].Schema.Value
		require.NoError(t, schema.VisitJSON(value, openapi3.EnableJSONSchema2020()), "%s", body)
	})
}

// A request has one credential or none, and never panics; a returned credential is one that was sent.
func FuzzCredential(f *testing.F) {
	f.Add("Bearer a", "", "")
	f.Add("Bearer a", "a", "a")
	f.Add("bearer  a", "b", "")
	f.Add("Basic eDp5", "", " key ")
	f.Add("Bearer", "\x00", "ключ")
	f.Fuzz(func(t *testing.T, authorization, apiKey, accessKey string) {
		header := http.Header{"Authorization": {authorization}, "X-Api-Key": {apiKey}, "Access_key": {accessKey}}
		for name, values := range header {
			if values[0] == "" {
				header.Del(name)
				delete(header, name)
			}
		}
		secret, err := credential(header)
		if err != nil {
			require.Empty(t, secret)
			return
		}
		require.True(t, web.Printable(secret))
		require.Contains(t, authorization+"\n"+apiKey+"\n"+accessKey, secret)
	})
}
