package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
)

// The load under which servers are killed. Callers take one new number after the other through generate, wrong guesses
// and the right code, and record what was acknowledged. Every acknowledged fact must stay true whatever is killed; a
// request without an answer may have happened or not.

const (
	loadCallers  = 48
	loadAttempts = 4 // wrong guesses a code may cost
	loadCode     = "123456"
)

// fact is one number's story, with the counts of sent and of acknowledged operations.
type fact struct {
	number           string
	generated        bool
	wrongSent, wrong int
	rightSent, right bool
	unanswered       bool // the story broke off in a call whose outcome nobody knows
}

// workload is the load of one kill, on its own account.
type workload struct {
	l       *ledger
	agent   *http.Client
	url     string
	account string
	key     string

	started  atomic.Int64 // calls
	decided  atomic.Int64 // calls that were acknowledged
	struckAt atomic.Int64 // Unix nanoseconds of the kill; 0 before it
	inFlight atomic.Int64 // calls that were under way then and got no decision

	mu    sync.Mutex
	facts []*fact
	next  int
}

// loadOn prepares a load on a running server.
func loadOn(l *ledger, c client) *workload {
	account := c.account(fmt.Sprintf(`{"plain_validation_enabled":true,"otp_ttl_seconds":1800,"max_attempts":%d}`,
		loadAttempts))
	return &workload{l: l, agent: c.agent, url: c.url, account: account.Address, key: account.AccessKey}
}

// call makes one servlet call; decided is false if its outcome is unknown. It is a POST, because the client would
// repeat a GET.
func (w *workload) call(servlet string, f *fact, guess string) (text string, decided bool) {
	parameters := url.Values{"ipaddress": {"203.0.113.7"}, "mobile": {f.number}}
	if guess != "" {
		parameters.Set("otp", guess)
	}
	r, err := http.NewRequest("POST", w.url+"/otpauthapi/"+servlet, strings.NewReader(parameters.Encode()))
	if err != nil {
		panic(err) // the URL is ours
	}
	r.Header.Set("access_key", w.key)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.started.Add(1)
	began := time.Now()
	if response, err := w.agent.Do(r); err == nil {
		var body []byte
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil && string(body) != "ERROR" {
			w.l.acknowledge(1)
			w.decided.Add(1)
			return string(body), true
		}
	}
	if struck := w.struckAt.Load(); struck != 0 && began.UnixNano() < struck {
		w.inFlight.Add(1)
	}
	return "", false
}

// newFact starts the story of a new number. Its last four digits are unique in the account, because the database shows
// only those.
func (w *workload) newFact() *fact {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &fact{number: fmt.Sprintf("91980000%04d", w.next)}
	w.next++
	w.facts = append(w.facts, f)
	return f
}

// tell runs one story, and returns false if a call got no decision.
func (w *workload) tell(f *fact) bool {
	text, decided := w.call("otpgenservlet", f, "")
	if !decided {
		f.unanswered = true
		return false
	}
	f.generated = w.l.equal("OTP Generated Successfully", text, "generate for %s", f.number)
	for range rand.IntN(loadAttempts) {
		f.wrongSent++
		text, decided := w.call("plainotpvalidationservlet", f, "654321")
		if !decided {
			f.unanswered = true
			return false
		}
		f.wrong++
		w.l.equal(remainingText(loadAttempts-f.wrong), text, "wrong guess %d for %s", f.wrong, f.number)
	}
	if rand.IntN(4) == 0 {
		return true // left live, so that what remains can be asked for later
	}
	f.rightSent = true
	if text, decided = w.call("plainotpvalidationservlet", f, loadCode); !decided {
		f.unanswered = true
		return false
	}
	f.right = w.l.equal("Verified successfully", text, "the right code for %s", f.number)
	return true
}

func remainingText(n int) string { return fmt.Sprint("Wrong PIN. No of Retries remaining #", n) }

// The texts for codes that are used up.
const (
	textUsed      = "OTPEXPIRED"
	textExhausted = "Max no of tries for this pin been reached. Please generate other"
	textVerified  = "Verified successfully"
)

// run runs the callers until stop is closed. After a call without a decision its caller waits for back before it
// continues with another number.
func (w *workload) run(back, stop <-chan struct{}) {
	var calling sync.WaitGroup
	for range loadCallers {
		calling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if w.tell(w.newFact()) {
					continue
				}
				select {
				case <-stop:
					return
				case <-back:
				}
			}
		})
	}
	calling.Wait()
}

// strike runs the load, kills after a random number of calls, and ends the load when revive has restarted what was
// killed. revive may call goOn as soon as the server can be called again.
func (w *workload) strike(t *testing.T, kill func(), revive func(goOn func())) {
	t.Helper()
	back, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.run(back, stop)
	}()
	at := 600 + rand.Int64N(900)
	eventually(t, "there is load", func() bool { return w.started.Load() >= at })
	w.struckAt.Store(time.Now().UnixNano())
	kill()
	revive(func() { close(back) })
	close(stop)
	<-ended
	w.l.inject(1)
}

// stored is what the database has about one number.
type stored struct {
	Mask              string
	Challenges, Wrong int
	Used              int
	Sent              int // events
	WrongEvents       int
	Verified          int
}

// lookUp compares every story with the database. It returns how many of the calls without an answer had been
// committed.
func (w *workload) lookUp(t *testing.T, db *sqlx.DB) (happened int) {
	t.Helper()
	var rows []stored
	event := func(kind string) string {
		return `(SELECT COUNT(*) FROM events e WHERE e.recipient_hash = r.hash AND e.esme_address = r.esme_address AND e.challenge_id = c.id AND e.kind = '` + kind + `')`
	}
	require.NoError(t, db.Select(&rows, `
		SELECT r.mask, COUNT(*) AS challenges, SUM(c.wrong) AS wrong, COUNT(c.used_at) AS used,
			SUM(`+event("sent")+`) AS sent, SUM(`+event("wrong")+`) AS wrongevents, SUM(`+event("verified")+`) AS verified
		FROM recipients r JOIN challenges c ON c.recipient_id = r.id
		WHERE r.esme_address = ?
		GROUP BY r.id, r.mask`, w.account))
	byNumber := map[string]stored{}
	for _, row := range rows {
		byNumber["91980000"+row.Mask[len(row.Mask)-4:]] = row
	}
	w.l.equal(len(rows), len(byNumber), "one recipient a number")
	for _, f := range w.facts {
		row, found := byNumber[f.number]
		if f.generated {
			w.l.equal(true, found, "the acknowledged code for %s", f.number)
		}
		if !found {
			continue
		}
		w.l.equal(stored{row.Mask, 1, row.Wrong, row.Used, 1, row.Wrong, row.Used}, row, "rows and events of %s agree",
			f.number)
		if f.wrong > 0 {
			w.l.equal(true, row.Wrong >= f.wrong, "%d acknowledged charges of %s, %d stored", f.wrong, f.number, row.Wrong)
		}
		w.l.equal(true, row.Wrong <= f.wrongSent, "%d wrong guesses at %s, %d stored", f.wrongSent, f.number, row.Wrong)
		if f.right {
			w.l.equal(1, row.Used, "the acknowledged verification of %s", f.number)
		}
		if !f.rightSent {
			w.l.equal(0, row.Used, "%s was never verified", f.number)
		}
		if f.unanswered {
			happened += row.Wrong - f.wrong
			if row.Used > 0 && !f.right || !f.generated {
				happened++
			}
		}
	}
	return happened
}

// ask asks the server about every story, as the next caller would, and adds the answers to it. It returns the number
// of acknowledged facts that it asked about.
func (w *workload) ask(c client) int {
	w.agent, w.url = c.agent, c.url
	asked := atomic.Int64{}
	queue := make(chan *fact, len(w.facts))
	for _, f := range w.facts {
		if f.generated {
			queue <- f
		}
	}
	close(queue)
	var asking sync.WaitGroup
	for range loadCallers {
		asking.Go(func() {
			for f := range queue {
				asked.Add(1 + int64(f.wrong))
				w.askAbout(f)
			}
		})
	}
	asking.Wait()
	return int(asked.Load())
}

func (w *workload) askAbout(f *fact) {
	say := func(guess string) string {
		text, decided := w.call("plainotpvalidationservlet", f, guess)
		if !decided {
			text = "no decision"
		}
		return text
	}
	if f.right {
		w.l.equal(textUsed, say(loadCode), "the code of %s, which was accepted before", f.number)
		return
	}
	// The answer to a wrong guess says how many remain. Each acknowledged guess must have been counted, and possibly
	// one that was not acknowledged.
	f.wrongSent++
	text := say("654321")
	allowed := map[string]bool{}
	for counted := f.wrong; counted < f.wrongSent; counted++ {
		allowed[remainingText(loadAttempts-counted-1)] = true
	}
	w.l.equal(true, allowed[text], "after %d acknowledged wrong guesses of %d at %s: %s", f.wrong, f.wrongSent-1,
		f.number, text)
	left := 0
	if _, err := fmt.Sscanf(text, "Wrong PIN. No of Retries remaining #%d", &left); err == nil {
		f.wrong = loadAttempts - left
	}
	sentBefore := f.rightSent
	f.rightSent = true
	switch text = say(loadCode); {
	case left == 0:
		w.l.equal(textExhausted, text, "the code of %s, which has cost its attempts", f.number)
		f.rightSent = sentBefore
		return
	case sentBefore && text == textUsed: // the unanswered call had verified it
	default:
		w.l.equal(textVerified, text, "the live code of %s", f.number)
	}
	f.right = true
	w.l.equal(textUsed, say(loadCode), "the code of %s a second time", f.number)
}
