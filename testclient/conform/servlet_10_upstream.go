package conform

import (
	"net/http"
	"strings"
)

// servletUpstream returns the cases about accounts whose calls are forwarded to an upstream, which is this client.

func servletUpstream() []Case { return append(upstreamCalls(), upstreamAnswers()...) }

func upstreamCalls() []Case {
	return []Case{
		{
			Requirement: "A call that is passed on has the method, the servlet, the query and the body that it came with.",
			Run: func(s *Story) {
				s.connect()
				odd := "%20mobile=" + s.Mobile() + "&ipaddress=" + s.IP() + "&x=%zz;a+b&&q=\"<>|&mobile=1&="
				for _, asked := range []Request{
					{Path: genServlet, Query: odd},
					{Path: "OTPGenServlet;jsessionid=AB%20C", Query: s.query()},
					{Path: validateServlet, Query: "otp=a%2Bb%2F%3D&" + s.query(), Method: http.MethodPost},
					{Path: regenServlet, Body: "ipaddress=" + s.IP() + "&mobile=%2B" + s.Mobile() + "&\xc3\xa9=\xff",
						Type: formType, Method: http.MethodPost},
				} {
					s.Send(asked)
					s.expectPassedOn(asked)
				}
			},
		},
		{
			Requirement: "A call that is passed on has its access_key, department-id, Content-Type and User-Agent, " +
				"repeated values in their order.",
			Run: func(s *Story) {
				s.connect()
				sent := http.Header{"Access_key": {s.Key()}, "Department-Id": {"Sales", "\xfcn\xef", "Claims"},
					"Content-Type": {formType + "; charset=x"}, "User-Agent": {"okhttp/4"}}
				asked := Request{Path: genServlet, Method: http.MethodPost, Body: s.query(), Header: sent}
				s.Send(asked)
				s.expectHeaders(s.expectPassedOn(asked).Header, sent, "Access_key", "Department-Id", "Content-Type",
					"User-Agent")
			},
		},
		{
			Requirement: "HEAD and other methods are answered 405 and are not passed on.",
			Run: func(s *Story) {
				s.connect()
				for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodDelete} {
					s.Generate(Method(method)).ExpectStatus(http.StatusMethodNotAllowed)
				}
				s.expectNothingPassedOn()
			},
		},
		{
			Requirement: "A call whose key is not accepted is not passed on.",
			Run: func(s *Story) {
				s.connect()
				s.Expect(s.Generate(NoKey), Unauthorised)
				s.Expect(s.Generate(Key("no such key")), Unauthorised)
				s.expectNothingPassedOn()
			},
		},
		{
			Requirement: "What the upstream generates is sent by the upstream alone.",
			Needs:       NeedsInbox,
			Run: func(s *Story) {
				s.connect()
				s.ExpectBytes(s.Regenerate(), Generated.In(Documented))
				s.expectSent(0)
			},
		},
	}
}

func upstreamAnswers() []Case {
	return []Case{
		{
			Requirement: "What the upstream says comes back byte for byte with its status and line end, whatever the " +
				"account's profile.",
			Run: func(s *Story) {
				s.connect()
				for _, said := range []Answer{
					{Status: 200, Body: "Verified successfully\r\n"}, {Status: 200, Body: "Verified successfully\n"},
					{Status: 200, Body: "Wrong PIN. No of Retries remaining #2"}, {Status: 400, Body: "Invalid Parameters\r\n"},
					{Status: 200, Body: "Wrong PIN . No of Retries remaining # 12\r\n"}, {Status: 500, Body: "ERROR"},
					{Status: 401, Body: "UNAUTHERISED USER"}, {Status: 429, Body: "MAXREGEN\r\n"},
				} {
					s.upstream.setAnswer(said.Status, said.Body, nil)
					s.expectPassedBack(s.Validate("123456"), said)
				}
			},
		},
		{
			Requirement: "Zero bytes come back from a validation.",
			Run: func(s *Story) {
				s.connect()
				s.upstream.setAnswer(http.StatusOK, "", nil)
				s.expectPassedBack(s.Validate("123456"), Answer{Status: http.StatusOK})
			},
		},
		{
			Requirement: "One short line that is no known text comes back with status 200.",
			Run: func(s *Story) {
				s.connect()
				said := Answer{Status: http.StatusOK, Body: "Please wait for a minute\r\n"}
				s.upstream.setAnswer(said.Status, said.Body, nil)
				s.expectPassedBack(s.Generate(), said)
			},
		},
		{
			Requirement: "Content-Type, Cache-Control and cookies are those of the upstream, cookies in their order.",
			Run: func(s *Story) {
				s.connect()
				said := http.Header{"Content-Type": {"text/html;charset=ISO-8859-1"}, "Cache-Control": {"private, max-age=0"},
					"Set-Cookie": {"JSESSIONID=2; Path=/", "a=1", "JSESSIONID=1"}}
				s.upstream.setAnswer(http.StatusOK, "OTP Generated Successfully", said)
				s.expectHeaders(s.Generate().Header, said, "Content-Type", "Cache-Control", "Set-Cookie")
				s.upstream.setAnswer(http.StatusOK, "OTP Generated Successfully", nil)
				s.expectHeaders(s.Generate().Header, nil, "Content-Type", "Cache-Control", "Set-Cookie")
			},
		},
		{
			Requirement: "What no servlet says is answered ERROR: pages, JSON, several lines, odd bytes, unknown texts " +
				"with another status, and 1 MB.",
			Run: func(s *Story) {
				s.connect()
				for _, said := range []Answer{
					{Status: 200, Body: "<html>gone</html>"}, {Status: 200, Body: `{"ok":true}`}, {Status: 502, Body: "Bad gateway"},
					{Status: 200, Body: "Verified successfully\nERROR\n"}, {Status: 200, Body: "Verified successfully\x00"},
					{Status: 200, Body: "Verified \xff"}, {Status: 302, Body: "Moved", Header: http.Header{"Location": {"/"}}},
					{Status: 500}, {Status: 200, Body: strings.Repeat("Verified successfully ", maxBody/22)},
				} {
					s.upstream.setAnswer(said.Status, said.Body, said.Header)
					a := s.Validate("123456")
					s.Expect(a, ErrorText)
					a.ExpectStatus(http.StatusOK)
				}
			},
		},
		{
			Requirement: "An upstream that breaks off is asked once, and the answer is ERROR.",
			Run: func(s *Story) {
				s.connect()
				s.upstream.breaksOff()
				for _, call := range []func(...Option) Answer{s.Generate, s.Regenerate} {
					s.Expect(call(), ErrorText)
					calls := s.upstream.passedOn()
					s.Require(len(calls) == 1, "1 call of the upstream", plural(len(calls), "call"))
				}
				s.Expect(s.Validate("123456", Method(http.MethodPost)), ErrorText)
			},
		},
	}
}

// expectNothingPassedOn requires that no call reached the upstream.
func (s *Story) expectNothingPassedOn() {
	calls := s.upstream.passedOn()
	s.Require(len(calls) == 0, "no call of the upstream", plural(len(calls), "call"))
}

// expectPassedBack requires exactly the upstream's answer.
func (s *Story) expectPassedBack(a Answer, said Answer) {
	a.require(a.Body == said.Body && a.Status == said.Status,
		"the answer "+visible(said.Body)+" with status "+statusText(said.Status),
		"the answer "+visible(a.Body)+" with status "+statusText(a.Status))
}
