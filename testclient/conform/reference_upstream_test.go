package conform

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's calls of upstreams.

// anyForwarded returns an account whose calls are forwarded, for the mutants that ignore whose call it is.
func (f *reference) anyForwarded() *refAccount {
	for _, a := range f.accounts {
		if a.Mode == "forward" {
			return a
		}
	}
	return nil
}

// refPasses are the headers of a request that are forwarded, and those of an answer that are returned.
var refPasses = [2][]string{
	{"Access_key", "Department-Id", "Content-Type", "User-Agent"}, {"Content-Type", "Cache-Control", "Set-Cookie"},
}

// forward asks the account's upstream and returns its answer.
func (f *reference) forward(w http.ResponseWriter, r *http.Request, body string, a *refAccount) {
	status, header, said := f.ask(r, body, a)
	if status == 0 && f.has("upstream: a call that fails is made again") {
		status, header, said = f.ask(r, body, a)
	}
	if f.has("upstream: a message is sent here too") {
		a.messages = append(a.messages, refMessage{ID: "m", Account: a.Address, Channel: "sms", Code: "123456"})
	}
	if status == 0 || !f.servletSays(r, status, said) {
		end := ""
		if a.Profile == Live {
			end = "\r\n"
		}
		f.write(w, http.StatusOK, "ERROR"+end)
		return
	}
	f.passBack(w, status, header, said)
}

func (f *reference) passBack(w http.ResponseWriter, status int, header http.Header, said string) {
	w.Header()["Content-Type"] = nil
	for _, name := range refPasses[1] {
		if values := header[name]; values != nil {
			w.Header()[name] = values
		}
	}
	switch cookies := w.Header()["Set-Cookie"]; {
	case f.has("upstream: the content type is the server's own"):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case f.has("upstream: answers may not be cached"):
		w.Header().Set("Cache-Control", "no-store")
	case f.has("upstream: cookies are left out"):
		w.Header().Del("Set-Cookie")
	case f.has("upstream: cookies are sorted"):
		slices.Sort(cookies)
	case f.has("upstream: the line end is left out"):
		said = strings.TrimRight(said, "\r\n")
	case f.has("upstream: the line end is the profile's"):
		said = strings.ReplaceAll(said, "\r\n", "\n")
	case f.has("upstream: the status is always 200"):
		status = http.StatusOK
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(said)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, said)
}

// ask makes one call of the upstream; status 0 means no answer.
func (f *reference) ask(r *http.Request, body string, a *refAccount) (status int, header http.Header, said string) {
	uri, query, _ := strings.Cut(r.URL.RequestURI(), "?")
	name, method := uri[strings.LastIndex(uri, "/"):], r.Method
	switch {
	case f.has("upstream: the query is written anew"):
		values, _ := url.ParseQuery(query)
		query = values.Encode()
	case f.has("upstream: the servlet's name is in lower case"):
		name = strings.ToLower(name)
	case f.has("upstream: a path parameter is left out"):
		name, _, _ = strings.Cut(name, ";")
	case f.has("upstream: a form becomes a query") && query == "":
		query, body = body, ""
	case f.has("upstream: the body is made UTF-8"):
		body = strings.ToValidUTF8(body, "?")
	case f.has("upstream: POST without a body becomes GET") && body == "":
		method = http.MethodGet
	}
	to, err := url.Parse(a.Upstream)
	if err != nil {
		return 0, nil, ""
	}
	to.Opaque, to.RawQuery = strings.TrimSuffix(to.Path, "/")+name, query
	request := &http.Request{Method: method, URL: to, Host: to.Host, Header: http.Header{"User-Agent": nil}, Close: true,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	for _, name := range refPasses[0] {
		if values := r.Header[name]; values != nil {
			request.Header[name] = values
		}
	}
	f.misleads(request.Header)
	transport := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 5 * time.Second}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, ""
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, ""
	}
	return response.StatusCode, response.Header, string(answer)
}

func (f *reference) misleads(header http.Header) {
	switch departments := header["Department-Id"]; {
	case f.has("upstream: the key is left out"):
		header.Del("Access_key")
	case f.has("upstream: no department goes with a call"):
		header.Del("Department-Id")
	case f.has("upstream: of several departments one goes with a call") && len(departments) > 1:
		header["Department-Id"] = departments[:1]
	case f.has("upstream: the content type is without its parameters") && header["Content-Type"] != nil:
		header.Set("Content-Type", formType)
	case f.has("upstream: the client's name is the server's"):
		header.Set("User-Agent", "reference")
	}
}

// servletSays reports whether an answer is a servlet's: a known text; with status 200 also another short line, or, for
// a validation, nothing.
func (f *reference) servletSays(r *http.Request, status int, said string) bool {
	validation := strings.Contains(strings.ToLower(r.URL.Path), "validation")
	line := strings.TrimSuffix(strings.TrimSuffix(said, "\n"), "\r")
	if said == "" {
		return status == 200 && validation && !f.has("upstream: zero bytes are an ERROR") ||
			status != 200 && f.has("upstream: nothing with another status comes back")
	}
	if status/100 == 3 && f.has("upstream: a redirect comes back") || f.has("upstream: all answers come back") {
		return true
	}
	for _, p := range []Profile{Documented, Live} {
		for _, text := range refTexts(p) {
			before, after, numbered := strings.Cut(text, "{n}")
			if line == text || numbered && strings.HasPrefix(line, before) && strings.HasSuffix(line, after) {
				return true
			}
		}
	}
	if status != 200 {
		return f.has("upstream: an unknown text comes back with another status")
	}
	if f.has("upstream: unknown lines are an ERROR") {
		return false
	}
	odd := strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' })
	return (!odd || f.has("upstream: odd bytes come back")) &&
		(len(line) <= 200 || f.has("upstream: a long answer comes back")) &&
		(!strings.ContainsAny(line, "<{") || f.has("upstream: a page comes back"))
}
