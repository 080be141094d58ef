package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
)

// reply is an answer of the JSON API.
type reply struct {
	answer
	ID        string `json:"id"`
	To        string `json:"to"`
	Status    any    `json:"status"` // of the challenge, or of the problem
	Valid     *bool  `json:"valid"`
	Reason    string `json:"reason"`
	Code      string `json:"code"`
	Remaining *int   `json:"attempts_remaining"`
	Attempts  int    `json:"attempts"`
	Receipt   string `json:"receipt"`
}

// kind returns the answer in one word: a verification's reason, or a problem's code.
func (r reply) kind() string {
	switch {
	case r.Valid != nil && *r.Valid:
		return "VERIFIED"
	case r.Valid != nil:
		return r.Reason
	case r.Code != "":
		return r.Code
	}
	return fmt.Sprint(r.status)
}

// v1 calls the JSON API with a Bearer credential. Body is marshalled, or sent as it is if it is a
// string.
func (c client) v1(method, path, key string, body any, headers ...string) reply {
	c.t.Helper()
	r, err := c.tryV1(method, path, key, body, headers...)
	require.NoError(c.t, err)
	return r
}

func (c client) tryV1(method, path, key string, body any, headers ...string) (r reply, err error) {
	text, isText := body.(string)
	if !isText && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return r, err
		}
		text = string(raw)
	}
	headers = append([]string{"Authorization", "Bearer " + key, "Content-Type", "application/json"}, headers...)
	if r.answer, err = c.try(method, path, text, headers...); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(r.body), &r); err != nil {
		return r, fmt.Errorf("%s %s answered %d %q: %w", method, path, r.status, r.body, err)
	}
	return r, nil
}

// fields is a JSON object.
type fields map[string]any

func sending(to string) fields { return fields{"to": to, "method": "sms", "type": "verification"} }

const unlimited = `{"requests_per_minute":1000000,"strict_http":true,"plain_validation_enabled":true,"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`

// A recipient gets at most ten messages a minute, however many callers ask at once and through whichever server.
func TestV1_ExactlyTenOfManySendsAtOnceThroughTwoServersOnMariaDBRace(t *testing.T) {
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	for round := range times(100, 10) {
		account := servers[round%2].account(`{}`)
		counts := atOnce(64, func(i int) string {
			r, err := servers[i%2].tryV1("POST", "/v1/send", account.APIKey, sending("+919551492394"))
			if err != nil {
				return err.Error()
			}
			if r.status == 429 && (r.header.Get("Retry-After") == "" || r.header.Get("X-RateLimit-Limit") != "10" ||
				r.header.Get("X-RateLimit-Remaining") != "0") {
				return "a refusal that does not describe its limit"
			}
			return fmt.Sprint(r.status, r.Code)
		})
		l.inject(1)
		l.acknowledge(64)
		l.equal(map[string]int{"201": 10, "429RATE_LIMIT_EXCEEDED": 54}, counts, "64 sends at once, round %d", round)
		l.equal(aggregate{Recipients: 1, Seq: 10, Challenges: 10, Live: 1, LiveSeq: 10, Sent: 10},
			aggregateOf(t, db, account.Address), "stored, round %d", round)
	}
	l.report(t)
}

// The eleventh is refused until the first has left the minute, to the second.
func TestV1_TheEleventhSendWaitsUntilTheFirstLeavesTheMinute(t *testing.T) {
	s := boot(t, variables(t)...)
	account := s.account(`{}`)
	send := func() int { return s.v1("POST", "/v1/send", account.APIKey, sending("+919551492394")).status }
	clock := func(offset string) {
		a := s.do("PUT", "/sandbox/clock", `{"account":"`+account.Address+`","offset":"`+offset+`"}`)
		require.Equal(t, 200, a.status, a.body)
	}
	require.Equal(t, 201, send())
	clock("30s")
	for range 9 {
		require.Equal(t, 201, send())
	}
	require.Equal(t, 429, send())
	clock("50s")
	require.Equal(t, 429, send(), "the first is less than a minute old")
	clock("61s")
	require.Equal(t, 201, send(), "the first has left")
	require.Equal(t, 429, send(), "the other nine have not")
}

// A client that repeats a send because it got no answer gets the answer of the first.
func TestV1_OneIdempotencyKeySendsOnceThroughTwoServersOnMariaDBRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	account := servers[0].account(unlimited)
	for round := range times(100, 10) {
		to, key := fmt.Sprintf("+9195515%05d", round), fmt.Sprintf("order-%d", round)
		var mu sync.Mutex
		first, replayed := "", 0
		counts := atOnce(64, func(i int) string {
			r, err := servers[i%2].tryV1("POST", "/v1/send", account.APIKey, sending(to), "Idempotency-Key", key)
			if err != nil {
				return err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			if r.header.Get("Idempotent-Replayed") == "true" {
				replayed++
			}
			if first == "" {
				first = r.body
			}
			return fmt.Sprint(r.status, " ", r.body == first)
		})
		l.inject(1)
		l.acknowledge(64)
		l.equal(map[string]int{"201 true": 64}, counts, "64 equal requests, round %d", round)
		l.equal(63, replayed, "told that they repeat, round %d", round)
		l.equal(422, servers[round%2].v1("POST", "/v1/send", account.APIKey, sending("+919551499999"), "Idempotency-Key",
			key).status, "another body, round %d", round)
	}
	l.equal(times(100, 10), aggregateOf(t, db, account.Address).Sent, "messages")
	l.report(t)
}

func TestV1_AnIdempotencyKeyOutlivesTheServer(t *testing.T) {
	environ := variables(t)
	s := startChild(t, t.TempDir(), environ...)
	account := s.account(`{}`)
	send := func(s *child) reply {
		return s.v1("POST", "/v1/send", account.APIKey, sending("+919551492394"), "Idempotency-Key", "order-0001")
	}
	first := send(s)
	require.Equal(t, 201, first.status, first.body)
	s.kill()
	s = startChild(t, t.TempDir(), environ...)
	again := send(s)
	require.Equal(t, first.body, again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Len(t, s.messages("account="+account.Address), 1)
}

// spellings returns ways to write a number that the servlets understand.
func spellings(number string) (all []string) {
	digits := strings.TrimPrefix(number, "+")
	for _, prefix := range []string{"", "+", "00"} {
		for _, at := range []int{0, 2, 5, 7, 9} {
			for _, gap := range []string{" ", "-"} {
				if at == 0 {
					gap = ""
				}
				all = append(all, prefix+digits[:at]+gap+digits[at:])
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// An attacker who varies doors, keys, addresses and spellings still has only the recipient's one budget an hour.
func TestV1_TwentyThousandGuessesOverAllDoorsEvaluateTheBudgetRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	var keys []string
	var asked []fields
	for i := range 50 {
		keys = append(keys, fmt.Sprintf("guessers-key-number-%d", i))
		asked = append(asked, fields{"key": keys[i]})
	}
	columns, err := json.Marshal(fields{
		"plain_validation_enabled": true, "strict_http": true, "access_keys": asked,
		"sends_per_minute": 0, "sends_per_hour": 0, "sends_per_day": 0,
	})
	require.NoError(t, err)
	account := servers[0].account(string(columns))
	const number = "+919551492394"
	ways := spellings(number)
	require.GreaterOrEqual(t, len(ways), 27)
	ip := func(i int) string { return fmt.Sprintf("10.0.1.%d", i%256) }
	l.equal(map[string]int{"200 OTP Generated Successfully": 256}, atOnce(256, func(i int) string {
		return strictly(servers[i%2], keys[i%50], "otpgenservlet", person(ways[i%len(ways)], "ipaddress", ip(i)))
	}), "256 slots")

	guess := func(i int) string {
		c, key, way := servers[i%2], keys[i%50], ways[i%len(ways)]
		switch i / 2 % 3 {
		case 0:
			return strictly(c, key, "otpvalidationservlet", person(way, "ipaddress", ip(i), "otp", "not a code"))
		case 1:
			return strictly(c, key, "plainotpvalidationservlet", person(way, "ipaddress", ip(i), "otp", "0000000"))
		}
		r, err := c.tryV1("POST", "/v1/verify", key, fields{"to": number, "ip": ip(i), "code": "0000000"})
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(r.status, " ", r.kind())
	}
	guesses := times(20_000, 4_000)
	evaluated := map[string]int{}
	for from := 0; from < guesses; from += 500 {
		for text, n := range atOnce(500, func(i int) string { return guess(from + i) }) {
			switch {
			case strings.HasPrefix(text, "400 Wrong PIN. No of Retries remaining #"):
				evaluated["servlets"] += n
			case text == "200 MISMATCH":
				evaluated["v1"] += n
			case text == "429 Max no of tries for this pin been reached. Please generate other",
				text == "429 RECIPIENT_LOCKED", text == "200 MAX_ATTEMPTS":
				evaluated["refused"] += n
			default:
				l.violate("%d times %s", n, text)
			}
		}
	}
	l.inject(guesses)
	l.acknowledge(guesses)
	l.equal(20, evaluated["servlets"]+evaluated["v1"], "guesses evaluated")
	l.equal(guesses-20, evaluated["refused"], "guesses refused")
	l.equal(20, aggregateOf(t, db, account.Address).Wrong, "wrong guesses in the events")
	l.equal(1, aggregateOf(t, db, account.Address).Recipients, "recipients: every spelling is one")
	l.note("%d at the servlets, %d at v1", evaluated["servlets"], evaluated["v1"])
	for _, kind := range []string{
		strictly(servers[0], keys[0], "otpgenservlet", person("919551492394")),
		fmt.Sprint(servers[1].v1("POST", "/v1/send", keys[0], sending(number)).Code),
	} {
		l.equal(true, kind == "429 ERROR" || kind == "RECIPIENT_LOCKED", "while locked nothing is sent, %s", kind)
	}
	l.report(t)
}

// madeKey is what "otpbridge key create --json" prints.
type madeKey struct {
	ID            string `json:"id"`
	Secret        string `json:"secret"`
	SigningSecret string `json:"signing_secret"`
}

// makeKey makes a key with the command line while servers run.
func makeKey(t *testing.T, environ []string, arguments ...string) (made madeKey) {
	t.Helper()
	out, problems := new(output), new(output)
	code := run(append([]string{"key", "create", "--json"}, arguments...),
		process{environ: environ, stdout: out, stderr: problems})
	require.Equal(t, exitOK, code, problems.String())
	require.NoError(t, json.Unmarshal([]byte(out.String()), &made))
	return made
}

// signature returns the headers of a signed request.
func signature(key madeKey, method, path, body, nonce string, at time.Time) []string {
	signed := crypto.SignedRequest{Method: method, Path: path, Timestamp: strconv.FormatInt(at.Unix(), 10), Nonce: nonce,
		Body: []byte(body)}
	return []string{
		"X-Timestamp", signed.Timestamp, "X-Nonce", nonce,
		"X-Signature", signed.Sign(crypto.NewSecret([]byte(key.SigningSecret))),
	}
}

// A captured signed request is refused the second time, on every server.
func TestV1_ANonceIsGoodOnceThroughTwoServersOnMariaDBRace(t *testing.T) {
	l := new(ledger)
	environ, db := onMariaDB(t)
	servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
	account := servers[0].account(unlimited)
	key := makeKey(t, environ, account.Address, "--signing", "required")
	body := `{"to":"+919551492394","method":"sms","type":"verification"}`
	for round := range times(100, 10) {
		headers := signature(key, "POST", "/v1/send", body, crypto.NewNonce(), time.Now())
		counts := atOnce(64, func(i int) string {
			r, err := servers[i%2].tryV1("POST", "/v1/send", key.Secret, body, headers...)
			if err != nil {
				return err.Error()
			}
			return fmt.Sprint(r.status, r.Code)
		})
		l.inject(1)
		l.acknowledge(64)
		l.equal(map[string]int{"201": 1, "401SIGNATURE_INVALID": 63}, counts, "64 with one nonce, round %d", round)
	}
	l.equal(times(100, 10), aggregateOf(t, db, account.Address).Sent, "messages")
	for _, tt := range []struct {
		off    time.Duration
		status int
	}{{-299 * time.Second, 201}, {299 * time.Second, 201}, {-302 * time.Second, 401}, {302 * time.Second, 401}} {
		headers := signature(key, "POST", "/v1/send", body, crypto.NewNonce(), time.Now().Add(tt.off))
		l.equal(tt.status, servers[0].v1("POST", "/v1/send", key.Secret, body, headers...).status, "signed %v from now",
			tt.off)
	}
	unsigned := servers[1].v1("POST", "/v1/send", key.Secret, body)
	l.equal("401SIGNATURE_INVALID", fmt.Sprint(unsigned.status, unsigned.Code), "without a signature")
	l.report(t)
}

// A revoked key is refused within a second on every server, wherever it was revoked, with the answer on which clients
// use their fallback key.
func TestV1_ARevokedKeyStopsWithinASecondOnEveryServer(t *testing.T) {
	t.Parallel()
	environ, _ := onMariaDB(t)
	servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
	account := servers[0].account(unlimited)
	key := makeKey(t, environ, account.Address)
	for _, s := range servers {
		require.Equal(t, 201, s.v1("POST", "/v1/send", key.Secret, sending("+919551492394")).status)
	}
	problems := new(output)
	require.Equal(t, exitOK, run([]string{"key", "revoke", key.ID},
		process{environ: environ, stdout: new(output), stderr: problems}), problems.String())
	time.Sleep(time.Second) // which is the promise
	for _, s := range servers {
		r := s.v1("POST", "/v1/send", key.Secret, sending("+919551492394"))
		require.Equal(t, 401, r.status)
		require.Equal(t, "AUTH_004", r.Code)
	}
}

// A client that is not a trusted proxy cannot choose its address: neither for a key's networks nor for the count of
// refused credentials.
func TestV1_HeadersDoNotBuyAnAddress(t *testing.T) {
	environ := variables(t, "OTPBRIDGE_AUTH_FAILURES_PER_MINUTE=10")
	s := boot(t, environ...)
	account := s.account(`{}`)
	here := makeKey(t, environ, account.Address, "--allowed-ips", "127.0.0.1")
	there := makeKey(t, environ, account.Address, "--allowed-ips", "203.0.113.9")
	claims := func(address string) []string {
		return []string{"X-Forwarded-For", address, "X-Real-IP", address, "True-Client-IP", address, "Forwarded", "for=" +
			address, "CF-Connecting-IP", address}
	}
	require.Equal(t, 201, s.v1("POST", "/v1/send", here.Secret, sending("+919551492394"), claims("203.0.113.9")...).status)
	r := s.v1("POST", "/v1/send", there.Secret, sending("+919551492394"), claims("203.0.113.9")...)
	require.Equal(t, 403, r.status)
	require.Equal(t, "AUTH_005", r.Code)

	var last reply
	for i := range 11 {
		last = s.v1("POST", "/v1/send", fmt.Sprintf("nobody-has-key-%d", i), sending("+919551492394"),
			claims(fmt.Sprintf("203.0.113.%d", i))...)
	}
	require.Equal(t, 429, last.status, "eleven refused credentials from one address, whatever they claim")
	require.NotEmpty(t, last.header.Get("Retry-After"))
	require.Equal(t, "10", last.header.Get("X-RateLimit-Limit"))
}
