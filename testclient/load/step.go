package load

import (
	"bytes"
	"net/url"
	"strings"
)

// Step is one request of a cycle, a GET, and the answer that it must get.
type Step struct {
	// Name is what reports call it.
	Name string
	// Target is the path and query. Number stands in it for the digits of the cycle's recipient.
	Target string
	// Header is lines such as "access_key: secret", beside Host.
	Header []string
	// Text is the whole answer, with status 200. A line end behind it is not looked at: that is
	// a matter of the server's profile.
	Text string
}

// Number is the place of the recipient's digits in a Step's Target.
const Number = "{number}"

// numbers is how many recipients there are: 919, as Indian mobile numbers begin, and any nine
// digits.
const numbers = 1_000_000_000

// digits is how long a number is.
const digits = len("919000000000")

// writeNumber writes the number at a place of the sequence over the first bytes of b.
func writeNumber(b []byte, place int) {
	b = b[:digits]
	copy(b, "919")
	for i := digits - 1; i >= 3; i-- {
		b[i] = '0' + byte(place%10)
		place /= 10
	}
}

// Servlets is a server that speaks the OTP servlets' protocol, and an account of it. The server
// must use one code for every challenge.
type Servlets struct {
	// Path is what stands before the names of the servlets, such as /otpauthapi.
	Path string
	// AccessKey is the account's.
	AccessKey string
	// OTP is the code, encrypted with the account's key as the protocol wants it.
	OTP string
	// IPAddress is the end user's address that every request states.
	IPAddress string
}

// Cycle is generate and validate, each to be answered as in the protocol's article.
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

// Bare is the same requests to a server that answers all of them with text, which shows what
// the transport alone costs.
func (s Servlets) Bare(text string) []Step {
	steps := s.Cycle()
	for i := range steps {
		steps[i].Text = text
	}
	return steps
}

// preparedStep is a step whose request is laid out but for the number.
type preparedStep struct {
	name    string
	request []byte
	numbers []int // where in request a number goes
	text    []byte
}

func (s Step) prepare(host string) preparedStep {
	const someNumber = "919000000000"
	var request strings.Builder
	request.WriteString("GET ")
	p := preparedStep{name: s.Name, text: []byte(s.Text)}
	for i, part := range strings.Split(s.Target, Number) {
		if i > 0 {
			p.numbers = append(p.numbers, request.Len())
			request.WriteString(someNumber)
		}
		request.WriteString(part)
	}
	request.WriteString(" HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, line := range s.Header {
		request.WriteString(line + "\r\n")
	}
	request.WriteString("\r\n")
	p.request = []byte(request.String())
	return p
}

// own is a copy whose request one client may write numbers into.
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

// answeredBy tells whether body is the text that the step wants.
func (p *preparedStep) answeredBy(body []byte) bool {
	return bytes.Equal(bytes.TrimRight(body, "\r\n"), p.text)
}
