package main

import (
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mailbox is a mail server that keeps the Message-ID and the text of every mail.
type mailbox struct {
	mu         sync.Mutex
	ids, texts []string
}

// startMailbox starts a mail server without TLS and returns its address.
func startMailbox(t *testing.T) (address string, box *mailbox) {
	t.Helper()
	box = &mailbox{}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return mailSession{box}, nil }))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return listener.Addr().String(), box
}

type mailSession struct{ box *mailbox }

func (mailSession) Mail(string, *smtp.MailOptions) error { return nil }
func (mailSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (mailSession) Reset()                               {}
func (mailSession) Logout() error                        { return nil }

func (s mailSession) Data(r io.Reader) error {
	mail, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.ids = append(s.box.ids, mail.Header.Get("Message-Id"))
	text, err := io.ReadAll(quotedprintable.NewReader(mail.Body))
	s.box.texts = append(s.box.texts, strings.ReplaceAll(string(text), "\r\n", "\n"))
	return err
}

// Mailboxes and gateways drop a message with a known id. So each test message has a new id: otherwise a second one
// would be reported as sent and never arrive.
func TestSendTest_EachCallIsAMessageOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	var ids []string
	gateway := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		query := r.URL.Query()
		assert.Equal(t, query.Get("id"), query.Get("send"))
		ids = append(ids, query.Get("id"))
	}))
	t.Cleanup(gateway.Close)
	address, box := startMailbox(t)
	const calls = 3
	for range calls {
		for _, to := range []string{"+919551492394", "person@customer.example"} {
			var out output
			require.Equal(t, exitOK, run([]string{"send-test", to}, process{
				environ: variables(t, "OTPBRIDGE_SMS_CHANNELS="+gateway.URL+"/?to={to}&text={text}&id={id}&send={send_id}",
					"OTPBRIDGE_EMAIL_CHANNELS=smtp://"+address+"?from=codes@shop.example&tls=off"),
				stdout: &out, stderr: &out,
			}), out.String())
		}
	}
	require.Len(t, box.ids, calls)
	require.Len(t, ids, calls)
	seen := map[string]bool{}
	for _, id := range append(box.ids, ids...) {
		require.NotEmpty(t, id)
		require.False(t, seen[id], "%s comes twice", id)
		seen[id] = true
	}
}

// If a mail server accepts the addresses and then hangs, the next one is tried in time. The output says so, and
// nothing arrives twice.
func TestSendTest_AMailServerThatHangsIsLeftForTheNext(t *testing.T) {
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	over := make(chan struct{})
	go func() {
		for {
			conn, err := hanging.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "220 mail.example\r\n250 hello\r\n250 from\r\n250 to\r\n") // and not 354
				<-over
			}()
		}
	}()
	t.Cleanup(func() {
		close(over)
		_ = hanging.Close()
	})
	address, box := startMailbox(t)
	var out output
	const options = "?from=codes@shop.example&tls=off&name="
	require.Equal(t, exitOK, run([]string{"send-test", "person@customer.example"}, process{
		environ: variables(t,
			"OTPBRIDGE_EMAIL_CHANNELS=smtp://"+hanging.Addr().String()+options+"hanging&begin_timeout=300ms,"+
				"smtp://"+address+options+"good"),
		stdout: &out, stderr: &out,
	}), out.String())
	require.Regexp(t, `hanging: not_sent after [0-9.]+m?s: no answer to DATA: the time is over`, out.String())
	require.Contains(t, out.String(), "good: sent after ")
	require.Len(t, box.ids, 1)
}
