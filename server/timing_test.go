//go:build unix

package main

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The time of an answer must not reveal what its bytes do not. Each case requests two answers with equal bytes, in
// random order, and compares their times by Welch's t-test, as dudect does (Reparaz, Balasch, Verbauwhede, "Dude, is
// my code constant time?", 2017). "make timing" runs it.

const (
	// timingLimit is the |t| above which there is a difference: dudect's 4.5 has a probability of 7 in a million.
	timingLimit = 4.5
	// timingRounds is how many rounds must all pass the limit, in one direction, before a case fails: other load on
	// the machine moves single rounds.
	timingRounds = 3
	// timingCalls is how many calls are made for each answer in each round.
	timingCalls = 4000
)

// welch returns the t statistic of two samples without the assumption of equal variance. It ignores times above the
// 90th percentile of both together, which the scheduler and the disk cause.
func welch(a, b []time.Duration) (t float64) {
	both := slices.Sorted(slices.Values(slices.Concat(a, b)))
	limit := both[len(both)*9/10]
	mean := func(sample []time.Duration) (n, mean, variance float64) {
		var sum, squares float64
		for _, d := range sample {
			if d <= limit {
				n++
				sum += float64(d)
				squares += float64(d) * float64(d)
			}
		}
		mean = sum / n
		return n, mean, (squares - n*mean*mean) / (n - 1)
	}
	nA, meanA, varianceA := mean(a)
	nB, meanB, varianceB := mean(b)
	return (meanA - meanB) / math.Sqrt(varianceA/nA+varianceB/nB)
}

func TestWelch_TellsSamplesApart(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sample := func(mean, deviation float64) (durations []time.Duration) {
		for range timingCalls {
			durations = append(durations, time.Duration((mean+deviation*random.NormFloat64())*1e3))
		}
		return durations
	}
	for _, c := range []struct {
		meanA, meanB, deviation float64 // µs
		differs                 bool
	}{
		{200, 200, 20, false}, {200, 200, 1, false}, {50, 50, 30, false}, {1000, 1000, 300, false}, {200, 200.1, 20, false},
		{200, 210, 20, true}, {210, 200, 20, true}, {200, 204, 20, true}, {50, 51, 3, true}, {1000, 1200, 300, true},
	} {
		statistic := welch(sample(c.meanA, c.deviation), sample(c.meanB, c.deviation))
		require.Equal(t, c.differs, math.Abs(statistic) > timingLimit, "%+v: t = %.2f", c, statistic)
		if c.differs {
			require.Equal(t, c.meanA > c.meanB, statistic > 0)
		}
	}
}

// timed are two requests whose answers must be equal, in their bytes and in their times.
type timed struct {
	name  string
	ask   [2]func() *http.Request
	calls int // for each answer in each round; 0: timingCalls
}

func (c timed) called() int { return cmp.Or(c.calls, timingCalls) }

// differs measures a case and reports whether every round found the same difference.
func (c timed) differs(t *testing.T, handler http.Handler) bool {
	t.Helper()
	call := func(i int) (string, time.Duration) {
		request, answer := c.ask[i](), httptest.NewRecorder()
		begun := time.Now()
		handler.ServeHTTP(answer, request)
		return fmt.Sprint(answer.Code, answer.Body.String()), time.Since(begun)
	}
	want, _ := call(0)
	higher, lower := 0, 0
	for round := range timingRounds {
		var samples [2][]time.Duration
		runtime.GC()
		for len(samples[0])+len(samples[1]) < 2*c.called() {
			i := rand.IntN(2)
			got, took := call(i)
			if len(samples[i]) == 0 {
				require.Equal(t, withoutIDs(want), withoutIDs(got), "%s: equal answers", c.name)
			}
			samples[i] = append(samples[i], took)
		}
		statistic := welch(samples[0], samples[1])
		t.Logf("%-34s round %d: medians %8v %8v, t = %6.2f (limit %.1f in %d rounds)", c.name, round+1,
			median(samples[0]), median(samples[1]), statistic, timingLimit, timingRounds)
		switch {
		case statistic > timingLimit:
			higher++
		case statistic < -timingLimit:
			lower++
		}
	}
	return higher == timingRounds || lower == timingRounds
}

// withoutIDs removes the parts that differ between any two requests.
func withoutIDs(answer string) string {
	before, rest, found := strings.Cut(answer, `"request_id":"`)
	if !found {
		return answer
	}
	_, rest, _ = strings.Cut(rest, `"`)
	return before + rest
}

// timingCases each bring a recipient into a state, and try the right and a wrong code.
func timingCases(t *testing.T, s *booted) []timed {
	account := s.account(`{"requests_per_minute":1000000,"burst":1000000,"max_attempts":3,"plain_validation_enabled":true}`)
	number := 919551492000
	fresh := func() (mobile, right, wrong, id string) {
		number++
		mobile = fmt.Sprint(number)
		sent := s.v1("POST", "/v1/send", account.APIKey, fields{"to": "+" + mobile, "ip": "203.0.113.7", "method": "sms",
			"type": "verification"})
		require.Equal(t, 201, sent.status, sent.body)
		right = s.messages("limit=1&account=" + account.Address)[0].Code
		wrong = string('0'+(right[0]-'0'+1)%10) + right[1:]
		return mobile, right, wrong, decoded(t, sent.answer)["id"].(string)
	}
	servlet := func(mobile, otp string) func() *http.Request { return validation(account.AccessKey, mobile, otp) }
	cipher := func(code string) string { return encrypted(t, account.CipherKey, account.CipherIV, code) }
	v1 := func(id, code string) func() *http.Request {
		body := fmt.Sprintf(`{"id":%q,"code":%q}`, id, code)
		return func() *http.Request {
			r := httptest.NewRequest("POST", "/v1/verify", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+account.APIKey)
			r.Header.Set("Content-Type", "application/json")
			return r
		}
	}
	guess := func(id, code string) { s.v1("POST", "/v1/verify", account.APIKey, fields{"id": id, "code": code}) }
	exhaust := func(id, wrong string) {
		for range 3 {
			guess(id, wrong)
		}
	}

	var cases []timed
	mobile, right, wrong, id := fresh()
	exhaust(id, wrong)
	cases = append(cases,
		timed{name: "servlet, attempts used up", ask: [2]func() *http.Request{servlet(mobile, cipher(right)),
			servlet(mobile, cipher(wrong))}},
		timed{name: "v1, attempts used up", ask: [2]func() *http.Request{v1(id, right), v1(id, wrong)}})

	_, right, wrong, id = fresh()
	guess(id, right)
	cases = append(cases, timed{name: "v1, used", ask: [2]func() *http.Request{v1(id, right), v1(id, wrong)}})

	mobile, right, wrong, id = fresh()
	for range 7 { // three a code: 21 of the 20 that the budget allows
		exhaust(id, wrong)
		sent := s.v1("POST", "/v1/send", account.APIKey, fields{"to": "+" + mobile, "ip": "203.0.113.7", "method": "sms",
			"type": "verification"})
		if sent.status != 201 {
			break
		}
		right = s.messages("limit=1&account=" + account.Address)[0].Code
		wrong = string('0'+(right[0]-'0'+1)%10) + right[1:]
		id = decoded(t, sent.answer)["id"].(string)
	}
	cases = append(cases,
		timed{name: "servlet, recipient locked", ask: [2]func() *http.Request{servlet(mobile, cipher(right)),
			servlet(mobile, cipher(wrong))}},
		timed{name: "v1, recipient locked", ask: [2]func() *http.Request{v1(id, right), v1(id, wrong)}})

	_, right, wrong, id = fresh()
	moved := s.do("PUT", "/sandbox/clock", fmt.Sprintf(`{"account":%q,"offset":"6m"}`, account.Address))
	require.Equal(t, 200, moved.status, moved.body)
	return append(cases, timed{name: "v1, expired", ask: [2]func() *http.Request{v1(id, right), v1(id, wrong)}})
}

// validation asks the servlet whether otp is right.
func validation(accessKey, mobile, otp string) func() *http.Request {
	query := person(mobile, "otp", otp).Encode()
	return func() *http.Request {
		r := httptest.NewRequest("GET", "/otpauthapi/otpvalidationservlet?"+query, nil)
		r.Header.Set("access_key", accessKey)
		return r
	}
}

// A parameter that cannot be decrypted takes as long as a wrong code; otherwise time would be a padding oracle. In a
// sandbox it takes longer, because the inspector says why it cannot be decrypted.
func TestTiming_AProductionServerIsNoPaddingOracle(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("times are measured by make timing")
	}
	environ := variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_LOG_LEVEL=error")
	s := boot(t, environ...)
	account := s.account(`{"requests_per_minute":1000000,"burst":1000000}`)
	require.NoError(t, s.Shutdown(t.Context()))
	s = boot(t, promoted(t, environ, account.Address)...)
	key, err := base64.StdEncoding.DecodeString(account.CipherKey)
	require.NoError(t, err)
	iv, err := base64.StdEncoding.DecodeString(account.CipherIV)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	sealed := func(text string) string {
		padding := aes.BlockSize - len(text)%aes.BlockSize
		blocks := append([]byte(text), bytes.Repeat([]byte{byte(padding)}, padding)...)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(blocks, blocks)
		return base64.StdEncoding.EncodeToString(blocks)
	}
	ask := func(otp string) func() *http.Request { return validation(account.AccessKey, "919551492000", otp) }
	wrong := ask(encrypted(t, account.CipherKey, account.CipherIV, "482913"))
	for name, otp := range map[string]string{
		"wrong padding":        "AAAAAAAAAAAAAAAAAAAAAA==",
		"wrong padding in hex": strings.Repeat("0", 32),
		"letters":              sealed("abcdef"),
		"too many digits":      sealed("12345678901"),
		"two blocks":           sealed("1234567890123456"),
	} {
		t.Run(name, func(t *testing.T) {
			c := timed{name: "servlet, " + name, ask: [2]func() *http.Request{wrong, ask(otp)}}
			require.False(t, c.differs(t, s.http.Handler), "its time tells why it cannot be read")
		})
	}
}

func TestTiming_AnswersThatAreEqualTakeEqualTime(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("times are measured by make timing")
	}
	s := boot(t, variables(t, "OTPBRIDGE_LOG_LEVEL=error")...)
	for _, c := range timingCases(t, s) {
		t.Run(c.name, func(t *testing.T) {
			require.False(t, c.differs(t, s.http.Handler), "its time tells what the answer does not")
		})
	}
}

// The measurement finds a leak: here the right code takes 10 µs longer.
func TestTiming_ALeakIsFound(t *testing.T) {
	if os.Getenv("FULL") != "1" {
		t.Skip("times are measured by make timing")
	}
	s := boot(t, variables(t, "OTPBRIDGE_LOG_LEVEL=error")...)
	c := timingCases(t, s)[0]
	right := c.ask[0]().URL.RawQuery
	leaking := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.http.Handler.ServeHTTP(w, r)
		if r.URL.RawQuery == right {
			for begun := time.Now(); time.Since(begun) < 10*time.Microsecond; {
			}
		}
	})
	require.True(t, c.differs(t, leaking), "10 µs for the right code were not found")
}
