package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSandbox_MessagesAreSelected(t *testing.T) {
	s := boot(t, variables(t)...)
	began := time.Now()
	s.servlet("otpgenservlet", documentedKey, person("919551492001"))
	s.servlet("otpgenservlet", documentedKey, person("919551492002"))
	s.servlet("otpgenservlet", liveKey, person("919551492001"))
	s.servlet("otpregenservlet", documentedKey, person("919551492001"))

	all := s.messages("")
	require.Len(t, all, 4)
	require.Equal(t, all[0].ChallengeID, all[3].ChallengeID, "newest first: the regeneration, … the first generation")
	require.Equal(t, all[0].Code, all[3].Code)
	require.NotEqual(t, all[0].ID, all[3].ID)

	require.Equal(t, all[1:2], s.messages("account=10000000000002"))
	for _, spelling := range []string{"919551492002", "+919551492002", "00919551492002", "+91 95514-92002"} {
		require.Equal(t, all[2:3], s.messages("to="+url.QueryEscape(spelling)), spelling)
	}
	require.Equal(t, all[2:3], s.messages("to=+919551492002"), "a plus that form decoding ate")
	require.Equal(t, all[:2], s.messages("limit=2"))
	require.Equal(t, all[:2], s.messages("after="+all[2].ID))
	require.Equal(t, all[:1], s.messages("account=10000000000001&after="+all[1].ID))
	require.Empty(t, s.messages("after="+all[0].ID))
	require.Equal(t, all, s.messages("after="+began.Add(-time.Minute).UTC().Format(time.RFC3339)))
	require.Empty(t, s.messages("after="+began.Add(time.Hour).UTC().Format(time.RFC3339)))
	require.Empty(t, s.messages("account=4711"))
	refused(t, s.do("GET", "/sandbox/messages?after=yesterday", ""), 400, "INVALID_REQUEST")
}

func TestSandbox_MailIsAMessageOfItsOwn(t *testing.T) {
	s := boot(t, variables(t)...)
	account := s.account(`{"email_enabled":true}`)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", account.AccessKey,
		person("919551492394", "email", "someone@mail.example")))
	found := s.messages("")
	require.Len(t, found, 2)
	channels := []string{found[0].Channel, found[1].Channel}
	slices.Sort(channels)
	require.Equal(t, []string{"email", "sms"}, channels)
	require.Equal(t, found[0].Code, found[1].Code)

	mail := s.messages("to=someone@mail.example")
	require.Len(t, mail, 1)
	require.Equal(t, "email", mail[0].Channel)
	require.NotEmpty(t, mail[0].Subject)
	require.NotContains(t, mail[0].Subject, mail[0].Code)
}

func TestSandbox_AWaitEndsWithTheFirstMatch(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919551492001"))
	old := s.messages("")[0]

	began := time.Now()
	require.Equal(t, []message{old}, s.messages("wait=30s&after="+began.Add(-time.Minute).UTC().Format(time.RFC3339)),
		"what is there already is a match, if it is newer than after")
	type result struct {
		body string
		err  error
	}
	waited := make(chan result, 1)
	go func() {
		a, err := s.try("GET", "/sandbox/messages?wait=30s&to=919551492002&after="+old.ID, "")
		waited <- result{a.body, err}
	}()
	s.servlet("otpgenservlet", documentedKey, person("919551492001"))
	s.servlet("otpgenservlet", documentedKey, person("919551492002"))
	got := <-waited
	require.NoError(t, got.err)
	require.Contains(t, got.body, `"to":"+919551492002"`)
	require.NotContains(t, got.body, `"to":"+919551492001"`)
	require.Less(t, time.Since(began), 20*time.Second)
}

func TestSandbox_EmptyingTheInboxLeavesCodesLive(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919551492001"))
	code := s.messages("")[0].Code
	require.Equal(t, 204, s.do("DELETE", "/sandbox/messages", "").status)
	require.Empty(t, s.messages(""))
	require.Equal(t, "Verified successfully", s.servlet("otpvalidationservlet", documentedKey,
		person("919551492001", "otp", encrypted(t, sampleKey, sampleIV, code))))
	s.servlet("otpgenservlet", documentedKey, person("919551492002"))
	require.Len(t, s.messages(""), 1)
}

// events reads messages from a stream as they come.
type events struct {
	t     *testing.T
	lines *bufio.Scanner
	close func() error
}

func openStream(c client, query string, headers ...string) events {
	r, err := http.NewRequest("GET", c.url+"/sandbox/messages/stream?"+query, nil)
	require.NoError(c.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.agent.Do(r)
	require.NoError(c.t, err)
	require.Equal(c.t, 200, response.StatusCode)
	require.Equal(c.t, "text/event-stream", response.Header.Get("Content-Type"))
	e := events{t: c.t, lines: bufio.NewScanner(response.Body), close: response.Body.Close}
	require.True(c.t, e.lines.Scan(), "a stream begins with a comment, so that a client knows that it is open")
	require.True(c.t, strings.HasPrefix(e.lines.Text(), ": "))
	return e
}

func (e events) next() (id string, m message) {
	e.t.Helper()
	for e.lines.Scan() {
		line := e.lines.Text()
		if after, found := strings.CutPrefix(line, "id: "); found {
			id = after
		}
		if data, found := strings.CutPrefix(line, "data: "); found {
			require.NoError(e.t, json.Unmarshal([]byte(data), &m))
			return id, m
		}
	}
	require.FailNow(e.t, "the stream ended", "%v", e.lines.Err())
	return "", m
}

func TestSandbox_StreamTellsMessagesAsTheyCome(t *testing.T) {
	s := boot(t, variables(t)...)
	s.servlet("otpgenservlet", documentedKey, person("919551492000"))
	before := s.messages("")[0]

	all := openStream(s.client, "")
	defer all.close()
	one := openStream(s.client, "to=919551492002")
	defer one.close()
	resumed := openStream(s.client, "", "Last-Event-ID", before.ID)
	defer resumed.close()
	for i := range 4 {
		s.servlet("otpgenservlet", documentedKey, person(fmt.Sprintf("91955149200%d", i)))
	}
	sent := s.messages("")
	for i := range 4 {
		id, m := all.next()
		require.Equal(t, sent[3-i], m, "oldest first, and none from before")
		require.Equal(t, m.ID, id)
		_, m = resumed.next()
		require.Equal(t, sent[3-i], m)
	}
	_, m := one.next()
	require.Equal(t, "+919551492002", m.To)
	refused(t, s.do("GET", "/sandbox/messages/stream?after=yesterday", ""), 400, "INVALID_REQUEST")
}

// Under load no message is lost on its way to a stream.
func TestSandbox_StreamMissesNothingRace(t *testing.T) {
	const senders, each = 16, 20
	s := boot(t, variables(t)...)
	account := s.account(`{"sends_per_minute":0,"sends_per_hour":0,"sends_per_day":0}`)
	stream := openStream(s.client, "")
	defer stream.close()
	// If a message never comes, only this test fails.
	defer time.AfterFunc(30*time.Second, func() { stream.close() }).Stop()
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for range each {
				number := person(fmt.Sprintf("9195514920%02d", i))
				_, err := s.try("GET", "/otpauthapi/otpgenservlet?"+number.Encode(), "", "access_key", account.AccessKey)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(map[string]bool)
	for range senders * each {
		id, _ := stream.next()
		require.False(t, seen[id], "told twice")
		seen[id] = true
	}
	all.Wait()
}
