package servlet

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/server/web"
	"otpbridge/sql/sqltest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	sqltest.Main(m)
}

// mounted returns a router with the servlets and no engine: a request that reaches the engine panics and is answered
// with ERROR, so every other answer shows that nothing was executed.
func mounted(contextPath string, o Options) *gin.Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	router := gin.New()
	Mount(router, contextPath, o)
	return router
}

func answerOf(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("access_key", "a key to look up")
	h.ServeHTTP(w, r)
	return w
}

func TestMount_OtherMethodsAreRefusedAndExecuteNothing(t *testing.T) {
	router := mounted("/otpauthapi", Options{})
	for _, method := range []string{
		"HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "M-SEARCH", "X",
	} {
		for _, s := range servlets {
			t.Run(method+" "+s.name, func(t *testing.T) {
				w := answerOf(router, method, "/otpauthapi/"+s.name)
				require.Equal(t, http.StatusMethodNotAllowed, w.Code)
				require.Equal(t, "GET, POST", w.Header().Get("Allow"))
			})
		}
	}
	for _, method := range []string{"GET", "POST"} {
		require.Equal(t, "ERROR", answerOf(router, method, "/otpauthapi/otpgenservlet").Body.String(),
			"the engine is reached")
	}
}

func TestMount_FindsTheServletInEverySpelling(t *testing.T) {
	const reached, missing = "ERROR", "Not Found"
	tests := map[string]string{
		"/otpauthapi/otpgenservlet":                         reached,
		"/otpauthapi/otpvalidationservlet":                  reached,
		"/otpauthapi/otpregenservlet":                       reached,
		"/otpauthapi/plainotpvalidationservlet":             reached,
		"/otpauthapi/OtpGenServlet":                         reached,
		"/otpauthapi/OTPVALIDATIONSERVLET":                  reached,
		"/otpauthapi/otpgenservlet;jsessionid=0A1B2C3D":     reached,
		"/otpauthapi/otpgenservlet;jsessionid=0A;x=y?a=b":   reached,
		"/otpauthapi/otpgenservlet%3bjsessionid=0A1B2C3D":   reached,
		"/otpauthapi/OTPregenSERVLET;JSESSIONID=0A1B2C3D":   reached,
		"/otpauthapi/%6ftpgenservlet":                       reached,
		"/otpauthapi/otpgenservlets":                        missing,
		"/otpauthapi/otpgen":                                missing,
		"/otpauthapi/;jsessionid=0A1B2C3D":                  missing,
		"/otpauthapi/otpgenservlet%20":                      missing,
		"/otpauthapi/otpgenservlet%2f..%2fotpregenservlet":  "404 page not found",
		"/otpgenservlet":                                    "404 page not found",
		"/OTPAUTHAPI/otpgenservlet":                         "404 page not found",
		"/otpauthapi/otpgenservlet/otpvalidationservlet":    "404 page not found",
		"/otpauthapi/otpgenservlet;jsessionid=1/otpgenserv": "404 page not found",
	}
	router := mounted("/otpauthapi", Options{})
	for target, want := range tests {
		t.Run(target, func(t *testing.T) {
			w := answerOf(router, "GET", target)
			require.Equal(t, want, w.Body.String())
			require.Equal(t, want != reached, w.Code == http.StatusNotFound)
			require.True(t, strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain"))
		})
	}
}

func TestMount_LivesBesideOtherRoutesAtTheRoot(t *testing.T) {
	router := mounted("", Options{})
	ok := func(c *gin.Context) { c.String(http.StatusOK, "mine") }
	router.GET("/livez", ok)
	router.GET("/sandbox/messages", ok)
	router.POST("/sandbox/reset", ok)
	require.Equal(t, "ERROR", answerOf(router, "GET", "/otpgenservlet").Body.String())
	require.Equal(t, "mine", answerOf(router, "GET", "/livez").Body.String())
	require.Equal(t, "mine", answerOf(router, "GET", "/sandbox/messages").Body.String())
	require.Equal(t, "mine", answerOf(router, "POST", "/sandbox/reset").Body.String())
	require.Equal(t, http.StatusNotFound, answerOf(router, "GET", "/readyz").Code)
	require.Equal(t, http.StatusMethodNotAllowed, answerOf(router, "PUT", "/otpgenservlet").Code)
}

func TestMount_RefusesAnUnknownProfile(t *testing.T) {
	require.Panics(t, func() { mounted("", Options{Profile: "dead"}) })
}

func TestServe_EveryAnswerCarriesTheSameHeaders(t *testing.T) {
	for contentType, want := range map[string]string{
		"":                              "text/plain; charset=utf-8",
		"text/html; charset=iso-8859-1": "text/html; charset=iso-8859-1",
	} {
		router := mounted("/otpauthapi", Options{ContentType: contentType, Profile: otp.LiveProfile})
		w := answerOf(router, "POST", "/otpauthapi/otpgenservlet")
		require.Equal(t, http.Header{
			"Content-Type": {want}, "Cache-Control": {"no-store"}, "Content-Length": {"7"},
		}, w.Header())
		require.Equal(t, "ERROR\r\n", w.Body.String())
	}
}

// A panic before the key is known is answered with the process-wide texts, and regenerate has only one text for it.
func TestServe_APanicIsAnsweredAndLoggedOnce(t *testing.T) {
	for _, s := range servlets {
		t.Run(s.name, func(t *testing.T) {
			var log bytes.Buffer
			router := gin.New()
			var told web.Request
			router.Use(func(c *gin.Context) {
				web.Identify(c, "req-12345678")
				c.Next()
				told = *web.RequestOf(c)
			})
			Mount(router, "/otpauthapi", Options{Log: slog.New(slog.NewTextHandler(&log, nil)), StrictHTTP: true})

			w := answerOf(router, "GET", "/otpauthapi/"+s.name)
			require.Equal(t, "ERROR", w.Body.String())
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
			require.Contains(t, log.String(), "request_id=req-12345678")
			require.Contains(t, log.String(), "servlet="+s.name)
			require.Contains(t, log.String(), "goroutine", "the stack is there")
			require.Equal(t, "fault", told.Kind)
			require.Empty(t, told.Account)
		})
	}
}

func TestAnswer_WordsTheOutcomeForTheAccount(t *testing.T) {
	live := otp.LiveProfile
	account := &otp.Account{Address: "10000000000007", Profile: &live, StrictHTTP: true,
		Overrides: map[string]string{"error": "SORRY", "unauthorised": "never seen", "verified": "OK"}}
	tests := map[string]struct {
		servlet servlet
		account *otp.Account
		err     error
		status  int
		body    string
		kind    string
	}{
		"success": {
			servlets[1], account, nil, 200, "OK\r\n", "ok"},
		"a refusal": {
			servlets[1], account, &otp.Error{Kind: otp.WrongCode, Remaining: 1}, 400,
			"Wrong PIN . No of Retries remaining # 1\r\n", "wrong_code"},
		"a wrapped refusal": {
			servlets[2], account, errors.Join(errors.New("sending"), otp.Refuse(otp.RegenerationsExhausted, "")), 429,
			"MAXREGEN\r\n", "regenerations_exhausted"},
		"a refusal that regenerate has no text for keeps its status": {
			servlets[2], account, otp.Refuse(otp.Expired, ""), 410, "SORRY\r\n", "expired"},
		"a fault": {
			servlets[0], account, errors.New("disk full"), 500, "SORRY\r\n", "fault"},
		"a refusal of no kind is a fault": {
			servlets[1], account, &otp.Error{}, 500, "SORRY\r\n", "fault"},
		"a missing department": {
			servlets[1], account, otp.Refuse(otp.MissingDepartment, ""), 400, "", "missing_department"},
		"a refused key has nobody's words": {
			servlets[0], nil, otp.Refuse(otp.UnknownCredential, ""), 200, "UNAUTHERISED USER", "unknown_credential"},
		"a refused key of a known account neither": {
			servlets[0], account, otp.Refuse(otp.ForbiddenNetwork, ""), 200, "UNAUTHERISED USER", "forbidden_network"},
		"a fault before the account is known": {
			servlets[0], nil, errors.New("disk full"), 200, "ERROR", "fault"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDoor(Options{Log: slog.New(slog.DiscardHandler)})
			w := httptest.NewRecorder()
			c := gin.CreateTestContextOnly(w, gin.New())
			c.Request = httptest.NewRequest("GET", "/", nil)
			d.answer(c, &exchange{door: d, servlet: test.servlet, account: test.account}, test.err)
			require.Equal(t, test.status, w.Code)
			require.Equal(t, test.body, w.Body.String())
			require.Equal(t, test.kind, web.RequestOf(c).Kind)
			if test.account != nil {
				require.Equal(t, "10000000000007", web.RequestOf(c).Account)
			}
		})
	}
}

func TestLogFault_TellsWhatTheAnswerDoesNot(t *testing.T) {
	var log bytes.Buffer
	d := newDoor(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), gin.New())
	c.Request = httptest.NewRequest("GET", "/?mobile=919551492394&otp=924681", nil)
	c.Request.Header.Set("access_key", "c2VudGluZWw=")
	web.Identify(c, "req-12345678")
	x := &exchange{door: d, servlet: servlets[0], account: &otp.Account{Address: "10000000000007"}, request: c.Request}
	d.answer(c, x, errors.New("disk full"))

	line := log.String()
	require.Equal(t, 1, strings.Count(line, "\n"))
	for _, part := range []string{"level=ERROR", "req-12345678", "otpgenservlet", "10000000000007", `"disk full"`} {
		require.Contains(t, line, part)
	}
	for _, secret := range []string{"919551492394", "924681", "c2VudGluZWw="} {
		require.NotContains(t, line, secret)
	}
}

func TestOne_TakesARepeatedHeaderOnlyWithOneValue(t *testing.T) {
	tests := map[string]struct {
		values []string
		want   string
		single bool
	}{
		"none":          {nil, "", true},
		"one":           {[]string{"k"}, "k", true},
		"equal":         {[]string{"k", " k "}, "k", true},
		"differing":     {[]string{"k", "l"}, "", false},
		"one and empty": {[]string{"", "k"}, "", false},
		"letter case":   {[]string{"k", "K"}, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			value, single := one(test.values)
			require.Equal(t, test.want, value)
			require.Equal(t, test.single, single)
		})
	}
}

func TestDepartmentMissing_FollowsModeAndList(t *testing.T) {
	list := []string{"sales", "claims"}
	tests := []struct {
		mode   otp.DepartmentMode
		list   []string
		header []string
		// missing at generate, validate, regenerate
		want [3]bool
	}{
		{otp.DepartmentIgnored, list, nil, [3]bool{}},
		{otp.DepartmentIgnored, list, []string{"other"}, [3]bool{}},
		{otp.DepartmentRequired, list, nil, [3]bool{true, true, true}},
		{otp.DepartmentRequired, list, []string{"other"}, [3]bool{true, true, true}},
		{otp.DepartmentRequired, list, []string{"Sales"}, [3]bool{true, true, true}},
		{otp.DepartmentRequired, list, []string{" claims "}, [3]bool{}},
		{otp.DepartmentRequired, nil, []string{"anything"}, [3]bool{}},
		{otp.DepartmentRequired, nil, []string{"  "}, [3]bool{true, true, true}},
		{otp.DepartmentRequired, list, []string{"sales", "claims"}, [3]bool{true, true, true}},
		{otp.DepartmentRequired, list, []string{"sales", "sales"}, [3]bool{}},
		{otp.DepartmentRequiredToValidate, list, nil, [3]bool{false, true, false}},
		{otp.DepartmentRequiredToValidate, list, []string{"other"}, [3]bool{false, true, false}},
		{otp.DepartmentRequiredToValidate, list, []string{"sales"}, [3]bool{}},
	}
	for _, test := range tests {
		for s, want := range test.want {
			x := exchange{
				servlet: servlet{step: step(s)},
				account: &otp.Account{DepartmentMode: test.mode, Departments: test.list},
				request: &http.Request{Header: http.Header{"Department-Id": test.header}},
			}
			require.Equal(t, want, x.departmentMissing(), "%+v at step %d", test, s)
		}
	}
}

func TestGuess_ThePlainServletReadsDigitsOnly(t *testing.T) {
	for given, want := range map[string]string{
		"123456": "123456", " 123456 ": "123456", "0042": "0042", "1": "1",
		"12345a": "", "12 34": "", "+1234": "", "１２３４": "", "-1234": "", "\x00": "", "1234\n": "",
	} {
		x := exchange{servlet: servlet{step: validate, plain: true}}
		require.Equal(t, want, x.guess(nil, parameters{otp: given}), "%q", given)
	}
}

func TestPeer_IsTheResolvedAddress(t *testing.T) {
	for given, want := range map[string]netip.Addr{
		"192.0.2.7:4711":          netip.MustParseAddr("192.0.2.7"),
		"[2001:db8::7]:4711":      netip.MustParseAddr("2001:db8::7"),
		"[::ffff:192.0.2.7]:4711": netip.MustParseAddr("192.0.2.7"),
		"@":                       {},
		"":                        {},
	} {
		require.Equal(t, want, web.Peer(&http.Request{RemoteAddr: given}), "%q", given)
	}
}

func TestContentLength_IsThatOfTheAnswer(t *testing.T) {
	for _, n := range []int{0, 5, len(lengths) - 1, len(lengths), 300} {
		require.Equal(t, []string{strconv.Itoa(n)}, contentLength(n))
	}
}
