package admin

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// document returns the OpenAPI document of the JSON doors, read once.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromFile("../v1/openapi.yaml")
})

func openapi(t testing.TB) *openapi3.T {
	t.Helper()
	d, err := document()
	require.NoError(t, err)
	return d
}

// documented finds a request's operation, made once for all tests.
func init() {
	openapi3filter.RegisterBodyDecoder("application/jsonl", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.FileBodyDecoder)
}

var documented = sync.OnceValues(func() (routers.Router, error) {
	d, err := document()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(d)
})

// judge checks an exchange against the document: a successful request is as the document says, and every answer is one
// that the document has for the call.
func judge(r *http.Request, body string, answer *httptest.ResponseRecorder) error {
	routes, err := documented()
	if err != nil {
		return err
	}
	asked := r.Clone(context.Background())
	asked.Body = io.NopCloser(strings.NewReader(body))
	route, parameters, err := routes.FindRoute(asked)
	if err != nil {
		if answer.Code == http.StatusNotFound || answer.Code == http.StatusMethodNotAllowed {
			return nil
		}
		return err
	}
	input := &openapi3filter.RequestValidationInput{Request: asked, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true, SkipSettingDefaults: true}}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil && answer.Code < 400 {
		return err
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.Code, Header: answer.Header(), Options: input.Options,
		Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
	})
}

// judged serves a request, and fails t if the exchange is not as the document says.
func judged(t testing.TB, handler http.Handler, r *http.Request, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if err := judge(r, body, w); err != nil {
		t.Errorf("%s %s\n%s\n→ %d %s\n%v", r.Method, r.URL, body, w.Code, w.Body, err)
	}
	return w
}

// securityOf returns the security schemes of a call in the document, in order.
func securityOf(operation *openapi3.Operation) []string {
	ways := []string{}
	for _, way := range *operation.Security {
		ways = append(ways, strings.Join(slices.Sorted(maps.Keys(way)), " and "))
	}
	return ways
}

// waysOf returns the security schemes that the document must have for a route.
func waysOf(r route) []string {
	if r.who == anybody {
		return []string{}
	}
	ways := []string{"accessToken", "session"}
	if r.method != http.MethodGet {
		ways[1] = "csrfToken and session"
	}
	if r.who != person || r.method == http.MethodGet && slices.Contains(otp.ReadingPermissions(), r.needs) {
		ways = append(ways, "apiKey", "accessKey")
	}
	if r.who == stranger {
		ways = append([]string{""}, ways...)
	}
	return ways
}

// The document has exactly the calls of the table, each with its permission, parameters and security schemes.
func TestOpenAPI_IsTheTableOfCalls(t *testing.T) {
	served, segment := map[string]bool{"POST " + people.TokenPath: true}, regexp.MustCompile(`:(\w+)`)
	for _, r := range routes {
		path := segment.ReplaceAllString(r.path, "{$1}")
		name := r.method + " " + path
		served[name] = true
		item := openapi(t).Paths.Value(path)
		require.NotNil(t, item, name)
		operation := item.Operations()[r.method]
		require.NotNil(t, operation, name)
		require.NotNil(t, operation.Security, name)
		require.Equal(t, waysOf(r), securityOf(operation), name)
		description := strings.Join(strings.Fields(operation.Description), " ")
		if r.needs != "" {
			require.Contains(t, description, "Permission `"+r.needs+"`.", name)
		} else {
			require.NotContains(t, description, "Permission `", name)
		}
		query := []string{}
		for _, p := range operation.Parameters {
			if p.Value.In == "query" {
				query = append(query, p.Value.Name)
			}
		}
		require.ElementsMatch(t, slices.Concat([]string{}, r.parameters), query, name)
	}
	documented := map[string]bool{}
	for path, item := range openapi(t).Paths.Map() {
		for method := range item.Operations() {
			if Owns(path) || path == people.TokenPath {
				documented[method+" "+path] = true
			}
		}
	}
	require.Equal(t, served, documented)
}

// closed returns the members of a schema with those of all its parts.
func closed(s *openapi3.SchemaRef) map[string]*openapi3.Schema {
	members := map[string]*openapi3.Schema{}
	for _, part := range s.Value.AllOf {
		maps.Copy(members, closed(part))
	}
	for name, member := range s.Value.Properties {
		members[name] = member.Value
	}
	return members
}

// The document has the columns' names, ranges, choices and NULLs as otp.Columns has them.
func TestOpenAPI_AnAccountIsItsColumns(t *testing.T) {
	schemas := openapi(t).Components.Schemas
	answered, asked := closed(schemas["Account"]), closed(schemas["AccountChange"])
	for _, name := range []string{"state", "fault", "secrets"} {
		require.Contains(t, answered, name)
		delete(answered, name)
	}
	whole, choice := regexp.MustCompile(`^(\d+)–(\d+)$`), regexp.MustCompile("`([^`]+)`")
	require.Len(t, answered, len(otp.Columns()), "%v", slices.Sorted(maps.Keys(answered)))
	for _, c := range otp.Columns() {
		require.Contains(t, answered, c.Name)
		if c.Name == "created_at" || c.Name == "updated_at" {
			require.NotContains(t, asked, c.Name, "the server sets it")
			continue
		}
		require.Contains(t, asked, c.Name)
		schema := answered[c.Name]
		if len(schema.AnyOf) == 2 {
			require.True(t, schema.AnyOf[1].Value.Type.Is("null"), c.Name)
			schema = schema.AnyOf[0].Value
		}
		if secret := len(schema.Properties) == 1 && schema.Properties["set"] != nil; !secret {
			require.Equal(t, c.Absent != "", len(answered[c.Name].AnyOf) == 2, "%s, null", c.Name)
		}
		switch ends := whole.FindStringSubmatch(c.Values); {
		case ends != nil:
			require.Equal(t, ends[1:], []string{strconv.FormatFloat(*schema.Min, 'f', -1, 64),
				strconv.FormatFloat(*schema.Max, 'f', -1, 64)}, c.Name)
		case c.Values == "0, 1":
			require.True(t, schema.Type.Is("boolean"), c.Name)
		case strings.HasPrefix(c.Values, "`"):
			words := []any{}
			for _, word := range choice.FindAllStringSubmatch(c.Values, -1) {
				words = append(words, word[1])
			}
			require.Equal(t, words, schema.Enum, c.Name)
		}
	}
}

// judge finds exchanges that are not in the document.
func TestJudge_NoticesWhatTheDocumentDoesNotHave(t *testing.T) {
	const key = `{"id":"key_06bq3c7k5sqn2e8v4g1t9hp0mc","account":"4711","kind":"secret","environment":"live",` +
		`"prefix":"","last_four":"","status":"active","name":"x","permissions":null,"allowed_ips":null,"denied_ips":null,` +
		`"allowed_origins":null,"requests_per_minute":null,"burst":null,"expires_at":null,"signing":"off","enabled":true,` +
		`"created_at":"2026-11-29T12:00:00Z","age_days":0,"revoked_at":null,"successor":null,"last_used_at":null,` +
		`"last_used_ip":null,"calls_30d":0,"old_key_percent":null,"advice":[]}`
	const path = "/api/keys/key_06bq3c7k5sqn2e8v4g1t9hp0mc"
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		answer             string
		fine               bool
	}{
		"as it is":             {"GET", path, "", 200, key, true},
		"a member too many":    {"GET", path, "", 200, strings.Replace(key, `{"id"`, `{"hash":"x","id"`, 1), false},
		"a member missing":     {"GET", path, "", 200, strings.Replace(key, `"status":"active",`, "", 1), false},
		"an unknown word":      {"GET", path, "", 200, strings.Replace(key, `"secret"`, `"other"`, 1), false},
		"null where none is":   {"GET", path, "", 200, strings.Replace(key, `"age_days":0`, `"age_days":null`, 1), false},
		"no time":              {"GET", path, "", 200, strings.Replace(key, `"2026-11-29T12:00:00Z"`, `7`, 1), false},
		"a status it lacks":    {"GET", path, "", 418, `{}`, false},
		"a refusal in part":    {"GET", path, "", 404, `{"code":"NOT_FOUND"}`, false},
		"a call it lacks":      {"GET", "/api/other", "", 200, `{}`, false},
		"served what is wrong": {"PATCH", path, `{"hash":"x"}`, 200, key, false},
		"an unlisted question": {"PATCH", path, `{"signing":"maybe"}`, 200, key, false},
		"a body for nothing":   {"DELETE", path, "", 200, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			answer.Header().Set("Content-Type", "application/json")
			if tt.status >= 400 {
				answer.Header().Set("Content-Type", "application/problem+json")
			}
			answer.Header().Set("X-Request-Id", "req-12345678")
			answer.Header().Set("ETag", `"1"`)
			answer.Code = tt.status
			answer.Body.WriteString(tt.answer)
			r := httptest.NewRequest(tt.method, tt.path, nil)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("If-Match", `"1"`)
			if err := judge(r, tt.body, answer); tt.fine {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
		})
	}
}
