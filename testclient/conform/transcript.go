package conform

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Transcript is a conversation with a server, without its secrets: everything that depends on account, number or day
// is a placeholder.
//
//	{access_key} {wrong_access_key}   a key that was taken, and one that was refused
//	{mobile} {mobile2} …              numbers, in the order in which they appeared
//	{ip} {ip2} …                      values of ipaddress
//	{email} {email2} …                mailboxes
//	{right} {wrong}                   the otp parameter: the code, or not; {right:hex} in hex, and
//	                                  in clear at the servlet for that
//	{bad_mobile} {bad_email}          what is no number or mailbox
//	{other}                           the value of a parameter that the protocol does not know
//
// On disk it is text. Each exchange has two parts, headed like the files of a txtar archive. The body of an answer is
// quoted, so that editors do not change its line end:
//
//	-- 1 request --
//	GET /otpgenservlet?ipaddress={ip}&mobile={mobile}
//	access_key: {access_key}
//
//	-- 1 answer --
//	200 text/plain; charset=utf-8
//	"OTP Generated Successfully"
//
// A request that came ten seconds or more after the previous one begins with a line "later 6m0s".
type Transcript struct{ Lines []Line }

// Line is one exchange of a transcript.
type Line struct {
	Title   string        // of the built-in conversation only
	Later   time.Duration // after the line before
	Method  string
	Servlet string // path below the context path
	Query   string
	Headers []HeaderLine
	Body    string // of a form

	Status int
	Type   string // Content-Type
	Answer string
}

// noticeable is the shortest pause that is part of the conversation.
const noticeable = 10 * time.Second

// write writes the line, the n-th of its transcript, in the format that ReadTranscript reads.
func (l Line) write(w io.Writer, n int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "-- %d request --\n", n)
	if l.Later > 0 {
		fmt.Fprintf(&b, "later %s\n", l.Later)
	}
	fmt.Fprintf(&b, "%s\n", l.request())
	fmt.Fprintf(&b, "\n-- %d answer --\n%s\n%s\n\n", n, strings.TrimSpace(strconv.Itoa(l.Status)+" "+l.Type),
		strconv.Quote(l.Answer))
	_, err := io.WriteString(w, b.String())
	return err
}

// request returns the request as the transcript shows it.
func (l Line) request() string {
	text := l.Method + " /" + l.Servlet
	if l.Query != "" {
		text += "?" + l.Query
	}
	for _, h := range l.Headers {
		text += "\n" + h.Name + ": " + h.Value
	}
	if l.Body != "" {
		text += "\nform " + l.Body
	}
	return text
}

// answer returns the answer as the transcript shows it.
func (l Line) answer() string {
	return strings.TrimSpace(strconv.Itoa(l.Status)+" "+l.Type) + " " + strconv.Quote(l.Answer)
}

// ReadTranscript reads the disk format.
func ReadTranscript(r io.Reader) (*Transcript, error) {
	t := new(Transcript)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBody)
	part, row := "", 0
	for lines.Scan() {
		row++
		text := lines.Text()
		var err error
		switch {
		case strings.HasPrefix(text, "-- ") && strings.HasSuffix(text, " request --"):
			t.Lines, part = append(t.Lines, Line{}), "request"
		case strings.HasPrefix(text, "-- ") && strings.HasSuffix(text, " answer --") && len(t.Lines) > 0:
			part = "answer"
		case text == "" || strings.HasPrefix(text, "#"):
		case part == "request":
			err = t.Lines[len(t.Lines)-1].readRequest(text)
		case part == "answer":
			err = t.Lines[len(t.Lines)-1].readAnswer(text)
		default:
			err = fmt.Errorf("before the first request stands %q", text)
		}
		if err != nil {
			return nil, &Trouble{Tried: fmt.Sprintf("read line %d of the transcript", row), Err: err,
				Remedy: "A transcript is what the command record writes; see the README for its form."}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the transcript: %w", err)
	}
	if len(t.Lines) == 0 {
		return nil, &Trouble{Tried: "the transcript holds no exchange", Remedy: "Record one: testclient record --help."}
	}
	for i, line := range t.Lines {
		if line.Method == "" || line.Status == 0 {
			return nil, &Trouble{Tried: fmt.Sprintf("exchange %d of the transcript has no request or no answer", i+1),
				Remedy: "A transcript is what the command record writes; was it cut off?"}
		}
	}
	return t, nil
}

func (l *Line) readRequest(text string) error {
	if l.Method == "" {
		if pause, ok := strings.CutPrefix(text, "later "); ok {
			var err error
			l.Later, err = time.ParseDuration(pause)
			return err
		}
		method, target, ok := strings.Cut(text, " /")
		if !ok {
			return fmt.Errorf("no method and path in %q", text)
		}
		l.Method = method
		l.Servlet, l.Query, _ = strings.Cut(target, "?")
		return nil
	}
	if form, ok := strings.CutPrefix(text, "form "); ok {
		l.Body = form
		return nil
	}
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return fmt.Errorf("no header in %q", text)
	}
	l.Headers = append(l.Headers, HeaderLine{name, strings.TrimSpace(value)})
	return nil
}

func (l *Line) readAnswer(text string) (err error) {
	if l.Status == 0 {
		status, kind, _ := strings.Cut(text, " ")
		l.Type = kind
		l.Status, err = strconv.Atoi(status)
		return err
	}
	l.Answer, err = strconv.Unquote(text)
	return err
}

// player plays the lines of a transcript against one side.
type player struct {
	story *Story
	sent  map[string]bool // numbers that a code has been sent to
}

func newPlayer(s *Story) *player { return &player{story: s, sent: map[string]bool{}} }

// say plays one line and returns the answer as a Line.
func (p *player) say(l Line) Line {
	if l.Later > 0 && p.story.canWait() {
		p.story.Sandbox.Advance(l.Later)
	}
	mobile := p.mobileOf(l)
	r := Request{Method: l.Method, Path: l.Servlet, Header: http.Header{}}
	r.Query = p.fill(l.Query, l.Servlet, mobile)
	if l.Body != "" {
		r.Body, r.Type = p.fill(l.Body, l.Servlet, mobile), formType
	}
	for _, h := range l.Headers {
		r.Header[h.Name] = append(r.Header[h.Name], p.fillHeader(h.Value))
	}
	a := p.story.send(r)
	if a.Text() == Generated.In(Documented) {
		p.sent[mobile] = true
	}
	out := l
	out.Status, out.Type, out.Answer = a.Status, a.Header.Get("Content-Type"), a.Body
	return out
}

func (p *player) fillHeader(value string) string {
	return strings.NewReplacer("{access_key}", p.story.Key(), "{wrong_access_key}",
		"no-such-key-"+p.story.id).Replace(value)
}

// mobileOf returns the number that a line is about.
func (p *player) mobileOf(l Line) string {
	for _, text := range []string{l.Query, l.Body} {
		for pair := range strings.SplitSeq(text, "&") {
			if value, ok := strings.CutPrefix(pair, "mobile="); ok {
				return p.fill(value, l.Servlet, "")
			}
		}
	}
	return p.story.mobile
}

// fill replaces placeholders with values, escaped.
func (p *player) fill(text, servlet, mobile string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return b.String() + "{" + rest
		}
		b.WriteString(url.QueryEscape(p.value(name, servlet, mobile)))
		text = after
	}
}

func (p *player) value(name, servlet, mobile string) string {
	word := strings.TrimRight(name, "0123456789")
	n := 1
	if digits := name[len(word):]; digits != "" {
		n, _ = strconv.Atoi(digits)
	}
	kind, way, _ := strings.Cut(word, ":")
	switch kind {
	case "mobile":
		return p.story.number(n)
	case "ip":
		return strings.TrimSuffix(p.story.ip, ".") + suffixed(n)
	case "email":
		return "m" + strconv.Itoa(n) + "-" + p.story.Email()
	case "right", "wrong":
		return p.guess(kind == "right", way, servlet, mobile)
	case "bad_mobile":
		return "12"
	case "bad_email":
		return "nobody"
	default:
		return "x"
	}
}

// suffixed returns a suffix that makes another opaque ipaddress of the first.
func suffixed(n int) string {
	if n == 1 {
		return ""
	}
	return "-" + strconv.Itoa(n)
}

// guess returns an otp parameter. A wrong one must differ from the right one only if a code has been sent.
func (p *player) guess(right bool, way, servlet, mobile string) string {
	code := "123456"
	if p.sent[mobile] {
		code = p.story.Code(Mobile(mobile))
		if !right {
			code = rotated(code)
		}
	}
	switch {
	case strings.EqualFold(servlet, plainServlet):
		return code
	case way == "hex":
		return p.story.Encrypt(code, Hex)
	case way == "HEX":
		return p.story.Encrypt(code, HexUpper)
	default:
		return p.story.Encrypt(code, Base64)
	}
}

// canWait reports whether time can pass for a story.
func (s *Story) canWait() bool { return s.slow || s.target.sandbox && s.offset != nil }
