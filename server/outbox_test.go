package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// receiver is an SMS gateway that takes everything and counts messages by their ids.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	taken map[string]int
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{taken: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken[request.URL.Query().Get("id")]++
	}))
	t.Cleanup(r.Close)
	return r
}

// channel returns the settings that send to the receiver, without the cost guard, which would stop consecutive
// numbers.
func (r *receiver) channel() []string {
	return []string{"OTPBRIDGE_SMS_CHANNELS=" + r.URL + "/?to={to_digits}&text={text}&id={id}",
		"OTPBRIDGE_PREFIX_UNVERIFIED=0"}
}

func (r *receiver) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for id, n := range r.taken {
		counts[id] = n
	}
	return counts
}

// dies kills the server a moment after a delivery first reaches a line of the outbox, so that other deliveries are at
// other lines.
func dies(before, line string) sqltest.Mutation {
	return sqltest.Mutation{Name: "dies before " + before, File: "outbox.go", Package: "otpbridge/server/engine",
		Change: func(t testing.TB, source string) string {
			t.Helper()
			return sqltest.Replace(t, source, line, line+
				"	if seeded(`dies before "+before+"`, true, false) {\n		dieSoon()\n	}\n", 1)
		}}
}

// doesNotMark changes how a door's deliveries are stored: without the time at which their hand-over began.
func doesNotMark(door, marks, does string) sqltest.Mutation {
	return sqltest.Mutation{Name: door + " does not mark", File: "delivery.go",
		Change: func(t testing.TB, source string) string {
			t.Helper()
			return sqltest.Replace(t, source, marks, does, 1)
		}}
}

var (
	// diesBeforeTheMark is killed between a hand-over and the mark that records it.
	diesBeforeTheMark = dies("the mark",
		"func (e *Engine) tryFinish(s *send, row *otp.Delivery, outcome otp.Outcome, receipt "+
			"otp.ID) error {\n")
	servletsDoNotMark = doesNotMark("servlet", "inserts = deliveryFields.appendTo(inserts, v, &b.outbox[i])",
		`row := b.outbox[i]
		row.StartedAt = seeded("servlet does not mark", 0, row.StartedAt)
		inserts = deliveryFields.appendTo(inserts, v, &row)`)
	v1DoesNotMark = doesNotMark("v1", "v.moment(m.At), v.text(m.Channel),",
		"seeded[driver.Value](`v1 does not mark`, nil, v.moment(m.At)), v.text(m.Channel),")
	// diesBeforeTheHandOver is killed between the COMMIT of a send and its hand-over.
	diesBeforeTheHandOver = dies("the hand-over",
		"func (e *Engine) carry(s *send, row *otp.Delivery, life time.Duration, tell "+
			"func(deliver.Outcome)) {\n")
)

// door requests a code, and reports whether the answer says that it is being sent.
type door func(c client, number int) bool

func throughServlet(c client, number int) bool {
	a, err := c.try("GET", "/otpauthapi/otpgenservlet?"+person(fmt.Sprintf("9195%08d", number)).Encode(), "",
		"access_key", documentedKey)
	return err == nil && a.body == "OTP Generated Successfully"
}

func throughV1(c client, number int) bool {
	a, err := c.try("POST", "/v1/send", fmt.Sprintf(`{"to":"+9195%08d","method":"sms","type":"verification"}`, number),
		asAPI...)
	return err == nil && a.status == http.StatusCreated
}

// killed generates codes until the server has died kills times at its failpoint, and lets a normal server finish the
// rest. It compares every delivery with the receiver's counts, and returns how many ended in which way.
func killed(t *testing.T, l *ledger, kills int, dying string, through door) (ended map[string]int) {
	t.Helper()
	receiver, folder := startReceiver(t), t.TempDir()
	environ := variables(t, receiver.channel()...)
	db := sqltest.Connect(t, databaseOf(t, environ))
	number := 0
	for range kills {
		running := startProgram(t, dying, folder, environ...)
		var calls sync.WaitGroup
		for range 8 {
			number++
			mine := number
			calls.Go(func() {
				if through(running.client, mine) {
					l.acknowledge(1)
				}
			})
		}
		require.NotZero(t, running.exitCode())
		calls.Wait()
		l.inject(1)
		// Let the leases expire.
		_, err := db.Exec(`UPDATE deliveries SET leased_until = 1, version = version + 1 WHERE leased_until IS NOT NULL`)
		require.NoError(t, err)
	}
	startProgram(t, program(t), folder, environ...)
	eventually(t, "every delivery has ended", func() bool {
		var open int
		require.NoError(t, db.Get(&open, `SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL`))
		return open == 0
	})
	return checkDeliveries(t, l, db, receiver.counts())
}

// checkDeliveries compares how deliveries ended with what a receiver has, and counts them.
func checkDeliveries(t *testing.T, l *ledger, db *sqlx.DB, counts map[string]int) (ended map[string]int) {
	t.Helper()
	var rows []struct {
		Challenge []byte `db:"challenge_id"`
		Outcome   string
	}
	require.NoError(t, db.Select(&rows, `SELECT challenge_id, outcome FROM deliveries`))
	ended = map[string]int{}
	for _, row := range rows {
		id := otp.ID(row.Challenge).Text("otp")
		n := counts[id]
		delete(counts, id)
		ended[row.Outcome]++
		l.recheck(1)
		switch row.Outcome {
		case "sent":
			l.equal(1, n, "%s is marked as sent, and arrived", id)
		case "unknown":
			l.equal(true, n <= 1, "%s of unknown outcome arrived %d times", id, n)
		default:
			l.equal(0, n, "%s ended as %q, and arrived", id, row.Outcome)
		}
	}
	l.equal(0, len(counts), "messages that no delivery tells of: %v", counts)
	l.note("deliveries ended as %v", ended)
	return ended
}

func TestKill_BetweenHandOverAndMarkNothingIsSentTwiceOrLost(t *testing.T) {
	t.Parallel()
	dying := mutant(t, diesBeforeTheMark)
	for name, through := range map[string]door{"servlet": throughServlet, "v1": throughV1} {
		t.Run(name, func(t *testing.T) {
			l := new(ledger)
			ended := killed(t, l, times(200, 3), dying, through)
			l.equal(true, ended["unknown"] > 0, "what was handed over ended as unknown: %v", ended)
			l.report(t)
		})
	}
}

// If a server is killed before the hand-over, the doors differ. A servlet's caller waited and got an error, so its
// message is not sent later and ends as unknown. An application was told that its message is queued, so another server
// delivers it.
func TestKill_BetweenCommitAndHandOverAServletsSendIsUnknownAndAnApplicationsIsDelivered(t *testing.T) {
	t.Parallel()
	l, dying := new(ledger), mutant(t, diesBeforeTheHandOver)
	for name, row := range map[string]struct {
		through door
		outcome string
	}{"servlet": {throughServlet, "unknown"}, "v1": {throughV1, "sent"}} {
		t.Run(name, func(t *testing.T) {
			before := l.acknowledged
			ended := killed(t, l, times(200, 3), dying, row.through)
			l.equal(true, len(ended) == 1 && ended[row.outcome] > 0, "all ended as %s: %v", row.outcome, ended)
			l.equal(row.outcome == "sent", l.acknowledged > before, "who was told that a code is on its way")
		})
	}
	l.report(t)
}

// Without the mark before the hand-over the same kills must find messages that are sent twice. The servlets write the
// mark in the transaction of the send, the others after it.
func TestHarness_CatchesAnOutboxThatDoesNotMarkKill(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		through door
		bug     sqltest.Mutation
	}{
		"servlet": {throughServlet, servletsDoNotMark},
		"v1":      {throughV1, v1DoesNotMark},
	} {
		t.Run(name, func(t *testing.T) {
			found := new(ledger)
			killed(t, found, 3, mutant(t, diesBeforeTheMark, row.bug), row.through)
			require.True(t, found.broken(), "the kills notice that the mark is missing: %v", found)
			t.Logf("for example: %s", found.violations[0])
		})
	}
}

// A dead provider is detected early enough to try the next one.
func TestDelivery_ADeadGatewayCostsLessThanThreeSeconds(t *testing.T) {
	second := startReceiver(t)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	channels := strings.TrimPrefix(second.channel()[0], "OTPBRIDGE_SMS_CHANNELS=")
	s := boot(t, variables(t, "OTPBRIDGE_SMS_CHANNELS="+dead.URL+"/?to={to}&text={text}#name=dead,"+channels)...)
	began := time.Now()
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	require.Less(t, time.Since(began), 3*time.Second)
	require.Len(t, second.counts(), 1)
}

func TestDelivery_WithEveryGatewayDownTheServletsSaySo(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	s := boot(t, variables(t, "OTPBRIDGE_SMS_CHANNELS="+dead.URL+"/?to={to}&text={text}", "OTPBRIDGE_DELIVERY_WAIT=1s")...)
	for range 6 {
		require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
		require.Equal(t, "ERROR", s.servlet("otpregenservlet", documentedKey, person("919551492394")))
	}
}

func TestStart_NamesTheSettingOfAChannelThatIsNone(t *testing.T) {
	var log output
	code := run([]string{"serve"}, process{
		environ: variables(t,
			"OTPBRIDGE_SMS_CHANNELS=https://user:swordfish@sms.example/send"), stdout: io.Discard, stderr: &log,
	})
	require.Equal(t, exitUnusable, code)
	require.Contains(t, log.String(), "OTPBRIDGE_SMS_CHANNELS")
	require.NotContains(t, log.String(), "swordfish")
}

// A provider's reports are accepted only with the channel's secret, and never undo a known outcome.
func TestCallbacks_AreAuthenticatedAndMonotonic(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		io.WriteString(w, `{"sid":"m-1"}`)
	}))
	defer gateway.Close()
	profile := filepath.Join(t.TempDir(), "profile.json")
	require.NoError(t, os.WriteFile(profile, []byte(`{"name":"g","id":"sid","receipt":{"id":"msg","status":"state"}}`),
		0o600))
	environ := variables(t, "OTPBRIDGE_FILES_DIR="+filepath.Dir(profile),
		"OTPBRIDGE_SMS_CHANNELS="+gateway.URL+"/?to={to}&text={text}#callback=0123456789abcdef&profile="+profile)
	db := sqltest.Connect(t, databaseOf(t, environ))
	s := boot(t, environ...)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	outcome := func() (text string) {
		require.NoError(t, db.Get(&text, `SELECT COALESCE(MAX(outcome), '') FROM deliveries`))
		return text
	}
	eventually(t, "the mark", func() bool { return outcome() == "sent" })
	for _, row := range []struct {
		path    string
		status  int
		outcome string
	}{
		{"/callbacks/g?msg=m-1&state=DELIVRD", 401, "sent"},
		{"/callbacks/g?msg=m-1&state=DELIVRD&secret=0123456789abcdeX", 401, "sent"},
		{"/callbacks/other?msg=m-1&state=DELIVRD&secret=0123456789abcdef", 401, "sent"},
		{"/callbacks/g/10000000000001?msg=m-1&state=DELIVRD&secret=0123456789abcdef", 401, "sent"},
		{"/callbacks/g?msg=m-1&state=what&secret=0123456789abcdef", 400, "sent"},
		{"/callbacks/g?msg=m-2&state=DELIVRD&secret=0123456789abcdef", 404, "sent"},
		{"/callbacks/g?msg=m-1&state=ENROUTE&secret=0123456789abcdef", 204, "sent"},
		{"/callbacks/g?msg=m-1&state=UNDELIV&secret=0123456789abcdef", 204, "undelivered"},
		{"/callbacks/g?msg=m-1&state=DELIVRD&secret=0123456789abcdef", 204, "delivered"},
		{"/callbacks/g?msg=m-1&state=DELIVRD&secret=0123456789abcdef", 204, "delivered"},
		{"/callbacks/g?msg=m-1&state=UNDELIV&secret=0123456789abcdef", 204, "delivered"},
	} {
		require.Equal(t, row.status, s.do("POST", row.path, "").status, row.path)
		require.Equal(t, row.outcome, outcome(), row.path)
	}
	require.NotContains(t, s.log.String(), "0123456789abcdef")
}

func TestSendTest_SaysHowEachChannelEnded(t *testing.T) {
	receiver := startReceiver(t)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	send := func(arguments ...string) (int, string) {
		var out output
		code := run(append([]string{"send-test"}, arguments...), process{
			environ: variables(t,
				"OTPBRIDGE_SMS_CHANNELS="+dead.URL+"/?to={to}&text={text}#name=dead,"+
					receiver.URL+"/?to={to}&text={text}&id={id}#name=good"),
			stdout: &out, stderr: &out,
		})
		return code, out.String()
	}
	code, text := send("+919551492394")
	require.Equal(t, exitOK, code, text)
	require.Contains(t, text, "dead: not_sent")
	require.Contains(t, text, "good: sent")
	require.Len(t, receiver.counts(), 1)
	code, text = send("+919551492394", "--channel", "dead")
	require.Equal(t, exitFailed, code, text)
	for _, arguments := range [][]string{{"919551492394x"}, {"+919551492394", "--channel", "none"}} {
		code, text = send(arguments...)
		require.Equal(t, exitUnusable, code, text)
	}
}

func TestTestRecipients_HaveTheirCodesThroughEveryDoor(t *testing.T) {
	receiver := startReceiver(t)
	s := boot(t, variables(t, append(receiver.channel(), "OTPBRIDGE_SANDBOX_FIXED_CODE=111111",
		"OTPBRIDGE_SANDBOX_TEST_RECIPIENTS=+919551492394=sent:123456,+919551492395=unknown:654321,"+
			"+919551492396=sent:1234,person@customer.example=sent:222222")...)...)
	account := s.account(`{"email_enabled":true,"plain_validation_enabled":true}`)
	for number, code := range map[string]string{
		"919551492394": "123456", "919551492395": "654321", "919551492396": "111111", "919551492397": "111111",
	} {
		require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", account.AccessKey, person(number)), number)
		require.Equal(t, code, s.messages("limit=1&to=" + number)[0].Code, number)
		wrong := s.servlet("otpvalidationservlet", account.AccessKey,
			person(number, "otp", encrypted(t, account.CipherKey, account.CipherIV, "999999")))
		require.Contains(t, wrong, "Wrong PIN", number)
		right := person(number, "otp", encrypted(t, account.CipherKey, account.CipherIV, code))
		require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", account.AccessKey, right), number)
		require.Equal(t, "OTPEXPIRED", s.servlet("otpvalidationservlet", account.AccessKey, right), "once")
	}
	require.Len(t, receiver.counts(), 1, "what is sent to a test recipient goes nowhere; what has no outcome goes out: "+
		"4 less 3")

	as := []string{"Authorization", "Bearer " + account.APIKey, "Content-Type", "application/json"}
	sent := s.do("POST", "/v1/send", `{"to":"Person@customer.example","method":"email","type":"verification"}`, as...)
	require.Equal(t, 201, sent.status, sent.body)
	id := decoded(t, sent)["id"].(string)
	require.Equal(t, 200, s.do("POST", "/v1/verify", `{"id":"`+id+`","code":"222222"}`, as...).status)
}

func TestTestRecipients_AreOfTheSandboxAlone(t *testing.T) {
	receiver := startReceiver(t)
	rows := "OTPBRIDGE_SANDBOX_TEST_RECIPIENTS=+919551492394=not_sent,+919551492395=sent"
	s := boot(t, variables(t, append(receiver.channel(), rows)...)...)
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", documentedKey, person("919551492394")))
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person("919551492395")))
	require.Empty(t, receiver.counts())
	_, err := config.Load(variables(t, rows, "OTPBRIDGE_MODE=production"))
	require.ErrorContains(t, err, "OTPBRIDGE_SANDBOX_TEST_RECIPIENTS")
}

// Two servers that share a database share its outbox: together they send every message exactly once.
func TestOutbox_TwoServersOnOneMariaDBSendEachMessageExactlyOnce(t *testing.T) {
	t.Parallel()
	l, receiver := new(ledger), startReceiver(t)
	environ, db := onMariaDB(t)
	environ = append(environ, receiver.channel()...)
	servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
	account := servers[0].account(`{"requests_per_minute":1000000,"burst":1000000}`)

	messages, numbers := times(10_000, 1000), make(chan int)
	var calls sync.WaitGroup
	for i := range 64 {
		calls.Go(func() {
			for number := range numbers {
				l.inject(1)
				mobile := person(fmt.Sprintf("9195%08d", number))
				a, err := servers[i%2].try("GET", "/otpauthapi/otpgenservlet?"+mobile.Encode(), "", "access_key", account.AccessKey)
				if l.equal([]any{nil, "OTP Generated Successfully"}, []any{err, a.body}, "message %d", number) {
					l.acknowledge(1)
				}
			}
		})
	}
	for number := range messages {
		numbers <- number
	}
	close(numbers)
	calls.Wait()
	eventually(t, "every delivery has ended", func() bool {
		var open int
		require.NoError(t, db.Get(&open, `SELECT COUNT(*) FROM deliveries WHERE leased_until IS NOT NULL`))
		return open == 0
	})

	counts := receiver.counts()
	l.equal(messages, len(counts), "different messages that arrived")
	for id, n := range counts {
		l.equal(1, n, "how often %s arrived", id)
	}
	var owners, sent int
	require.NoError(t, db.Get(&owners, `SELECT COUNT(DISTINCT owner) FROM deliveries`))
	require.NoError(t, db.Get(&sent, `SELECT COUNT(*) FROM deliveries WHERE outcome = 'sent'`))
	l.equal(messages, sent, "deliveries marked as sent")
	checkDeliveries(t, l, db, counts)
	l.equal(2, owners, "servers that sent")
	l.report(t)
}
