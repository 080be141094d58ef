package servlet_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// turn is an account whose calls change sides under load.
type turn struct {
	*testing.T
	key             string
	upstream        *side   // one server
	front           []*side // two, on one database
	number          atomic.Int64
	logins          chan struct{} // one for each
	pace            int           // how many logins each part of the load has, in pairs
	mu              sync.Mutex
	moment          chan struct{} // closed at the next change
	made            [2]int        // logins with codes of the upstream, and of the fronts
	refused, twice  []string
	strange, others []string // codes of the other side that were accepted; unexpected answers
}

func (c *turn) violate(of *[]string, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*of = append(*of, fmt.Sprintf(format, args...))
}

// ask calls a servlet of one of the front's servers.
func (c *turn) ask(server int, name, mobile string, more ...string) string {
	values := url.Values{"ipaddress": {"10.20.51.122"}, "mobile": {mobile}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	r, err := http.NewRequest("POST", c.front[server%2].server.URL+"/otpauthapi/"+name+"?"+values.Encode(), nil)
	if err != nil {
		return err.Error()
	}
	r.Header["access_key"] = []string{c.key}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(response.StatusCode, " ", string(text))
}

// newest returns the id and the code of the newest message to a number from each side.
func (c *turn) newest(mobile string) (ids, codes [2]string) {
	for i, s := range []*side{c.upstream, c.front[0]} {
		messages, err := s.engine.Inbox.List(c.Context(), engine.MessageQuery{Account: s.address, To: "+" + mobile, Limit: 1})
		if err != nil {
			c.violate(&c.others, "inbox: %v", err)
		}
		if len(messages) > 0 {
			ids[i], codes[i] = messages[0].ID, messages[0].Code
		}
	}
	return ids, codes
}

// makes requests a code, and returns which side made it.
func (c *turn) makes(server int, servlet, mobile string) (maker int, code string) {
	before, _ := c.newest(mobile)
	if answer := c.ask(server, servlet, mobile); answer != sent {
		c.violate(&c.others, "%s: %s", servlet, answer)
	}
	after, codes := c.newest(mobile)
	if before[1] != after[1] {
		return 1, codes[1]
	}
	return 0, codes[0]
}

// login plays one person, who may ask twice, and may hold the code until the next change of sides.
func (c *turn) login(i int, waits bool) {
	mobile := fmt.Sprintf("91955%07d", c.number.Add(1))
	maker, code := c.makes(i, "otpgenservlet", mobile)
	c.mu.Lock()
	moment := c.moment
	c.mu.Unlock()
	if waits {
		<-moment
	}
	switch i % 3 {
	case 1:
		if again, same := c.makes(i+1, "otpregenservlet", mobile); again != maker || same != code {
			c.violate(&c.refused, "another code was sent than was made")
		}
	case 2:
		old := code
		if maker, code = c.makes(i+1, "otpgenservlet", mobile); old != code {
			if answer := c.ask(i, "plainotpvalidationservlet", mobile, "otp", old); strings.Contains(answer, "Verified") {
				c.violate(&c.strange, "a replaced code was accepted")
			}
		}
	}
	answers := make([]string, 2)
	var both sync.WaitGroup
	for j := range answers {
		both.Go(func() { answers[j] = c.ask(j, "plainotpvalidationservlet", mobile, "otp", code) })
	}
	both.Wait()
	switch {
	case answers[0] == verified && answers[1] == verified:
		c.violate(&c.twice, "%v", answers)
	case answers[0] != verified && answers[1] != verified:
		c.violate(&c.refused, "made by %d: %v", maker, answers)
	case answers[0] != "200 OTPEXPIRED" && answers[1] != "200 OTPEXPIRED":
		c.violate(&c.others, "%v", answers)
	}
	c.mu.Lock()
	c.made[maker]++
	c.mu.Unlock()
	c.logins <- struct{}{}
}

// to sets a mode, and lets people log in before the change, at it and after it.
func (c *turn) to(mode otp.BridgeMode) {
	front := c.front[0]
	_, err := front.manage.Accounts.CutOver(c.Context(), otp.Actor{Kind: "operator"}, front.address, mode, time.Time{},
		nil)
	require.NoError(c, err)
	for _, s := range c.front {
		s.engine.Forget() // instead of waiting some seconds
	}
	c.await(2 * c.pace)
	beyond := otp.CutOverLead.Duration() + time.Second
	require.NoError(c, front.manage.Sandbox.AdvanceClock(c.Context(), front.address, beyond))
	c.mu.Lock()
	close(c.moment)
	c.moment = make(chan struct{})
	c.mu.Unlock()
	c.await(4 * c.pace)
}

func (c *turn) await(logins int) {
	for range logins {
		<-c.logins
	}
}

// load changes sides and back while six people log in all the time.
func (c *turn) load() {
	stop := make(chan struct{})
	var people sync.WaitGroup
	for i := range 6 {
		people.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
					c.login(n, i%2 == 1)
				}
			}
		})
	}
	c.await(2 * c.pace)
	c.to(otp.BridgeLocal)
	c.to(otp.BridgeForward)
	close(stop)
	c.mu.Lock()
	close(c.moment)
	c.moment = make(chan struct{})
	close(c.moment)
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() { people.Wait(); close(ended) }()
	for {
		select {
		case <-c.logins:
		case <-ended:
			return
		}
	}
}

// An account goes from its upstream to here and back, on two servers with one database. Everyone with a code can log
// in, once. With FULL=1 the database is MariaDB, whose start takes longer than the whole short form.
func TestCutOver_UnderLoadThroughTwoServersRace(t *testing.T) {
	rounds, pace, database := 2, 1, migrated.SQLite
	if os.Getenv("FULL") == "1" {
		rounds, pace, database = 50, 2, migrated.MariaDB
	}
	address, keyring := database(t), crypto.NewKeyringText("k1")
	front := []*side{{house: newHouseOn(t, address, keyring, "")}, {house: newHouseOn(t, address, keyring, "")}}
	for _, s := range front {
		s.server = s.serve(t, asItIs)
	}
	upstream := &side{house: newHouse(t, "")}
	upstream.server = upstream.serve(t, asItIs)
	address = upstream.server.URL + "/otpauthapi"
	var made [2]int
	for round := range rounds {
		c := &turn{T: t, key: fmt.Sprintf("a-key-of-this-round-%d", round), upstream: upstream, front: front,
			pace: pace, logins: make(chan struct{}), moment: make(chan struct{})}
		account := otp.DefaultAccount("")
		account.PlainValidation = true
		keys := []manage.NewAccessKey{{Key: c.key}}
		_, there, err := upstream.manage.Sandbox.CreateAccount(t.Context(),
			manage.NewAccount{Account: account, AccessKeys: keys})
		require.NoError(t, err)
		account.UpstreamURL, account.Bridge = &address, otp.BridgeForward
		_, here, err := front[0].manage.Sandbox.CreateAccount(t.Context(),
			manage.NewAccount{Account: account, AccessKeys: keys})
		require.NoError(t, err)
		upstream.address, front[0].address, front[1].address = there.Address, here.Address, here.Address
		c.load()
		require.Empty(t, c.refused, "right codes refused, round %d", round)
		require.Empty(t, c.twice, "codes accepted twice, round %d", round)
		require.Empty(t, c.strange, "codes accepted from a side that did not make them, round %d", round)
		require.Empty(t, c.others, "round %d", round)
		require.Positive(t, c.made[0])
		require.Positive(t, c.made[1])
		made[0], made[1] = made[0]+c.made[0], made[1]+c.made[1]
	}
	t.Logf("%d changes of sides, %d logins with codes of the upstream and %d with codes made here", 2*rounds, made[0],
		made[1])
}

// A build without the hand-over rule must fail under the same load.
func TestCutOver_TheLoadCatchesABuildWithoutHandOverRace(t *testing.T) {
	if os.Getenv("FULL") != "1" || os.Getenv("OTP_MUTANT") != "" {
		t.Skip("this runs with FULL=1, and not inside itself")
	}
	without := sqltest.Mutation{Package: "otpbridge/server/otp", File: "bridge.go",
		Change: func(t testing.TB, source string) string {
			return sqltest.Replace(t, source, "h.HandOver = a.ChangesSides() &&", "h.HandOver = a.CutOverAt == nil &&", 1)
		}}
	command := exec.Command("go", "test", "-overlay", sqltest.Overlay(t, without), "-count=1", "-timeout", "5m", "-run",
		"TestCutOver_UnderLoad", ".")
	command.Env = append(os.Environ(), "OTP_MUTANT=1", "FULL=")
	output, err := command.CombinedOutput()
	require.Error(t, err, "a build without the hand-over passes")
	require.Contains(t, string(output), "right codes refused", "%s", output)
}
