package load

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
)

// Step is one request of a cycle with its expected answer. It is a GET, or a POST if it has a body.
type Step struct {
	// Name identifies the step in reports.
	Name string
	// Target is the path and query. Number in it is replaced by the digits of the cycle's recipient, and ID by the id
	// in the answer to the step before.
	Target string
	// Header holds lines such as "access_key: secret", in addition to Host and Content-Length.
	Header []string
	// Body is sent unchanged, except for Number and ID.
	Body string
	// Status is the expected status; 0 is 200.
	Status int
	// Text is the whole expected answer, without its line end, which depends on the server's profile.
	Text string
	// Holds, if not empty, must be contained in the answer, instead of Text. Blanks in the answer are ignored, because
	// JSON may have some or none.
	Holds string
}

// Number is the placeholder of the recipient's digits in a Step's Target and Body.
const Number = "{number}"

// ID is the placeholder of a challenge's id in a Step's Target and Body.
const ID = "{id}"

// numbers is how many recipients there are: 919, as Indian mobile numbers begin, and nine digits.
const numbers = 1_000_000_000

// digits is the length of a number.
const digits = len("919000000000")

// writeNumber writes the number with this index over the first bytes of b.
func writeNumber(b []byte, place int) {
	b = b[:digits]
	copy(b, "919")
	for i := digits - 1; i >= 3; i-- {
		b[i] = '0' + byte(place%10)
		place /= 10
	}
}

// Servlets is a server with the OTP servlets, and one of its accounts. The server must use one code for every
// challenge.
type Servlets struct {
	// Path is the path before the names of the servlets, such as /otpauthapi.
	Path string
	// AccessKey is the account's.
	AccessKey string
	// OTP is the code, encrypted with the account's key as the protocol requires.
	OTP string
	// IPAddress is the end user's address in every request.
	IPAddress string
}

// Cycle returns generate and validate, with the answers of the protocol's article.
func (s Servlets) Cycle() []Step {
	header := []string{"access_key: " + s.AccessKey}
	who := "?ipaddress=" + url.QueryEscape(s.IPAddress) + "&mobile=" + Number
	generate := s.Path + "/otpgenservlet" + who
	validate := s.Path + "/otpvalidationservlet" + who + "&otp=" + url.QueryEscape(s.OTP)
	return []Step{
		{Name: "generate", Target: generate, Header: header, Text: "OTP Generated Successfully"},
		{Name: "validate", Target: validate, Header: header, Text: "Verified successfully"},
	}
}

// V1 is a server with the JSON API, and a key of one of its accounts. The server must use one code for every
// challenge.
type V1 struct {
	// Key is an API key or an access key. An access key has no request limit unless its account sets one; the load
	// soon reaches an API key's limit.
	Key string
	// Code is the code of every challenge.
	Code string
	// ByID verifies by the id that send answered, not by the recipient.
	ByID bool
}

// Cycle returns send and verify.
func (v V1) Cycle() []Step {
	named := `{"to":"+` + Number + `"`
	if v.ByID {
		named = `{"id":"` + ID + `"`
	}
	header := []string{"Authorization: Bearer " + v.Key, "Content-Type: application/json"}
	return []Step{
		{
			Name: "send", Target: "/v1/send", Header: header, Status: 201, Holds: `"id":"otp_`,
			Body: `{"to":"+` + Number + `","method":"sms","type":"verification"}`,
		},
		{
			Name: "verify", Target: "/v1/verify", Header: header, Holds: `"valid":true`,
			Body: named + `,"code":` + strconv.Quote(v.Code) + `}`,
		},
	}
}

// Bare returns the same requests, for a server that answers all of them with text; this measures the cost of the
// transport.
func (s Servlets) Bare(text string) []Step {
	steps := s.Cycle()
	for i := range steps {
		steps[i].Text = text
	}
	return steps
}

// preparedStep is a step with its request prepared except for the number and the id.
type preparedStep struct {
	name    string
	request []byte
	numbers []int // where numbers go in request
	ids     []int // where ids go in request
	status  int
	text    []byte
	holds   []byte
}

func (s Step) prepare(host string) preparedStep {
	p := preparedStep{name: s.Name, status: s.Status, text: []byte(s.Text), holds: []byte(s.Holds)}
	if p.status == 0 {
		p.status = 200
	}
	method := "GET "
	if s.Body != "" {
		method = "POST "
	}
	var request strings.Builder
	request.WriteString(method)
	p.lay(&request, s.Target)
	request.WriteString(" HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, line := range s.Header {
		request.WriteString(line + "\r\n")
	}
	if s.Body != "" {
		length := len(places.Replace(s.Body))
		request.WriteString("Content-Length: " + strconv.Itoa(length) + "\r\n")
	}
	request.WriteString("\r\n")
	p.lay(&request, s.Body)
	p.request = []byte(request.String())
	return p
}

// someNumber and someID have the length of the real ones.
const (
	someNumber = "919000000000"
	someID     = "otp_00000000000000000000000000"
)

// places fills in numbers and ids that are overwritten later.
var places = strings.NewReplacer(Number, someNumber, ID, someID)

// lay writes text and records where its numbers and ids are.
func (p *preparedStep) lay(request *strings.Builder, text string) {
	for {
		number, id := strings.Index(text, Number), strings.Index(text, ID)
		switch {
		case number >= 0 && (id < 0 || number < id):
			request.WriteString(text[:number])
			p.numbers = append(p.numbers, request.Len())
			request.WriteString(someNumber)
			text = text[number+len(Number):]
		case id >= 0:
			request.WriteString(text[:id])
			p.ids = append(p.ids, request.Len())
			request.WriteString(someID)
			text = text[id+len(ID):]
		default:
			request.WriteString(text)
			return
		}
	}
}

// own returns a copy whose request belongs to one client.
func (p preparedStep) own() preparedStep {
	p.request = bytes.Clone(p.request)
	return p
}

// address writes the number of a recipient into the request.
func (p *preparedStep) address(place int) {
	for _, at := range p.numbers {
		writeNumber(p.request[at:], place)
	}
}

// identify writes the id in the answer to the step before into the request. It reports true if the request needs no
// id, or the answer contains one.
func (p *preparedStep) identify(answer []byte) bool {
	if len(p.ids) == 0 {
		return true
	}
	_, after, found := bytes.Cut(answer, []byte(`"id"`))
	after = bytes.TrimLeft(after, " :\n")
	if !found || len(after) < len(someID)+2 || after[0] != '"' || after[len(someID)+1] != '"' {
		return false
	}
	for _, at := range p.ids {
		copy(p.request[at:], after[1:1+len(someID)])
	}
	return true
}

// answeredBy reports whether body is the step's expected answer.
func (p *preparedStep) answeredBy(body []byte) bool {
	if len(p.holds) > 0 {
		return holds(body, p.holds)
	}
	return bytes.Equal(bytes.TrimRight(body, "\r\n"), p.text)
}

// holds reports whether body contains what, ignoring blanks in body. It allocates nothing.
func holds(body, what []byte) bool {
	for start := range body {
		at := 0
		for _, c := range body[start:] {
			if at == len(what) {
				break
			}
			if c == what[at] {
				at++
			} else if at == 0 || c != ' ' && c != '\n' {
				at = -1
				break
			}
		}
		if at == len(what) {
			return true
		}
	}
	return false
}
