package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"otpbridge/server/strict"
)

const maxBody = 64 << 10

// ReadJSON decodes the JSON object in c's body as Decode does.
func ReadJSON(c *gin.Context, target any) error {
	body, err := ReadBody(c)
	if err != nil {
		return err
	}
	return Decode(body, target)
}

// ReadBody reads c's body, and refuses one of more than 64 KiB. The body is also kept in c's Request, and returned
// again if it was read before.
func ReadBody(c *gin.Context) ([]byte, error) {
	if body := RequestOf(c).Body; body != nil {
		return body, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &Problem{
			Status: http.StatusBadRequest, Code: "BODY_TOO_LARGE",
			Detail: "the body is larger than 64 KiB",
			Faults: []Fault{{Detail: "must be at most 64 KiB"}},
		}
	}
	if err != nil {
		return nil, Invalid(Fault{Detail: "ended before it was complete"})
	}
	RequestOf(c).Body = body
	return body, nil
}

// Encode returns value as JSON.
func Encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // nothing here is read as HTML, and nosniff says so
	err := encoder.Encode(value)
	return bytes.TrimRight(text.Bytes(), "\n"), err
}

// Decode decodes the JSON object in body into target as strict.Decode does. target points to a struct with the
// defaults. An empty body counts as the empty object. The refusal names every fault by a JSON pointer.
func Decode(body []byte, target any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	wrong, _ := errors.AsType[*strict.Error](strict.Decode(body, target))
	if wrong == nil {
		return nil
	}
	faults := make([]Fault, len(wrong.Faults))
	for i, fault := range wrong.Faults {
		faults[i] = Fault{Pointer: fault.Pointer, Detail: fault.Detail}
	}
	return Invalid(faults...)
}
