// Package callback is the door through which providers report what became of messages. It reads a
// report in whatever form it comes, query, form or JSON, and hands its fields to the engine.
//
// It promises to tell a stranger nothing: which channels there are, which messages exist and which
// secret is nearly right all look the same. Whether a report is believed is the engine's decision.
package callback

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// Options are what the door works with.
type Options struct {
	Engine *engine.Engine
	Log    *slog.Logger
}

// maxBody bounds a report. Providers send a few hundred bytes.
const maxBody = 64 << 10

// maxFields bounds how many fields of a report are looked at.
const maxFields = 64

// Mount adds the routes: /callbacks/{channel} for the server's channels, and the same with an
// account behind it for that account's own. The secret is the parameter secret of the query.
func Mount(router gin.IRoutes, o Options) {
	for _, path := range []string{"/callbacks/:channel", "/callbacks/:channel/:account"} {
		router.GET(path, o.receive)
		router.POST(path, o.receive)
	}
}

func (o Options) receive(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	query := c.Request.URL.Query()
	b := engine.Callback{Channel: c.Param("channel"), Account: c.Param("account"), Secret: query.Get("secret")}
	query.Del("secret")
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err == nil {
		b.Fields, err = fields(query, c.GetHeader("Content-Type"), body)
	}
	if err != nil {
		c.String(http.StatusBadRequest, "%v\n", err)
		return
	}
	err = o.Engine.Reported(c.Request.Context(), b)
	if err == nil {
		c.Status(http.StatusNoContent)
		return
	}
	refusal, isRefusal := errors.AsType[*otp.Error](err)
	if !isRefusal {
		o.Log.ErrorContext(c.Request.Context(), "callback failed", "channel", b.Channel, "error", err)
		c.String(http.StatusInternalServerError, "The report could not be recorded; send it again.\n")
		return
	}
	web.RequestOf(c).Kind = refusal.Kind.String()
	c.String(status(refusal.Kind), "%s\n", refusal.Message)
}

// status is the answer to a refusal. Providers repeat what is answered with 404 or 5xx, and a
// report may well be faster than the mark that it is about.
func status(kind otp.Kind) int {
	switch kind {
	case otp.UnknownCredential:
		return http.StatusUnauthorized
	case otp.Invalid:
		return http.StatusBadRequest
	case otp.NotFound:
		return http.StatusNotFound
	case otp.Overloaded:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fields are the names and values of a report: those of the query, and those of a form or of the
// outermost object of a JSON body, which count for more. Of a name that comes twice the first one
// counts; what is no text, number or boolean is left out.
func fields(query url.Values, contentType string, body []byte) (map[string]string, error) {
	found := map[string]string{}
	add := func(values url.Values) error {
		for name, list := range values {
			found[name] = list[0]
		}
		if len(found) > maxFields {
			return fmt.Errorf("a report may have %d fields", maxFields)
		}
		return nil
	}
	if err := add(query); err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return found, nil
	case kind != "application/json":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errors.New("the body is no form")
		}
		return found, add(form)
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, errors.New("the body is no JSON object")
	}
	values := url.Values{}
	for name, value := range object {
		switch value := value.(type) {
		case string:
			values.Set(name, value)
		case float64, bool:
			values.Set(name, fmt.Sprint(value))
		}
	}
	return found, add(values)
}
