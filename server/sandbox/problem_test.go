package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// bare returns a door without an engine, for requests that are refused before the engine is called.
func bare(log *strings.Builder) *door {
	logger := slog.New(slog.NewTextHandler(log, nil))
	return &door{
		Options:     Options{Requests: new(Recorder), Stopping: make(chan struct{}), Log: logger},
		errors:      &web.Writer{Door: "sandbox", Log: logger},
		crossOrigin: http.NewCrossOriginProtection(),
	}
}

// serve runs one request through handlers and reads the answer as JSON.
func serve(t *testing.T, r *http.Request, handlers ...gin.HandlerFunc) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	router := gin.New()
	router.Use(func(c *gin.Context) { web.Identify(c, "req-12345678") })
	router.Any("/*any", handlers...)
	answer := httptest.NewRecorder()
	router.ServeHTTP(answer, r)
	var body map[string]any
	if answer.Body.Len() > 0 {
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body), answer.Body)
	}
	return answer, body
}

// A kind of refusal has the same status and code on every JSON door.
func TestRefuse_AnswersWhatEveryJSONDoorAnswers(t *testing.T) {
	for kind, want := range map[otp.Kind]web.Row{
		otp.BrokenAccount:          {Status: 500, Code: "ACCOUNT_BROKEN"},
		otp.AttemptsExhausted:      {Status: 409, Code: "MAX_ATTEMPTS"},
		otp.Expired:                {Status: 409, Code: "EXPIRED"},
		otp.RegenerationsExhausted: {Status: 409, Code: "MAX_RESENDS"},
		otp.Forbidden:              {Status: 403, Code: "PERMISSION_DENIED"},
		otp.ForbiddenOrigin:        {Status: 403, Code: "ORIGIN_NOT_ALLOWED"},
		otp.RateLimited:            {Status: 429, Code: "RATE_LIMIT_EXCEEDED"},
		otp.Invalid:                {Status: 400, Code: "INVALID_REQUEST"},
		otp.NotFound:               {Status: 404, Code: "NOT_FOUND"},
		otp.AccountExists:          {Status: 409, Code: "ACCOUNT_EXISTS"},
		otp.ClockBackwards:         {Status: 409, Code: "CLOCK_BACKWARDS"},
		otp.Undelivered:            {Status: 502, Code: "UNDELIVERED"},
		otp.FeatureOff:             {Status: 403, Code: "FEATURE_OFF"},
	} {
		answer, body := serve(t, httptest.NewRequest("GET", "/", nil),
			bare(new(strings.Builder)).handler(func(*gin.Context) error {
				return fmt.Errorf("wrapped: %w", &otp.Error{Kind: kind, Message: "why", RetryAfter: 1500 * time.Millisecond})
			}))
		require.Equal(t, want.Status, answer.Code, "%v", kind)
		require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
		require.Equal(t, "2", answer.Header().Get("Retry-After"), "rounded up")
		require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		require.Equal(t, map[string]any{
			"type": "about:blank", "title": http.StatusText(want.Status), "status": float64(want.Status),
			"detail": "why", "message": "why", "code": want.Code, "request_id": "req-12345678",
		}, body)
	}
}

func TestRefuse_AFaultIsLoggedOnceAndAnsweredNeutrally(t *testing.T) {
	var log strings.Builder
	answer, body := serve(t, httptest.NewRequest("GET", "/", nil), bare(&log).handler(func(*gin.Context) error {
		return errors.New("SELECT secret FROM /data/otp.db: disk I/O error")
	}))
	require.Equal(t, 500, answer.Code)
	require.Equal(t, "INTERNAL", body["code"])
	require.NotContains(t, answer.Body.String(), "SELECT")
	require.Equal(t, 1, strings.Count(log.String(), "SELECT secret"))
	require.Contains(t, log.String(), "request_id=req-12345678")
}

func TestRefuse_InputFaultsAreListed(t *testing.T) {
	d := bare(new(strings.Builder))
	answer, body := serve(t, httptest.NewRequest("PUT", "/", strings.NewReader(`{"offset":7,"zone":"x"}`)),
		d.handler(d.setClock))
	require.Equal(t, 400, answer.Code)
	require.Equal(t, "/offset must be a string (and 1 more, see errors)", body["detail"])
	require.Equal(t, []any{
		map[string]any{"pointer": "/offset", "detail": "must be a string"},
		map[string]any{"pointer": "/zone", "detail": "is not known here"},
	}, body["errors"])
}

func TestReadBody_LargeBodiesAreRefused(t *testing.T) {
	d := bare(new(strings.Builder))
	large := `{"offset":"` + strings.Repeat("x", 64<<10) + `"}`
	answer, body := serve(t, httptest.NewRequest("PUT", "/", strings.NewReader(large)), d.handler(d.setClock))
	require.Equal(t, 400, answer.Code)
	require.Equal(t, "BODY_TOO_LARGE", body["code"])
}

func TestQuery_IsStrict(t *testing.T) {
	d := bare(new(strings.Builder))
	for _, tt := range []struct{ query, detail string }{
		{"acount=1", "parameter acount is not known; known are account, to, after, limit, wait"},
		{"to=1&to=2", "parameter to is given twice; which one is meant?"},
		{"limit=0", "parameter limit must be a number from 1 to 500"},
		{"limit=501", "parameter limit must be a number from 1 to 500"},
		{"limit=ten", "parameter limit must be a number from 1 to 500"},
		{"wait=31s", "parameter wait must be a duration up to 30s, such as 10s"},
		{"wait=-1s", "parameter wait must be a duration up to 30s, such as 10s"},
		{"wait=10", "parameter wait must be a duration up to 30s, such as 10s"},
		{"to=%zz", "parameter ? the query cannot be read: percent-encode special characters"},
		{"to=1;2", "parameter ? the query cannot be read: percent-encode special characters"},
	} {
		answer, body := serve(t, httptest.NewRequest("GET", "/?"+tt.query, nil), d.handler(d.messages))
		require.Equal(t, 400, answer.Code, tt.query)
		require.Equal(t, tt.detail, body["detail"], tt.query)
	}
}

func TestSetFaults_IsStrict(t *testing.T) {
	d := bare(new(strings.Builder))
	for _, tt := range []struct{ body, pointer string }{
		{`{}`, "/faults"},
		{`{"faults":null}`, "/faults"},
		{`{"faults":[{"kind":"error"}]}`, "/faults/0/target"},
		{`{"faults":[{"target":"sms","kind":"error"}]}`, "/faults/0/target"},
		{`{"faults":[{"target":"inbox","kind":"error"}]}`, "/faults/0/kind"},
		{`{"faults":[{"target":"servlet","kind":"not_sent"}]}`, "/faults/0/kind"},
		{`{"faults":[{"target":"servlet"}]}`, "/faults/0/kind"},
		{`{"faults":[{"target":"servlet","kind":"error","account":"x"}]}`, "/faults/0/account"},
		{`{"faults":[{"target":"servlet","kind":"error","probability":0}]}`, "/faults/0/probability"},
		{`{"faults":[{"target":"servlet","kind":"error","probability":1.1}]}`, "/faults/0/probability"},
		{`{"faults":[{"target":"servlet","kind":"error","count":-1}]}`, "/faults/0/count"},
		{`{"faults":[{"target":"servlet","kind":"error","delay":"1s"}]}`, "/faults/0/delay"},
		{`{"faults":[{"target":"inbox","kind":"delay"}]}`, "/faults/0/delay"},
		{`{"faults":[{"target":"inbox","kind":"delay","delay":"3"}]}`, "/faults/0/delay"},
		{`{"faults":[{"target":"inbox","kind":"delay","delay":"2m"}]}`, "/faults/0/delay"},
		{`{"faults":[{"target":"inbox","kind":"unknown"},{"target":"inbox","kind":"unknown","times":1}]}`, "/faults/1/times"},
	} {
		answer, body := serve(t, httptest.NewRequest("PUT", "/", strings.NewReader(tt.body)), d.handler(d.setFaults))
		require.Equal(t, 400, answer.Code, tt.body)
		require.Equal(t, tt.pointer, body["errors"].([]any)[0].(map[string]any)["pointer"], tt.body)
	}
}
