package servlet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/bridge"
	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// passOn answers a call that goes to the account's upstream, or did or will in a hand-over.
//
// In a hand-over codes of both sides may be live, and of a slot's two codes the newer one counts. So a code generated
// at the upstream replaces the slot's challenge here before its client gets the answer. A validation or regeneration
// is first decided here, by the engine's guarded write, which finds the challenge or none. If none, nothing is
// charged, and the upstream is asked. Servers with different clocks or modes decide alike, because the decision
// depends on the rows and not on the mode.
func (x *exchange) passOn(ctx context.Context, caller *engine.Caller, handling otp.Handling) error {
	body, err := x.takeBody()
	if err != nil {
		return err
	}
	switch {
	case x.servlet.step == generate && handling.Mode == otp.BridgeLocal:
		return x.answerHere(ctx, caller, nil)
	case x.servlet.step != generate && handling.HandOver:
		err := x.answerHere(ctx, caller, &handling)
		if !nothingHere[otp.KindOf(err)] {
			return err
		}
		x.request.Body, x.reason = io.NopCloser(bytes.NewReader(body)), ""
	}
	x.leave() // it waits for the upstream now, which has its own limit
	class, err := x.forward(ctx, body)
	if err == nil && handling.Mode == otp.BridgeShadow {
		x.compare(ctx, caller, body, class)
	}
	if err != nil || class != string(generated) || x.servlet.step != generate || !handling.HandOver {
		return err
	}
	return x.giveWay(caller)
}

// nothingHere are the refusals of a call about a code that was not made here. None of them has charged anything. The
// last three are of calls that cannot refer to a code made here, given the account's settings.
var nothingHere = map[otp.Kind]bool{
	otp.NotFound: true, otp.Canceled: true, otp.Replaced: true,
	otp.Invalid: true, otp.MissingDepartment: true, otp.FeatureOff: true,
}

// giveWay replaces the slot's challenge with the code that the upstream has made.
func (x *exchange) giveWay(caller *engine.Caller) error {
	p, err := readParameters(x.request)
	if err != nil {
		return nil // such a call cannot refer to a code made here
	}
	target, err := x.address(caller, p)
	if err != nil {
		return nil
	}
	return x.door.engine.GiveWay(caller, target)
}

// takeBody reads the whole body, and makes it readable again.
func (x *exchange) takeBody() ([]byte, error) {
	if x.request.Body == nil || x.request.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(x.request.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, &otp.Error{Kind: otp.Invalid, Message: "the body did not arrive whole", Err: err}
	case len(body) > maxBody:
		return nil, malformed("the body is over 64 KiB", "the body is over 64 KiB")
	}
	x.request.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// forward sends the call to the upstream, and returns the class of its answer.
func (x *exchange) forward(ctx context.Context, body []byte) (class string, err error) {
	began := time.Now()
	answer, err := x.door.upstreams.Do(ctx, x.account, bridge.Call{
		Method: x.request.Method, URL: x.request.URL, Header: x.request.Header, Body: body,
	})
	if err == nil {
		if class = classOf(x.account, x.servlet.step, answer); class == "" {
			err = &bridge.Failure{Class: "nonsense", Err: errors.New("the answer is none of a servlet's")}
		}
	}
	if failed, ok := errors.AsType[*bridge.Failure](err); ok {
		class = failed.Class
		x.reason = failed.Error()
	}
	x.door.upstreams.Count(x.servlet.name, class, time.Since(began))
	x.passed = class
	if err == nil {
		x.upstream = &answer
	}
	return class, err
}

// passBack sends the upstream's answer.
func (d *door) passBack(c *gin.Context, answer *bridge.Answer) {
	header := c.Writer.Header()
	for name, values := range answer.Header {
		header[name] = values
	}
	header["Content-Length"] = contentLength(len(answer.Body))
	c.Status(answer.Status)
	// The client may be gone. The decision is committed, so an error here is ignored.
	_, _ = c.Writer.Write(answer.Body)
}

// The classes of answers that are not names of texts.
const (
	classSilence = "silence" // zero bytes, to a validation
	classOther   = "other"   // one short line of unknown text
)

// maxLine is the longest answer of unknown text, in bytes.
const maxLine = 200

// classOf returns which text an upstream's answer is, in any profile. It is empty for an answer that no servlet gives,
// such as a proxy's error page, which clients would take for success.
func classOf(a *otp.Account, s step, answer bridge.Answer) string {
	line := strings.TrimSuffix(strings.TrimSuffix(string(answer.Body), "\n"), "\r")
	if len(answer.Body) == 0 && s == validate && answer.Status == http.StatusOK {
		return classSilence
	}
	said := squeezed(line)
	for name, words := range a.Overrides {
		if words != "" && matches(said, squeezed(words)) {
			return name
		}
	}
	for _, p := range profiles {
		for name, words := range p.texts {
			if matches(said, squeezed(words)) {
				return string(name)
			}
		}
	}
	if answer.Status == http.StatusOK && said != "" && len(line) <= maxLine && printable(line) &&
		!strings.ContainsAny(line, "<{") {
		return classOther
	}
	return ""
}

// squeezed returns a text without blanks, because the known texts differ in them.
func squeezed(text string) string { return strings.ReplaceAll(text, " ", "") }

// matches reports whether a text equals words, where {n} stands for any number.
func matches(text, words string) bool {
	before, after, numbered := strings.Cut(words, "{n}")
	if !numbered {
		return text == words
	}
	rest, begins := strings.CutPrefix(text, before)
	digits, ends := strings.CutSuffix(rest, after)
	return begins && ends && otp.Digits(digits)
}
