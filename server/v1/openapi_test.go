package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/oasdiff/yaml"
	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

var update = flag.Bool("update", false, "make openapi.json of openapi.yaml")

func openapi(t testing.TB) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(openapiYAML)
	require.NoError(t, err)
	return document
}

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

// The document has every route and no other, and each asks for a credential in both or neither.
func TestOpenAPI_IsTheTableOfRoutes(t *testing.T) {
	gin.SetMode(gin.TestMode)
	documents, calls := gin.New(), gin.New()
	Mount(documents, calls, Options{})
	path := func(of gin.RouteInfo) string { return strings.ReplaceAll(of.Path, ":id", "{id}") }
	var served []string
	for _, route := range calls.Routes() {
		served = append(served, route.Method+" "+path(route)+" with a key")
	}
	for _, route := range documents.Routes() {
		switch path(route) {
		case jsonPath, yamlPath, docsPath, docsFile: // the document does not describe itself
		default:
			if route.Method != http.MethodOptions { // browsers' own
				served = append(served, route.Method+" "+path(route))
			}
		}
	}
	var documented []string
	for path, item := range openapi(t).Paths.Map() {
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
		row, ok := refusals[kind]
		require.True(t, ok, "no row for %v", kind)
		require.GreaterOrEqual(t, row.Status, 400, "%v", kind)
		require.NotEmpty(t, http.StatusText(row.Status), "%v", kind)
		require.Equal(t, web.Row(documented[kind.String()]), row, "%v", kind)
	}
}

// What the calls can be refused with is documented for them: every status has a response, which
// names the code.
func TestOpenAPI_EveryRefusalIsDescribedWhereItHappens(t *testing.T) {
	every := []otp.Kind{
		otp.MissingCredential, otp.UnknownCredential, otp.ExpiredCredential, otp.BadSignature, otp.ForbiddenNetwork, otp.Forbidden,
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
				response := operation.Responses.Status(refusals[kind].Status)
				require.NotNil(t, response, "%s does not describe %v", path, kind)
				require.Contains(t, *response.Value.Description, "`"+refusals[kind].Code+"`", "%s, %v", path, kind)
				require.Contains(t, openapi(t).Info.Description, "`"+refusals[kind].Code+"`")
			}
		}
	}
}
