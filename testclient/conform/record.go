package conform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Recorder is a proxy between an integration and its server. It forwards everything unchanged, and records the servlet
// calls without secrets. Values that belong to one person or account are replaced by placeholders before writing, so a
// secret never reaches the disk.
type Recorder struct {
	target *Target
	proxy  *httputil.ReverseProxy
	out    io.Writer
	notice func(string)

	mu    sync.Mutex
	n     int
	last  time.Time
	names map[string]map[string]string // kind, value: placeholder
	right map[string]bool              // otp parameters that were once right
	err   error
}

// NewRecorder returns a recorder that writes to out, line by line, and reports to notice what could not be forwarded.
func NewRecorder(target *Target, out io.Writer, notice func(string)) *Recorder {
	r := &Recorder{target: target, out: out, notice: notice, names: map[string]map[string]string{},
		right: map[string]bool{}}
	root := &url.URL{}
	root.Scheme, root.Host, _ = strings.Cut(target.Root, "://")
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(root)
			// Unchanged, including broken escapes: they are part of the recording.
			p.Out.URL.RawQuery = p.In.URL.RawQuery
		},
		Transport:      target.client.Transport,
		FlushInterval:  -1, // a stream of messages is forwarded as it comes
		ModifyResponse: r.take,
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			notice(target.trouble("pass on "+request.Method+" "+request.URL.Path, err).Error())
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: nil,
	}
	return r
}

// Count returns how many exchanges were written, and the first error in writing.
func (r *Recorder) Count() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n, r.err
}

// formOf is the context key under which a request's form reaches its answer.
type formOf struct{}

type heard struct {
	form string
	at   time.Time
}

// ServeHTTP forwards a request.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if _, ok := r.servlet(request.URL.Path); ok {
		h := heard{at: time.Now()}
		if strings.HasPrefix(request.Header.Get("Content-Type"), formType) {
			body, err := io.ReadAll(io.LimitReader(request.Body, maxBody))
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			request.Body = io.NopCloser(bytes.NewReader(body))
			h.form = string(body)
		}
		request = request.WithContext(context.WithValue(request.Context(), formOf{}, h))
	}
	r.proxy.ServeHTTP(w, request)
}

// servlet returns the path below the context path. A path parameter may be a session, so it is removed.
func (r *Recorder) servlet(path string) (string, bool) {
	name, ok := strings.CutPrefix(path, r.target.Context+"/")
	name, _, _ = strings.Cut(name, ";")
	// If the servlets are at the root, the JSON APIs are beside them.
	json := strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/sandbox/")
	return name, ok && name != "" && !json
}

// take records one exchange when its answer comes.
func (r *Recorder) take(response *http.Response) error {
	h, ok := response.Request.Context().Value(formOf{}).(heard)
	if !ok {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))

	r.mu.Lock()
	defer r.mu.Unlock()
	line := r.line(response.Request, h, string(body))
	line.Status, line.Type = response.StatusCode, response.Header.Get("Content-Type")
	r.n++
	if err := line.write(r.out, r.n); err != nil && r.err == nil {
		r.err = err
	}
	return nil
}

// recorded are the headers that belong to the protocol. Others may hold secrets.
var recorded = []string{"access_key", "department-id"}

func (r *Recorder) line(request *http.Request, h heard, answer string) Line {
	servlet, _ := r.servlet(request.URL.Path)
	l := Line{Method: request.Method, Servlet: servlet}
	if !r.last.IsZero() && h.at.Sub(r.last) >= noticeable {
		l.Later = h.at.Sub(r.last).Round(time.Second)
	}
	r.last = time.Now()
	refused := strings.TrimSpace(answer) == Unauthorised.In(Live)
	for name, values := range request.Header {
		for _, value := range values {
			switch {
			case !slices.Contains(recorded, strings.ToLower(name)):
			case strings.EqualFold(name, "access_key") && refused:
				l.Headers = append(l.Headers, HeaderLine{"access_key", "{wrong_access_key}"})
			case strings.EqualFold(name, "access_key"):
				r.placeholder("access_key", value)
				l.Headers = append(l.Headers, HeaderLine{"access_key", "{access_key}"})
			default:
				l.Headers = append(l.Headers, HeaderLine{strings.ToLower(name), value})
			}
		}
	}
	slices.SortFunc(l.Headers, func(a, b HeaderLine) int { return strings.Compare(a.Name, b.Name) })
	l.Query = r.parameters(request.URL.RawQuery, servlet, answer)
	l.Body = r.parameters(h.form, servlet, answer)
	l.Answer = r.clean(answer)
	return l
}

// parameters replaces values by placeholders. Names are kept, known or not: a repeated or misspelt name is part of the
// conversation.
func (r *Recorder) parameters(text, servlet, answer string) string {
	if text == "" {
		return ""
	}
	pairs := strings.Split(text, "&")
	for i, pair := range pairs {
		name, raw, given := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(raw)
		if err != nil {
			value = raw
		}
		plain, _ := url.QueryUnescape(name)
		switch kind := strings.TrimSpace(plain); {
		case !given:
			pairs[i] = "{other}"
		case err != nil:
			pairs[i] = name + "=%zz"
		case strings.Contains(raw, ";"):
			pairs[i] = name + "=x;y"
		case strings.TrimSpace(value) == "":
		case kind == "mobile" && !isNumber(value):
			pairs[i] = name + "={bad_mobile}"
		case kind == "email" && strings.Count(value, "@") != 1:
			pairs[i] = name + "={bad_email}"
		case kind == "mobile":
			pairs[i] = name + "=" + r.placeholder("mobile", digitsOf(value))
		case kind == "ipaddress":
			pairs[i] = name + "=" + r.placeholder("ip", value)
		case kind == "email":
			pairs[i] = name + "=" + r.placeholder("email", strings.ToLower(value))
		case kind == "otp":
			pairs[i] = name + "=" + r.judged(value, servlet, answer)
		default:
			pairs[i] = name + "={other}"
		}
	}
	return strings.Join(pairs, "&")
}

// isNumber reports whether a value can be a number in some spelling.
func isNumber(value string) bool {
	digits := digitsOf(value)
	return len(digits) >= 10 && len(digits) <= 15 && strings.Trim(value, "+ -0123456789") == ""
}

// placeholder returns the placeholder of a value, the same each time.
func (r *Recorder) placeholder(kind, value string) string {
	if r.names[kind] == nil {
		r.names[kind] = map[string]string{}
	}
	name, known := r.names[kind][value]
	if !known {
		name = "{" + kind + "}"
		if n := len(r.names[kind]) + 1; n > 1 {
			name = "{" + kind + strconv.Itoa(n) + "}"
		}
		r.names[kind][value] = name
	}
	return name
}

// judged returns {right} or {wrong}. The answer tells which; if it does not, it is what the same parameter was before.
func (r *Recorder) judged(value, servlet, answer string) string {
	key := servlet + " " + value
	switch text := strings.TrimSpace(answer); text {
	case Verified.In(Live), Expired.In(Live):
		r.right[key] = true
	default:
		if strings.HasPrefix(text, "Wrong PIN") {
			delete(r.right, key) // the same digits, of a code that was replaced
		}
	}
	word := "wrong"
	if r.right[key] {
		word = "right"
	}
	if len(value) == 32 && strings.Trim(value, "0123456789abcdefABCDEF") == "" {
		if strings.ToUpper(value) == value {
			return "{" + word + ":HEX}"
		}
		return "{" + word + ":hex}"
	}
	return "{" + word + "}"
}

// clean keeps the protocol's answers. Other answers may contain anything.
func (r *Recorder) clean(answer string) string {
	text := strings.TrimRight(answer, "\r\n")
	known := text == "" || strings.HasPrefix(text, "Wrong PIN") && len(text) < 60
	for t := Generated; t < NoDepartment; t++ {
		known = known || text == t.In(Documented) || text == t.In(Live)
	}
	if known {
		return answer
	}
	for _, values := range r.names {
		for value, name := range values {
			answer = strings.ReplaceAll(answer, value, name)
		}
	}
	answer = digitRun.ReplaceAllString(answer, "{digits}")
	if len(answer) > 500 {
		answer = answer[:500] + fmt.Sprintf("… (%d bytes)", len(answer))
	}
	return answer
}
