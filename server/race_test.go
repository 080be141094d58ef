package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// atOnce makes n calls that begin together and counts their answers.
func atOnce(n int, call func(i int) string) map[string]int {
	var ready, calling sync.WaitGroup
	ready.Add(n)
	answers := make([]string, n)
	for i := range answers {
		calling.Go(func() {
			ready.Done()
			ready.Wait()
			for tries := 0; ; tries++ {
				// A call that was refused as overloaded is repeated, as clients do: a slow machine is overloaded
				// sooner.
				if answers[i] = call(i); !strings.HasPrefix(answers[i], "503 ") || tries == 1000 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	calling.Wait()
	counts := map[string]int{}
	for _, text := range answers {
		counts[text]++
	}
	return counts
}

// tally makes the same servlet call 64 times at once, on the servers in turn, and counts the
// answers by their full text.
func tally(servers []client, key, servlet string, parameters url.Values) map[string]int {
	return atOnce(64, func(i int) string { return servers[i%len(servers)].servlet(servlet, key, parameters) })
}

// raceServlets runs the two most important races through servers that share one database, until the rounds are over or
// there is a violation. wrong returns the wrong guesses at an account's newest challenge, from the database.
func raceServlets(t *testing.T, l *ledger, servers []client, rounds int, wrong func(account string) int) {
	t.Helper()
	for _, limit := range []int{3, 5} {
		account := servers[0].account(fmt.Sprintf(`{"max_attempts":%d}`, limit))
		expected := map[string]int{"Max no of tries for this pin been reached. Please generate other": 64 - limit}
		for left := range limit {
			expected["Wrong PIN. No of Retries remaining #"+strconv.Itoa(left)] = 1
		}
		for round := 0; round < rounds && !l.broken(); round++ {
			mobile := fmt.Sprintf("9195515%05d", round)
			require.Equal(t, "OTP Generated Successfully", servers[round%len(servers)].servlet("otpgenservlet",
				account.AccessKey, person(mobile)))
			counts := tally(servers, account.AccessKey, "otpvalidationservlet", person(mobile, "otp", "not a code"))
			l.inject(1)
			l.acknowledge(1 + 64)
			l.equal(expected, counts, "64 wrong at once, limit %d, round %d", limit, round)
			l.equal(limit, wrong(account.Address), "the stored row, limit %d, round %d", limit, round)
		}
	}
	account := servers[0].account(`{}`)
	for round := 0; round < rounds && !l.broken(); round++ {
		mobile := fmt.Sprintf("9195515%05d", round)
		require.Equal(t, "OTP Generated Successfully", servers[round%len(servers)].servlet("otpgenservlet",
			account.AccessKey, person(mobile)))
		code := servers[0].messages("limit=1&account=" + account.Address)[0].Code
		right := person(mobile, "otp", encrypted(t, account.CipherKey, account.CipherIV, code))
		counts := tally(servers, account.AccessKey, "otpvalidationservlet", right)
		l.inject(1)
		l.acknowledge(1 + 64)
		l.equal(map[string]int{"Verified successfully": 1, "OTPEXPIRED": 63}, counts, "64 right at once, round %d", round)
		l.equal(0, wrong(account.Address), "the stored row, round %d", round)
	}
}

// newestWrong selects the wrong guesses at an account's newest challenge.
const newestWrong = `
	SELECT c.wrong FROM challenges c JOIN recipients r ON r.id = c.recipient_id
	WHERE r.esme_address = ? ORDER BY c.id DESC LIMIT 1`

// databaseOf returns the database's URL in settings.
func databaseOf(t *testing.T, environ []string) string {
	t.Helper()
	settings, err := config.Load(environ)
	require.NoError(t, err)
	return settings.DatabaseURL.Reveal()
}

// asking returns a function that queries a number about an account.
func asking(t *testing.T, db *sqlx.DB, query string) func(account string) int {
	t.Helper()
	return func(account string) (n int) {
		require.NoError(t, db.Get(&n, query, account))
		return n
	}
}

func TestServlets_ExactCountsThroughTwoServersOnOneSQLiteFileRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	environ := variables(t)
	servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
	raceServlets(t, l, servers, times(100, 20), asking(t, sqltest.Connect(t, databaseOf(t, environ)), newestWrong))
	l.report(t)
}

// twoOnMariaDB starts a program twice on one new schema.
func twoOnMariaDB(t *testing.T, program string) ([]client, *sqlx.DB) {
	t.Helper()
	environ, db := onMariaDB(t)
	return []client{
		startProgram(t, program, t.TempDir(), environ...).client,
		startProgram(t, program, t.TempDir(), environ...).client,
	}, db
}

// onMariaDB makes a schema for servers and commands to share.
func onMariaDB(t *testing.T) (environ []string, db *sqlx.DB) {
	t.Helper()
	database := sqltest.Shared(t).Schema(t)
	return []string{"OTPBRIDGE_DATABASE_URL=" + database, "OTPBRIDGE_KEYRING=" + crypto.NewKeyringText("k1")},
		sqltest.Connect(t, database)
}

func TestServlets_ExactCountsThroughTwoServersOnOneMariaDBRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	raceServlets(t, l, servers, times(100, 20), asking(t, db, newestWrong))
	l.report(t)
}

// strictly calls a servlet of an account with strict_http, whose status distinguishes a refusal from a fault even if
// the text does not.
func strictly(c client, key, servlet string, parameters url.Values) string {
	a, err := c.try("GET", "/otpauthapi/"+servlet+"?"+parameters.Encode(), "", "access_key", key)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(a.status, " ", a.body)
}

// aggregate is what the database has about an account.
type aggregate struct {
	Recipients, Seq, Challenges, Live, LiveSeq, Sent, Wrong, Verified int
}

func aggregateOf(t *testing.T, db *sqlx.DB, account string) (stored aggregate) {
	t.Helper()
	const challenges = `FROM challenges c JOIN recipients r ON r.id = c.recipient_id WHERE r.esme_address = ?`
	require.NoError(t, db.Get(&stored, `
		SELECT
			(SELECT COUNT(*) FROM recipients WHERE esme_address = ?) AS recipients,
			(SELECT COALESCE(SUM(seq), 0) FROM recipients WHERE esme_address = ?) AS seq,
			(SELECT COUNT(*) `+challenges+`) AS challenges,
			(SELECT COUNT(*) `+challenges+` AND c.replaced_at IS NULL) AS live,
			(SELECT COALESCE(MAX(c.seq), 0) `+challenges+` AND c.replaced_at IS NULL) AS liveseq,
			(SELECT COUNT(*) FROM events WHERE esme_address = ? AND kind = 'sent') AS sent,
			(SELECT COUNT(*) FROM events WHERE esme_address = ? AND kind = 'wrong') AS wrong,
			(SELECT COUNT(*) FROM events WHERE esme_address = ? AND kind = 'verified') AS verified`,
		account, account, account, account, account, account, account, account))
	return stored
}

// There is no row to lock yet, so both servers try to make it. One must win, and the other's generates must count
// after it.
func TestServlets_FirstGeneratesOfOneRecipientThroughTwoServersOnMariaDBRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	for round := range times(100, 20) {
		for _, limits := range []struct {
			columns string
			succeed int
		}{{`{"strict_http":true}`, 10}, {`{"strict_http":true,"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`,
			64}} {
			account := servers[round%2].account(limits.columns)
			counts := atOnce(64, func(i int) string {
				return strictly(servers[i%2], account.AccessKey, "otpgenservlet", person("919551492394"))
			})
			expected := map[string]int{"200 OTP Generated Successfully": limits.succeed}
			if refused := 64 - limits.succeed; refused > 0 {
				expected["429 ERROR"] = refused
			}
			n := limits.succeed
			l.inject(1)
			l.acknowledge(64)
			l.equal(expected, counts, "64 first generates, %d may succeed, round %d", n, round)
			l.equal(aggregate{Recipients: 1, Seq: n, Challenges: n, Live: 1, LiveSeq: n, Sent: n},
				aggregateOf(t, db, account.Address),
				"stored of %d, round %d", n, round)
		}
	}
	l.report(t)
}

func TestServlets_AThousandGeneratesThroughTwoServersOnMariaDBRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	for round := range times(10, 1) {
		for columns, succeed := range map[string]int{
			`{"strict_http":true}`: 10,
			`{"strict_http":true,"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`: 1000,
		} {
			account := servers[0].account(columns)
			counts := atOnce(1000, func(i int) string {
				return strictly(servers[i%2], account.AccessKey, "otpgenservlet", person("919551492394"))
			})
			expected := map[string]int{"200 OTP Generated Successfully": succeed}
			if refused := 1000 - succeed; refused > 0 {
				expected["429 ERROR"] = refused
			}
			l.inject(1)
			l.acknowledge(1000)
			l.equal(expected, counts, "a thousand generates, %d may succeed, round %d", succeed, round)
			stored := aggregate{Recipients: 1, Seq: succeed, Challenges: succeed, Live: 1, LiveSeq: succeed, Sent: succeed}
			l.equal(stored, aggregateOf(t, db, account.Address), "stored of %d, round %d", succeed, round)
			// The inbox has the order in which calls arrived. Sending the live code again makes its message the
			// newest; an account that may not send again has few messages.
			if succeed == 1000 {
				l.equal("200 OTP Generated Successfully", strictly(servers[0], account.AccessKey, "otpregenservlet",
					person("919551492394")), "sent again")
			}
			code := codeOf(servers[1].messages("limit=20&account="+account.Address), liveChallenge(t, db, account.Address))
			right := person("919551492394", "otp", encrypted(t, account.CipherKey, account.CipherIV, code))
			l.equal("200 Verified successfully", strictly(servers[round%2], account.AccessKey, "otpvalidationservlet", right),
				"the last code is the live one")
		}
	}
	l.report(t)
}

// liveChallenge returns the id of the account's only challenge that was not replaced, as the inbox has it.
func liveChallenge(t *testing.T, db *sqlx.DB, account string) string {
	t.Helper()
	var raw []byte
	require.NoError(t, db.Get(&raw, `
		SELECT c.id FROM challenges c JOIN recipients r ON r.id = c.recipient_id
		WHERE r.esme_address = ? AND c.replaced_at IS NULL`, account))
	return otp.ID(raw).Text("otp")
}

// codeOf returns the code in a challenge's message, or a text that is not a code.
func codeOf(messages []message, challenge string) string {
	for _, m := range messages {
		if m.ChallengeID == challenge {
			return m.Code
		}
	}
	return "0000"
}

// A caller that varies ipaddress gets a slot and attempts for each value, but the recipient's budget limits all of
// them, on both servers.
func TestServlets_TheBudgetHoldsOver256AddressesThroughTwoServersOnMariaDBRace(t *testing.T) {
	t.Parallel()
	l := new(ledger)
	servers, db := twoOnMariaDB(t, program(t))
	for round := range times(10, 1) {
		account := servers[0].account(`{"strict_http":true,"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`)
		from := func(i int, more ...string) url.Values {
			return person("919551492394", append(more, "ipaddress", fmt.Sprintf("10.0.1.%d", i%256))...)
		}
		counts := atOnce(256, func(i int) string {
			return strictly(servers[i%2], account.AccessKey, "otpgenservlet",
				from(i))
		})
		l.equal(map[string]int{"200 OTP Generated Successfully": 256}, counts, "256 slots, round %d", round)
		evaluated, refused := 0, 0
		for text, n := range atOnce(1024, func(i int) string {
			return strictly(servers[i/256%2], account.AccessKey, "otpvalidationservlet", from(i, "otp", "not a code"))
		}) {
			switch {
			case strings.HasPrefix(text, "400 Wrong PIN. No of Retries remaining #"):
				evaluated += n
			case text == "429 Max no of tries for this pin been reached. Please generate other":
				refused += n
			default:
				l.violate("%d times %s", n, text)
			}
		}
		l.inject(1)
		l.acknowledge(256 + 1024)
		l.equal([2]int{20, 1004}, [2]int{evaluated, refused}, "guesses evaluated and refused, round %d", round)
		l.equal(aggregate{Recipients: 1, Seq: 256, Challenges: 256, Live: 256, LiveSeq: 256, Sent: 256, Wrong: 20},
			aggregateOf(t, db, account.Address), "stored, round %d", round)
		l.equal("429 ERROR", strictly(servers[round%2], account.AccessKey, "otpgenservlet", from(0)),
			"while locked nothing is sent")
	}
	l.report(t)
}
