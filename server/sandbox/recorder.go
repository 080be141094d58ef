package sandbox

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

const (
	keptRequests = 200
	maxQuery     = 4 << 10 // bytes that are kept of a query or a form
	maxAnswer    = 4 << 10
)

// Recorder remembers the latest calls of the doors, for GET /sandbox/requests. It is a ring in memory: new calls
// replace old ones, none survives the process, and none is logged.
//
// The zero value is ready to use. It is safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex
	calls   [keptRequests]call
	answers [keptRequests][]byte // of the calls; later calls reuse the memory
	read    [keptRequests][]web.Reading
	pool    sync.Pool // of *web.Readings
	count   int       // of all recorded calls
}

// call is one request as it came, without its key. It is redacted when it is shown, not when it is recorded: every
// request is recorded, but few are shown.
type call struct {
	requestID  string
	at         time.Time
	took       time.Duration
	method     string
	host       string
	path       string
	query      string
	form       string
	hasForm    bool
	json       string
	hasJSON    bool
	carriers   carrierSet // the headers that carried a key
	department string
	account    string
	kind       string
	reason     string
	passed     string // the class of the upstream's answer
	status     int
	answer     string        // set when the call is read
	readings   []web.Reading // the same
}

// Record is the middleware that records the calls of the routes it is used on.
func (r *Recorder) Record(c *gin.Context) {
	began := time.Now()
	request := c.Request
	made := call{
		requestID:  web.RequestOf(c).ID,
		at:         began,
		method:     request.Method,
		host:       cut(request.Host, 256),
		path:       cut(request.URL.Path, 256),
		query:      cut(request.URL.RawQuery, maxQuery),
		hasForm:    isKind(request, "application/x-www-form-urlencoded"),
		hasJSON:    isKind(request, "application/json"),
		carriers:   carriersIn(request.Header),
		department: cut(request.Header.Get("Department-Id"), 128),
	}
	var body *captured
	if made.hasForm || made.hasJSON {
		body = &captured{ReadCloser: request.Body}
		request.Body = body
	}
	answer := &answering{ResponseWriter: c.Writer}
	answer.head = answer.first[:0]
	c.Writer = answer
	readings, pooled := r.pool.Get().(*web.Readings)
	if !pooled {
		readings = new(web.Readings)
	}
	web.RequestOf(c).Readings = readings

	c.Next()

	c.Writer = answer.ResponseWriter
	made.took = time.Since(began)
	switch {
	case made.hasForm:
		made.form = string(body.head)
	case made.hasJSON:
		made.json = string(body.head)
	}
	told := web.RequestOf(c)
	made.account, made.kind, made.reason, made.passed = told.Account, told.Kind, told.Reason, told.Passed
	made.status = answer.Status()
	r.add(made, answer.head, readings.All())
	told.Readings = nil
	readings.Reset()
	r.pool.Put(readings)
}

// add records a call. It copies the answer and the readings, whose memory is reused after the request.
func (r *Recorder) add(made call, answer []byte, readings []web.Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := r.count % keptRequests
	r.calls[place], r.answers[place] = made, append(r.answers[place][:0], answer...)
	r.read[place] = append(r.read[place][:0], readings...)
	r.count++
}

// latest returns a copy of the recorded calls, newest first.
func (r *Recorder) latest() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := make([]call, 0, min(r.count, keptRequests))
	for i := range cap(kept) {
		place := (r.count - 1 - i) % keptRequests
		made := r.calls[place]
		made.answer, made.readings = string(r.answers[place]), slices.Clone(r.read[place])
		kept = append(kept, made)
	}
	return kept
}

// Clear forgets everything.
func (r *Recorder) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.answers, r.count = [keptRequests]call{}, [keptRequests][]byte{}, 0
	r.read = [keptRequests][]web.Reading{}
}

// captured keeps the beginning of a body that the handler reads.
type captured struct {
	io.ReadCloser
	head []byte
}

func (b *captured) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.head = append(b.head, p[:min(n, maxQuery-len(b.head))]...)
	return n, err
}

// answering keeps the beginning of the answer that the handler writes.
type answering struct {
	gin.ResponseWriter
	head  []byte
	first [96]byte // the first memory of head: longer than every text of the servlets
}

// Unwrap lets http.ResponseController find the connection.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answering) Write(p []byte) (int, error) {
	a.head = append(a.head, p[:min(len(p), maxAnswer-len(a.head))]...)
	return a.ResponseWriter.Write(p)
}

func (a *answering) WriteString(s string) (int, error) {
	a.head = append(a.head, s[:min(len(s), maxAnswer-len(a.head))]...)
	return a.ResponseWriter.WriteString(s)
}

// isKind reports whether r has a body of this media type.
func isKind(r *http.Request, mediaType string) bool {
	value, err := web.Single(r.Header, "Content-Type")
	if err != nil {
		return false // the door refuses it
	}
	kind, _, _ := strings.Cut(value, ";")
	return strings.EqualFold(strings.TrimSpace(kind), mediaType) && r.Body != http.NoBody
}

// carriers are the headers that can carry a key, as net/http and as people write them.
var carriers = []struct{ canonical, shown string }{
	{"Access_key", "access_key"}, {"X-Api-Key", "X-API-Key"}, {"Authorization", "Authorization"},
}

// carrierSet is a set of carriers: bit i stands for carriers[i].
type carrierSet uint8

func carriersIn(header http.Header) (set carrierSet) {
	for i, carrier := range carriers {
		if len(header[carrier.canonical]) > 0 {
			set |= 1 << i
		}
	}
	return set
}

// names returns the headers of the set, as people write them.
func (s carrierSet) names() (names []string) {
	for i, carrier := range carriers {
		if s&(1<<i) != 0 {
			names = append(names, carrier.shown)
		}
	}
	return names
}

// cut returns at most n bytes of s, in whole characters. If it shortens s, it copies, so that the rest can be freed.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.Clone(otp.CutBytes(s, n)) + "…"
}
