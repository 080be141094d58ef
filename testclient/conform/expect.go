package conform

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// failed ends a case: the server is wrong. steps is the number of steps of the story up to the failure.
type failed struct {
	expected, actual string
	steps            int
}

// skipped ends a case: the target cannot be tested.
type skipped struct{ reason string }

// broken ends a case: the test could not continue.
type broken struct{ err error }

func (s *Story) stop(err error) { panic(broken{err}) }

// Expect requires exactly the text of that meaning in the story's profile, including the line end, in a properly
// framed answer. The status must be 200 unless the settings ask for others.
func (s *Story) Expect(a Answer, text Text) {
	s.ExpectBytes(a, s.Text(text))
}

// ExpectWrong requires the text of a wrong code with that many attempts left.
func (s *Story) ExpectWrong(a Answer, remaining int) {
	s.ExpectBytes(a, wrongPIN(s.Profile(), remaining)+s.LineEnd())
}

// ExpectBytes requires exactly that body, in a properly framed answer.
func (s *Story) ExpectBytes(a Answer, body string) {
	a.require(a.Body == body, "the answer "+visible(body), "the answer "+visible(a.Body)+statusNote(a))
	s.expectFrame(a)
}

// ExpectOneOf requires one of several texts.
func (s *Story) ExpectOneOf(a Answer, texts ...Text) {
	var expected []string
	for _, text := range texts {
		if a.Body == s.Text(text) {
			s.expectFrame(a)
			return
		}
		expected = append(expected, visible(s.Text(text)))
	}
	a.require(false, "one of the answers "+strings.Join(expected, ", "), "the answer "+visible(a.Body)+statusNote(a))
}

// ExpectStatus requires that status and checks nothing else.
func (a Answer) ExpectStatus(status int) {
	a.require(a.Status == status, "status "+statusText(status), "status "+statusText(a.Status))
}

// Require fails the case unless ok.
func (s *Story) Require(ok bool, expected, actual string) {
	if !ok {
		panic(failed{expected: expected, actual: actual})
	}
}

// require is Require for a property of an answer: the report then omits what came after it.
func (a Answer) require(ok bool, expected, actual string) {
	if !ok {
		panic(failed{expected, actual, a.steps})
	}
}

// expectFrame checks what holds for every answer: its status, and a correct Content-Length.
func (s *Story) expectFrame(a Answer) {
	refused := s.target.strict && a.Body == s.Text(Unauthorised)
	switch {
	case refused:
		a.ExpectStatus(http.StatusUnauthorized)
	case !s.settings.on("strict_http"):
		a.ExpectStatus(http.StatusOK)
	}
	said := a.Header.Get("Content-Length")
	a.require(said == strconv.Itoa(len(a.Body)),
		fmt.Sprintf("a Content-Length of %d", len(a.Body)), "Content-Length "+orNone(said))
}

func orNone(text string) string {
	if text == "" {
		return "not given"
	}
	return text
}

func statusNote(a Answer) string {
	if a.Status == http.StatusOK {
		return ""
	}
	return " with status " + statusText(a.Status)
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// visible returns a body with line ends, blanks and foreign bytes made visible, shortened if it is a whole page.
func visible(body string) string {
	if body == "" {
		return "of zero bytes"
	}
	const most = 300
	if len(body) > most {
		return strconv.Quote(body[:most]) + fmt.Sprintf(" … (%d bytes)", len(body))
	}
	return strconv.Quote(body)
}
