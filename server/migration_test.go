package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/server/bridge"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// way is an account that moves from one server, which stands for the vendor's, to another.
type way struct {
	*testing.T
	vendor, here *booted
	environ      []string // of here
	token        string   // of here's owner
	secrets      []sentinel
}

const wayAccount = "10000000000001" // of the demo accounts, with the same keys on both

// report returns the account's report, which must be the same on the command line and over HTTP.
func (w *way) report() bridge.AccountReport {
	w.Helper()
	w.here.tally.Write()
	var out, problems output
	require.Equal(w, exitOK, run([]string{"migration", "report", "--account", wayAccount, "--since", "1h", "--json"},
		process{environ: w.environ, stdout: &out, stderr: &problems}), problems.String())
	var said, shown bridge.Report
	require.NoError(w, json.Unmarshal([]byte(out.String()), &said))
	a := w.here.do("GET", "/api/migration?hours=1&account="+wayAccount, "", "Authorization", "Bearer "+w.token)
	require.Equal(w, 200, a.status, a.body)
	require.NoError(w, json.Unmarshal([]byte(a.body), &shown))
	require.Equal(w, said, shown)
	return said.Accounts[0]
}

func (w *way) call(name string) bridge.CallReport {
	for _, call := range w.report().Calls {
		if call.Name == name {
			return call
		}
	}
	return bridge.CallReport{}
}

func (w *way) to(mode otp.BridgeMode) {
	_, err := w.here.manage.Accounts.CutOver(w.Context(), otp.Actor{Kind: "operator"}, wayAccount, mode, time.Time{}, nil)
	require.NoError(w, err)
	edit(w.T, w.environ, `UPDATE otp_auth_config SET cut_over_at = cut_over_at - 11000 WHERE esme_address = `+wayAccount)
	w.here.engine.Forget() // in place of waiting for the moment
}

// login generates and validates with the servlets; maker must send the message.
func (w *way) login(maker *booted) {
	w.Helper()
	require.Equal(w, "OTP Generated Successfully", w.here.servlet("otpgenservlet", documentedKey, person("919876543210")))
	code := maker.messages("to=919876543210")[0].Code
	parameter := encrypted(w.T, sampleKey, sampleIV, code)
	if len(code) == 10 { // a shorter one may be in any file by chance
		w.secrets = append(w.secrets, digitsSentinel("code", code), textSentinel("encrypted code", parameter))
	}
	require.Equal(w, "Verified successfully", w.here.servlet("otpvalidationservlet", documentedKey,
		person("919876543210", "otp", parameter)))
}

func (w *way) set(column string, change func(*otp.Account)) {
	_, err := w.here.manage.Accounts.Change(w.Context(), manage.Edit{Account: wayAccount, Columns: []string{column},
		Set: func(n *manage.Imported) error { change(&n.Account); return nil }})
	require.NoError(w, err)
}

// One account moves completely, and the report is right at each step.
func TestMigration_TheReportIsRightAtEachStep(t *testing.T) {
	t.Parallel()
	w := &way{T: t, vendor: boot(t, variables(t)...), environ: variables(t, "OTPBRIDGE_LOG_LEVEL=debug"),
		secrets: append(numberSentinel("919876543210"), numberSentinel("919876543211")...)}
	w.here = boot(t, w.environ...)
	w.token = ownerToken(t, w.here.URL(), w.environ)
	const key = demoAPIKey
	for what, text := range map[string]string{"access key": documentedKey, "cipher key": sampleKey, "API key": key} {
		w.secrets = append(w.secrets, textSentinel(what, text))
	}
	_, err := w.vendor.manage.Accounts.Change(t.Context(),
		manage.Edit{Account: wayAccount, Columns: []string{"otp_length"},
			Set: func(n *manage.Imported) error { n.Length = 10; return nil }})
	require.NoError(t, err)
	w.set("otp_length", func(a *otp.Account) { a.Length = 10 })
	require.Empty(t, w.report().Calls)

	w.forwardAndShadow()
	w.to(otp.BridgeLocal)
	w.login(w.here)
	require.Equal(t, otp.BridgeLocal, w.report().Mode)
	validation := w.call("otpvalidationservlet")
	require.Equal(t, []int64{4, 3}, []int64{validation.Calls, validation.PassedOn})
	require.Equal(t, map[string]int64{"verified": 3, "ok": 1}, validation.Answers)

	// Mixed: sent by the JSON API, validated by the servlet.
	to := map[string]any{"to": "+919876543211", "ip": "203.0.113.7"}
	send := func() string {
		sent := map[string]any{"to": to["to"], "ip": to["ip"], "method": "sms", "type": "verification"}
		reply := w.here.v1("POST", "/v1/send", key, sent)
		require.Equal(t, 201, reply.status, "%+v", reply)
		return w.here.messages("to=919876543211")[0].Code
	}
	require.Equal(t, "Verified successfully", w.here.servlet("otpvalidationservlet", documentedKey,
		person("919876543211", "otp", encrypted(t, sampleKey, sampleIV, send()))))
	require.Equal(t, []int64{9, 1}, []int64{w.report().Servlets, w.report().V1})
	now := otp.At(time.Now())
	ends := now + otp.Day
	w.set("servlets_deprecated_at", func(a *otp.Account) { a.ServletsDeprecatedAt = &now })
	w.set("servlets_sunset_at", func(a *otp.Account) { a.ServletsSunsetAt = &ends })
	told := w.here.do("GET", "/otpauthapi/otpregenservlet?"+person("919876543211").Encode(), "", "access_key",
		documentedKey)
	requireAnnounced(t, told.header)

	// Only /v1: the servlets' counts do not change.
	last := w.call("otpvalidationservlet").LastCall
	to["code"] = send()
	verified := w.here.v1("POST", "/v1/verify", key, to)
	require.Equal(t, 200, verified.status)
	require.Empty(t, verified.header["Deprecation"])
	require.Equal(t, []int64{10, 3}, []int64{w.report().Servlets, w.report().V1})
	require.Equal(t, last, w.call("otpvalidationservlet").LastCall)
	require.Empty(t, w.call("/v1/verify").Successor)

	w.set("servlets_sunset_at", func(a *otp.Account) { a.ServletsSunsetAt = &now })
	require.Equal(t, "The feature is not enabled", w.here.servlet("otpgenservlet", documentedKey, person("919876543210")))
	require.EqualValues(t, 1, w.call("otpgenservlet").Answers["feature_off"])
	require.Equal(t, []int64{11, 3}, []int64{w.report().Servlets, w.report().V1})
	w.nothingSecretIsKept()
}

// forwardAndShadow runs the steps in which the vendor makes the codes.
func (w *way) forwardAndShadow() {
	upstream := w.vendor.URL() + "/otpauthapi"
	w.set("upstream_url", func(a *otp.Account) { a.UpstreamURL = &upstream })
	w.to(otp.BridgeForward)
	w.login(w.vendor)
	require.Equal(w, otp.BridgeForward, w.report().Mode)
	validation := w.call("otpvalidationservlet")
	require.EqualValues(w, 1, validation.PassedOn)
	require.Equal(w, map[string]int64{"verified": 1}, validation.Answers)
	require.Len(w, validation.Keys, 1)
	require.Equal(w, "127.0.0.1", validation.Addresses[0].ID)
	require.Equal(w, `POST /v1/verify {"to": "+919876543210", "ip": "203.0.113.7", "code": "1234567890"}`, validation.Successor)
	require.Equal(w, `POST /v1/send {"to": "+919876543210", "ip": "203.0.113.7", "method": "sms", `+
		`"fallback": ["email"], "email": "a@example.com", "type": "verification"}`,
		w.call("otpgenservlet").Successor)

	w.to(otp.BridgeShadow)
	w.login(w.vendor)
	require.Equal(w, otp.BridgeShadow, w.report().Mode)
	require.Empty(w, w.report().Differences)
	w.set("otp_length", func(a *otp.Account) { a.Length = 4 })
	w.login(w.vendor)
	require.Equal(w, map[string]int64{"otpvalidationservlet: verified there, wrong_length here": 1},
		w.report().Differences)
	require.Empty(w, w.here.messages(""), "nothing was sent here")
	w.set("otp_length", func(a *otp.Account) { a.Length = 10 })
}

// nothingSecretIsKept searches the database's files and the log for secrets, after calls in every mode.
func (w *way) nothingSecretIsKept() {
	settings, err := config.Load(w.environ)
	require.NoError(w, err)
	file := strings.TrimPrefix(settings.DatabaseURL.Reveal(), "sqlite:")
	places := map[string]string{"the log": w.here.log.String(), "the file": page(w.T, file),
		"its log": page(w.T, file+"-wal")}
	require.Greater(w, len(w.secrets), 12)
	for place, text := range places {
		require.Empty(w, leaks([]byte(text), w.secrets), place)
		require.NotEmpty(w, leaks([]byte(text+" "+w.secrets[0].value()+" "), w.secrets), "what is planted is found")
	}
}

// The grammar of the headers that announce an end: a Date of RFC 9651, an IMF-fixdate of RFC 9110, and one link of RFC
// 8288 with its parameters.
var (
	deprecationGrammar = regexp.MustCompile(`^@-?[0-9]{1,15}$`)
	sunsetGrammar      = regexp.MustCompile(`^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|` +
		`Nov|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$`)
	linkGrammar = regexp.MustCompile(`^<([A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*)>((?:[ \t]*;[ \t]*` + linkToken + `[ \t]*` +
		`(?:=[ \t]*(?:` + linkToken + `|"(?:[\t !#-\[\]-~]|\\[\t -~])*"))?)*)$`)
)

const linkToken = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

// requireAnnounced requires each of the three headers once, in its grammar, and a sunset not before the deprecation.
func requireAnnounced(t *testing.T, header http.Header) {
	t.Helper()
	for name, grammar := range map[string]*regexp.Regexp{"Deprecation": deprecationGrammar, "Sunset": sunsetGrammar,
		"Link": linkGrammar} {
		require.Len(t, header[name], 1, name)
		require.Regexp(t, grammar, header.Get(name))
	}
	seconds, err := strconv.ParseInt(header.Get("Deprecation")[1:], 10, 64)
	require.NoError(t, err)
	ends, err := http.ParseTime(header.Get("Sunset"))
	require.NoError(t, err)
	require.False(t, ends.Before(time.Unix(seconds, 0)), "RFC 9745, section 4")
	link := linkGrammar.FindStringSubmatch(header.Get("Link"))
	require.Equal(t, []string{"/v1/resend", `; rel="successor-version"`}, link[1:])
}

// The grammar refuses other texts.
func TestMigration_TheGrammarRefuses(t *testing.T) {
	for grammar, lines := range map[*regexp.Regexp][]string{
		deprecationGrammar: {"", "true", "?1", "@", "@1.5", "1793491200", "@1793491200 ", "@x", "@1234567890123456", "@1;@2"},
		sunsetGrammar: {"", "@1793491200", "Sat, 1 Nov 2026 06:00:00 GMT", "Sat, 01 Nov 2026 06:00:00 UTC",
			"Saturday, 01-Nov-26 06:00:00 GMT", "2026-11-01T06:00:00Z", "Sat, 01 Nov 2026 06:00 GMT"},
		linkGrammar: {"", "/v1/send", `</v1/send> rel="successor-version"`, `</v1/send>; rel="successor-version`, `</v1 send>`,
			`</v1/send>; =x`, `</v1/send>; rel="a"b`, `<</v1/send>>; rel=x`, `</v1/send>,`},
	} {
		for _, line := range lines {
			require.NotRegexp(t, grammar, line)
		}
	}
}

// In shadow mode no message reaches an SMS gateway. When this server answers, the same calls reach it.
func TestShadow_NothingReachesAGateway(t *testing.T) {
	var sent atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }))
	defer gateway.Close()
	w := &way{T: t, vendor: boot(t, variables(t)...),
		environ: variables(t, "OTPBRIDGE_SMS_CHANNELS="+gateway.URL+"/?to={to}&text={text}")}
	w.here = boot(t, w.environ...)
	upstream := w.vendor.URL() + "/otpauthapi"
	w.set("upstream_url", func(a *otp.Account) { a.UpstreamURL = &upstream })
	for _, step := range []struct {
		mode otp.BridgeMode
		sent int32
	}{{otp.BridgeShadow, 0}, {otp.BridgeLocal, 2}} {
		w.to(step.mode)
		for _, servlet := range []string{"otpgenservlet", "otpregenservlet"} {
			require.Equal(t, "OTP Generated Successfully", w.here.servlet(servlet, documentedKey, person("919876543210")))
		}
		require.Equal(t, step.sent, sent.Load(), step.mode)
	}
}
