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

// Allow extends the deadlines of the connection for a call that takes longer than others. The server's write timeout
// began with the request. The read timeout still runs although the request is complete, and when it passes net/http
// believes that the client hung up. It does nothing without a connection, as in a test of the handler alone.
func Allow(c *gin.Context, d time.Duration) {
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(d))
}

// Within returns a context that ends after d, or when the client hangs up. The answer has ten seconds more.
func Within(c *gin.Context, d time.Duration) (context.Context, context.CancelFunc) {
	Allow(c, d+partTime)
	return context.WithTimeout(c.Request.Context(), d)
}

// partTime is how long a client may take for each part of a streamed answer.
const partTime = 10 * time.Second

// Stream answers with a file that write produces in parts, so that it is never in memory as a whole. It may take as
// long as it needs, but a client that stops reading for ten seconds is cut off. An error before the first part is
// returned, for a refusal. A later one is logged and breaks the connection, so that the client notices that the file
// is incomplete.
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

// parts gives the client partTime for each part. Write is its only method, so that no write bypasses it.
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
