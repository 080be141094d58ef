package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// trial is a call on the page "Try it", and its result.
type trial struct {
	Call       string // a name in tried
	Account    string
	Key        string // an access key, or an API key
	Mobile     string
	Email      string
	IP         string
	Code       string
	Department string
	Accounts   []string
	Demo       map[string]string // the published access keys, by demo account

	// The result.
	Curl    string
	Outcome outcome
	Status  int
	Answer  string
}

// tried has the calls that the page can make.
var tried = map[string]struct{ method, path string }{
	"generate":   {http.MethodGet, "otpgenservlet"},
	"validate":   {http.MethodGet, "otpvalidationservlet"},
	"regenerate": {http.MethodGet, "otpregenservlet"},
	"send":       {http.MethodPost, "/v1/send"},
	"verify":     {http.MethodPost, "/v1/verify"},
}

func (x *exchange) tryForm() error {
	demo := x.door.Manage.Sandbox.DemoCredentials()[0]
	t := trial{Call: "generate", Account: demo.Address, Key: demo.AccessKey, Mobile: "919876543210", IP: "203.0.113.7"}
	if account := x.query("account"); account != "" && account != t.Account {
		t.Account, t.Key = account, ""
	}
	if call := x.query("call"); tried[call].path != "" {
		t.Call = call
	}
	if to := x.query("to"); to != "" {
		t.Mobile = strings.TrimPrefix(to, "+")
	}
	t.Code = x.query("code")
	return x.showTrial(t, nil)
}

func (x *exchange) showTrial(t trial, refused error) (err error) {
	if t.Accounts, err = x.addresses(); err != nil {
		return err
	}
	t.Demo = map[string]string{}
	for _, c := range x.door.Manage.Sandbox.DemoCredentials() {
		t.Demo[c.Address] = c.AccessKey
	}
	return x.page(refused, "try", "Try it", t)
}

// try makes the call on this server, as a client would.
func (x *exchange) try() error {
	t := trial{
		Call: x.form("call"), Account: x.form("account"), Key: strings.TrimSpace(x.form("key")),
		Mobile: strings.TrimSpace(x.form("mobile")), Email: strings.TrimSpace(x.form("email")),
		IP: strings.TrimSpace(x.form("ipaddress")), Code: strings.TrimSpace(x.form("code")),
		Department: strings.TrimSpace(x.form("department")),
	}
	made, ok := tried[t.Call]
	if !ok {
		return x.showTrial(t, otp.RefuseField("call", "must be one of generate, validate, regenerate, send, verify"))
	}
	request, err := x.trialRequest(&t, made.method, made.path)
	if err != nil {
		if kind := otp.KindOf(err); kind == otp.Invalid || kind == otp.NotFound || kind == otp.BrokenAccount {
			return x.showTrial(t, err)
		}
		return err
	}
	answer := &recording{header: http.Header{}}
	x.door.Server.ServeHTTP(answer, request)
	t.Status, t.Answer = answer.status, indented(answer.body.Bytes())
	if call, found := x.door.Requests.Find(answer.header.Get("X-Request-Id")); found {
		t.Outcome = outcomeOf(call)
	}
	return x.showTrial(t, nil)
}

// indented returns an answer, indented if it is JSON.
func indented(answer []byte) string {
	var text bytes.Buffer
	if err := json.Indent(&text, answer, "", "  "); err != nil {
		return string(answer)
	}
	return text.String()
}

// trialRequest returns the request, and sets the curl command that makes the same request.
func (x *exchange) trialRequest(t *trial, method, path string) (request *http.Request, err error) {
	if strings.HasPrefix(path, "/v1/") {
		request, err = x.trialOfV1(t, method, path)
	} else {
		request, err = x.trialOfServlet(t, method, path)
	}
	if err != nil {
		return nil, err
	}
	request.RemoteAddr, request.RequestURI = x.gin.Request.RemoteAddr, request.URL.RequestURI()
	request.Header.Set("User-Agent", "OTPBridge console")
	if request.Body == nil {
		request.Body = http.NoBody
	}
	return request, nil
}

func (x *exchange) trialOfV1(t *trial, method, path string) (*http.Request, error) {
	body := map[string]string{"to": t.Mobile}
	if t.Mobile != "" && strings.Trim(t.Mobile, "0123456789") == "" { // the servlets take numbers without the plus
		body["to"] = "+" + t.Mobile
	}
	medium := "sms"
	if t.Mobile == "" && t.Email != "" {
		body["to"], medium = t.Email, "email"
	}
	if t.Call == "send" {
		body["method"], body["type"] = medium, "verification"
	}
	if t.IP != "" {
		body["ip"] = t.IP
	}
	if t.Call == "verify" {
		body["code"] = t.Code
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	address := x.base() + path
	t.Curl = "curl -sS -H " + web.ShellWord("X-API-Key: "+t.Key) + " -H 'Content-Type: application/json' \\\n  " +
		web.ShellWord(address) + " \\\n  -d " + web.ShellWord(string(text))
	request, err := http.NewRequestWithContext(x.ctx, method, address, bytes.NewReader(text))
	if err != nil {
		return nil, otp.RefuseField("key", "cannot be sent in a header")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", t.Key)
	return request, nil
}

func (x *exchange) trialOfServlet(t *trial, method, path string) (*http.Request, error) {
	query := url.Values{"ipaddress": {t.IP}, "mobile": {t.Mobile}}
	if t.Email != "" && t.Call != "validate" {
		query.Set("email", t.Email)
	}
	if t.Call == "validate" {
		text, err := x.door.Manage.Sandbox.Encrypt(x.ctx, t.Account, t.Code)
		if err != nil {
			return nil, err
		}
		query.Set("otp", text)
	}
	address := x.base() + x.door.ContextPath + "/" + path + "?" + query.Encode()
	department := ""
	if t.Department != "" {
		department = " -H " + web.ShellWord("Department-Id: "+t.Department)
	}
	t.Curl = "curl -sS -H " + web.ShellWord("access_key: "+t.Key) + department + " \\\n  " + web.ShellWord(address)
	request, err := http.NewRequestWithContext(x.ctx, method, address, nil)
	if err != nil {
		return nil, otp.RefuseField("mobile", "cannot be sent in an address")
	}
	request.Header.Set("access_key", t.Key)
	if t.Department != "" {
		request.Header.Set("Department-Id", t.Department)
	}
	return request, nil
}

// recording is a ResponseWriter that keeps the answer.
type recording struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recording) Header() http.Header { return r.header }

func (r *recording) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recording) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}
