package conform

import (
	"net/http"
	"strconv"
	"strings"
)

// servletRequest returns the cases about the form of requests and answers. None is about codes.

func servletRequest() []Case {
	return append(append(requestTransport(), requestParameters()...), requestValues()...)
}

// query returns the article's query for the story's number and ipaddress.
func (s *Story) query() string { return "ipaddress=" + s.IP() + "&mobile=" + s.Mobile() }

// expectRefused requires Invalid Parameters for each query of generate.
func (s *Story) expectRefused(queries ...string) {
	for _, query := range queries {
		s.Expect(s.Generate(RawQuery(query)), Invalid)
	}
}

func requestTransport() []Case {
	return []Case{
		{
			Requirement: "A POST with an empty body and everything in the query does what a GET does.",
			Source:      Client,
			Run: func(s *Story) {
				s.Expect(s.Generate(Method(http.MethodPost)), Generated)
				s.Expect(s.Validate(s.Code(), Method(http.MethodPost)), Verified)
			},
		},
		{
			Requirement: "Parameters may come in the body of a form.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Form()), Generated)
				s.Expect(s.Validate(s.Code(), Form()), Verified)
			},
		},
		{
			Requirement: "Query and form complete each other, parameter by parameter.",
			Run: func(s *Story) {
				s.Expect(s.Send(Request{
					Method: http.MethodPost, Path: genServlet, Query: "ipaddress=" + s.IP(),
					Body: "mobile=" + s.Mobile(), Type: formType,
				}), Generated)
			},
		},
		{
			Requirement: "A body that is no form is ignored, whatever it says.",
			Run: func(s *Story) {
				r := Request{Method: http.MethodPost, Path: genServlet, Query: s.query(), Body: s.query(), Type: "text/plain"}
				s.Expect(s.Send(r), Generated)
				r.Query = ""
				s.Expect(s.Send(r), Invalid)
			},
		},
		{
			Requirement: "HEAD is answered 405 and executes nothing.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.Generate(Method(http.MethodHead)).ExpectStatus(http.StatusMethodNotAllowed)
				s.expectSent(0)
			},
		},
		{
			Requirement: "Every other method is answered 405 with Allow, and executes nothing.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions, "PURGE"} {
					a := s.Generate(Method(method))
					a.ExpectStatus(http.StatusMethodNotAllowed)
					allow := a.Header.Get("Allow")
					s.Require(allow == "GET, POST", "Allow: GET, POST", "Allow: "+allow)
				}
				s.expectSent(0)
			},
		},
		{
			Requirement: "The name of a servlet counts in any letter case.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Path("OTPGenServlet")), Generated)
				s.Expect(s.Validate(s.Code(), Path("OTPVALIDATIONSERVLET")), Verified)
			},
		},
		{
			Requirement: "A path parameter such as ;jsessionid=… is ignored.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Path(genServlet+";jsessionid=0A1B2C3D4E5F.node1")), Generated)
			},
		},
		{
			Requirement: "What is no servlet is not found.",
			Run: func(s *Story) {
				s.Generate(Path("otpgenservlets")).ExpectStatus(http.StatusNotFound)
			},
		},
		{
			Requirement: "Every refusal of the flow has status 200, a refused key included.",
			Source:      Client,
			Run: func(s *Story) {
				for _, a := range []Answer{
					s.Generate(Key("no such key")), s.Generate(RawQuery("")), s.Regenerate(),
					s.Validate("123456"), s.PlainValidate("123456"),
				} {
					a.ExpectStatus(http.StatusOK)
				}
			},
		},
		{
			Requirement: "An answer is plain text in UTF-8.",
			Run: func(s *Story) {
				is := strings.ToLower(s.Generate().Header.Get("Content-Type"))
				s.Require(strings.HasPrefix(is, "text/plain"), "Content-Type: text/plain; charset=utf-8", "Content-Type: "+is)
			},
		},
		{
			Requirement: "No answer may be stored by a cache.",
			Run: func(s *Story) {
				is := s.Generate().Header.Get("Cache-Control")
				s.Require(is == "no-store", "Cache-Control: no-store", "Cache-Control: "+is)
			},
		},
		{
			Requirement: "An answer says how long it is.",
			Run: func(s *Story) {
				a := s.Generate()
				is := a.Header.Get("Content-Length")
				s.Require(is == strconv.Itoa(len(a.Body)), "Content-Length: "+strconv.Itoa(len(a.Body)), "Content-Length: "+is)
			},
		},
	}
}

func requestParameters() []Case {
	return []Case{
		{
			Requirement: "The order of parameters means nothing.",
			Source:      Article,
			Run: func(s *Story) {
				s.Expect(s.Generate(RawQuery("mobile="+s.Mobile()+"&ipaddress="+s.IP())), Generated)
			},
		},
		{
			Requirement: "The names of parameters count in lower case only.",
			Source:      Article,
			Run: func(s *Story) {
				s.expectRefused("IPADDRESS="+s.IP()+"&mobile="+s.Mobile(), "ipaddress="+s.IP()+"&Mobile="+s.Mobile())
			},
		},
		{
			Requirement: "A stray blank before a name, as the article prints it after the question mark, is skipped, as %20 " +
				"and as +.",
			Run: func(s *Story) {
				s.Expect(s.Generate(RawQuery("%20"+s.query())), Generated)
				s.Expect(s.Generate(RawQuery("+"+s.query())), Generated)
			},
		},
		{
			Requirement: "Blanks around a value are skipped.",
			Run: func(s *Story) {
				s.Expect(s.Generate(RawQuery("ipaddress=%20"+s.IP()+"+&mobile="+s.Mobile()+"%20")), Generated)
				s.Expect(s.Validate(s.Code()), Verified)
			},
		},
		{
			Requirement: "A known parameter that comes twice is refused, even with one value, and nothing is sent.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.expectRefused(
					s.query()+"&mobile="+s.Mobile(), s.query()+"&mobile="+emirati,
					s.query()+"&ipaddress="+s.IP(), s.query()+"&email=&email=",
				)
				s.expectSent(0)
			},
		},
		{
			Requirement: "A known parameter that comes once in the query and once in the form is refused.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Form(), RawQuery("mobile="+s.Mobile())), Invalid)
				s.expectSent(0)
			},
		},
		{
			Requirement: "An otp that comes twice is refused and costs no attempt.",
			Run: func(s *Story) {
				code := s.generated()
				twice := s.Encrypt(code, Hex) + "&otp=" + s.Encrypt(rotated(code), Hex)
				s.Expect(s.ValidateRaw(twice), Invalid)
				s.ExpectWrong(s.Validate(rotated(code)), 2)
			},
		},
		{
			Requirement: "Parameters that the servlets do not know are ignored, repeated or not.",
			Run: func(s *Story) {
				s.Expect(s.Generate(RawQuery(s.query()+"&x=1&x=2&MOBILE=3&access_key=4")), Generated)
			},
		},
		{
			Requirement: "A percent sign without two hex digits is refused wherever it stands, and nothing is sent.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.expectRefused(s.query()+"%", s.query()+"&x=%zz", s.query()+"&%z=x")
				s.expectSent(0)
			},
		},
		{
			Requirement: "A semicolon is refused wherever it stands; escaped it is a letter.",
			Run: func(s *Story) {
				s.expectRefused("ipaddress="+s.IP()+";mobile="+s.Mobile(), s.query()+"&x=a;b")
				s.Expect(s.Generate(RawQuery(s.query()+"&x=a%3Bb")), Generated)
			},
		},
		{
			Requirement: "A request without ipaddress, or with a blank one, is refused as Invalid Parameters.",
			Source:      Client,
			Run: func(s *Story) {
				s.expectRefused("mobile="+s.Mobile(), "ipaddress=&mobile="+s.Mobile(), "ipaddress=%20&mobile="+s.Mobile())
			},
		},
		{
			Requirement: "A request without mobile, or with a blank one, is refused as Invalid Parameters.",
			Source:      Client,
			Run: func(s *Story) {
				s.expectRefused("ipaddress="+s.IP(), "ipaddress="+s.IP()+"&mobile=", "ipaddress="+s.IP()+"&mobile=+")
			},
		},
		{
			Requirement: "A key that is refused is told so before the parameters are looked at.",
			Source:      Article,
			Run: func(s *Story) {
				s.Expect(s.Generate(Key("no such key"), RawQuery("x=%zz")), Unauthorised)
			},
		},
	}
}

func requestValues() []Case {
	return []Case{
		{
			Requirement: "A plus or 00 in front of a number, and blanks and dashes within, are one number's spellings.",
			Run: func(s *Story) {
				code := s.generated()
				m := s.Mobile()
				for i, spelling := range []string{"+" + m, "00" + m, m[:2] + " " + m[2:7] + "-" + m[7:]} {
					s.ExpectWrong(s.Validate(rotated(code), Mobile(spelling)), 2-i)
				}
			},
		},
		{
			Requirement: "A number goes where its own country code says, whatever countries the account serves.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.Expect(s.Generate(Mobile(emirati)), Generated)
				s.expectRecipients("+" + emirati)
			},
		},
		{
			Requirement: "A number without its country code is refused: no country is assumed.",
			Run:         func(s *Story) { s.Expect(s.Generate(Mobile(s.Mobile()[2:])), Invalid) },
		},
		{
			Requirement: "A number of a country that the account does not serve is refused.",
			Run:         func(s *Story) { s.Expect(s.Generate(Mobile("14155552671")), Invalid) },
		},
		{
			Requirement: "A number that is too short or too long for its country is refused.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Mobile(s.Mobile()[:7])), Invalid)
				s.Expect(s.Generate(Mobile(s.Mobile()+"12345")), Invalid)
			},
		},
		{
			Requirement: "A number with a letter in it, or with digits that are not ASCII, is refused.",
			Run: func(s *Story) {
				s.Expect(s.Generate(Mobile(s.Mobile()+"a")), Invalid)
				s.Expect(s.Generate(Mobile("９１"+s.Mobile()[2:])), Invalid)
			},
		},
		{
			Requirement: "A toll-free number is refused.",
			Run:         func(s *Story) { s.Expect(s.Generate(Mobile("911800123456")), Invalid) },
		},
		{
			Requirement: "An ipaddress has at most 64 characters.",
			Run: func(s *Story) {
				longest := strings.Repeat("x", 64)
				s.Expect(s.Generate(IP(longest+"x")), Invalid)
				s.Expect(s.Generate(IP(longest)), Generated)
			},
		},
		{
			Requirement: "An ipaddress is of printable ASCII.",
			Run: func(s *Story) {
				s.Expect(s.Generate(IP("café")), Invalid)
				s.Expect(s.Generate(IP("10.20\n30.40")), Invalid)
			},
		},
		{
			Requirement: "An ipaddress need not be an address; it counts letter by letter.",
			Run: func(s *Story) {
				code := s.generated(IP("branch 7/kiosk"))
				s.Expect(s.Validate(code, IP("branch 7/Kiosk")), ErrorText)
				s.Expect(s.Validate(code, IP("branch 7/kiosk")), Verified)
			},
		},
		{
			Requirement: "An ipaddress that is an address counts in all its spellings, an IPv4-mapped one as IPv4.",
			Run: func(s *Story) {
				code := s.generated(IP("192.0.2.7"))
				s.Expect(s.Validate(code, IP("::ffff:192.0.2.7")), Verified)
				code = s.generated(IP("2001:DB8:0:0:0:0:0:7"))
				s.Expect(s.Validate(code, IP("2001:db8::7")), Verified)
			},
		},
		{
			Requirement: "A malformed email is refused, even where none would be sent; an empty one is none.",
			Run: func(s *Story) {
				for _, malformed := range []string{
					"user", "User <user@example.com>", "user@example.com,other@example.com", "user@example.com\r\nBcc: " +
						"other@example.com",
				} {
					s.Expect(s.Generate(Email(malformed)), Invalid)
				}
				s.Expect(s.Generate(Email("")), Generated)
			},
		},
		{
			Requirement: "Validation has no parameter email, and ignores one that is malformed.",
			Run: func(s *Story) {
				s.Expect(s.Validate(s.generated(), Email("user")), Verified)
			},
		},
	}
}
