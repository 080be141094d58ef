package deliver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slack is twice the promised three seconds, because machines stall, and far below every timeout.
const slack = 6 * time.Second

// hangAt is a mail server with TLS that stops answering once it has read a word. It offers STARTTLS and AUTH PLAIN,
// unless other extensions are given.
func hangAt(t *testing.T, config *tls.Config, implicit bool, word string, extensions ...string) string {
	t.Helper()
	if extensions == nil {
		extensions = []string{"STARTTLS", "AUTH PLAIN"}
	}
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	address, _ := raw(t, func(_ int32, conn net.Conn) {
		if word == "connect" {
			<-over
			return
		}
		if implicit {
			conn = tls.Server(conn, config)
		}
		reader := bufio.NewReader(conn)
		say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
		if word == "greeting" {
			_, _ = io.WriteString(conn, "220-half of a greet")
			<-over
			return
		}
		say("220 mail.example")
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			said, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if said == word {
				<-over
				return
			}
			switch said {
			case "EHLO":
				say("250-mail.example\r\n250-" + strings.Join(extensions, "\r\n250-") + "\r\n250 8BITMIME")
			case "STARTTLS":
				say("220 go on")
				if word == "handshake" {
					<-over
					return
				}
				conn = tls.Server(conn, config)
				reader = bufio.NewReader(conn)
			case "AUTH":
				say("235 welcome")
			case "DATA":
				say("354 go on")
				if word == "content" {
					<-over // without reading it
					return
				}
			default:
				say("250 ok")
			}
		}
	})
	return address
}

// Wherever a mail server hangs before the end of the mail, the next channel is tried within three seconds, with
// default settings, because nothing was sent.
func TestMailer_AHangBeforeTheEndCostsThreeSeconds(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	var all sync.WaitGroup // in parallel, because each takes three seconds
	for _, tt := range []struct{ scheme, word, reason string }{
		{"smtps", "connect", "no session: the time is over"},
		{"smtps", "greeting", "no session: the time is over"},
		{"smtps", "EHLO", "no session: the time is over"},
		{"smtps", "AUTH", "no session: the time is over"},
		{"smtp", "greeting", "no session: the time is over"},
		{"smtp", "STARTTLS", "no session: the time is over"},
		{"smtp", "handshake", "no session: the time is over"},
		{"smtp", "AUTH", "no session: the time is over"},
		{"smtp", "MAIL", "no answer to MAIL: the time is over"},
		{"smtp", "RCPT", "no answer to RCPT: the time is over"},
		{"smtp", "DATA", "no answer to DATA: the time is over"},
		{"smtp", "content", "the mail was not sent to its end: the time is over"},
	} {
		address := hangAt(t, config, tt.scheme == "smtps", tt.word)
		mailer := one(t, tt.scheme+"://user:hunter2@"+address+"?"+mailFrom, Options{Medium: "email", Roots: roots})
		send := func() Result { return mailer.Send(t.Context(), mailMessage()) }
		if tt.word == "content" { // more than the kernel buffers; writing such a mail takes longer than sending it
			mail := envelope{"<a@shop.example>", "<b@shop.example>", bytes.Repeat([]byte("493817 and more\r\n"), 1_000_000)}
			send = func() Result { return mailer.(*Mailer).deliver(t.Context(), mail) }
		}
		all.Go(func() {
			began := time.Now()
			assert.Equal(t, unreachable(tt.reason), send(), "%s %s", tt.scheme, tt.word)
			assert.Less(t, time.Since(began), slack, "%s %s", tt.scheme, tt.word)
		})
	}
	all.Wait()
}

// After the end of the mail nothing else may be tried, however long the answer takes, so the server gets more time.
func TestMailer_TheAnswerToTheEndIsWaitedForLonger(t *testing.T) {
	address, bodies := scriptedPost(t, "dot", true)
	mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off&begin_timeout=200ms&timeout=600ms", Options{Medium: "email"})
	began := time.Now()
	require.Equal(t, doubtful("no answer to the end of the mail: the time is over"),
		mailer.Send(t.Context(), mailMessage()))
	require.GreaterOrEqual(t, time.Since(began), 600*time.Millisecond)
	_, whole := bodies.Load(int32(1))
	require.True(t, whole)
}

// A proxy that accepts the connection and hangs does not count as a reached gateway.
func TestGateway_AHangBeforeTheRequestCostsThreeSeconds(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	silent, _ := raw(t, func(int32, net.Conn) { <-over })
	half, _ := raw(t, func(_ int32, conn net.Conn) {
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection est")
		<-over
	})
	tunnel, _ := raw(t, func(_ int32, conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		<-over // without TLS after it
	})
	var all sync.WaitGroup
	for name, proxy := range map[string]string{
		"the proxy says nothing": "http://" + silent, "the proxy's TLS hangs": "https://" + silent,
		"the proxy says half": "http://" + half, "TLS hangs behind the proxy": "http://" + tunnel, "there is none": "",
	} {
		g := one(t, "https://"+silent+"?to={to}&text={text}#timeout=20s", Options{}).(*Gateway)
		if proxy != "" {
			address, err := url.Parse(proxy)
			require.NoError(t, err)
			g.client.Transport.(Transport).Proxy = http.ProxyURL(address)
		}
		all.Go(func() {
			began := time.Now()
			assert.Equal(t, unreachable("the time is over"), g.Send(t.Context(), message()), name)
			assert.Less(t, time.Since(began), slack, name)
		})
	}
	all.Wait()
}

// If a server offers no method for passwords, its methods are named in our own words, with what to do.
func TestMailer_NamesTheLoginThatItCannotSpeak(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for offered, says := range map[string]string{
		"AUTH XOAUTH2":                  "it offers a login by XOAUTH2 alone",
		"AUTH xoauth2":                  "it offers a login by XOAUTH2 alone",
		"AUTH XOAUTH2 OAUTHBEARER":      "it offers a login by XOAUTH2, OAUTHBEARER alone",
		"AUTH NTLM":                     "it offers a login by NTLM alone",
		"AUTH GSSAPI":                   "it offers a login by GSSAPI alone",
		"AUTH GSSAPI NTLM GSSAPI":       "it offers a login by GSSAPI, NTLM alone",
		"AUTH DIGEST-MD5":               "it offers a login by DIGEST-MD5 alone",
		"AUTH EXTERNAL":                 "it offers a login by EXTERNAL alone",
		"AUTH XOAUTH2 X-493817-STRANGE": "it offers a login by XOAUTH2, a mechanism unknown here alone",
		"AUTH KERBEROS_V4  ANONYMOUS":   "it offers a login by KERBEROS_V4, ANONYMOUS alone",
		"AUTH SCRAM-SHA-512":            "it offers a login by SCRAM-SHA-512 alone",
		"AUTH ":                         "it offers no login (AUTH)",
		"8BITMIME":                      "it offers no login (AUTH)",
	} {
		t.Run(offered, func(t *testing.T) {
			address := hangAt(t, config, true, "", offered)
			result := one(t, "smtps://user:hunter2@"+address+"?"+mailFrom,
				Options{Medium: "email", Roots: roots}).Send(t.Context(), mailMessage())
			require.Equal(t, NotSent, result.Outcome)
			require.Contains(t, result.Reason, "no session: "+says)
			require.Regexp(t, "or (send through a relay|leave out the user)", result.Reason, "the remedy")
			require.NotContains(t, result.Reason, "493817")
		})
	}
}

// Of the methods that a server offers, the best one for passwords is used.
func TestMailer_LogsInByTheBestThatIsOffered(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for offered, taken := range map[string]string{
		"XOAUTH2 PLAIN LOGIN": "PLAIN", "login plain": "PLAIN", "LOGIN XOAUTH2": "LOGIN", "NTLM CRAM-MD5": "CRAM-MD5",
		"PLAIN SCRAM-SHA-1 LOGIN": "SCRAM-SHA-1", "SCRAM-SHA-1 SCRAM-SHA-256": "SCRAM-SHA-256", "GSSAPI " +
			"SCRAM-SHA-256-PLUS": "SCRAM-SHA-256-PLUS",
	} {
		t.Run(offered, func(t *testing.T) {
			asked := make(chan string, 9)
			address, _ := raw(t, func(_ int32, conn net.Conn) {
				secured := tls.Server(conn, config)
				reader := bufio.NewReader(secured)
				_, _ = io.WriteString(secured, "220 mail.example\r\n")
				for {
					line, err := reader.ReadString('\n')
					if err != nil {
						return
					}
					switch words := strings.Fields(line); words[0] {
					case "EHLO":
						_, _ = fmt.Fprintf(secured, "250-mail.example\r\n250 AUTH %s\r\n", offered)
					case "AUTH":
						asked <- words[1]
						_, _ = io.WriteString(secured, "535 no\r\n")
					default:
						_, _ = io.WriteString(secured, "501 no\r\n")
					}
				}
			})
			result := one(t, "smtps://user:hunter2@"+address+"?"+mailFrom,
				Options{Medium: "email", Roots: roots}).Send(t.Context(), mailMessage())
			require.Equal(t, "refused the session with reply 535", result.Reason)
			require.Equal(t, taken, <-asked)
		})
	}
}

// Of an answer 101 net/http returns the bare connection as body, which no timeout ends. So it counts as a failure, for
// gateways like for webhooks and upstreams.
func TestTransport_AnAnswer101IsAFailure(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	address, _ := raw(t, func(_ int32, conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
		<-over
	})
	response, err := (&Guard{Sandbox: true}).Client(time.Second).Get("http://" + address)
	if err == nil {
		_ = response.Body.Close()
	}
	require.ErrorContains(t, err, "101")
	require.NotContains(t, Unreached(err), address)

	g := one(t, "http://"+address+"?to={to}&text={text}", Options{})
	sent := make(chan Result, 1)
	go func() { sent <- g.Send(t.Context(), message()) }()
	select {
	case result := <-sent:
		require.Equal(t, Unknown, result.Outcome, "the gateway may have read the message")
	case <-time.After(20 * time.Second): // longer than every timeout of a gateway
		t.Fatal("the gateway is waited for without end")
	}
}
