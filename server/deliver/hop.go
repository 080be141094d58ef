package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// countedConn is a connection that counts the bytes written and can be sealed, after which nothing is written. The
// count separates surely not sent from unknown: not whether a library believes that it wrote a request, but whether a
// byte was handed to the kernel.
type countedConn struct {
	net.Conn
	mu     sync.Mutex
	wrote  int64
	sealed bool
}

// Write counts the bytes that the kernel accepted.
func (c *countedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealed {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(p)
	c.wrote += int64(n)
	return n, err
}

// count returns the number of bytes written so far.
func (c *countedConn) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// seal closes the connection, which ends a Write in progress, and returns the total number of bytes written.
func (c *countedConn) seal() int64 {
	_ = c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return c.wrote
}

// hop watches one request on its way to a connection.
type hop struct {
	opening *time.Timer // cancels the request; stopped once it has a connection

	mu     sync.Mutex
	conn   *countedConn
	before int64 // written before this request
	lost   bool  // there is a connection whose bytes cannot be counted
}

// got records the connection that the request will be written to.
func (h *hop) got(info httptrace.GotConnInfo) {
	h.opening.Stop()
	conn := info.Conn
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	counted, ok := conn.(*countedConn)
	if !ok || h.conn != nil {
		h.lost = true
		return
	}
	h.conn, h.before = counted, counted.count()
}

// untouched reports, for a failed request, whether surely no byte of it left this process. The connection cannot be
// used afterwards.
func (h *hop) untouched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.lost:
		return false
	case h.conn == nil:
		return true // it never had a connection
	}
	return h.conn.seal() == h.before
}

// wire holds the one connection of a session, so that it can be closed from outside, and is closed even if the library
// forgets it.
//
// Unless the mail was accepted it is closed without QUIT: in the middle of a mail, QUIT would end the mail first, and
// the half that was written would be delivered.
type wire struct {
	conn   atomic.Pointer[net.Conn]
	closed atomic.Bool
}

// take stores conn, or closes it at once if the wire is already closed.
func (w *wire) take(conn net.Conn) bool {
	w.conn.Store(&conn)
	if w.closed.Load() {
		w.close()
		return false
	}
	return true
}

func (w *wire) close() {
	w.closed.Store(true)
	if conn := w.conn.Load(); conn != nil {
		_ = (*conn).Close()
	}
}

// goodbye ends a session with QUIT, within a second. The mail has been accepted, so the session must not hold up
// anything.
func (w *wire) goodbye(session *smtp.Client) {
	timer := time.AfterFunc(time.Second, w.close)
	defer timer.Stop()
	_ = session.Quit()
}

// What the sockets of Windows fail with. They have numbers of their own (winsock2.h), which no other system uses and
// syscall does not name.
const (
	wsaNetworkUnreachable = syscall.Errno(10051)
	wsaAborted            = syscall.Errno(10053)
	wsaReset              = syscall.Errno(10054)
	wsaRefused            = syscall.Errno(10061)
	wsaHostUnreachable    = syscall.Errno(10065)
)

// isAny reports whether err is one of these errors.
func isAny(err error, those ...error) bool {
	return slices.ContainsFunc(those, func(one error) bool { return errors.Is(err, one) })
}

// Phrase describes a connection error in our own words. The errors of net, tls and net/http may quote an address with
// its query, or text from the other side.
func Phrase(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "its host is not found by DNS"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not for this host, has expired, or is from no known authority"
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "the time is over"
	}
	operation, ok := errors.AsType[*net.OpError](err)
	alert := ok && (operation.Op == "remote error" || operation.Op == "local error") // as crypto/tls names alerts
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the time is over"
	case errors.Is(err, context.Canceled):
		return "given up"
	case isAny(err, syscall.ECONNREFUSED, wsaRefused):
		return "the connection was refused"
	case isAny(err, syscall.EHOSTUNREACH, syscall.ENETUNREACH, wsaHostUnreachable, wsaNetworkUnreachable):
		return "there is no way to its network"
	case alert, noTLS:
		return "no TLS could be agreed on"
	case isAny(err, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, wsaReset, wsaAborted):
		return "the connection was closed"
	}
	return "the connection failed or the answer is not understood"
}
