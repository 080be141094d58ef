package servlet_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/servlet"
	"otpbridge/server/web"
)

const target = "?ipaddress=10.20.51.122&mobile=919551492394"

// client calls the servlets of a house as one account, without a socket.
type client struct {
	house  *house
	router *gin.Engine
	manage.Credentials
}

// newClient makes an account that accepts plain codes; before runs ahead of the servlets.
func newClient(t *testing.T, log *slog.Logger, before ...gin.HandlerFunc) client {
	account := otp.DefaultAccount("")
	account.PlainValidation = true
	h := newHouse(t, "")
	_, credentials, err := h.manage.Sandbox.CreateAccount(t.Context(), manage.NewAccount{Account: account})
	require.NoError(t, err)
	router := gin.New()
	router.Use(before...)
	servlet.Mount(router, "", servlet.Options{Engine: h.engine, Log: log})
	return client{house: h, router: router, Credentials: credentials}
}

func (c client) call(ctx context.Context, path string) string {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	r.Header.Set("access_key", c.AccessKey)
	w := httptest.NewRecorder()
	c.router.ServeHTTP(w, r)
	return w.Body.String()
}

// codes returns the code of the last message and a wrong one.
func (c client) codes(t *testing.T) (right, wrong string) {
	messages, err := c.house.engine.Inbox.List(t.Context(), engine.MessageQuery{Account: c.Address, Limit: 1})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	right = messages[0].Code
	wrong = right[:len(right)-1] + string('0'+(right[len(right)-1]-'0'+1)%10)
	return right, wrong
}

func TestServe_AClientThatHasGoneIsServedAndCharged(t *testing.T) {
	c := newClient(t, slog.New(slog.DiscardHandler))
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	require.Equal(t, "OTP Generated Successfully", c.call(gone, "/otpgenservlet"+target))
	right, wrong := c.codes(t)
	require.Equal(t, "Wrong PIN. No of Retries remaining #2",
		c.call(gone, "/plainotpvalidationservlet"+target+"&otp="+wrong))
	require.Equal(t, "Wrong PIN. No of Retries remaining #1",
		c.call(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+wrong))
	require.Equal(t, "OTP Generated Successfully", c.call(gone, "/otpregenservlet"+target))
	require.Equal(t, "Verified successfully", c.call(gone, "/plainotpvalidationservlet"+target+"&otp="+right))
	require.Equal(t, "OTPEXPIRED", c.call(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+right))
}

func TestServe_TellsTheLogOfRequestsWhatHappened(t *testing.T) {
	var kind, account string
	var log bytes.Buffer
	c := newClient(t, slog.New(slog.NewTextHandler(&log, nil)), func(g *gin.Context) {
		web.Identify(g, "req-7777aaaa")
		g.Next()
		kind, account = web.RequestOf(g).Kind, web.RequestOf(g).Account
	})
	tests := []struct {
		path, fault  string
		kind, logged string
	}{
		{path: "/otpgenservlet" + target, kind: "ok"},
		{path: "/otpgenservlet", kind: "invalid"},
		{path: "/plainotpvalidationservlet" + target + "&otp=1", kind: "wrong_code"},
		{path: "/otpregenservlet" + target, fault: "error", kind: "fault", logged: "injected"},
		{path: "/otpregenservlet" + target, fault: "panic", kind: "fault", logged: "stack="},
		{path: "/otpvalidationservlet" + target, fault: "panic", kind: "fault", logged: "stack="},
	}
	for _, test := range tests {
		log.Reset()
		c.house.engine.Faults.Set(nil)
		if test.fault != "" {
			c.house.engine.Faults.Set([]deliver.Fault{{Target: "servlet", Kind: test.fault}})
		}
		c.call(t.Context(), test.path)
		require.Equal(t, test.kind, kind, test.path)
		require.Equal(t, c.Address, account, test.path)
		if test.logged == "" {
			require.Empty(t, log.String(), "a refusal is no fault")
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		for _, part := range []string{test.logged, "req-7777aaaa", c.Address, "fault injected by the sandbox"} {
			require.Contains(t, log.String(), part)
		}
		require.NotContains(t, log.String(), "919551492394")
	}

	c.AccessKey = "bm90IGEga2V5"
	c.call(t.Context(), "/otpgenservlet"+target)
	require.Equal(t, "unknown_credential", kind)
	require.Empty(t, account)
}

// tally calls path 64 times concurrently and counts the answers.
func (c client) tally(ctx context.Context, path string) map[string]int {
	var all sync.Map
	var calls sync.WaitGroup
	for i := range 64 {
		calls.Go(func() { all.Store(i, c.call(ctx, path)) })
	}
	calls.Wait()
	answers := map[string]int{}
	all.Range(func(_, answer any) bool {
		answers[answer.(string)]++
		return true
	})
	return answers
}

func TestValidate_WrongAtOnceRace(t *testing.T) {
	c := newClient(t, slog.New(slog.DiscardHandler))
	c.call(t.Context(), "/otpgenservlet"+target)
	_, wrong := c.codes(t)
	require.Equal(t, map[string]int{
		"Wrong PIN. No of Retries remaining #2":                            1,
		"Wrong PIN. No of Retries remaining #1":                            1,
		"Wrong PIN. No of Retries remaining #0":                            1,
		"Max no of tries for this pin been reached. Please generate other": 61,
	}, c.tally(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+wrong))
}

func TestValidate_RightAtOnceRace(t *testing.T) {
	c := newClient(t, slog.New(slog.DiscardHandler))
	c.call(t.Context(), "/otpgenservlet"+target)
	right, _ := c.codes(t)
	require.Equal(t, map[string]int{"Verified successfully": 1, "OTPEXPIRED": 63},
		c.tally(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+right))
}

// An API key works as access_key too, with its permissions.
func TestServe_AKeyMayDoWhatItsPermissionsSay(t *testing.T) {
	c := newClient(t, slog.New(slog.DiscardHandler))
	const generated, refused = "OTP Generated Successfully", "UNAUTHERISED USER"
	for _, tt := range []struct {
		key                            manage.NewKey
		generate, validate, regenerate string
	}{
		{manage.NewKey{}, generated, "Wrong PIN. No of Retries remaining #2", generated},
		{manage.NewKey{Permissions: []string{"send:otp"}}, generated, refused, refused},
		{manage.NewKey{Permissions: []string{"verify:otp"}}, refused, "Wrong PIN. No of Retries remaining #1", refused},
		{manage.NewKey{Permissions: []string{"resend:otp"}}, refused, refused, generated},
		{manage.NewKey{Kind: otp.ReadOnlyKey}, refused, refused, refused},
		{manage.NewKey{Kind: otp.ClientKey, AllowedOrigins: []string{"https://a.example"}}, refused, refused, refused},
		{manage.NewKey{Signing: otp.SigningRequired}, refused, refused, refused},
	} {
		tt.key.Account = c.Address
		_, secret, _, err := c.house.manage.Keys.Create(t.Context(), manage.Operator(), tt.key)
		require.NoError(t, err)
		c.AccessKey = string(secret.Bytes())
		require.Equal(t, tt.generate, c.call(t.Context(), "/otpgenservlet"+target), "%+v", tt.key)
		if tt.validate != refused {
			_, wrong := c.codes(t)
			if tt.generate == refused { // the previous code, which has a wrong guess by now
				c.call(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+wrong)
			}
			require.Equal(t, tt.validate, c.call(t.Context(), "/plainotpvalidationservlet"+target+"&otp="+wrong), "%+v", tt.key)
		} else {
			require.Equal(t, tt.validate, c.call(t.Context(), "/plainotpvalidationservlet"+target+"&otp=123456"), "%+v", tt.key)
		}
		require.Equal(t, tt.regenerate, c.call(t.Context(), "/otpregenservlet"+target), "%+v", tt.key)
	}
}

// An account that requires HTTPS refuses plain HTTP; another does not.
func TestServe_AnAccountMayRequireHTTPS(t *testing.T) {
	plain := true
	c := newClient(t, slog.New(slog.DiscardHandler), func(c *gin.Context) {
		web.Identify(c, "req-12345678")
		web.RequestOf(c).Plain = plain
	})
	require.Contains(t, c.call(t.Context(), "/otpgenservlet"+target), "Generated")
	_, err := c.house.manage.Accounts.Change(t.Context(),
		manage.Edit{Account: c.Address, Columns: []string{"require_https"},
			Set: func(n *manage.Imported) error { n.RequireHTTPS = true; return nil }})
	require.NoError(t, err)
	c.house.engine.Forget()
	require.Contains(t, c.call(t.Context(), "/otpgenservlet"+target), "UNAUTHERISED USER")
	plain = false
	require.Contains(t, c.call(t.Context(), "/otpgenservlet"+target), "Generated")
}
