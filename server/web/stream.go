package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Allow moves the deadlines of the exchange for a call that takes longer than others. The server's write timeout began
// when the request came. Its read timeout still stands although the request is complete, and net/http takes its passing
// for a client that hung up. Where there is no connection, as in a test of the handler alone, there is no deadline to
// move either.
func Allow(c *gin.Context, d time.Duration) {
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(d))
}

// Within gives the work of a call d, and its answer ten seconds more. The context ends then, or when the client hangs up.
func Within(c *gin.Context, d time.Duration) (context.Context, context.CancelFunc) {
	Allow(c, d+partTime)
	return context.WithTimeout(c.Request.Context(), d)
}

// partTime is how long a client may take for each part of a streamed answer.
const partTime = 10 * time.Second

// Stream answers with a file that write makes bit by bit, so that memory holds a part of it only. It may take as long as
// it needs, but a client that stops reading for ten seconds is cut off. An error before the first part is returned, for
// a refusal; one after it is logged and ends the connection, since a client must not take what it has for the whole.
func Stream(c *gin.Context, log *slog.Logger, contentType, name string,
	write func(ctx context.Context, w io.Writer) error) error {
	parts := &parts{gin: c}
	c.Header("Content-Type", contentType)
	c.Header("Content-Disposition", `attachment; filename="`+name+`"`)
	err := write(c.Request.Context(), parts)
	switch {
	case err == nil:
		return nil
	case !parts.begun:
		c.Writer.Header().Del("Content-Disposition")
		return err
	case !parts.gone && !errors.Is(err, context.Canceled):
		RequestOf(c).Kind = "fault"
		log.ErrorContext(c.Request.Context(), "a streamed answer ended early", "request_id", RequestOf(c).LogID, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// parts gives the client time for each part. It has no other method than Write, so that nothing passes it by.
type parts struct {
	gin         *gin.Context
	begun, gone bool
}

func (p *parts) Write(part []byte) (int, error) {
	p.begun = true
	Allow(p.gin, partTime)
	n, err := p.gin.Writer.Write(part)
	p.gone = p.gone || err != nil
	return n, err
}
