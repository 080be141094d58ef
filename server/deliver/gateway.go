package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Gateway is a provider that takes messages by HTTP. Which request it wants is configuration: the
// query of its URL, or a profile. Tokens in braces are replaced by values, each escaped for the
// place where it stands, so that no value can become anything else than a value:
//
//	{to} {to_digits}   the recipient; a number with and without its plus
//	{text} {code}      the message; the code alone, for gateways that keep the text
//	{subject}          of an e-mail
//	{sender}           of the account, else of the channel
//	{id}               the challenge, the same for every send of it
//	{expires_in}       seconds that the code is still good for, at least 1
//	{dlt_entity_id} {dlt_template_id}
//	{user} {password}  of the URL, in a profile
//
// What is known afterwards follows from two things: whether a byte of the request left this
// process, and what the answer says. Redirects are not followed, and no request is ever repeated.
type Gateway struct {
	name     string
	method   string
	target   url.URL // without user, query and fragment
	user     string
	password string
	basic    bool // user and password go into an Authorization header
	query    []pair
	form     []pair
	json     any // with tokens in its strings
	headers  []pair
	sender   string
	timeout  time.Duration

	refusals []rule
	sent     rule
	idPath   string
	idMatch  *regexp.Regexp
	statuses map[string]Status

	client *http.Client
}

// pair is a name and a text with tokens.
type pair struct{ name, text string }

const (
	gatewayTimeout = 10 * time.Second
	// gatewayConnect bounds reaching a gateway, and once more the TLS handshake: within three
	// seconds of the hand-over the next channel is tried if this one cannot be reached.
	gatewayConnect = 1500 * time.Millisecond
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 10
	// gatewayIdle is less than the five seconds after which Apache and Node close a connection
	// that nobody uses. A request that crosses such a closing may or may not have been seen, and
	// its message would be given up as unknown.
	gatewayIdle = 4 * time.Second
)

// Name is the gateway's name in logs and receipts.
func (g *Gateway) Name() string { return g.name }

// Waits is true: somebody else answers.
func (g *Gateway) Waits() bool { return true }

// Format prints the name alone, with any verb: the rest holds secrets.
func (g *Gateway) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "gateway "+g.name) }

func openGateway(u *url.URL, o Options) (Channel, error) {
	if err := host(u); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !o.Sandbox && !loopback(u) {
		return nil, errors.New("would send codes in clear over a network; write https://, or in production http:// to loopback only")
	}
	said, err := words(u.EscapedFragment(), "part behind the #", "profile", "preset", "name", "sender", "timeout", "connect_timeout")
	if err != nil {
		return nil, err
	}
	p, err := profileOf(said)
	if err != nil {
		return nil, err
	}
	g := &Gateway{target: url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}}
	g.user = u.User.Username()
	g.password, _ = u.User.Password()
	if g.name, err = logName(cmp.Or(said["name"], p.Name), u.Hostname()); err != nil {
		return nil, err
	}
	g.sender = cmp.Or(said["sender"], p.Sender)
	if !visible(g.sender) {
		return nil, errors.New("has a sender with a control character")
	}
	if g.timeout, err = span("timeout", cmp.Or(said["timeout"], p.Timeout), gatewayTimeout); err != nil {
		return nil, err
	}
	connect, err := span("connect_timeout", cmp.Or(said["connect_timeout"], p.Connect), gatewayConnect)
	if err != nil {
		return nil, err
	}
	if err := g.shape(u, p); err != nil {
		return nil, err
	}
	if err := g.learn(p); err != nil {
		return nil, err
	}
	g.client = client(o, connect)
	return g, nil
}

// profileOf is the profile that the fragment names; none is one that says nothing.
func profileOf(said map[string]string) (profile, error) {
	switch preset, path := said["preset"], said["profile"]; {
	case preset != "" && path != "":
		return profile{}, errors.New("names a preset and a profile: which is meant?")
	case preset != "":
		return presetNamed(preset)
	case path != "":
		return readProfile(path)
	}
	return profile{}, nil
}

// shape takes from URL and profile what the request looks like.
func (g *Gateway) shape(u *url.URL, p profile) (err error) {
	if g.query, err = pairsOf(u.RawQuery); err != nil {
		return err
	}
	g.query = append(g.query, sorted(p.Query)...)
	g.form, g.headers, g.json = sorted(p.Form), sorted(p.Headers), p.JSON
	g.method = http.MethodGet
	if p.Form != nil || p.JSON != nil {
		g.method = http.MethodPost
	}
	g.method = cmp.Or(p.Method, g.method)
	switch {
	case !slices.Contains(methods, g.method):
		return fmt.Errorf("the profile has a method that is none of %s", strings.Join(methods, ", "))
	case p.Form != nil && p.JSON != nil:
		return errors.New("the profile has a form and json, and a request has one body")
	case g.method == http.MethodGet && (p.Form != nil || p.JSON != nil):
		return errors.New("the profile has a body, which a GET has not: leave out the method")
	}
	return g.checkTokens(u)
}

// contentTokens and headerTokens are what may stand where.
var (
	headerTokens  = []string{"to", "to_digits", "sender", "id", "expires_in", "dlt_entity_id", "dlt_template_id", "user", "password"}
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

// learn takes from the profile what answers mean.
func (g *Gateway) learn(p profile) (err error) {
	g.refusals, g.sent, g.idPath = p.Refused, p.Sent, p.ID
	if g.refusals == nil {
		g.refusals = plainRefusals()
	}
	if err := checkRefusals(g.refusals); err != nil {
		return fmt.Errorf("the profile's %w", err)
	}
	g.sent.Status = cmp.Or(g.sent.Status, "200-299")
	if err := g.sent.compile("sent"); err != nil {
		return fmt.Errorf("the profile's %w", err)
	}
	if p.IDMatch != "" {
		if g.idMatch, err = regexp.Compile(p.IDMatch); err != nil || g.idMatch.NumSubexp() < 1 || p.ID != "" {
			return errors.New("the profile's id_match is no regular expression (RE2) with a group, or there is an id as well")
		}
	}
	g.statuses = make(map[string]Status)
	for status, list := range p.Statuses {
		if !slices.Contains(statuses, status) {
			return fmt.Errorf("the profile maps words to a status that is none of %v", statuses)
		}
		for _, word := range list {
			if _, twice := g.statuses[strings.ToLower(word)]; twice {
				return fmt.Errorf("the profile maps %q to two statuses", word)
			}
			g.statuses[strings.ToLower(word)] = status
		}
	}
	return nil
}

// client makes connections that count what they write. Connections are kept: a gateway is called
// for every message, and a handshake is most of what a call costs.
func client(o Options, connect time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: connect}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &countedConn{Conn: conn}, nil
			},
			TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    connect,
			MaxIdleConnsPerHost:    32,
			IdleConnTimeout:        gatewayIdle,
			MaxResponseHeaderBytes: maxAnswer,
		},
		// A redirect may lead anywhere, and a repeated request may be a second message.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send makes one request and judges the answer.
func (g *Gateway) Send(ctx context.Context, m Message) Result {
	content, err := m.Content()
	if err != nil {
		return refused("the message could not be rendered")
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	var hop hop
	request, err := g.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: hop.got}), m, content)
	if err != nil {
		return refused(err.Error())
	}
	response, err := g.client.Do(request)
	if err != nil {
		if hop.untouched() {
			return unreachable(phrase(err))
		}
		return doubtful("no answer: " + phrase(err))
	}
	defer response.Body.Close()
	a := &answer{status: response.StatusCode}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	a.whole = err == nil && len(a.body) <= maxAnswer
	return g.judge(a)
}

// request builds the request for one message. Errors name no value.
func (g *Gateway) request(ctx context.Context, m Message, content Content) (*http.Request, error) {
	values := map[string]string{
		"to": m.To, "to_digits": strings.TrimPrefix(m.To, "+"), "text": content.Text, "code": content.Code, "subject": content.Subject,
		"sender": cmp.Or(m.From, g.sender), "id": m.ID,
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
