package deliver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// Gateway is a provider that accepts messages by HTTP. Its request format is configuration: the query of its URL, or a
// profile. Tokens in braces are replaced by values, each escaped for its place, so that a value cannot become syntax:
//
//	{to} {to_digits}   the recipient; a number with and without its plus
//	{text} {code}      the message; the code alone, for gateways that keep the text
//	{subject}          of an e-mail
//	{sender}           of the account, else of the channel
//	{service}          of the channel: a messaging service, route or campaign of the gateway's
//	{encoding}         of the text as SMS: gsm or unicode, or the profile's words for them
//	{segments}         of the text as SMS
//	{id}               the challenge, the same for every send of it
//	{send_id}          the send, another one for each, the same however often it is tried
//	{expires_in}       seconds until the code expires, at least 1
//	{dlt_entity_id} {dlt_template_id}
//	{callback_url}     where receipts go, secret included
//	{user} {password}  of the URL, in a profile
//
// The outcome depends on two things: whether a byte of the request left this process, and what the answer says.
// Redirects are not followed, and a request is never repeated.
type Gateway struct {
	name      string
	method    string
	target    url.URL // without user, query and fragment
	user      string
	password  string
	anonymous bool     // its request has a sender, and the channel sets none
	basic     bool     // user and password go into an Authorization header
	path      []string // its segments, if they have tokens
	query     []pair
	form      []pair
	json      any // with tokens in its strings
	headers   []pair
	sender    string
	service   string
	encodings map[string]string // by the names of CountSegments
	timeout   time.Duration
	begin     time.Duration // bounds everything before the request

	refusals []rule
	sent     rule
	idPath   string
	idMatch  *regexp.Regexp
	statuses map[string]Status
	callback callback

	client *http.Client
}

// pair is a name and a text with tokens.
type pair struct{ name, text string }

const (
	gatewayTimeout = 10 * time.Second
	// gatewayConnect bounds connecting to a gateway, and separately the TLS handshake. Everything before the request,
	// including a proxy, may take twice as long: so if this channel cannot be reached, the next one is tried within
	// three seconds.
	gatewayConnect = 1500 * time.Millisecond
	// maxAnswer bounds the part of an answer that is read.
	maxAnswer = 64 << 10
	// gatewayIdle is less than the five seconds after which Apache and Node close an idle connection. If a request
	// crosses such a close, it is not known whether it was seen, and its message would end as unknown.
	gatewayIdle = 4 * time.Second
)

// Anonymous returns the names of channels whose request has a sender and that set none: accounts must set one.
func Anonymous(channels []Channel) (names []string) {
	for _, channel := range channels {
		if guarded, ok := channel.(rehearsed); ok {
			channel = guarded.Channel
		}
		if breaker, ok := channel.(*Breaker); ok {
			channel = breaker.channel
		}
		if g, ok := channel.(*Gateway); ok && g.anonymous {
			names = append(names, g.name)
		}
	}
	return names
}

// Name is the gateway's name in logs and receipts.
func (g *Gateway) Name() string { return g.name }

// Waits is true: the gateway answers over the network.
func (g *Gateway) Waits() bool { return true }

// Format prints the name only, with any verb: the rest holds secrets.
func (g *Gateway) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "gateway "+g.name) }

func openGateway(u *url.URL, o Options) (Channel, error) {
	if err := host(u); err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !o.Sandbox && !loopback(u) {
		return nil, errors.New("would send codes in clear over a network; write https://, or in production http:// to " +
			"loopback only")
	}
	said, err := words(u.EscapedFragment(), "part behind the #", "profile", "preset", "name", "sender", "service",
		"timeout", "connect_timeout",
		"callback", "callback_url", "callback_list", "callback_id", "callback_reference", "callback_status", "callback_error")
	if err != nil {
		return nil, err
	}
	p, err := profileOf(said, o)
	if err != nil {
		return nil, err
	}
	g := &Gateway{target: url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}}
	g.user = u.User.Username()
	g.password, _ = u.User.Password()
	if g.name, err = logName(cmp.Or(said["name"], p.Name), u.Hostname()); err != nil {
		return nil, err
	}
	g.sender, g.service = cmp.Or(said["sender"], p.Sender), cmp.Or(said["service"], p.Service)
	if !visible(g.sender) || !visible(g.service) {
		return nil, errors.New("has a sender or service with a control character")
	}
	if g.timeout, err = span("timeout", cmp.Or(said["timeout"], p.Timeout), gatewayTimeout); err != nil {
		return nil, err
	}
	connect, err := span("connect_timeout", cmp.Or(said["connect_timeout"], p.Connect), gatewayConnect)
	if err != nil {
		return nil, err
	}
	if g.callback, err = callbackOf(said, p.Receipt, g.name, o.Sandbox); err != nil {
		return nil, err
	}
	if err := g.shape(u, p); err != nil {
		return nil, err
	}
	if err := g.learn(p); err != nil {
		return nil, err
	}
	g.begin = 2 * connect
	g.client = client(o, connect)
	return g, nil
}

// profileOf returns the profile that the fragment names, an empty one for none.
func profileOf(said map[string]string, o Options) (profile, error) {
	switch preset, path := said["preset"], said["profile"]; {
	case preset != "" && path != "":
		return profile{}, errors.New("names a preset and a profile: which is meant?")
	case preset != "":
		return presetNamed(preset)
	case path != "":
		text, err := o.file(path)
		if err != nil {
			return profile{}, fmt.Errorf("profile= %w", err)
		}
		return parseProfile(text)
	}
	return profile{}, nil
}

// shape sets the form of the request from URL and profile.
func (g *Gateway) shape(u *url.URL, p profile) (err error) {
	if g.query, err = pairsOf(u.RawQuery); err != nil {
		return err
	}
	g.path = segmentsOf(u)
	g.query = append(g.query, sorted(p.Query)...)
	g.form, g.headers, g.json = sorted(p.Form), sorted(p.Headers), p.JSON
	g.method = http.MethodGet
	if p.Form != nil || p.JSON != nil {
		g.method = http.MethodPost
	}
	g.method = cmp.Or(p.Method, g.method)
	if g.encodings, err = encodingsOf(p.Encodings); err != nil {
		return err
	}
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

// learn sets the meaning of answers from the profile.
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
	if p.Statuses == nil {
		p.Statuses = plainStatuses()
	}
	g.statuses = make(map[string]Status)
	for status, list := range p.Statuses {
		if !slices.Contains(statuses, status) {
			return fmt.Errorf("the profile maps words to a status that is none of %v", statuses)
		}
		for _, word := range list {
			if _, twice := g.statuses[otp.Lower(word)]; twice {
				return fmt.Errorf("the profile maps %q to two statuses", word)
			}
			g.statuses[otp.Lower(word)] = status
		}
	}
	return nil
}

// client makes connections that count the bytes they write. Connections are kept open: a gateway is called for every
// message, and the handshake is most of the cost of a call.
func client(o Options, connect time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: connect}
	return &http.Client{
		Transport: Transport{&http.Transport{
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
		}},
		// A redirect may lead anywhere, and a repeated request may be a second message.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send makes one request and evaluates the answer.
func (g *Gateway) Send(ctx context.Context, m Message) Result {
	result := g.ask(ctx, m)
	if result.Outcome != NotSent && g.callback.secret != "" && g.callback.names.Reference != "" {
		result.MessageID = m.SendID // receipts name this id, whatever the answer contained
	}
	return result
}

func (g *Gateway) ask(ctx context.Context, m Message) Result {
	content, err := m.Content()
	if err != nil {
		return refused("the message could not be rendered")
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	hop := hop{opening: time.AfterFunc(g.begin, func() { giveUp(context.DeadlineExceeded) })}
	defer hop.opening.Stop()
	request, err := g.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: hop.got}), m, content)
	if err != nil {
		return refused(err.Error())
	}
	response, err := g.client.Do(request)
	if err != nil {
		if hop.untouched() {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return unreachable(Phrase(err))
		}
		return doubtful("no answer: " + Phrase(err))
	}
	defer response.Body.Close()
	a := &answer{status: response.StatusCode}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	a.whole = err == nil && len(a.body) <= maxAnswer
	return g.judge(a)
}
