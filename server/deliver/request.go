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
)

// contentTokens and headerTokens are what may stand where.
var (
	headerTokens  = []string{"to", "to_digits", "sender", "id", "send_id", "expires_in", "dlt_entity_id", "dlt_template_id", "user", "password"}
	contentTokens = append([]string{"text", "code", "subject"}, headerTokens...)
)

// checkTokens finds tokens that do not exist, and requests that would leave out what matters.
func (g *Gateway) checkTokens(u *url.URL) error {
	used := make(map[string]bool)
	check := func(where, text string, allowed []string) error {
		for _, found := range token.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(allowed, found[1]) {
				return fmt.Errorf("has the token {%s} in %s, where only these can be: {%s}", found[1], where, strings.Join(allowed, "} {"))
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
	if err != nil {
		return err
	}
	if token.MatchString(u.Path) || token.MatchString(u.Host) {
		return errors.New("has a token in its path; tokens stand in the query, or in a profile")
	}
	g.basic = (g.user != "" || g.password != "") && !used["user"] && !used["password"]
	if g.basic && slices.ContainsFunc(g.headers, func(h pair) bool { return strings.EqualFold(h.name, "authorization") }) {
		return errors.New("has a user before its host and an Authorization header that does not use {user} or {password}")
	}
	switch {
	case !used["to"] && !used["to_digits"]:
		return errors.New("says nowhere whom to send to: {to} or {to_digits} must stand in the query, or in a profile's query, form or json")
	case !used["text"] && !used["code"]:
		return errors.New("says nowhere what to send: {text} or {code} must stand in the query, or in a profile's query, form or json")
	}
	return nil
}

// ownHeaders are made by the client itself, and a second one would change what is sent.
var ownHeaders = []string{"host", "content-length", "transfer-encoding", "connection", "trailer", "upgrade", "te", "expect", "content-type"}

var headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)

func checkHeader(h pair) error {
	switch {
	case !headerName.MatchString(h.name):
		return errors.New("the profile has a header whose name is none")
	case slices.Contains(ownHeaders, strings.ToLower(h.name)):
		return fmt.Errorf("the profile sets the header %s, which is made here", h.name)
	case !headerValue(h.text):
		return fmt.Errorf("the profile's header %s has a control character or one beyond ASCII", h.name)
	}
	return nil
}

// headerValue tells whether text can be a header's value: visible ASCII and blanks. CR, LF and
// NUL are what header injection is made of.
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// request builds the request for one message. Errors name no value.
func (g *Gateway) request(ctx context.Context, m Message, content Content) (*http.Request, error) {
	values := map[string]string{
		"to": m.To, "to_digits": strings.TrimPrefix(m.To, "+"), "text": content.Text, "code": content.Code, "subject": content.Subject,
		"sender": cmp.Or(m.From, g.sender), "id": m.ID, "send_id": m.SendID,
		"expires_in":    strconv.Itoa(max(1, int(time.Until(m.ExpiresAt)/time.Second))),
		"dlt_entity_id": content.DLTEntityID, "dlt_template_id": content.DLTTemplateID,
		"user": g.user, "password": g.password,
	}
	fill := func(text string) string { return fillIn(text, values) }
	target := g.target
	target.RawQuery = encode(g.query, fill)
	body, kind := "", ""
	switch {
	case g.json != nil:
		text, err := json.Marshal(each(g.json, fill))
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
	// A body that cannot be rewound keeps net/http from repeating the request by itself, as it
	// does with a GET when a kept connection breaks off after the request was written.
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
		if !headerValue(value) {
			return nil, fmt.Errorf("the header %s would get a control character or one beyond ASCII", h.name)
		}
		request.Header.Set(h.name, value)
	}
	return request, nil
}

// token is a name in braces. JSON has no text of this form outside its strings.
var token = regexp.MustCompile(`\{([A-Za-z0-9_]+)\}`)

// fillIn replaces the tokens in text, once: a value that looks like a token stays what it is.
func fillIn(text string, values map[string]string) string {
	return token.ReplaceAllStringFunc(text, func(found string) string { return values[found[1:len(found)-1]] })
}

// encode writes pairs as a query or a form, in their order.
func encode(pairs []pair, fill func(string) string) string {
	var text strings.Builder
	for i, p := range pairs {
		if i > 0 {
			text.WriteByte('&')
		}
		text.WriteString(url.QueryEscape(p.name) + "=" + url.QueryEscape(fill(p.text)))
	}
	return text.String()
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

// each copies a JSON value with every string of it, but no name, changed by f.
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
