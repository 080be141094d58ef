package deliver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// Mailer hands messages to a mail server. It makes a connection for each message, authenticates, and requires TLS with
// a valid certificate unless it is configured otherwise.
//
// A mail is sent once the server has answered its end with 250. A refusal by the server at any point means that it was
// not sent; so does a connection that is lost before the final line with the single dot. Only between that line and
// the answer is the outcome unknown.
type Mailer struct {
	name     string
	host     string
	port     int
	user     string
	password string
	policy   tlsPolicy
	from     netmail.Address
	hello    string
	timeout  time.Duration
	begin    time.Duration
	connect  time.Duration
	tls      *tls.Config
	dkim     *mail.DKIMSigner
}

// tlsPolicy says when TLS is used.
type tlsPolicy string

const (
	tlsImplicit      tlsPolicy = "implicit" // from the first byte, smtps
	tlsMandatory     tlsPolicy = "mandatory"
	tlsOpportunistic tlsPolicy = "opportunistic"
	tlsOff           tlsPolicy = "off"
)

// mailTimeout bounds one message, from connecting to the answer at its end, where servers with spam filters take
// seconds.
const mailTimeout = 20 * time.Second

// mailBegin bounds everything before the end of a mail: connecting, TLS, greeting, login and the mail itself. After it
// the next channel is tried, because until then the mail surely is not sent.
const mailBegin = 3 * time.Second

// Name is the mail server's name in logs and receipts.
func (s *Mailer) Name() string { return s.name }

// Waits is true: the mail server answers over the network.
func (s *Mailer) Waits() bool { return true }

// Format prints the name only, with any verb: the rest holds secrets.
func (s *Mailer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mail server "+s.name) }

func openMailer(u *url.URL, o Options) (Channel, error) {
	if err := host(u); err != nil {
		return nil, err
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("has a path or a # behind its host, where only options after a ? can be")
	}
	said, err := words(u.RawQuery, "options", "from", "tls", "name", "hello", "timeout", "begin_timeout",
		"connect_timeout", "dkim_selector", "dkim_key", "dkim_domain")
	if err != nil {
		return nil, err
	}
	s := &Mailer{host: u.Hostname(), user: u.User.Username(), hello: said["hello"]}
	s.password, _ = u.User.Password()
	if s.name, err = logName(said["name"], s.host); err != nil {
		return nil, err
	}
	if s.timeout, err = span("timeout", said["timeout"], mailTimeout); err != nil {
		return nil, err
	}
	if s.connect, err = span("connect_timeout", said["connect_timeout"], mailBegin); err != nil {
		return nil, err
	}
	if s.begin, err = span("begin_timeout", said["begin_timeout"], max(mailBegin, s.connect)); err != nil {
		return nil, err
	}
	if err := s.secure(u, tlsPolicy(said["tls"])); err != nil {
		return nil, err
	}
	s.tls = &tls.Config{ServerName: s.host, RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	from, err := netmail.ParseAddress(said["from"])
	if err != nil || !visible(from.Name) || !mailbox(from.Address) {
		return nil, errors.New("has no from that is an address, which mails must come from; for example " +
			"from=codes@shop.example")
	}
	from.Address = asciiDomain(from.Address)
	s.from = *from
	if s.hello, err = helloName(s.hello); err != nil {
		return nil, err
	}
	if s.dkim, err = signer(said, domainOf(from.Address), o); err != nil {
		return nil, err
	}
	return s, nil
}

// secure decides how the connection is protected. A password is sent only if TLS surely protects it: with
// opportunistic TLS an attacker in between can remove the offer.
func (s *Mailer) secure(u *url.URL, policy tlsPolicy) (err error) {
	s.policy = cmp.Or(policy, tlsMandatory)
	port := "587"
	switch {
	case u.Scheme == "smtps" && policy != "":
		return errors.New("has tls= although smtps is TLS from the first byte")
	case u.Scheme == "smtps":
		s.policy, port = tlsImplicit, "465"
	case s.policy == tlsOff || s.policy == tlsOpportunistic:
		port = "25"
	case s.policy != tlsMandatory:
		return errors.New("has tls= and none of mandatory, opportunistic, off")
	}
	if (s.user == "") != (s.password == "") {
		return errors.New("has one of user and password without the other")
	}
	if s.user != "" && (s.policy == tlsOff || s.policy == tlsOpportunistic) {
		return fmt.Errorf("would risk its password in clear with tls=%s: leave that out, or the user and password", s.policy)
	}
	s.port, err = strconv.Atoi(cmp.Or(u.Port(), port))
	if err != nil || s.port < 1 || s.port > 65535 {
		return errors.New("has a port that is not one from 1 to 65535")
	}
	return nil
}

// helloName returns the name that the server is greeted with.
func helloName(text string) (string, error) {
	if text == "" {
		name, err := os.Hostname()
		if err != nil {
			return "localhost", nil
		}
		text = name
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("has a hello that is no host name")
	}
	return text, nil
}

// signer reads the DKIM options; nil if there are none.
func signer(said map[string]string, domain string, o Options) (*mail.DKIMSigner, error) {
	selector, path := said["dkim_selector"], said["dkim_key"]
	if selector == "" && path == "" && said["dkim_domain"] == "" {
		return nil, nil
	}
	if selector == "" || path == "" {
		return nil, errors.New("needs dkim_selector and dkim_key, a file with a private key in PEM, to sign mails")
	}
	text, err := o.file(path)
	if err != nil {
		return nil, fmt.Errorf("dkim_key= %w", err)
	}
	key, err := mail.PrivKeyFromPEM(text)
	if err != nil {
		return nil, errors.New("has a dkim_key that is no RSA or Ed25519 private key in PEM")
	}
	signer := mail.NewDKIMSigner(cmp.Or(said["dkim_domain"], domain), selector, key)
	// Oversigned: these headers cannot be added to a signed mail.
	signer.OversignHeaders("From", "To", "Subject")
	if _, err := signer.Sign([]byte("From: <try@"+domain+">\r\n"), []byte("try\r\n")); err != nil {
		return nil, errors.New("has DKIM options that cannot sign; an RSA key needs 1024 bits at least")
	}
	return signer, nil
}

// mailbox reports whether text is one bare address: no name, list or comment, nothing that a header or a command could
// read as something else.
func mailbox(text string) bool {
	if len(text) > 254 || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f ||
			strings.ContainsRune(`<>()[]:;,"\`, r)
	}) || !visible(text) {
		return false
	}
	parsed, err := netmail.ParseAddress(text)
	return err == nil && parsed.Name == "" && parsed.Address == text
}

// asciiDomain returns a sender's address with its domain as A-labels, which every mail server accepts.
func asciiDomain(address string) string {
	domain := domainOf(address)
	if ascii, err := Domain(domain); err == nil {
		return strings.TrimSuffix(address, domain) + ascii
	}
	return address
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// Send makes one connection and hands over one mail.
func (s *Mailer) Send(ctx context.Context, m Message) Result {
	content, err := m.Content()
	if err != nil {
		return refused("the message could not be rendered")
	}
	message, id, err := s.compose(m, content)
	if err != nil {
		return refused(err.Error())
	}
	var text bytes.Buffer
	if _, err := message.WriteTo(&text); err != nil {
		return refused("the mail could not be written or signed")
	}
	from, err := message.GetSender(false)
	if err != nil {
		return refused("the mail has no sender")
	}
	to, err := message.GetRecipients()
	if err != nil || len(to) != 1 {
		return refused("the mail has not one recipient")
	}
	result := s.deliver(ctx, envelope{from: from, to: to[0], text: text.Bytes()})
	if result.Outcome == Sent {
		result.MessageID = id
	}
	return result
}

// compose builds the mail and its Message-ID. Errors quote no value.
func (s *Mailer) compose(m Message, content Content) (*mail.Msg, string, error) {
	to, err := Mailbox(m.To)
	if err != nil {
		return nil, "", fmt.Errorf("the recipient %w", err)
	}
	from := s.from
	if m.From != "" {
		own, err := netmail.ParseAddress(m.From)
		if err != nil || !visible(own.Name) || !mailbox(own.Address) {
			return nil, "", errors.New("the account's email_sender is not one address")
		}
		own.Address = asciiDomain(own.Address)
		from = *own
	}
	if !visible(content.Subject) {
		return nil, "", errors.New("the subject has a control character")
	}
	message := mail.NewMsg(mail.WithNoDefaultUserAgent())
	message.FromMailAddress(&from)
	message.ToMailAddress(&netmail.Address{Address: to})
	message.Subject(content.Subject)
	id := fmt.Sprintf("%s.%d@%s", messageIDWord(m.ID), m.Number, idDomain(from.Address))
	message.SetMessageIDWithValue(id)
	message.SetDateWithValue(time.Now().UTC())
	// RFC 3834: suppresses automatic replies.
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	if !m.ExpiresAt.IsZero() {
		message.SetGenHeader("Expires", m.ExpiresAt.UTC().Format(time.RFC1123Z))
	}
	message.SetBodyString(mail.TypeTextPlain, content.Text)
	if s.dkim != nil {
		message.SetDKIM(s.dkim)
	}
	return message, id, nil
}

// idDomain returns the domain for a Message-ID. It is ASCII even if the address is not.
func idDomain(address string) string {
	domain := domainOf(address)
	if strings.ContainsFunc(domain, func(r rune) bool { return r > '~' }) {
		return "otpbridge.invalid"
	}
	return domain
}

// messageIDWord removes the characters that RFC 5322 does not allow unquoted in a Message-ID.
func messageIDWord(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, text)
}
