package servlet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
	"otpbridge/sql/sqltest"
)

// shadowing is an account whose calls go to the upstream and are compared with the rules here.
type shadowing struct {
	*testing.T
	upstream, front *side
	codes           []string
	differences     map[string]int
}

func newShadowing(t *testing.T, upstream *side, wrong func(a *otp.Account)) *shadowing {
	s := &shadowing{T: t, upstream: upstream, differences: map[string]int{}}
	account := shadowedAccount()
	address := upstream.server.URL + "/otpauthapi"
	account.UpstreamURL, account.Bridge = &address, otp.BridgeShadow
	wrong(&account)
	s.front = newSide(t, account, asItIs)
	s.front.server = s.front.serve(t, asItIs, func(c *gin.Context) {
		c.Next()
		if request := web.RequestOf(c); request.Differs != "" {
			s.differences[fmt.Sprintf("%s: %s, %s", request.Call, request.Passed, request.Differs)]++
		}
	})
	return s
}

func shadowedAccount() otp.Account {
	account := otp.DefaultAccount("")
	account.Cipher, account.SendsPerMinute = "none", 4
	return account
}

func (s *shadowing) call(servlet, mobile string, more ...string) {
	s.front.askFor(s.T, s.front.server, servlet, mobile, more...)
}

// code returns the newest one that the upstream sent.
func (s *shadowing) code(mobile string) string {
	code := s.upstream.code(s.T, mobile)
	s.codes = append(s.codes, code)
	return code
}

func (s *shadowing) advance(by time.Duration) {
	for _, side := range []*side{s.upstream, s.front} {
		require.NoError(s, side.manage.Sandbox.AdvanceClock(s.Context(), side.address, by))
	}
}

// play makes the calls of people who forget, make mistakes, come too late and ask too often. Each turn has other
// numbers.
func (s *shadowing) play(turn int) {
	number := func(person int) string { return fmt.Sprintf("9195514%03d%02d", turn, person) }
	const generate, regenerate, validate = "otpgenservlet", "otpregenservlet", "otpvalidationservlet"
	s.call(validate, number(1), "otp", "123456") // of a code that was made before shadowing began
	s.call(regenerate, number(1))
	s.call(generate, number(1))
	for range 4 {
		s.call(validate, number(1), "otp", "x")
	}
	s.call(validate, number(1), "otp", s.code(number(1)))
	s.call(generate, number(2))
	for range 2 {
		s.call(validate, number(2), "otp", s.code(number(2)))
	}
	s.call(generate, number(3))
	for range 2 {
		s.call("plainotpvalidationservlet", number(3), "otp", s.code(number(3)))
	}
	s.call(generate, number(4))
	s.call(generate, number(4))
	s.call(regenerate, number(4))
	s.call(regenerate, number(4))
	s.call(generate, number(4)) // one too many
	s.call(validate, number(4), "otp", s.code(number(4)))
	s.call(generate, "447700900123")
	s.call(generate, "12")
	s.call(generate, number(5))
	s.advance(4 * time.Minute)
	s.call(validate, number(5), "otp", s.code(number(5)))
	s.call(generate, number(6))
	s.advance(6 * time.Minute)
	s.call(validate, number(6), "otp", s.code(number(6)))
	s.call(generate, number(7))
	for range 4 {
		s.advance(time.Minute)
		s.call(regenerate, number(7))
	}
}

func TestShadow_NamesWhatIsSetWrong(t *testing.T) {
	upstream := newSide(t, shadowedAccount(), asItIs)
	attempts := func(n int) func(*otp.Account) { return func(a *otp.Account) { a.MaxAttempts = &n } }
	const accepted = "otpvalidationservlet: verified, "
	for i, test := range []struct {
		name  string
		wrong func(*otp.Account)
		named []string // exactly these, and
		also  string   // the result of others that follows from it; empty for none
	}{
		{"nothing", func(*otp.Account) {}, nil, ""},
		{"length", func(a *otp.Account) { a.Length = 4 }, []string{accepted + "wrong_length",
			"otpvalidationservlet: expired, wrong_length", "plainotpvalidationservlet: verified, wrong_length"}, ""},
		{"too few attempts", attempts(2), []string{"otpvalidationservlet: wrong, attempts_exhausted"}, ""},
		{"too many attempts", attempts(9), []string{"otpvalidationservlet: exhausted, wrong_code"}, ""},
		{"limit too low", func(a *otp.Account) { a.SendsPerMinute = 2 },
			[]string{"otpregenservlet: generated, over_limit"}, ""},
		{"limit too high", func(a *otp.Account) { a.SendsPerMinute = 9 }, []string{"otpgenservlet: error, ok"}, ""},
		{"countries", func(a *otp.Account) { a.Countries = []string{"GB"} },
			[]string{"otpgenservlet: generated, invalid", "otpgenservlet: invalid, ok"}, ", invalid"},
		{"lifetime too short", func(a *otp.Account) { a.TTLSeconds = 60 }, []string{accepted + "expired"}, ", expired"},
		{"lifetime too long", func(a *otp.Account) { a.TTLSeconds = 900 }, []string{"otpvalidationservlet: expired, ok"}, ""},
		{"too few regenerations", func(a *otp.Account) { a.MaxRegenerations = 1 },
			[]string{"otpregenservlet: generated, regenerations_exhausted"}, ""},
		{"too many regenerations", func(a *otp.Account) { a.MaxRegenerations = 9 },
			[]string{"otpregenservlet: regenerations, ok"}, ""},
		{"no SMS", func(a *otp.Account) { a.SMSEnabled, a.EmailEnabled = false, true },
			[]string{"otpgenservlet: generated, invalid"}, ", invalid"},
		{"cipher", func(a *otp.Account) { a.Cipher = "aes-cbc" },
			[]string{accepted + "unreadable_code"}, ", unreadable_code"},
		{"departments", func(a *otp.Account) { a.DepartmentMode = otp.DepartmentRequired },
			[]string{"otpgenservlet: generated, missing_department"}, ", missing_department"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShadowing(t, upstream, test.wrong)
			s.play(i)
			for _, named := range test.named {
				require.Contains(t, s.differences, named)
			}
			for name := range s.differences {
				require.True(t, slices.Contains(test.named, name) ||
					test.also != "" && strings.HasSuffix(name, test.also), name)
			}
			s.nothingHappenedHere()
		})
	}
}

// nothingHappenedHere checks that there are no messages and no rows.
func (s *shadowing) nothingHappenedHere() {
	s.Helper()
	messages, err := s.front.engine.Inbox.List(s.Context(), engine.MessageQuery{Account: s.front.address, Limit: 9})
	require.NoError(s, err)
	require.Empty(s, messages)
	db := sqltest.Connect(s.T, "sqlite:"+s.front.path)
	for _, table := range []string{"recipients", "challenges", "events", "deliveries", "counters"} {
		var rows int
		require.NoError(s, db.Get(&rows, `SELECT COUNT(*) FROM `+table))
		require.Zero(s, rows, table)
	}
	var states []string
	require.NoError(s, db.Select(&states, `SELECT state FROM shadows`))
	for _, state := range states {
		require.NotContains(s, state, "9195514")
		require.NotContains(s, state, bridgedKey)
		for _, code := range s.codes {
			require.NotContains(s, state, `"`+code+`"`)
		}
	}
}
