package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// reporting is a gateway that returns no ids. It keeps our reference for each send and the URL for its report.
type reporting struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	sends  []url.Values
}

func startReporting(t *testing.T) *reporting {
	t.Helper()
	r := &reporting{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sends = append(r.sends, request.URL.Query())
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// last returns the path for the last send's report, and its reference.
func (r *reporting) last(t *testing.T) (path, reference string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.sends)
	send := r.sends[len(r.sends)-1]
	u, err := url.Parse(send.Get("cb"))
	require.NoError(t, err)
	return u.RequestURI(), send.Get("ref")
}

func (r *reporting) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// A gateway that knows only our references reports on several messages at once, with its own codes. Status shows the
// report of each send, also of one whose outcome was unknown.
func TestCallbacks_MatchByOurReferenceAndKeepTheError(t *testing.T) {
	gateway := startReporting(t)
	s := boot(t, variables(t, "OTPBRIDGE_PREFIX_UNVERIFIED=0", "OTPBRIDGE_SMS_CHANNELS="+gateway.URL+
		"/?to={to}&text={text}&ref={send_id}&cb={callback_url}#name=g&callback=0123456789abcdef"+
		"&callback_url=https://otp.example&callback_list=results&callback_reference=ref"+
		"&callback_status=state.word&callback_error=error")...)
	account := s.account(`{}`)
	as := []string{"Authorization", "Bearer " + account.APIKey, "Content-Type", "application/json"}
	send := func(number string) (id, reference string) {
		sent := s.do("POST", "/v1/send", `{"to":"`+number+`","method":"sms","type":"verification"}`, as...)
		require.Equal(t, 201, sent.status, sent.body)
		id = decoded(t, sent)["id"].(string)
		eventually(t, "the hand-over", func() bool { return s.fate(t, id, as)["status"] != "queued" })
		path, reference := gateway.last(t)
		require.Equal(t, "/callbacks/g?secret=0123456789abcdef", path)
		return id, reference
	}
	first, one := send("+919551492394")
	second, two := send("+919551492395")
	gateway.answer(http.StatusInternalServerError)
	third, three := send("+919551492396")
	require.Equal(t, "unknown", s.fate(t, third, as)["status"])

	report := func(status int, contentType string, receipts ...map[string]any) {
		text, err := json.Marshal(map[string]any{"results": receipts})
		require.NoError(t, err)
		answer := s.do("POST", "/callbacks/g?secret=0123456789abcdef", string(text), "Content-Type", contentType)
		require.Equal(t, status, answer.status, answer.body)
	}
	said := func(reference, word string, code any) map[string]any {
		return map[string]any{"ref": reference, "state": map[string]any{"word": word}, "error": code}
	}
	report(404, "application/json", said("send_nobody", "DELIVRD", 0))
	report(204, "text/plain", said(one, "UNDELIV", 30003), said("send_nobody", "DELIVRD", 0),
		said(two, "DELIVRD", "000"), said(three, "BUSY", 1))
	require.Equal(t, "failed", s.fate(t, first, as)["status"])
	require.Equal(t, "30003", s.fate(t, first, as)["provider_error"])
	require.Equal(t, "delivered", s.fate(t, second, as)["status"])
	require.NotContains(t, s.fate(t, second, as), "provider_error")
	require.Equal(t, "unknown", s.fate(t, third, as)["status"], "a word that no profile knows changes nothing")
	report(400, "application/json", said(three, "BUSY", 1))
	huge := s.do("POST", "/callbacks/g?secret=0123456789abcdef", strings.Repeat(" ", 257<<10), "Content-Type",
		"application/json")
	require.Equal(t, 400, huge.status)
	require.Equal(t, 204, s.do("GET", "/callbacks/g?secret=0123456789abcdef&ref="+two+"&state.word=UNDELIV", "").status)
	require.Equal(t, "delivered", s.fate(t, second, as)["status"], "is never taken back")
	report(204, "application/vnd.g+json", said(three, "DELIVRD", nil), said(one, "DELIVRD", nil))
	require.Equal(t, "delivered", s.fate(t, third, as)["status"], "the receipt says what nobody knew")
	require.Equal(t, "delivered", s.fate(t, first, as)["status"])
	require.NotContains(t, s.fate(t, first, as), "provider_error")

	require.Equal(t, 1, strings.Count(s.log.String(), "status=BUSY"), "told once")
	require.NotContains(t, s.log.String(), "0123456789abcdef")
}

// fate returns the state of a challenge's only send from the API.
func (s client) fate(t *testing.T, id string, as []string) map[string]any {
	t.Helper()
	answer := s.do("GET", "/v1/status/"+id, "", as...)
	require.Equal(t, 200, answer.status, answer.body)
	sends := decoded(t, answer)["sends"].([]any)
	require.Len(t, sends, 1)
	return sends[0].(map[string]any)
}
