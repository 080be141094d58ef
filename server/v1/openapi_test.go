package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/oasdiff/yaml"
	"github.com/stretchr/testify/require"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
)

var update = flag.Bool("update", false, "make openapi.json of openapi.yaml")

// openapi is read once, because that takes half a second under the race detector. It must not be changed.
func openapi(t testing.TB) *openapi3.T {
	t.Helper()
	document, err := loaded()
	require.NoError(t, err)
	return document
}

var loaded = sync.OnceValues(func() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromData(openapiYAML) })

func TestOpenAPI_IsOne(t *testing.T) {
	document := openapi(t)
	require.Equal(t, "3.1.0", document.OpenAPI)
	require.NoError(t, document.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()))
}

func TestOpenAPI_TheTwoFormsAreOneDocument(t *testing.T) {
	compact, err := yaml.YAMLToJSON(openapiYAML)
	require.NoError(t, err)
	var made bytes.Buffer
	require.NoError(t, json.Indent(&made, compact, "", " "))
	made.WriteByte('\n')
	if *update {
		require.NoError(t, os.WriteFile("openapi.json", made.Bytes(), 0o644))
		return
	}
	require.Equal(t, made.String(), string(openapiJSON), "run go test ./server/v1 -run TheTwoForms -update")
}

// The document has every event that webhooks are sent, and an event as it is sent fits its schema.
func TestOpenAPI_HasEveryEventOfWebhooks(t *testing.T) {
	var document struct {
		Webhooks map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct {
						Schema struct {
							Ref string `json:"$ref"`
						}
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(openapiJSON, &document))
	require.Len(t, document.Webhooks, len(otp.NoticeTypes())+1)
	schemas := openapi(t).Components.Schemas
	for _, told := range append(otp.NoticeTypes(), otp.NoticeTest) {
		ref := document.Webhooks[string(told)].Post.RequestBody.Content["application/json"].Schema.Ref
		schema := schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
		require.NotNil(t, schema, told)
		require.Contains(t, schema.Value.Properties["type"].Value.Enum, string(told))
	}
}

// Client generators do not support lists of types and leave values without a type untyped; linters refuse the rest.
func TestOpenAPI_GeneratorsAndLintersCanReadIt(t *testing.T) {
	var document map[string]any
	require.NoError(t, json.Unmarshal(openapiJSON, &document))
	require.Empty(t, unreadable("", document))
	require.NotNil(t, openapi(t).Info.Contact)
	for path, item := range openapi(t).Paths.Map() {
		for method, operation := range item.Operations() {
			refused := func(status string) bool { return strings.HasPrefix(status, "4") }
			require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(operation.Responses.Map())), refused),
				"%s %s documents no refusal", method, path)
		}
	}
}

func TestUnreadable_FindsWhatGeneratorsAndLintersRefuse(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":["string","null"]}`:                                         "/type is a list",
		`{"type":["array"],"items":{}}`:                                      "/type is a list",
		`{"properties":{"a":{"type":["object","string"]}}}`:                  "/properties/a/type is a list",
		`{"type":"array"}`:                                                   "/items is missing",
		`{"oneOf":[{"type":"array"}]}`:                                       "/oneOf/0/items is missing",
		`{"required":["to"]}`:                                                "/properties/to is missing",
		`{"if":{"required":["id"]}}`:                                         "/if/properties/id is missing",
		`{"not":{"anyOf":[{"required":["ip"]}]}}`:                            "/not/anyOf/0/properties/ip is missing",
		`{"required":["a"],"properties":{"b":{}}}`:                           "/properties/a is missing",
		`{"properties":{"to":false}}`:                                        "/properties/to is a boolean",
		`{"const":true}`:                                                     "/type is missing",
		`{"enum":["a","b"]}`:                                                 "/type is missing",
		`{"properties":{"valid":{"const":false}}}`:                           "/properties/valid/type is missing",
		`{"type":"string","const":"a"}`:                                      "",
		`{"type":"array","items":{"type":"string"}}`:                         "",
		`{"required":["a"],"properties":{"a":{}}}`:                           "",
		`{"required":true,"type":"string"}`:                                  "",
		`{"required":["a"],"allOf":[{"$ref":"#/components/schemas/Other"}]}`: "",
		`{"description":"Any value."}`:                                       "",
	} {
		var decoded any
		require.NoError(t, json.Unmarshal([]byte(schema), &decoded))
		require.Equal(t, want, strings.Join(unreadable("", decoded), "; "), schema)
	}
}

// unreadable returns what generators and linters refuse in a part of the document, by JSON pointer.
func unreadable(at string, part any) []string {
	var found []string
	switch part := part.(type) {
	case []any:
		for i, each := range part {
			found = append(found, unreadable(fmt.Sprintf("%s/%d", at, i), each)...)
		}
	case map[string]any:
		if _, isList := part["type"].([]any); isList {
			found = append(found, at+"/type is a list")
		}
		if part["type"] == "array" && part["items"] == nil {
			found = append(found, at+"/items is missing")
		}
		if part["type"] == nil && (part["const"] != nil || part["enum"] != nil) {
			found = append(found, at+"/type is missing")
		}
		properties, _ := part["properties"].(map[string]any)
		required, _ := part["required"].([]any)
		for _, name := range required {
			if properties[name.(string)] == nil && part["allOf"] == nil {
				found = append(found, fmt.Sprintf("%s/properties/%s is missing", at, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if _, isBool := properties[name].(bool); isBool {
				found = append(found, at+"/properties/"+name+" is a boolean")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(part)) {
			found = append(found, unreadable(at+"/"+name, part[name])...)
		}
	}
	return found
}

// The document has exactly the routes, and the same of them require a credential.
func TestOpenAPI_IsTheTableOfRoutes(t *testing.T) {
	gin.SetMode(gin.TestMode)
	documents, calls := gin.New(), gin.New()
	Mount(documents, calls, Options{Webhooks: &webhook.Webhooks{}, Privacy: &privacy.Privacy{}, Audit: &audit.Log{}})
	parameter := regexp.MustCompile(`:(\w+)`)
	path := func(of gin.RouteInfo) string { return parameter.ReplaceAllString(of.Path, "{$1}") }
	var served []string
	for _, route := range calls.Routes() {
		served = append(served, route.Method+" "+path(route)+" with a key")
	}
	for _, route := range documents.Routes() {
		switch path(route) {
		case jsonPath, yamlPath, docsPath, "/docs/{file}": // the document does not describe itself
		default:
			if route.Method != http.MethodOptions { // for browsers
				served = append(served, route.Method+" "+path(route))
			}
		}
	}
	var documented []string
	for path, item := range openapi(t).Paths.Map() {
		if path != keysPath && !Owns(path) {
			continue // another door's, whose own test compares it with the document
		}
		for method, operation := range item.Operations() {
			line := method + " " + path
			if operation.Security == nil {
				line += " with a key"
			}
			documented = append(documented, line)
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	require.Equal(t, documented, served)
}

// The holder of an access token may name account and environment at every call of the door.
func TestOpenAPI_EveryCallTakesAccountAndEnvironment(t *testing.T) {
	calls := 0
	for path, item := range openapi(t).Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, operation := range item.Operations() {
			calls++
			for _, name := range []string{accountHeader, environmentHeader} {
				require.NotNil(t, operation.Parameters.GetByInAndName("header", name), "%s %s lacks %s", method, path, name)
			}
		}
	}
	require.GreaterOrEqual(t, calls, 15)
}

func TestRefusals_EveryKindHasARowAndTheDocumentHasTheSame(t *testing.T) {
	var documented map[string]struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
	}
	table, err := json.Marshal(openapi(t).Extensions["x-refusals"])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(table, &documented))
	require.Len(t, documented, len(otp.Kinds()))
	for _, kind := range otp.Kinds() {
		row, ok := web.RowOf(kind)
		require.True(t, ok, "no row for %v", kind)
		require.GreaterOrEqual(t, row.Status, 400, "%v", kind)
		require.NotEmpty(t, http.StatusText(row.Status), "%v", kind)
		require.Equal(t, web.Row(documented[kind.String()]), row, "%v", kind)
	}
}

// The possible refusals of each call are documented: every status has a response, which names the code.
func TestOpenAPI_EveryRefusalIsDescribedWhereItHappens(t *testing.T) {
	every := []otp.Kind{
		otp.MissingCredential, otp.UnknownCredential, otp.ExpiredCredential, otp.BadSignature, otp.ForbiddenNetwork,
		otp.Forbidden,
		otp.ForbiddenOrigin, otp.FeatureOff, otp.Invalid, otp.BrokenAccount, otp.RateLimited, otp.Overloaded,
	}
	ended := []otp.Kind{otp.NotFound, otp.Canceled, otp.Replaced, otp.Expired, otp.Used, otp.AttemptsExhausted}
	repeated := []otp.Kind{otp.IdempotencyMismatch, otp.IdempotencyBusy}
	sent := []otp.Kind{otp.Locked, otp.OverLimit, otp.Undelivered, otp.CostLimited}
	for path, kinds := range map[string][]otp.Kind{
		"/v1/send":        slices.Concat(every, repeated, sent),
		"/v1/verify":      slices.Concat(every, []otp.Kind{otp.Locked}),
		"/v1/resend":      slices.Concat(every, repeated, sent, ended, []otp.Kind{otp.RegenerationsExhausted}),
		"/v1/cancel":      slices.Concat(every, ended),
		"/v1/status":      slices.Concat(every, []otp.Kind{otp.NotFound}),
		"/v1/status/{id}": slices.Concat(every, []otp.Kind{otp.NotFound}),
	} {
		item := openapi(t).Paths.Value(path)
		require.NotNil(t, item, path)
		for _, operation := range item.Operations() {
			for _, kind := range kinds {
				row, _ := web.RowOf(kind)
				response := operation.Responses.Status(row.Status)
				require.NotNil(t, response, "%s does not describe %v", path, kind)
				require.Contains(t, *response.Value.Description, "`"+row.Code+"`", "%s, %v", path, kind)
				require.Contains(t, openapi(t).Info.Description, "`"+row.Code+"`")
			}
		}
	}
}
