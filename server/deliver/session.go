package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"
)

// envelope is one signed mail with its sender and recipient addresses.
type envelope struct {
	from, to string // in angle brackets
	text     []byte
}

// deliver hands over one mail in its own session. Everything before the line that ends the mail shares one time
// budget: until that line is written the mail surely is not sent, so a server that hangs before it delays the next
// channel by no more than that. The wait for the answer to that line is bounded only by the timeout, because nothing
// else may be tried any more.
func (s *Mailer) deliver(ctx context.Context, e envelope) Result {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	opening, cancelOpening := context.WithTimeout(ctx, s.begin)
	defer cancelOpening()
	wire := &wire{}
	defer wire.close()
	unwatch := context.AfterFunc(opening, wire.close)
	session, err := s.open(opening, wire)
	if err != nil {
		return notReached(opening, err)
	}
	if phase, err := announce(session, e); err != nil {
		return notTaken(opening, session, phase, err)
	}
	body, err := session.Data()
	if err != nil {
		return notTaken(opening, session, "DATA", err)
	}
	if _, err := body.Write(e.text); err != nil || !unwatch() {
		return unreachable("the mail was not sent to its end: " + lost(opening))
	}
	// From here on the mail may have been accepted.
	stop := context.AfterFunc(ctx, wire.close)
	defer stop()
	if err := body.Close(); err != nil {
		if replyOf(err) != 0 {
			return notTaken(ctx, session, "the end of the mail", err)
		}
		return doubtful("no answer to the end of the mail: " + lost(ctx))
	}
	stop()
	wire.goodbye(session)
	return Result{Outcome: Sent}
}

// lost says why a connection cannot be used any more.
func lost(ctx context.Context) string {
	if ctx.Err() != nil {
		return Phrase(ctx.Err())
	}
	return "the connection was closed"
}

// open connects, greets, starts TLS and logs in.
func (s *Mailer) open(ctx context.Context, w *wire) (*smtp.Client, error) {
	conn, err := s.dial(ctx, w)
	if err != nil {
		return nil, err
	}
	session, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, err
	}
	if err := session.Hello(s.hello); err != nil {
		return nil, err
	}
	offered, _ := session.Extension("STARTTLS")
	switch {
	case s.policy == tlsMandatory && !offered:
		return nil, errNoTLS
	case s.policy == tlsMandatory, s.policy == tlsOpportunistic && offered:
		if err := session.StartTLS(s.tls); err != nil {
			return nil, err
		}
	}
	if s.user == "" {
		return session, nil
	}
	login, err := s.login(session)
	if err != nil {
		return nil, err
	}
	return session, session.Auth(login)
}

func (s *Mailer) dial(ctx context.Context, w *wire) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.connect)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(s.host, strconv.Itoa(s.port)))
	if err != nil {
		return nil, err
	}
	if !w.take(conn) {
		return nil, context.Canceled
	}
	if s.policy != tlsImplicit {
		return conn, nil
	}
	secured := tls.Client(conn, s.tls)
	return secured, secured.HandshakeContext(ctx)
}

// setupError is an error in the combination of server and settings. Its text says what to change and quotes nothing
// from the server.
type setupError string

func (e setupError) Error() string { return string(e) }

const (
	errNoTLS setupError = "it offers no STARTTLS, which tls=mandatory demands: " +
		"name its port for submission, or write smtps:// where TLS is spoken from the first byte"
	errNoLogin setupError = "it offers no login (AUTH): " +
		"name its port for submission, 587 or 465, or leave out the user and password"
)

// logins are the supported authentication methods, the best first.
func (s *Mailer) logins(session *smtp.Client) []namedLogin {
	list := []namedLogin{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.user, s.password)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(s.user, s.password)},
		{"PLAIN", smtp.PlainAuth("", s.user, s.password, s.host, false)},
		{"LOGIN", smtp.LoginAuth(s.user, s.password, s.host, false)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(s.user, s.password)},
	}
	if state, err := session.GetTLSConnectionState(); err == nil {
		list = append(list,
			namedLogin{"SCRAM-SHA-256-PLUS", smtp.ScramSHA256PlusAuth(s.user, s.password, state)},
			namedLogin{"SCRAM-SHA-1-PLUS", smtp.ScramSHA1PlusAuth(s.user, s.password, state)})
	}
	return list
}

type namedLogin struct {
	name string
	auth smtp.Auth
}

// login returns the best method that the server offers.
func (s *Mailer) login(session *smtp.Client) (smtp.Auth, error) {
	has, list := session.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	if !has || len(offered) == 0 {
		return nil, errNoLogin
	}
	spoken := s.logins(session)
	for _, way := range spoken {
		if slices.Contains(offered, way.name) {
			return way.auth, nil
		}
	}
	names := make([]string, len(spoken))
	for i, way := range spoken {
		names[i] = way.name
	}
	return nil, setupError(fmt.Sprintf("it offers a login by %s alone, and here a password is proved by %s: "+
		"let it take one of these, as with an app password, or send through a relay that "+
		"does", foreign(offered), strings.Join(names, ", ")))
}

// foreignLogins are mechanisms that need something other than a password, or are no longer safe.
var foreignLogins = []string{
	"XOAUTH2", "OAUTHBEARER", "OAUTH10A", "XOAUTH", "NTLM", "GSSAPI", "GS2-KRB5", "GS2-KRB5-PLUS", "GSS-SPNEGO",
	"KERBEROS_V4",
	"EXTERNAL", "ANONYMOUS", "DIGEST-MD5", "MSN", "OTP", "SKEY", "SECURID", "SAML20", "OPENID20", "SCRAM-SHA-512",
	"SCRAM-SHA-512-PLUS",
}

// foreign names a server's offered mechanisms in our own words, once each.
func foreign(offered []string) string {
	var names []string
	unknown := 0
	for _, name := range offered {
		switch {
		case !slices.Contains(foreignLogins, name):
			unknown++
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if unknown > 0 {
		names = append(names, "a mechanism unknown here")
	}
	return strings.Join(names, ", ")
}

// announce sends the mail's sender and recipient, and returns the name of the command that failed.
func announce(session *smtp.Client, e envelope) (phase string, err error) {
	if err := session.Mail(e.from); err != nil {
		return "MAIL", err
	}
	return "RCPT", session.Rcpt(e.to)
}

// notReached returns the result of a session that failed before the mail.
func notReached(ctx context.Context, err error) Result {
	if code := replyOf(err); code != 0 {
		return Result{Outcome: NotSent, Retryable: code < 500, Down: true,
			Reason: fmt.Sprintf("refused the session with reply %d", code)}
	}
	if setup, ok := errors.AsType[setupError](err); ok {
		return unreachable("no session: " + setup.Error())
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return unreachable("no session: " + Phrase(err))
}

// notTaken returns the result of a mail that was refused or given up in a phase in which it surely was not sent.
func notTaken(ctx context.Context, session *smtp.Client, phase string, err error) Result {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok || reply.Code < 400 || reply.Code >= 600 {
		return unreachable("no answer to " + phase + ": " + lost(ctx))
	}
	reason := fmt.Sprintf("refused %s with reply %d", phase, reply.Code)
	if enhanced, _ := session.Extension("ENHANCEDSTATUSCODES"); enhanced {
		if found := enhancedCode.FindString(reply.Msg); found != "" {
			reason += " " + strings.TrimSpace(found)
		}
	}
	// 421: the server is going away, independent of the mail.
	return Result{Outcome: NotSent, Retryable: reply.Code < 500, Down: reply.Code == 421, Reason: reason}
}

// enhancedCode is the status code at the start of a reply, if the server announces such codes (RFC 3463).
var enhancedCode = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}( |$)`)

// replyOf returns the reply code in an error, 0 if there is none.
func replyOf(err error) int {
	if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code >= 400 && reply.Code < 600 {
		return reply.Code
	}
	return 0
}
