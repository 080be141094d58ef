package conform

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// upstreamPath is the path before the names of the upstream's servlets.
const upstreamPath = "/there"

// upstream replaces the service that an account comes from. It records its requests and gives the answers that the
// case sets.
type upstream struct {
	server *http.Server
	addr   string

	mu    sync.Mutex
	calls []Request
	says  Answer            // status 0 closes the connection
	judge func(Request) int // returns the status, instead of says; nil for none
}

// newUpstream listens on a free port of this machine, and answers as after a generate. If it cannot, it ends the
// story.
func newUpstream() *upstream {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(broken{&Trouble{Tried: "listen as an upstream", Err: err,
			Remedy: "Allow this program to listen on 127.0.0.1."}})
	}
	u := &upstream{addr: listener.Addr().String(), says: Answer{Status: http.StatusOK, Body: Generated.In(Documented)}}
	u.server = &http.Server{Handler: u}
	go func() { _ = u.server.Serve(listener) }() // ends by Close
	return u
}

// ServeHTTP answers a call.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	path, query, _ := strings.Cut(r.RequestURI, "?")
	u.mu.Lock()
	call := Request{Method: r.Method, Path: path, Query: query, Header: r.Header, Body: string(body)}
	u.calls = append(u.calls, call)
	says := u.says
	if u.judge != nil {
		says = Answer{Status: u.judge(call)}
	}
	u.mu.Unlock()
	if says.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header()["Content-Type"] = nil
	for name, values := range says.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(says.Body)))
	w.WriteHeader(says.Status)
	_, _ = io.WriteString(w, says.Body)
}

// judgeBy makes a function decide which status a call is answered with.
func (u *upstream) judgeBy(judge func(Request) int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.judge = judge
}

// setAnswer sets the upstream's answer from now on.
func (u *upstream) setAnswer(status int, body string, header http.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.says = Answer{Status: status, Body: body, Header: header}
}

// breaksOff makes the upstream close the connection instead of answering.
func (u *upstream) breaksOff() { u.setAnswer(0, "", nil) }

// passedOn returns the calls that reached the upstream since the last call of passedOn.
func (u *upstream) passedOn() []Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	calls := u.calls
	u.calls = nil
	return calls
}

// connect skips the case unless calls reach the upstream. A target on another machine, or in a container, cannot call
// 127.0.0.1 here.
func (s *Story) connect() {
	s.Generate()
	if len(s.upstream.passedOn()) == 0 {
		panic(skipped{"No call reached the upstream which this client serves at " + s.upstream.addr +
			": the target is not on this machine, or does not pass calls on."})
	}
}

// expectPassedOn requires exactly one call at the upstream, with that method, servlet, query and body.
func (s *Story) expectPassedOn(asked Request) Request {
	calls := s.upstream.passedOn()
	s.Require(len(calls) == 1, "1 call of the upstream", plural(len(calls), "call"))
	came := calls[0]
	line := func(r Request) string {
		return r.method() + " " + r.Path + "?" + r.Query + " with the body " + strconv.Quote(r.Body)
	}
	asked.Path = upstreamPath + "/" + asked.Path
	s.Require(line(came) == line(asked), "that the upstream is asked "+line(asked), line(came))
	return came
}

// expectHeaders requires the same values of those headers, in the same order.
func (s *Story) expectHeaders(came, sent http.Header, names ...string) {
	for _, name := range names {
		s.Require(slices.Equal(came[name], sent[name]), name+" "+strings.Join(quotedAll(sent[name]), ", "),
			name+" "+orNone(strings.Join(quotedAll(came[name]), ", ")))
	}
}

func quotedAll(texts []string) (all []string) {
	for _, text := range texts {
		all = append(all, strconv.Quote(text))
	}
	return all
}
