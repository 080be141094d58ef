package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/audit"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/servlet"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

// house is an engine over a database, with the API in front of it.
type house struct {
	engine   *engine.Engine
	manage   *manage.Manager
	people   *people.People
	audit    *audit.Log
	webhooks *webhook.Webhooks
	path     string
	log      *bytes.Buffer
	handler  http.Handler

	mu   sync.Mutex
	told web.Request // of the last request, for the request log
}

func newHouse(t testing.TB) *house {
	ctx := context.Background()
	h := &house{path: filepath.Join(t.TempDir(), "otpbridge.db"), log: new(bytes.Buffer)}
	store, err := sql.Open(ctx, migrated.At(t, h.path), sql.Options{Sandbox: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	keyring, err := crypto.ParseKeyring(crypto.NewKeyringText("k1"))
	require.NoError(t, err)
	inbox, faults := deliver.NewInbox(), &deliver.Faults{}
	channels := []deliver.Channel{deliver.Faulty{Channel: inbox, Faults: faults}}
	h.engine, err = engine.New(ctx, engine.Options{
		Store: store, Keyring: keyring, SMS: channels, Email: channels,
		DeliveryWait: time.Minute, Log: slog.New(slog.NewTextHandler(h.log, nil)),
		Sandbox: true, Inbox: inbox, Faults: faults, AuthFailuresPerMinute: 60,
	})
	require.NoError(t, err)
	t.Cleanup(h.engine.Close)
	h.manage, err = manage.Open(ctx, manage.Options{Store: store, Keyring: keyring, Sandbox: true,
		Changed: h.engine.Forget})
	require.NoError(t, err)
	require.NoError(t, h.manage.Sandbox.SeedDemo(ctx))

	gin.SetMode(gin.TestMode)
	router := gin.New()
	router.HandleMethodNotAllowed = true
	router.NoRoute(NotFound)
	router.NoMethod(MethodNotAllowed)
	router.Use(func(c *gin.Context) {
		web.Identify(c, "req-12345678")
		c.Next()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = *web.RequestOf(c)
	})
	h.people = people.New(people.Options{Store: store, Vault: h.manage.Vault(), Issuer: "https://otp.shop.example",
		Passwords: crypto.NewPasswords(crypto.PasswordCost{MemoryKiB: 8, Passes: 1}, 4), Sandbox: true})
	log := slog.New(slog.NewTextHandler(h.log, nil))
	h.audit, err = audit.Open(audit.Options{Store: store, Vault: h.manage.Vault(), Log: log, CallDays: 30,
		ChangeDays: 400})
	require.NoError(t, err)
	h.webhooks = webhook.New(webhook.Options{Store: store, Vault: h.manage.Vault(), Log: log,
		Guard: &deliver.Guard{Sandbox: true}, Look: 50 * time.Millisecond})
	t.Cleanup(h.webhooks.Close)
	Mount(router, router, Options{Engine: h.engine, People: h.people, Audit: h.audit, Webhooks: h.webhooks, Log: log})
	servlet.Mount(router, "/otpauthapi", servlet.Options{Engine: h.engine, Log: slog.New(slog.DiscardHandler)})
	h.handler = validated{t: t, next: router, routes: documented(t)}
	return h
}

// validated checks every exchange against the document: a successful request must match it, and every answer must be
// one that the document has for the call.
type validated struct {
	t      testing.TB
	next   http.Handler
	routes routers.Router
}

func documented(t testing.TB) routers.Router {
	routes, err := routed()
	require.NoError(t, err)
	return routes
}

var routed = sync.OnceValues(func() (routers.Router, error) {
	document, err := loaded()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(document)
})

func (v validated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	require.NoError(v.t, err)
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	v.next.ServeHTTP(answer, r)
	if err := v.judge(r, body, answer); err != nil {
		v.t.Errorf("%s %s\n%s\n→ %d %s\n%v", r.Method, r.URL, body, answer.Code, answer.Body, err)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (v validated) judge(r *http.Request, body []byte, answer *httptest.ResponseRecorder) error {
	asked := r.Clone(context.Background())
	asked.Body = io.NopCloser(bytes.NewReader(body))
	route, parameters, err := v.routes.FindRoute(asked)
	if err != nil {
		if answer.Code == http.StatusNotFound || answer.Code == http.StatusMethodNotAllowed ||
			r.Method == http.MethodOptions || !Owns(r.URL.Path) {
			return nil
		}
		return fmt.Errorf("the document has no such call: %w", err)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true,
		},
	}
	refusal := openapi3filter.ValidateRequest(context.Background(), input)
	if refusal != nil && answer.Code < 400 {
		return fmt.Errorf("was served, although the document does not allow it: %w", refusal)
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.Code, Header: answer.Header(), Options: input.Options,
		Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())),
	})
}

// client calls the API as one account.
type client struct {
	*house
	t testing.TB
	manage.Credentials
}

// newClient makes an account, changed by adjust if that is not nil.
func (h *house) newClient(t testing.TB, adjust func(*otp.Account)) client {
	account := otp.DefaultAccount("")
	account.EmailEnabled = true
	if adjust != nil {
		adjust(&account)
	}
	_, credentials, err := h.manage.Sandbox.CreateAccount(context.Background(), manage.NewAccount{Account: account})
	require.NoError(t, err)
	return client{house: h, t: t, Credentials: credentials}
}

// with returns the client with another key.
func (c client) with(key manage.NewKey) client {
	c.t.Helper()
	key.Account = c.Address
	_, secret, _, err := c.manage.Keys.Create(context.Background(), manage.Operator(), key)
	require.NoError(c.t, err)
	c.APIKey = string(secret.Bytes())
	return c
}

// answer is the answer to a call.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// call makes a call with the client's key. A body is JSON unless a header says otherwise; headers are names and values
// in turn, where an empty value removes the header.
func (c client) call(method, path, body string, headers ...string) answer {
	c.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.10:4711"
	r.Header.Set("Authorization", "Bearer "+c.APIKey)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return c.do(r)
}

func (c client) do(r *http.Request) answer {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), text: w.Body.String()}
	if strings.Contains(w.Header().Get("Content-Type"), "json") {
		require.NoError(c.t, json.Unmarshal(w.Body.Bytes(), &a.json), a.text)
	}
	return a
}

func (c client) post(path, body string, headers ...string) answer {
	c.t.Helper()
	return c.call(http.MethodPost, path, body, headers...)
}

func (c client) get(path string, headers ...string) answer {
	c.t.Helper()
	return c.call(http.MethodGet, path, "", headers...)
}

const (
	number   = "+919876543210"
	sendBody = `{"to":"` + number + `","method":"sms","type":"verification"}`
)

// sent sends a code and returns the challenge's id, the code, and a wrong one.
func (c client) sent(body string) (id, right, wrong string) {
	c.t.Helper()
	a := c.post("/v1/send", body)
	require.Equal(c.t, 201, a.status, a.text)
	right, wrong = c.codes()
	return a.json["id"].(string), right, wrong
}

// codes returns the code of the last message and a wrong one.
func (c client) codes() (right, wrong string) {
	c.t.Helper()
	messages, err := c.engine.Inbox.List(context.Background(), engine.MessageQuery{Account: c.Address, Limit: 1})
	require.NoError(c.t, err)
	require.Len(c.t, messages, 1)
	right = messages[0].Code
	return right, right[:len(right)-1] + string('0'+(right[len(right)-1]-'0'+1)%10)
}

// forward sets the account's clock ahead by this much.
func (c client) forward(by time.Duration) {
	c.t.Helper()
	require.NoError(c.t, c.manage.Sandbox.SetClock(context.Background(), c.Address, by))
}

// requireProblem requires a refusal with a status and a code.
func requireProblem(t testing.TB, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, a.text)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))
	require.Equal(t, code, a.json["code"], a.text)
	require.Equal(t, a.json["detail"], a.json["message"])
	require.Equal(t, "req-12345678", a.json["request_id"])
}
