package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
)

// tally makes the same servlet call 64 times at once, on the servers in turn, and counts the
// answers by their full text.
func tally(t *testing.T, servers []client, key, servlet string, parameters map[string][]string) map[string]int {
	t.Helper()
	var ready, calling sync.WaitGroup
	ready.Add(64)
	answers := make([]string, 64)
	for i := range answers {
		calling.Go(func() {
			ready.Done()
			ready.Wait()
			answers[i] = servers[i%len(servers)].servlet(servlet, key, parameters)
		})
	}
	calling.Wait()
	counts := map[string]int{}
	for _, text := range answers {
		counts[text]++
	}
	return counts
}

// raceServlets runs the two races that matter most, through servers that share one database. Wrong
// tells what the database itself says of the newest challenge of an account.
func raceServlets(t *testing.T, servers []client, rounds int, wrong func(account string) int) {
	for _, limit := range []int{3, 5} {
		account := servers[0].account(fmt.Sprintf(`{"max_attempts":%d}`, limit))
		expected := map[string]int{"Max no of tries for this pin been reached. Please generate other": 64 - limit}
		for left := range limit {
			expected["Wrong PIN. No of Retries remaining #"+strconv.Itoa(left)] = 1
		}
		for round := range rounds {
			mobile := fmt.Sprintf("9195515%05d", round)
			require.Equal(t, "OTP Generated Successfully", servers[round%len(servers)].servlet("otpgenservlet", account.AccessKey, person(mobile)))
			require.Equal(t, expected,
				tally(t, servers, account.AccessKey, "otpvalidationservlet", person(mobile, "otp", "not a code")), "round %d", round)
			require.Equal(t, limit, wrong(account.Address), "the stored row agrees")
		}
	}
	account := servers[0].account(`{}`)
	for round := range rounds {
		mobile := fmt.Sprintf("9195515%05d", round)
		require.Equal(t, "OTP Generated Successfully", servers[round%len(servers)].servlet("otpgenservlet", account.AccessKey, person(mobile)))
		code := servers[0].messages("limit=1&account=" + account.Address)[0].Code
		right := person(mobile, "otp", encrypted(t, account.CipherKey, account.CipherIV, code))
		require.Equal(t, map[string]int{"Verified successfully": 1, "OTPEXPIRED": 63},
			tally(t, servers, account.AccessKey, "otpvalidationservlet", right), "round %d", round)
		require.Zero(t, wrong(account.Address))
	}
}

// newestWrong is the wrong guesses at an account's newest challenge.
const newestWrong = `
	SELECT c.wrong FROM challenges c JOIN recipients r ON r.id = c.recipient_id
	WHERE r.esme_address = ? ORDER BY c.id DESC LIMIT 1`

// asking opens a database by hand for one number at a time.
func asking(t *testing.T, driver, dsn, query string) func(account string) int {
	t.Helper()
	db, err := sqlx.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return func(account string) (n int) {
		require.NoError(t, db.Get(&n, query, account))
		return n
	}
}

func TestServlets_ExactCountsThroughTwoServersOnOneSQLiteFileRace(t *testing.T) {
	environ := variables(t)
	path := strings.TrimPrefix(environ[1], "OTPBRIDGE_DATABASE_URL=sqlite:")
	servers := []client{startChild(t, t.TempDir(), environ...).client, startChild(t, t.TempDir(), environ...).client}
	raceServlets(t, servers, 100, asking(t, "sqlite", path, newestWrong))
}
