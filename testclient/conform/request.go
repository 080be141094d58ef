package conform

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// The servlets.
const (
	genServlet      = "otpgenservlet"
	validateServlet = "otpvalidationservlet"
	regenServlet    = "otpregenservlet"
	plainServlet    = "plainotpvalidationservlet"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// Request is one request as it is sent. Only what HTTP requires is added, and the story's access key if Header has
// none in any letter case.
type Request struct {
	Method string // empty means GET
	// Path is the part after the context path, such as otpgenservlet, or the whole path if it begins with a slash.
	Path   string
	Query  string      // sent unchanged, escaped or not
	Header http.Header // names are sent in this letter case
	Body   string
	Type   string // Content-Type of Body, empty for none
}

// Answer is a response.
type Answer struct {
	Status int
	Header http.Header
	Body   string

	steps int // of the story when it came
}

// Text returns the body without the line end.
func (a Answer) Text() string { return strings.TrimRight(a.Body, "\r\n") }

// call is a request in preparation: the parts that the servlets' callers vary.
type call struct {
	servlet  string
	method   string
	mobile   string
	ip       string
	email    string
	otp      string // escaped
	hasEmail bool
	hasOTP   bool
	key      string
	noKey    bool
	headers  http.Header
	form     bool
	rawQuery *string
}

// Option changes one call.
type Option func(*call)

// Mobile sends another number, in any spelling.
func Mobile(m string) Option { return func(c *call) { c.mobile = m } }

// IP sends another ipaddress.
func IP(ip string) Option { return func(c *call) { c.ip = ip } }

// Email sends an e-mail address.
func Email(e string) Option { return func(c *call) { c.email, c.hasEmail = e, true } }

// NoEmail sends no e-mail address, even if the account's settings would make the story send its own.
func NoEmail(c *call) { c.hasEmail = false }

// Key sends another access key.
func Key(k string) Option { return func(c *call) { c.key = k } }

// NoKey sends no access_key header.
func NoKey(c *call) { c.noKey = true }

// Header adds a header. Its name is sent in the given letter case.
func Header(name, value string) Option {
	return func(c *call) {
		if c.headers == nil {
			c.headers = make(http.Header)
		}
		c.headers[name] = append(c.headers[name], value)
	}
}

// Department adds a department-id header.
func Department(d string) Option { return Header("department-id", d) }

// Method uses another method than GET. Parameters stay in the query; see Form.
func Method(m string) Option { return func(c *call) { c.method = m } }

// Form sends the parameters as a form in the body, by POST unless Method says otherwise.
func Form() Option { return func(c *call) { c.form = true } }

// RawQuery sends q unchanged as the query, instead of the parameters.
func RawQuery(q string) Option { return func(c *call) { c.rawQuery = &q } }

// Path calls another servlet name, or a whole path if it begins with a slash.
func Path(p string) Option { return func(c *call) { c.servlet = p } }

// request returns the call as it is sent.
func (c call) request() Request {
	r := Request{Method: c.method, Path: c.servlet, Header: make(http.Header)}
	maps.Copy(r.Header, c.headers)
	if !c.noKey {
		r.Header["access_key"] = append(r.Header["access_key"], c.key)
	}
	switch {
	case c.form:
		r.Body, r.Type = c.parameters(), formType
		if r.Method == "" {
			r.Method = http.MethodPost
		}
		if c.rawQuery != nil {
			r.Query = *c.rawQuery
		}
	case c.rawQuery != nil:
		r.Query = *c.rawQuery
	default:
		r.Query = c.parameters()
	}
	return r
}

// parameters joins the parameters in the article's order, which url.Values would not keep.
func (c call) parameters() string {
	text := "ipaddress=" + url.QueryEscape(c.ip) + "&mobile=" + url.QueryEscape(c.mobile)
	if c.hasEmail {
		text += "&email=" + url.QueryEscape(c.email)
	}
	if c.hasOTP {
		text += "&otp=" + c.otp
	}
	return text
}

func (r Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}
