package servlet

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"otpbridge/server/bridge"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// answer answers an exchange: with success for nil, a refusal, or a fault.
func (d *door) answer(c *gin.Context, x *exchange, err error) {
	found, kind, remaining := judge(err)
	if kind == kindFault {
		d.logFault(c, x, err)
	}
	request := web.RequestOf(c)
	request.Kind, request.Reason = kind, x.reason
	if refusal, ok := errors.AsType[*otp.Error](err); ok && x.reason == "" {
		request.Reason = refusal.Reason
	}

	if x.account != nil {
		request.Account, request.Key, request.Passed, request.Differs = x.account.Address, x.key, x.passed, x.differs
		request.Environment = x.environment
		announce(c.Writer.Header(), x.account, x.servlet.step)
	}
	if x.upstream != nil && err == nil {
		d.passBack(c, x.upstream)
		return
	}

	says := found.at(x.servlet.step)
	v := voiceFor(says, x.account, d.processWide)
	d.write(c, v.status(found.status), v.body(says, remaining))
}

// Kinds in the request log for outcomes that are not refusals.
const (
	kindOK       = "ok"
	kindFault    = "fault"
	kindUpstream = "upstream_failed" // the account's upstream did not answer
)

// judge returns the row of an outcome, and its kind for the request log. An error that is not a refusal is a fault,
// and so is a refusal without a row: silence would be the wrong answer.
func judge(err error) (found row, kind string, remaining int) {
	if err == nil {
		return success, kindOK, 0
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		if found, ok = rows[refusal.Kind]; ok {
			return found, refusal.Kind.String(), refusal.Remaining
		}
	}
	if _, ok := errors.AsType[*bridge.Failure](err); ok {
		return fault, kindUpstream, 0
	}
	return fault, kindFault, 0
}

var noStore = []string{"no-store"}

// lengths are the Content-Length headers of short answers, longer than every text of the servlets. All answers share
// them, so they must not be changed.
var lengths = func() (headers [96][]string) {
	for n := range headers {
		headers[n] = []string{strconv.Itoa(n)}
	}
	return headers
}()

// contentLength returns the header of an answer of n bytes.
func contentLength(n int) []string {
	if n < len(lengths) {
		return lengths[n]
	}
	return []string{strconv.Itoa(n)}
}

// write sends every answer of this door.
func (d *door) write(c *gin.Context, status int, body string) {
	header := c.Writer.Header()
	header["Content-Type"] = d.contentType
	header["Cache-Control"] = noStore
	header["Content-Length"] = contentLength(len(body))
	c.Status(status)
	// The client may be gone. The decision is committed, so an error here is ignored.
	_, _ = c.Writer.WriteString(body)
}

// logFault logs a fault, which the answer does not explain.
func (d *door) logFault(c *gin.Context, x *exchange, err error) {
	attrs := []slog.Attr{
		slog.String("request_id", web.RequestOf(c).LogID),
		slog.String("servlet", x.servlet.name),
	}
	if x.account != nil {
		attrs = append(attrs, slog.String("account", x.account.Address))
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attrs = append(attrs, slog.String("panic", fmt.Sprint(p.value)), slog.String("stack", string(p.stack)))
	} else {
		attrs = append(attrs, slog.Any("error", err))
	}
	d.log.LogAttrs(c.Request.Context(), slog.LevelError, "servlet fault", attrs...)
}

// successors are the calls of the JSON API that replace each step.
var successors = [...]string{generate: "/v1/send", validate: "/v1/verify", regenerate: "/v1/resend"}

// announce announces the end of the account's servlets and their replacement in headers: RFC 9745, RFC 8594, and RFC
// 5829 for the relation. It applies to accounts that set it; the vendor's clients do not know these headers.
func announce(header http.Header, a *otp.Account, s step) {
	if a.ServletsDeprecatedAt == nil {
		return
	}
	header.Set("Deprecation", "@"+strconv.FormatInt(int64(*a.ServletsDeprecatedAt)/1000, 10))
	header.Set("Link", "<"+successors[s]+`>; rel="successor-version"`)
	if a.ServletsSunsetAt != nil {
		header.Set("Sunset", a.ServletsSunsetAt.Time().UTC().Format(http.TimeFormat))
	}
}
