package servlet_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/bridge"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/servlet"
)

const bridgedKey = "a-key-that-both-sides-know"

// side is one of the two sides: a house, its account, and the servlets on a socket.
type side struct {
	*house
	address  string // of the account
	server   *httptest.Server
	deadline time.Duration // of upstreams; half a second if it is 0
}

// newSide makes an account, and serves it behind wrap.
func newSide(t testing.TB, account otp.Account, wrap func(http.Handler) http.Handler) *side {
	s := &side{house: newHouse(t, "")}
	account.PlainValidation = true
	_, made, err := s.manage.Sandbox.CreateAccount(t.Context(), manage.NewAccount{Account: account,
		AccessKeys: []manage.NewAccessKey{{Key: bridgedKey}}})
	require.NoError(t, err)
	s.address = made.Address
	s.server = s.serve(t, wrap)
	return s
}

// serve returns one more server on the side's database; before runs ahead of the servlets.
func (s *side) serve(t testing.TB, wrap func(http.Handler) http.Handler, before ...gin.HandlerFunc) *httptest.Server {
	upstreams := bridge.New(&deliver.Guard{Sandbox: true}, cmp.Or(s.deadline, 500*time.Millisecond))
	router := gin.New()
	router.Use(before...)
	servlet.Mount(router, "/otpauthapi", servlet.Options{Engine: s.engine, Upstreams: upstreams,
		Log: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(wrap(router))
	t.Cleanup(func() { server.Close(); upstreams.Close() })
	return server
}

func asItIs(h http.Handler) http.Handler { return h }

// forwarding returns an account whose calls go to an upstream.
func forwarding(upstream string) otp.Account {
	account := otp.DefaultAccount("")
	account.UpstreamURL, account.Bridge = &upstream, otp.BridgeForward
	return account
}

// exchanged holds the parts of a request or an answer that the bridge must not change.
type exchanged struct {
	line, body string // method and the address after the host, or the status
	headers    map[string][]string
}

func only(h http.Header, names ...string) map[string][]string {
	kept := map[string][]string{}
	for _, name := range names {
		if values, ok := h[name]; ok {
			kept[name] = values
		}
	}
	return kept
}

// wire records what passed a server.
type wire struct {
	mu  sync.Mutex
	all []exchanged
}

func (w *wire) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		asked := exchanged{r.Method + " " + r.URL.RequestURI(), string(body),
			only(r.Header, "Access_key", "Department-Id", "Content-Type", "User-Agent", "Accept")}
		recorded := httptest.NewRecorder()
		next.ServeHTTP(recorded, r)
		for name, values := range recorded.Header() {
			out.Header()[name] = values
		}
		out.WriteHeader(recorded.Code)
		_, _ = out.Write(recorded.Body.Bytes())
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, asked, answered(recorded.Code, recorded.Header(), recorded.Body.String()))
	})
}

func answered(status int, header http.Header, body string) exchanged {
	return exchanged{fmt.Sprint(status), body,
		only(header, "Content-Type", "Cache-Control", "Content-Length", "Set-Cookie")}
}

// Five hundred calls of every form that clients use, to either profile: the upstream gets what was sent, and the
// client gets what the upstream answered.
func TestForward_ExchangesAreEqualByteForByte(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, profile := range []otp.Profile{otp.Documented, otp.LiveProfile} {
		account, seen := otp.DefaultAccount(""), &wire{}
		account.Profile, account.SendsPerMinute, account.StrictHTTP = &profile, 0, profile == otp.LiveProfile
		upstream := newSide(t, account, seen.watch)
		front := newSide(t, forwarding(upstream.server.URL+"/otpauthapi"), asItIs)
		texts := map[string]int{}
		for i := range 250 {
			r := anyCall(t, random, front.server.URL, i)
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			asked := exchanged{r.Method + " " + r.URL.RequestURI(), string(body),
				only(r.Header, "Access_key", "Department-Id", "Content-Type", "User-Agent", "Accept")}
			if key := r.Header[strings.ToLower("Access_key")]; key != nil { // as a client that does not canonicalise
				asked.headers["Access_key"] = key
			}
			response, err := http.DefaultTransport.RoundTrip(r)
			require.NoError(t, err)
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Len(t, seen.all, 2*(i+1))
			require.Equal(t, asked, seen.all[2*i])
			require.Equal(t, answered(response.StatusCode, response.Header, string(text)), seen.all[2*i+1])
			texts[strings.TrimRight(string(text), "0123456789")]++
		}
		require.GreaterOrEqual(t, len(texts), 5, "%v", texts)
	}
}

// anyCall returns a random call of one of the clients.
func anyCall(t *testing.T, random *rand.Rand, address string, i int) *http.Request {
	one := func(all ...string) string { return all[random.IntN(len(all))] }
	name := one("otpgenservlet", "OTPGenServlet", "otpregenservlet;jsessionid=AB%20C", "plainotpvalidationservlet",
		"otpvalidationservlet", "plainotpvalidationservlet")
	values := url.Values{"mobile": {one("919551492394", "+919551492395", "12", "")},
		"ipaddress": {one("10.0.0.1", "x y", "")},
		"otp":       {one("123456", "c+/=", "%", "")}, "email": {one("", "a@example.com")}}
	form := values.Encode()
	query, body := "?"+form, ""
	switch i % 5 {
	case 0:
		query, body = "", form
	case 1:
		query = "?%20" + form + one("&a=%zz", "&mobile=1", ";b=c", "&q=\"<>\\|", "&x=\xc3\xa9\xff")
	case 2:
		query = "?"
	}
	r, err := http.NewRequestWithContext(t.Context(), one("GET", "POST"), address+"/otpauthapi/"+name,
		strings.NewReader(body))
	require.NoError(t, err)
	r.URL.RawQuery, r.URL.ForceQuery = strings.TrimPrefix(query, "?"), query == "?"
	r.Header["access_key"] = []string{bridgedKey}
	r.Header["User-Agent"] = []string{one("okhttp/4", "axios/1.7 (node)")}
	if body != "" {
		r.Header["Content-Type"] = []string{one("application/x-www-form-urlencoded",
			"application/x-www-form-urlencoded; charset=x")}
	}
	if random.IntN(3) == 0 {
		r.Header["Department-Id"] = []string{one("Sales", "ünï", "")}
	}
	return r
}

// An upstream's failure is answered with a servlet's text, and never with a decision of this server.
func TestForward_FailuresAreAnErrorOfTheServlets(t *testing.T) {
	page := strings.Repeat("<html>gone</html>", 10)
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"hangs":            func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"resets":           func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"502 and a page":   says(502, page),
		"200 and a page":   says(200, page),
		"JSON":             says(200, `{"ok":true}`),
		"redirects":        func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"1 MB":             says(200, strings.Repeat("x", 1<<20)),
		"odd bytes":        says(200, "Verified successfully\x00\xff"),
		"two lines":        says(200, "Verified successfully\nERROR\n"),
		"nothing with 500": says(500, ""),
		"breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("Verified successfully"))
		},
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("SSH-2.0-x\r\n"))
				_ = conn.Close()
			}
		},
		"101": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
				_, _ = io.Copy(io.Discard, conn) // until the bridge hangs up
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				answer(w, r)
			}))
			defer upstream.Close()
			front := newSide(t, forwarding(upstream.URL), asItIs)
			for i, call := range []string{"otpgenservlet", "otpregenservlet", "plainotpvalidationservlet"} {
				require.Equal(t, "200 ERROR", front.ask(t, front.server, call, "otp", "123456"))
				require.EqualValues(t, i+1, calls.Load(), "a call goes out once")
			}
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	secured := httptest.NewTLSServer(http.NotFoundHandler()) // signed by no known authority
	defer secured.Close()
	secured.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	for _, address := range []string{closed.URL, secured.URL} {
		front := newSide(t, forwarding(address), asItIs)
		require.Equal(t, "200 ERROR", front.ask(t, front.server, "otpgenservlet"))
	}
}

// ask calls a servlet and returns status and text.
func (s *side) ask(t *testing.T, server *httptest.Server, name string, more ...string) string {
	return s.askFor(t, server, name, "919551492394", more...)
}

func (s *side) askFor(t *testing.T, server *httptest.Server, name, mobile string, more ...string) string {
	t.Helper()
	values := url.Values{"ipaddress": {"10.20.51.122"}, "mobile": {mobile}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost,
		server.URL+"/otpauthapi/"+name+"?"+values.Encode(), nil)
	require.NoError(t, err)
	r.Header["access_key"] = []string{bridgedKey}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return fmt.Sprint(response.StatusCode, " ", string(text))
}

// code returns the code of the newest message to a number.
func (s *side) code(t *testing.T, mobile string) string {
	t.Helper()
	messages, err := s.engine.Inbox.List(t.Context(), engine.MessageQuery{Account: s.address, To: "+" + mobile, Limit: 1})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	return messages[0].Code
}

// An open connection is reused, and a call without a key or with an unknown one is never forwarded.
func TestForward_OnlyCallsOfTheAccountLeave(t *testing.T) {
	var calls, connections atomic.Int32
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		_, _ = w.Write([]byte("OTP Generated Successfully"))
	}))
	upstream.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	upstream.Start()
	defer upstream.Close()
	front := newSide(t, forwarding(upstream.URL), asItIs)
	for range 5 {
		require.Equal(t, "200 OTP Generated Successfully", front.ask(t, front.server, "otpgenservlet"))
	}
	require.EqualValues(t, 5, calls.Load())
	require.EqualValues(t, 1, connections.Load())
	for _, method := range []string{"HEAD", "PUT", "DELETE"} {
		r, err := http.NewRequestWithContext(t.Context(), method, front.server.URL+"/otpauthapi/otpgenservlet", nil)
		require.NoError(t, err)
		r.Header["access_key"] = []string{bridgedKey}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	}
	response, err := http.Get(front.server.URL + "/otpauthapi/otpgenservlet")
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "UNAUTHERISED USER", string(text))
	require.EqualValues(t, 5, calls.Load())
}
