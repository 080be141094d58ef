package deliver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"
)

// mailMessage returns a mail to one mailbox.
func mailMessage() Message {
	m := message()
	m.Medium, m.To = "email", "person@customer.example"
	return m
}

// certificate returns one for 127.0.0.1 or for a name, and the pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// post is a real mail server that stores what it gets and refuses what the test sets.
type post struct {
	mu     sync.Mutex
	mails  []posted
	refuse map[string]error // by phase: auth, mail, rcpt, data
}

type posted struct {
	user, from string
	to         []string
	text       string
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &postSession{post: p}, nil }

func (p *post) refusal(phase string) error { return p.refuse[phase] }

type postSession struct {
	*post
	mail posted
}

func (s *postSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *postSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "user" || password != "hunter2" {
			return smtp.ErrAuthFailed
		}
		s.mail.user = user
		return s.refusal("auth")
	}), nil
}

func (s *postSession) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	return s.refusal("mail")
}

func (s *postSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	return s.refusal("rcpt")
}

func (s *postSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.refusal("data"); err != nil {
		return err
	}
	s.mail.text = string(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, s.mail)
	return nil
}

func (s *postSession) Reset()        {}
func (s *postSession) Logout() error { return nil }

// postOffice starts a mail server; secure makes its listener TLS from the first byte.
func postOffice(t *testing.T, config *tls.Config, secure bool, refuse map[string]error) (string, *post) {
	t.Helper()
	backend := &post{refuse: refuse}
	server := smtp.NewServer(backend)
	server.Domain = "mail.example"
	server.ErrorLog = discard{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	if secure {
		listener = tls.NewListener(listener, config)
	} else {
		server.TLSConfig = config
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return address, backend
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (p *post) all() []posted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails)
}

const mailFrom = "from=" + "Shop+%3Ccodes@shop.example%3E"

func TestMailer_HandsOverOneMail(t *testing.T) {
	cert, roots := certificate(t, "127.0.0.1")
	for name, tt := range map[string]struct {
		scheme, options, user string
		tls, implicit         bool
	}{
		"STARTTLS":                 {"smtp", "", "", true, false},
		"STARTTLS with a password": {"smtp", "", "user:hunter2@", true, false},
		"TLS from the first byte":  {"smtps", "", "user:hunter2@", true, true},
		"opportunistic, offered":   {"smtp", "&tls=opportunistic", "", true, false},
		"opportunistic, not":       {"smtp", "&tls=opportunistic", "", false, false},
		"no TLS":                   {"smtp", "&tls=off", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var config *tls.Config
			if tt.tls {
				config = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
			address, office := postOffice(t, config, tt.implicit, nil)
			mailer := one(t, tt.scheme+"://"+tt.user+address+"?"+mailFrom+tt.options, Options{Medium: "email", Roots: roots})
			require.Equal(t, Result{Outcome: Sent, MessageID: "otp_0190.2@shop.example"},
				mailer.Send(t.Context(), mailMessage()))
			mails := office.all()
			require.Len(t, mails, 1)
			require.Equal(t, "codes@shop.example", mails[0].from)
			require.Equal(t, []string{"person@customer.example"}, mails[0].to)
			require.Equal(t, strings.TrimSuffix(tt.user, ":hunter2@"), mails[0].user)

			mail, err := netmail.ReadMessage(strings.NewReader(mails[0].text))
			require.NoError(t, err)
			require.Equal(t, `"Shop" <codes@shop.example>`, mail.Header.Get("From"))
			require.Equal(t, "<person@customer.example>", mail.Header.Get("To"))
			require.Equal(t, "Your code", mail.Header.Get("Subject"))
			require.Equal(t, "<otp_0190.2@shop.example>", mail.Header.Get("Message-Id"))
			require.Equal(t, "auto-generated", mail.Header.Get("Auto-Submitted"))
			require.Equal(t, testText, bodyOf(t, mail))
			for name, values := range mail.Header {
				require.NotContains(t, strings.Join(values, " "), testCode, name)
			}
		})
	}
}

// bodyOf returns the text of a mail, with the line breaks of a template.
func bodyOf(t *testing.T, mail *netmail.Message) string {
	t.Helper()
	require.Equal(t, "quoted-printable", mail.Header.Get("Content-Transfer-Encoding"))
	text, err := io.ReadAll(quotedprintable.NewReader(mail.Body))
	require.NoError(t, err)
	return strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
}

func TestMailer_ARefusalMeansNotSent(t *testing.T) {
	reply := func(code int, text string) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text}
	}
	const secret = "no such user person@customer.example, code 493817"
	for _, tt := range []struct {
		phase  string
		err    error
		result Result
	}{
		{"mail", reply(451, secret), Result{Outcome: NotSent, Retryable: true, Reason: "refused MAIL with reply 451 4.1.1"}},
		{"mail", reply(550, secret), refused("refused MAIL with reply 550 5.1.1")},
		{"rcpt", reply(450, secret), Result{Outcome: NotSent, Retryable: true, Reason: "refused RCPT with reply 450 4.1.1"}},
		{"rcpt", reply(550, secret), refused("refused RCPT with reply 550 5.1.1")},
		{"data", reply(452, secret), Result{Outcome: NotSent, Retryable: true,
			Reason: "refused the end of the mail with reply 452 4.1.1"}},
		{"data", reply(554, secret), refused("refused the end of the mail with reply 554 5.1.1")},
		{"data", reply(421, secret), Result{Outcome: NotSent, Retryable: true, Down: true,
			Reason: "refused the end of the mail with reply 421 4.1.1"}},
		{"auth", reply(535, secret), Result{Outcome: NotSent, Down: true, Reason: "refused the session with reply 535"}},
		{"auth", reply(454, secret), Result{Outcome: NotSent, Retryable: true, Down: true,
			Reason: "refused the session with reply 454"}},
	} {
		t.Run(fmt.Sprint(tt.phase, " ", tt.result.Reason), func(t *testing.T) {
			cert, roots := certificate(t, "127.0.0.1")
			address, office := postOffice(t, &tls.Config{Certificates: []tls.Certificate{cert}}, false,
				map[string]error{tt.phase: tt.err})
			mailer := one(t, "smtp://user:hunter2@"+address+"?"+mailFrom, Options{Medium: "email", Roots: roots})
			require.Equal(t, tt.result, mailer.Send(t.Context(), mailMessage()))
			require.Empty(t, office.all())
		})
	}
}

func TestMailer_DemandsAGoodCertificate(t *testing.T) {
	_, roots := certificate(t, "127.0.0.1")
	other, otherRoots := certificate(t, "mail.example")
	stranger, _ := certificate(t, "127.0.0.1")
	for name, tt := range map[string]struct {
		cert   *tls.Certificate
		roots  *x509.CertPool
		scheme string
		reason string
	}{
		"of an unknown authority": {&stranger, roots, "smtp",
			"no session: its certificate is not for this host, has expired, or is from no known authority"},
		"for another host": {&other, otherRoots, "smtp",
			"no session: its certificate is not for this host, has expired, or is from no known authority"},
		"for another host, TLS at once": {&other, otherRoots, "smtps",
			"no session: its certificate is not for this host, has expired, or is from no known authority"},
		"none, and TLS is what was offered": {nil, roots, "smtp",
			"no session: it offers no STARTTLS, which tls=mandatory demands: name its port for submission, or write smtps:// " +
				"where TLS is spoken from the first byte"},
		"none, and TLS at once": {nil, roots, "smtps", "no session: no TLS could be agreed on"},
	} {
		t.Run(name, func(t *testing.T) {
			var config *tls.Config
			if tt.cert != nil {
				config = &tls.Config{Certificates: []tls.Certificate{*tt.cert}}
			}
			address, office := postOffice(t, config, tt.scheme == "smtps" && tt.cert != nil, nil)
			mailer := one(t, tt.scheme+"://user:hunter2@"+address+"?"+mailFrom, Options{Medium: "email", Roots: tt.roots})
			require.Equal(t, unreachable(tt.reason), mailer.Send(t.Context(), mailMessage()))
			require.Empty(t, office.all())
		})
	}
}

// scriptedPost is a mail server that stops at a given point, by hanging or closing.
func scriptedPost(t *testing.T, stopAt string, hang bool) (address string, bodies *sync.Map) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	bodies = &sync.Map{}
	address, _ = raw(t, func(n int32, conn net.Conn) {
		reader := bufio.NewReader(conn)
		stop := func(at string) bool {
			if at != stopAt {
				return false
			}
			if hang {
				<-over
			}
			return true
		}
		say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
		if stop("greeting") {
			return
		}
		say("220 mail.example")
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if stop(word) {
				return
			}
			switch word {
			case "DATA":
				say("354 go on")
				if stop("content") {
					return
				}
				var body strings.Builder
				for {
					line, err := reader.ReadString('\n')
					if err != nil {
						return
					}
					if line == ".\r\n" {
						break
					}
					body.WriteString(line)
				}
				bodies.Store(n, body.String())
				if stop("dot") {
					return
				}
				say("250 taken")
			case "QUIT":
				say("221 bye")
				return
			default:
				say("250 ok")
			}
		}
	})
	return address, bodies
}

func TestMailer_OutcomeFollowsFromThePhase(t *testing.T) {
	for _, tt := range []struct {
		phase   string
		hang    string // the result's reason if the server hangs there
		close   string // and if it closes the connection
		outcome Outcome
	}{
		{"greeting", "no session: the time is over", "no session: the connection was closed", NotSent},
		{"EHLO", "no session: the time is over", "no session: the connection was closed", NotSent},
		{"MAIL", "no answer to MAIL: the time is over", "no answer to MAIL: the connection was closed", NotSent},
		{"RCPT", "no answer to RCPT: the time is over", "no answer to RCPT: the connection was closed", NotSent},
		{"DATA", "no answer to DATA: the time is over", "no answer to DATA: the connection was closed", NotSent},
		{"content", "no answer to the end of the mail: the time is over",
			"no answer to the end of the mail: the connection was closed", Unknown},
		{"dot", "no answer to the end of the mail: the time is over",
			"no answer to the end of the mail: the connection was closed", Unknown},
		{"QUIT", "", "", Sent},
	} {
		for _, hang := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s hangs=%v", tt.phase, hang), func(t *testing.T) {
				t.Parallel()
				reason, timeout := tt.close, "20s"
				if hang {
					reason, timeout = tt.hang, "500ms"
				}
				address, _ := scriptedPost(t, tt.phase, hang)
				mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off&timeout="+timeout, Options{Medium: "email"})
				result := mailer.Send(t.Context(), mailMessage())
				require.Equal(t, reason, result.Reason)
				require.Equal(t, tt.outcome, result.Outcome)
				require.Equal(t, tt.outcome == NotSent, result.Retryable)
				require.Equal(t, tt.outcome != Sent, result.Down)
			})
		}
	}
}

// Half of a mail must not be delivered: if writing is given up in the middle, neither the final dot nor QUIT, which
// would send it, follows.
func TestMailer_AMailGivenUpHalfwayIsNotEnded(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	release := make(chan struct{})
	got := make(chan string, 1)
	address, _ := raw(t, func(_ int32, conn net.Conn) {
		reader := bufio.NewReaderSize(conn, 1<<10)
		_, _ = io.WriteString(conn, "220 mail.example\r\n")
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "DATA") {
				_, _ = io.WriteString(conn, "354 go on\r\n")
				<-release // reads nothing, so that the writer gets stuck
				rest, _ := io.ReadAll(reader)
				got <- string(rest)
				return
			}
			_, _ = io.WriteString(conn, "250 ok\r\n")
		}
	})
	mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off&timeout=500ms", Options{Medium: "email"})
	m := mailMessage()
	m.Content = func() (Content, error) { return Content{Text: strings.Repeat("493817 and more\n", 1_000_000)}, nil }
	result := mailer.Send(t.Context(), m)
	require.Equal(t, unreachable("the mail was not sent to its end: the time is over"), result)
	close(release)
	require.NotContains(t, <-got, "\r\n.\r\n")
}

// A mail that cannot be signed is detected before a server is contacted.
func TestMailer_AMailThatCannotBeSignedIsNotEnded(t *testing.T) {
	address, bodies := scriptedPost(t, "", false)
	mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off", Options{Medium: "email"}).(*Mailer)
	mailer.dkim = mail.NewDKIMSigner("shop.example", "k1",
		&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: big.NewInt(33), E: 3}, D: big.NewInt(7)})
	result := mailer.Send(t.Context(), mailMessage())
	require.Equal(t, NotSent, result.Outcome)
	require.Equal(t, "the mail could not be written or signed", result.Reason)
	bodies.Range(func(_, body any) bool {
		require.Fail(t, "a mail was ended", "%q", body)
		return true
	})
}

func TestMailer_NobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	mailer := one(t, "smtp://"+address+"?"+mailFrom, Options{Medium: "email"})
	require.Equal(t, unreachable("no session: the connection was refused"), mailer.Send(t.Context(), mailMessage()))

	address, _ = scriptedPost(t, "greeting", true)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	mailer = one(t, "smtp://"+address+"?"+mailFrom, Options{Medium: "email"})
	require.Equal(t, unreachable("no session: given up"), mailer.Send(ctx, mailMessage()))
}

func TestMailer_SignsWithDKIM(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "dkim.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	address, office := postOffice(t, nil, false, nil)
	mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off&dkim_selector=k1&dkim_key="+url.QueryEscape(path),
		Options{Medium: "email"})
	require.Equal(t, Sent, mailer.Send(t.Context(), mailMessage()).Outcome)
	mail, err := netmail.ReadMessage(strings.NewReader(office.all()[0].text))
	require.NoError(t, err)
	signature := mail.Header.Get("Dkim-Signature")
	require.Contains(t, signature, "d=shop.example")
	require.Contains(t, signature, "s=k1")
	require.Contains(t, signature, "a=ed25519-sha256")
	require.Equal(t, testText, bodyOf(t, mail))
}

func TestMailer_TakesTheAccountsSender(t *testing.T) {
	address, office := postOffice(t, nil, false, nil)
	mailer := one(t, "smtp://"+address+"?"+mailFrom+"&tls=off", Options{Medium: "email"})
	m := mailMessage()
	m.From = "Other <other@second.example>"
	require.Equal(t, Result{Outcome: Sent, MessageID: "otp_0190.2@second.example"}, mailer.Send(t.Context(), m))
	require.Equal(t, "other@second.example", office.all()[0].from)
	m.From = "OTPBridge"
	require.Equal(t, refused("the account's email_sender is not one address"), mailer.Send(t.Context(), m))
	m.Content = func() (Content, error) { return Content{}, errors.New("493817") }
	require.Equal(t, refused("the message could not be rendered"), mailer.Send(t.Context(), m))
}

func TestMailer_RefusesToPrintItsSecrets(t *testing.T) {
	mailer := one(t, "smtp://user:hunter2@mail.example?"+mailFrom, Options{Medium: "email"})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		require.Equal(t, "mail server mail.example", fmt.Sprintf(verb, mailer))
	}
}

// Whatever the fields contain, the mail goes to one mailbox and has its usual headers, once each; no part of a value
// becomes a header.
func FuzzMailer_NothingReachesAHeaderOrASecondRecipient(f *testing.F) {
	f.Add("person@customer.example", "Shop <codes@shop.example>", "Your code", testText, "otp_1")
	f.Add("a@b.example, c@d.example", "x@y.example\r\nBcc: e@f.example", "a\r\nBcc: e@f.example\r\n\r\nbody",
		".\r\nQUIT\r\n", "1\r\n> <2")
	f.Add("\"a b\"@c.example", "", "\x00\u202e", "\r\n.\r\n", "@")
	f.Add("a@b.example>\r\nRCPT TO:<c@d.example", "=?utf-8?q?a=0d=0aBcc:_e@f.example?= <x@y.example>",
		"=?utf-8?q?=0d=0aBcc:_e@f.example?=", "\xff", "")
	f.Add("ü@bücher.example", "Ü <ü@bücher.example>",
		"Ihr Code für Müller & Söhne, gültig für fünf Minuten und keine Sekunde länger als das", "Größe", "x")
	channel, _, err := open("smtp://mail.example?"+mailFrom, Options{Medium: "email"})
	require.NoError(f, err)
	mailer := channel.(*Breaker).Behind().(*Mailer)
	f.Fuzz(func(t *testing.T, to, from, subject, text, id string) {
		built, messageID, err := mailer.compose(Message{ID: id, To: to, From: from, ExpiresAt: time.Unix(1, 0)},
			Content{Subject: subject, Text: text})
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		recipients, err := built.GetRecipients()
		require.NoError(t, err)
		to, err = Mailbox(to)
		require.NoError(t, err)
		require.Equal(t, []string{"<" + to + ">"}, recipients)
		sender, err := built.GetSender(false)
		require.NoError(t, err)
		for _, command := range append(recipients, sender) {
			require.False(t, strings.ContainsAny(command, "\r\n\x00 "), command)
		}
		var written bytes.Buffer
		_, err = built.WriteTo(&written)
		require.NoError(t, err)
		mail, err := netmail.ReadMessage(&written)
		require.NoError(t, err)
		var names []string
		for name, values := range mail.Header {
			names = append(names, name)
			require.Len(t, values, 1, name)
		}
		slices.Sort(names)
		require.Equal(t, []string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "Expires", "From",
			"Message-Id", "Mime-Version", "Subject", "To"}, names)
		addresses, err := netmail.ParseAddressList(mail.Header.Get("To"))
		require.NoError(t, err)
		require.Len(t, addresses, 1)
		require.Equal(t, to, addresses[0].Address)
		require.Equal(t, "<"+messageID+">", mail.Header.Get("Message-Id"))
		_, err = new(mime.WordDecoder).DecodeHeader(mail.Header.Get("Subject"))
		require.NoError(t, err)
	})
}
