package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
)

// Problem is a refusal of the door itself: a request that cannot be read or may not be made.
type Problem struct {
	Status int
	Code   string
	Detail string
	Faults []Fault
}

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Fault is one thing that is wrong with a request: where, and what to write instead.
type Fault struct {
	Pointer   string `json:"pointer,omitempty"`   // RFC 6901, into the body
	Parameter string `json:"parameter,omitempty"` // of the query or path
	Header    string `json:"header,omitempty"`
	Detail    string `json:"detail"`
}

// String is f as a sentence without an end.
func (f Fault) String() string {
	if f.Header != "" {
		return "header " + f.Header + " " + f.Detail
	}
	if f.Parameter != "" {
		return "parameter " + f.Parameter + " " + f.Detail
	}
	if f.Pointer != "" {
		return f.Pointer + " " + f.Detail
	}
	return "the body " + f.Detail
}

// Invalid refuses a request for faults in its input, of which there is at least one.
func Invalid(faults ...Fault) *Problem {
	detail := faults[0].String()
	if more := len(faults) - 1; more > 0 {
		detail += " (and " + strconv.Itoa(more) + " more, see errors)"
	}
	return &Problem{Status: http.StatusBadRequest, Code: CodeInvalid, Detail: detail, Faults: faults}
}

// CodeInvalid is the code of every request that cannot be read.
const CodeInvalid = "INVALID_REQUEST"

// details is application/problem+json (RFC 9457). Its type is about:blank, for which the title
// is the status in words; the code tells problems apart and does not change.
type details struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	RequestID string  `json:"request_id"`
	Errors    []Fault `json:"errors,omitempty"`
}

// statusClientGone is nginx's number for a client that did not wait. Nobody receives it; it is
// what the access log shows.
const statusClientGone = 499

// Writer is the one writer of a door's errors: refusals as they are, faults logged in full and
// answered neutrally.
type Writer struct {
	Door string // for the log
	Log  *slog.Logger
}

// Refuse answers c with err.
func (w *Writer) Refuse(c *gin.Context, err error) {
	p := w.ProblemOf(c, err)
	if c.Request.Context().Err() != nil {
		c.Status(statusClientGone)
		return
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.RetryAfter > 0 {
		c.Header("Retry-After", Seconds(refusal.RetryAfter))
	}
	c.Header("Content-Type", "application/problem+json")
	c.PureJSON(p.Status, details{
		Type: "about:blank", Title: http.StatusText(p.Status), Status: p.Status,
		Detail: p.Detail, Code: p.Code, Message: p.Detail,
		RequestID: RequestOf(c).ID, Errors: p.Faults,
	})
}

// ProblemOf is what c is to be answered for err. It logs a fault, so it is asked once a request.
func (w *Writer) ProblemOf(c *gin.Context, err error) *Problem {
	if own, ok := errors.AsType[*Problem](err); ok {
		return own
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		if row, ok := RowOf(refusal.Kind); ok {
			RequestOf(c).Kind = refusal.Kind.String()
			p := &Problem{Status: row.Status, Code: row.Code, Detail: refusal.Message}
			if refusal.Field != "" {
				p.Faults = []Fault{{Pointer: "/" + refusal.Field + refusal.Path,
					Detail: strings.TrimPrefix(refusal.Message, refusal.Field+refusal.Path+" ")}}
			}
			return p
		}
	}
	if c.Request.Context().Err() == nil || !errors.Is(err, context.Canceled) {
		w.logFault(c, err)
	}
	return &Problem{
		Status: http.StatusInternalServerError, Code: "INTERNAL",
		Detail: "something failed here; the server's log has it under the request id",
	}
}

func (w *Writer) logFault(c *gin.Context, err error) {
	request := RequestOf(c)
	request.Kind = "fault"
	attributes := []slog.Attr{slog.String("route", c.FullPath()), slog.String("request_id", request.LogID)}
	if request.Account != "" {
		attributes = append(attributes, slog.String("account", request.Account))
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attributes = append(attributes, slog.String("panic", fmt.Sprint(p.value)), slog.String("stack", string(p.stack)))
	} else {
		attributes = append(attributes, slog.Any("error", err))
	}
	w.Log.LogAttrs(c.Request.Context(), slog.LevelError, w.Door+" call failed", attributes...)
}

// panicked is a panic on its way to the log.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "panic while serving" }

// Guarded runs one call; a panic in it becomes a fault, where it is still known whose it was.
func Guarded(call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			if value == http.ErrAbortHandler {
				panic(value) // net/http's own word for "close this connection", and no fault
			}
			err = &panicked{value: value, stack: debug.Stack()}
		}
	}()
	return call()
}

// Seconds is d in whole seconds, rounded up: a caller that comes back earlier is refused again.
func Seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
