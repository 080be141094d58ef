package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// contentTokens and headerTokens are the tokens allowed in content and in headers.
var (
	headerTokens = []string{
		"to", "to_digits", "sender", "service", "id", "send_id", "expires_in", "encoding", "segments",
		"dlt_entity_id", "dlt_template_id", "callback_url", "user", "password",
	}
	contentTokens = append([]string{"text", "code", "subject"}, headerTokens...)
)

// checkTokens refuses unknown tokens, and requests that lack the recipient or the text.
func (g *Gateway) checkTokens(u *url.URL) error {
	used := make(map[string]bool)
	check := func(where, text string, allowed []string) error {
		for _, found := range token.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(allowed, found[1]) {
				return fmt.Errorf("has the token {%s} in %s, where only these can be: {%s}", found[1], where,
					strings.Join(allowed, "} {"))
			}
			used[found[1]] = true
		}
		return nil
	}
	for _, list := range [][]pair{g.query, g.form} {
		for _, p := range list {
			if err := errors.Join(check("a name", p.name, nil), check("the query or form", p.text, contentTokens)); err != nil {
				return err
			}
		}
	}
	for _, h := range g.headers {
		if err := errors.Join(checkHeader(h), check("header "+h.name, h.text, headerTokens)); err != nil {
			return err
		}
	}
	var err error
	each(g.json, func(text string) string {
		err = errors.Join(err, check("json", text, contentTokens))
		return text
	})
	for _, segment := range g.path {
		err = errors.Join(err, check("the path", segment, contentTokens))
	}
	if err != nil {
		return err
	}
	if token.MatchString(u.Host) {
		return errors.New("has a token in its host; tokens stand in the path, the query, or in a profile")
	}
	g.anonymous = used["sender"] && g.sender == "" && (!used["service"] || g.service == "")
	g.basic = (g.user != "" || g.password != "") && !used["user"] && !used["password"]
	if g.basic && slices.ContainsFunc(g.headers, func(h pair) bool { return otp.SameName(h.name, "authorization") }) {
		return errors.New("has a user before its host and an Authorization header that does not use {user} or {password}")
	}
	switch {
	case !used["to"] && !used["to_digits"]:
		return errors.New("says nowhere whom to send to: {to} or {to_digits} must stand in the path or query, or in a " +
			"profile's query, form or json")
	case g.callback.url != "" && !used["callback_url"]:
		return errors.New("has a callback_url= and says it nowhere to the gateway: {callback_url} must stand in the " +
			"query, or in a profile")
	case g.callback.names.Reference != "" && !used["send_id"]:
		return errors.New("matches receipts by a reference that it says nowhere to the gateway: {send_id} must stand in " +
			"the query, or in a profile")
	case !used["text"] && !used["code"]:
		return errors.New("says nowhere what to send: {text} or {code} must stand in the path or query, or in a profile's " +
			"query, form or json")
	}
	return nil
}

// ownHeaders are set by the HTTP client itself; a second one would change what is sent.
var ownHeaders = []string{"host", "content-length", "transfer-encoding", "connection", "trailer", "upgrade", "te",
	"expect", "content-type"}

var headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)

func checkHeader(h pair) error {
	switch {
	case !headerName.MatchString(h.name):
		return errors.New("the profile has a header whose name is none")
	case slices.Contains(ownHeaders, otp.Lower(h.name)):
		return fmt.Errorf("the profile sets the header %s, which is made here", h.name)
	case !headerValue(h.text):
		return fmt.Errorf("the profile's header %s has a control character or one beyond ASCII", h.name)
	}
	return nil
}

// headerValue reports whether text can be a header's value: visible ASCII and blanks. CR, LF and NUL would allow
// header injection.
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// request builds the request for one message. Errors quote no value.
func (g *Gateway) request(ctx context.Context, m Message, content Content) (*http.Request, error) {
	size := CountSegments(content.Text)
	values := map[string]string{
		"to": m.To, "to_digits": strings.TrimPrefix(m.To,
			"+"), "text": content.Text, "code": content.Code, "subject": content.Subject,
		"sender": cmp.Or(m.From, g.sender), "id": m.ID, "send_id": m.SendID,
		"service": g.service, "callback_url": g.callback.url, "encoding": g.encodings[size.Encoding],
		"segments":      strconv.Itoa(size.Count),
		"expires_in":    strconv.Itoa(max(1, int(time.Until(m.ExpiresAt)/time.Second))),
		"dlt_entity_id": content.DLTEntityID, "dlt_template_id": content.DLTTemplateID,
		"user": g.user, "password": g.password,
	}
	fill := func(text string) string { return fillIn(text, values) }
	target := g.target
	target.RawQuery = encode(g.query, fill)
	if err := g.fillPath(&target, fill); err != nil {
		return nil, err
	}
	body, kind := "", ""
	switch {
	case g.json != nil:
		text, err := json.Marshal(filledJSON(g.json, fill))
		if err != nil {
			return nil, errors.New("the request could not be written as JSON")
		}
		body, kind = string(text), "application/json"
	case g.form != nil:
		body, kind = encode(g.form, fill), "application/x-www-form-urlencoded"
	}
	request, err := http.NewRequestWithContext(ctx, g.method, target.String(), nil)
	if err != nil {
		return nil, errors.New("the request could not be built")
	}
	// With a body that cannot be rewound, net/http does not repeat the request by itself, as it does with a GET when a
	// kept connection breaks after the request was written.
	request.Body = io.NopCloser(strings.NewReader(body))
	request.ContentLength = int64(len(body))
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	request.Header.Set("User-Agent", "OTPBridge")
	if g.basic {
		request.SetBasicAuth(g.user, g.password)
	}
	for _, h := range g.headers {
		value := fill(h.text)
		if leftOut(h.text, value) {
			continue
		}
		if !headerValue(value) {
			return nil, fmt.Errorf("the header %s would get a control character or one beyond ASCII", h.name)
		}
		request.Header.Set(h.name, value)
	}
	return request, nil
}

// token is a name in braces. JSON has no text of this form outside its strings.
var token = regexp.MustCompile(`\{([A-Za-z0-9_]+)\}`)

// fillIn replaces the tokens in text, once: a value that looks like a token is not replaced again.
func fillIn(text string, values map[string]string) string {
	return token.ReplaceAllStringFunc(text, func(found string) string { return values[found[1:len(found)-1]] })
}

// onlyTokens matches a text that consists of tokens only.
var onlyTokens = regexp.MustCompile(`^(\{[A-Za-z0-9_]+\})+$`)

// leftOut reports whether a field is left out because all its tokens are empty, such as a DLT template id if there is
// none. Gateways refuse empty optional fields.
func leftOut(text, value string) bool { return value == "" && onlyTokens.MatchString(text) }

// encode returns pairs as a query or a form, in their order.
func encode(pairs []pair, fill func(string) string) string {
	var text strings.Builder
	for _, p := range pairs {
		value := fill(p.text)
		if leftOut(p.text, value) {
			continue
		}
		if text.Len() > 0 {
			text.WriteByte('&')
		}
		text.WriteString(url.QueryEscape(p.name) + "=" + url.QueryEscape(value))
	}
	return text.String()
}

// segmentsOf returns the segments of a path, unescaped, nil if none has a token.
func segmentsOf(u *url.URL) []string {
	if !token.MatchString(u.Path) {
		return nil
	}
	segments := strings.Split(u.EscapedPath(), "/")
	for i := range segments {
		segments[i], _ = url.PathUnescape(segments[i]) // url.Parse has checked it
	}
	return segments
}

// fillPath writes the path of a request. A value stays within its segment: it is escaped, and refused if it is empty
// or if a server could read it as a step to another folder.
func (g *Gateway) fillPath(target *url.URL, fill func(string) string) (err error) {
	if g.path == nil {
		return nil
	}
	escaped := make([]string, len(g.path))
	for i, segment := range g.path {
		value := segment
		if token.MatchString(segment) {
			value = fill(segment)
			steps := strings.FieldsFunc(value, func(r rune) bool { return r == '/' || r == '\\' })
			if value == "" || slices.Contains(steps, ".") || slices.Contains(steps, "..") {
				return errors.New("a value in the path would be empty or lead elsewhere")
			}
		}
		escaped[i] = url.PathEscape(value)
	}
	target.RawPath = strings.Join(escaped, "/")
	target.Path, err = url.PathUnescape(target.RawPath)
	return err
}

// pairsOf reads a query in its order.
func pairsOf(query string) (pairs []pair, err error) {
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, text, _ := strings.Cut(part, "=")
		name, err1 := url.QueryUnescape(name)
		text, err2 := url.QueryUnescape(text)
		if err1 != nil || err2 != nil || strings.Contains(part, ";") {
			return nil, errors.New("has a query that cannot be read: special characters are percent-encoded")
		}
		pairs = append(pairs, pair{name, text})
	}
	return pairs, nil
}

func sorted(texts map[string]string) []pair {
	var pairs []pair
	for name, text := range texts {
		pairs = append(pairs, pair{name, text})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.name, b.name) })
	return pairs
}

// each copies a JSON value, with f applied to every string except names.
func each(value any, f func(string) string) any {
	switch v := value.(type) {
	case string:
		return f(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = each(v[i], f)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name := range v {
			object[name] = each(v[name], f)
		}
		return object
	}
	return value
}

// filledJSON copies a JSON value with the tokens in its strings replaced. A member of an object is left out if all its
// tokens are empty; a list keeps all its elements, unless every one is empty.
func filledJSON(value any, fill func(string) string) any {
	filled, _ := fillJSON(value, fill)
	return filled
}

// fillJSON is filledJSON, and reports whether to keep the value.
func fillJSON(value any, fill func(string) string) (filled any, kept bool) {
	switch v := value.(type) {
	case string:
		text := fill(v)
		return text, !leftOut(v, text)
	case []any:
		list := make([]any, len(v))
		kept = len(v) == 0
		for i := range v {
			var some bool
			list[i], some = fillJSON(v[i], fill)
			kept = kept || some
		}
		return list, kept
	case map[string]any:
		object := make(map[string]any, len(v))
		for name := range v {
			if member, some := fillJSON(v[name], fill); some {
				object[name] = member
			}
		}
		return object, len(v) == 0 || len(object) > 0
	}
	return value, true
}
