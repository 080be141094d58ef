package main

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// identify sets the request's client address and id.
func (s *Server) identify(c *gin.Context) {
	plain := resolveClient(c.Request, s.settings.TrustedProxies)
	id, err := web.Single(c.Request.Header, "X-Request-Id")
	if err != nil || !validRequestID(id) {
		id = newRequestID()
	}
	web.Identify(c, id)
	web.RequestOf(c).Plain = plain
}

// newRequestID returns a unique id: req_ and 128 random bits.
func newRequestID() string {
	var random [16]byte
	rand.Read(random[:]) // never returns an error; crypto/rand ends the process instead
	var room [32]byte
	return string(requestIDText.AppendEncode(append(room[:0], "req_"...), random[:]))
}

var requestIDText = base32.StdEncoding.WithPadding(base32.NoPadding)

// validRequestID reports whether a caller's id may be echoed and logged. It has 8 to 128 letters, digits
// and . _ : - only, so that it cannot forge a header or a line of the log.
func validRequestID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for _, b := range []byte(id) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case b == '.', b == '_', b == ':', b == '-':
		default:
			return false
		}
	}
	return true
}

var knownMethods = []string{
	http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
}

// logRequest writes a line for every request. It logs the pattern of the route, never the path or query,
// which contain recipients and codes. It logs an unknown method as "other", because callers choose it freely.
func (s *Server) logRequest(c *gin.Context) {
	began := time.Now()
	if s.isStopping() {
		// The client then opens another connection for its next request.
		c.Header("Connection", "close")
	}

	c.Next()

	s.recordCall(c, began)
	level := slog.LevelInfo
	route := c.FullPath()
	switch route {
	case "":
		route = "unmatched"
	case "/livez", "/readyz":
		level = slog.LevelDebug
	}
	if !s.log.Enabled(c.Request.Context(), level) {
		return
	}
	request := web.RequestOf(c)
	attributes := make([]slog.Attr, 0, 12)
	if ofStranger(request, route) {
		told, silent := s.strangers.tell(began)
		if !told {
			return
		}
		if silent > 0 {
			attributes = append(attributes, slog.Int("not_logged_before", silent))
		}
	}
	method := c.Request.Method
	if !slices.Contains(knownMethods, method) {
		method = "other"
	}
	peer, _, _ := net.SplitHostPort(c.Request.RemoteAddr)
	attributes = append(attributes,
		slog.String("method", method), slog.String("route", route), slog.Int("status", c.Writer.Status()),
		milliseconds("duration", time.Since(began)), slog.Int("bytes", max(c.Writer.Size(), 0)),
		slog.String("request_id", request.LogID), slog.String("peer", peer))
	if request.Call != "" {
		attributes = append(attributes, slog.String("servlet", request.Call))
	}
	if request.Kind != "" {
		attributes = append(attributes, slog.String("kind", request.Kind))
	}
	if request.Account != "" {
		attributes = append(attributes, slog.String("account", request.Account))
	}
	if !request.Key.IsZero() {
		attributes = append(attributes, slog.String("key", request.Key.Text("key")))
	}
	if request.Reason != "" {
		attributes = append(attributes, slog.String("reason", request.Reason))
	}
	s.log.LogAttrs(c.Request.Context(), level, "request", attributes...)
}

// strangersLines is how many lines a minute the log has for requests of strangers.
const strangersLines = 10

// strangers bounds how much callers without a known key can write into the log. Their further requests are
// counted, and the next line has the count.
type strangers struct {
	mu     sync.Mutex
	minute time.Time // the current minute's beginning
	lines  int       // logged in it
	silent int       // requests without a line since the last line
}

// tell reports whether a request at a time gets a line, and how many requests before it did not. It counts
// the request.
func (s *strangers) tell(at time.Time) (told bool, silent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Sub(s.minute) >= time.Minute {
		s.minute, s.lines = at, 0
	}
	if s.lines == strangersLines {
		s.silent++
		return false, 0
	}
	s.lines++
	silent, s.silent = s.silent, 0
	return true, silent
}

// ofStranger reports whether a request came without a key, login or session that this server knows, or to an unknown
// path.
func ofStranger(request *web.Request, route string) bool {
	if request.Account != "" {
		return false
	}
	switch request.Kind {
	case otp.MissingCredential.String(), otp.UnknownCredential.String(), otp.ExpiredCredential.String(),
		otp.RateLimited.String(),
		otp.WrongPassword.String(), otp.RegistrationClosed.String():
		return true
	}
	return route == "unmatched"
}

// recoverPanic answers and logs a panic that no door recovered.
func (s *Server) recoverPanic(c *gin.Context) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if value == http.ErrAbortHandler {
			panic(value) // http.ErrAbortHandler asks net/http to close the connection; it is not a fault
		}
		request := web.RequestOf(c)
		s.log.Error("panic", "route", c.FullPath(), "request_id", request.LogID, "panic", fmt.Sprint(value), "stack",
			string(debug.Stack()))
		c.Abort()
		if !c.Writer.Written() {
			c.String(http.StatusInternalServerError, "Something failed here; the server's log has it under %s.\n", request.LogID)
		}
	}()
	c.Next()
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
