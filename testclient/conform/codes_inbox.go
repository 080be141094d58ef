package conform

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Inbox replaces the target's SMS gateway: it accepts requests with any method and form, answers 200, and finds number
// and code in them.
type Inbox struct {
	server *http.Server
	addr   string

	mu       sync.Mutex
	arrivals []arrival
	changed  chan struct{} // closed and replaced with each arrival
}

type arrival struct {
	at     time.Time
	values []string // of the query, the form, the JSON; or the whole body
}

// NewInbox listens on addr.
func NewInbox(addr string) (*Inbox, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &Trouble{Tried: "listen for messages on " + addr, Err: err,
			Remedy: "Give --codes inbox=ADDR an address of this machine with a free port, such as inbox=127.0.0.1:9099."}
	}
	box := &Inbox{addr: listener.Addr().String(), changed: make(chan struct{})}
	box.server = &http.Server{Handler: http.HandlerFunc(box.take), ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second}
	go func() { _ = box.server.Serve(listener) }() // ends by Close
	return box, nil
}

// URL returns the address for the target's gateway setting.
func (b *Inbox) URL() string { return "http://" + b.addr + "/" }

// Close stops listening.
func (b *Inbox) Close() error { return b.server.Close() }

func (b *Inbox) take(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	came := arrival{at: time.Now(), values: valuesIn(r.URL.RawQuery, r.Header.Get("Content-Type"), body)}
	b.mu.Lock()
	b.arrivals = append(b.arrivals, came)
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	_, _ = io.WriteString(w, "OK\n")
}

// valuesIn returns the texts in a message's query and body.
func valuesIn(query, contentType string, body []byte) []string {
	var values []string
	form := func(text string) {
		parsed, _ := url.ParseQuery(text)
		for _, list := range parsed {
			values = append(values, list...)
		}
	}
	form(query)
	var document any
	switch {
	case strings.HasPrefix(contentType, formType):
		form(string(body))
	case json.Unmarshal(body, &document) == nil:
		values = append(values, leaves(document)...)
	case len(body) > 0:
		values = append(values, string(body))
	}
	return values
}

func leaves(value any) []string {
	switch value := value.(type) {
	case string:
		return []string{value}
	case json.Number:
		return []string{value.String()}
	case []any:
		var list []string
		for _, element := range value {
			list = append(list, leaves(element)...)
		}
		return list
	case map[string]any:
		var list []string
		for _, element := range value {
			list = append(list, leaves(element)...)
		}
		return list
	}
	return nil
}

// Code waits for a message to w's number that came after its time.
func (b *Inbox) Code(ctx context.Context, w Wanted) (string, error) {
	deadline := time.NewTimer(codeWait)
	defer deadline.Stop()
	for {
		b.mu.Lock()
		changed := b.changed
		for _, came := range slices.Backward(b.arrivals) {
			if came.at.Before(w.After) {
				break
			}
			if code := came.codeFor(w.Mobile); code != "" {
				b.mu.Unlock()
				return code, nil
			}
		}
		seen := len(b.arrivals)
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", ctx.Err()
		case <-deadline.C:
			return "", inboxTrouble(b.URL(), w.Mobile, seen)
		}
	}
}

func inboxTrouble(address, mobile string, seen int) error {
	remedy := "Point the SMS gateway of the target at " + address + ", and see that it can reach this machine."
	if seen > 0 {
		remedy = "Other messages did come: see that they hold the number with its country code and the code in digits."
	}
	return &Trouble{Tried: "wait at " + address + " for the message to " + mobile + ": none came", Remedy: remedy}
}

var runOfDigits = regexp.MustCompile(`[0-9]+`)

// codeFor returns the code in a message to mobile, empty if the message is not for that number. Words with a number in
// them are preferred to bare numbers, which may be ids of the gateway.
func (a arrival) codeFor(mobile string) string {
	number := digitsOf(mobile)
	// Some gateways get the number without its country code.
	short := number[max(0, len(number)-10):]
	forIt := slices.ContainsFunc(a.values, func(value string) bool { return strings.Contains(onlyDigits(value), short) })
	if !forIt {
		return ""
	}
	var bare string
	for _, value := range a.values {
		for _, run := range runOfDigits.FindAllString(value, -1) {
			if !isCode(run) || strings.Contains(number, run) && len(run) > 6 {
				continue
			}
			if strings.ContainsFunc(value, unicode.IsLetter) && strings.Contains(strings.TrimSpace(value), " ") {
				return run
			}
			if bare == "" {
				bare = run
			}
		}
	}
	return bare
}
