package conform

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reference is a second server, written from the protocol only: it shares nothing with the product, nor with the
// evaluation of the cases. Every case passes against it. With a flaw it is a mutant, wrong in exactly one behaviour;
// each place that a flaw changes calls has.
//
// It has the servlets and as much of the sandbox as the cases need. One mutex is its database.
type reference struct {
	mu       sync.Mutex
	flaw     string
	accounts map[string]*refAccount
	keys     map[string]refKey
	faults   []refFault
	v1       refV1
	staff    refStaff
	record   refRecord
}

type refKey struct {
	account     *refAccount
	usable      bool
	why         string // why it cannot be used: disabled, expired or a forbidden network
	environment string // empty for the usual one
	permissions []string
}

// refAccount is the account's row, under the names of its columns, and its state.
type refAccount struct {
	Address          string            `json:"esme_address"`
	Enabled          bool              `json:"enabled"`
	OTPEnabled       bool              `json:"otp_enabled"`
	Profile          Profile           `json:"message_profile"`
	Overrides        map[string]string `json:"message_overrides"`
	Strict           bool              `json:"strict_http"`
	Length           int               `json:"otp_length"`
	TTL              int               `json:"otp_ttl_seconds"`
	MaxAttempts      int               `json:"max_attempts"`
	MaxRegenerations int               `json:"max_regenerations"`
	KeyOnIP          bool              `json:"key_on_ip"`
	Countries        []string          `json:"countries"`
	SMS              bool              `json:"sms_enabled"`
	Email            bool              `json:"email_enabled"`
	Plain            bool              `json:"plain_validation_enabled"`
	ServletTypes     []string          `json:"servlet_types"`
	Cipher           string            `json:"otp_cipher"`
	Encoding         string            `json:"otp_encoding"`
	CipherKey        string            `json:"cipher_key"`
	CipherIV         string            `json:"cipher_iv"`
	DepartmentMode   string            `json:"department_mode"`
	Departments      []string          `json:"departments"`
	PerMinute        int               `json:"sends_per_minute"`
	PerHour          int               `json:"sends_per_hour"`
	PerDay           int               `json:"sends_per_day"`
	PerKey           int               `json:"requests_per_minute"`
	Upstream         string            `json:"upstream_url"`
	Mode             string            `json:"bridge_mode"`
	Burst            int               `json:"burst"`
	AccessKeys       []struct {
		Key       string     `json:"key"`
		Enabled   *bool      `json:"enabled"`
		ExpiresAt *time.Time `json:"expires_at"`
		Networks  []string   `json:"allowed_ips"`
	} `json:"access_keys"`

	offset     time.Duration
	recipients map[string]*refRecipient
	messages   []refMessage
	challenges map[string]*refChallenge // by id
	signing    string
}

// refAnswers holds the text of each outcome and its status for an account with strict_http.
var refAnswers = map[string]struct {
	text   string
	status int
}{
	"generated": {"generated", 200}, "verified": {"verified", 200}, "feature off": {"feature_off", 403},
	"invalid": {"invalid", 400}, "no department": {"", 400}, "wrong": {"wrong", 400},
	"nothing": {"error", 404}, "expired": {"expired", 410}, "used": {"expired", 410},
	"exhausted": {"exhausted", 429}, "locked": {"exhausted", 429}, "regenerations": {"regenerations", 429},
	"over limit": {"error", 429}, "undelivered": {"undelivered", 502}, "fault": {"error", 500},
}

func refTexts(p Profile) map[string]string {
	texts := map[string]string{
		"generated":     "OTP Generated Successfully",
		"unauthorised":  "UNAUTHERISED USER",
		"feature_off":   "The feature is not enabled",
		"invalid":       "Invalid Parameters",
		"undelivered":   "SMSEMAILFAIL",
		"error":         "ERROR",
		"verified":      "Verified successfully",
		"expired":       "OTPEXPIRED",
		"wrong":         "Wrong PIN. No of Retries remaining #{n}",
		"exhausted":     "Max no of tries for this pin been reached. Please generate other",
		"regenerations": "Max no of tries to regeneration of pin has been reached. Please generate other",
	}
	if p == Live {
		texts["wrong"] = "Wrong PIN . No of Retries remaining # {n}"
		texts["regenerations"] = "MAXREGEN"
	}
	return texts
}

func newReference(flaw string) *reference {
	return &reference{flaw: flaw, accounts: map[string]*refAccount{}, keys: map[string]refKey{}, v1: newRefV1(),
		staff:  newRefStaff(),
		record: newRefRecord()}
}

// has reports whether the server has this flaw. The mutants are all flaws named in calls of it.
func (f *reference) has(flaw string) bool { return f.flaw == flaw }

func (f *reference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/sandbox/") {
		f.sandbox(w, r, body)
		return
	}
	if f.describe(w, r) {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		f.serveAPI(w, r, body)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasPrefix(r.URL.Path, "/.well-known/") {
		f.serveV1(w, r, body)
		return
	}
	name, _, parameter := strings.Cut(r.URL.Path, ";")
	if parameter && f.has("request: a path parameter is not found") {
		name = r.URL.Path
	}
	if !f.has("request: the servlet's name counts in lower case only") {
		name = strings.ToLower(name)
	}
	servlet, ok := strings.CutPrefix(name, "/otpauthapi/")
	servlets := []string{"otpgenservlet", "otpvalidationservlet", "otpregenservlet", "plainotpvalidationservlet"}
	if !ok || !slices.Contains(servlets, servlet) && !f.has("request: an unknown servlet answers") {
		http.NotFound(w, r)
		return
	}
	allowed := r.Method == "GET" || r.Method == "POST" ||
		r.Method == "HEAD" && f.has("request: HEAD executes") || r.Method == "PUT" && f.has("request: PUT is accepted")
	if r.Method == "POST" && f.has("request: POST is refused") {
		allowed = false
	}
	if account := f.anyForwarded(); !allowed && account != nil && f.has("upstream: HEAD is passed on") {
		f.forward(w, r, string(body), account)
	}
	if !allowed {
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	key, known := f.authenticate(r)
	account := key.account
	if !known {
		if account = f.anyForwarded(); account != nil && f.has("upstream: a call with an unknown key is passed on") {
			f.forward(w, r, string(body), account)
			return
		}
		f.unauthorised(w, r, key.account)
		return
	}
	if account != nil && account.Mode == "forward" {
		f.forward(w, r, string(body), account)
		return
	}
	outcome, left := f.serve(servlet, key, r, string(body))
	f.answer(w, servlet, account, outcome, left)
}

// header returns the values of a header, with its name in any letter case.
func (f *reference) header(r *http.Request, name string) []string {
	var given []string
	for spelt, values := range r.Header {
		lower := spelt == name || !f.has("accounts: the names of headers count in lower case only")
		if strings.EqualFold(spelt, name) && lower {
			given = append(given, values...)
		}
	}
	return given
}

// authenticate reads the key from the header only. It returns the account of an unusable key too, for the mutants that
// treat it specially.
func (f *reference) authenticate(r *http.Request) (refKey, bool) {
	var keys []string
	if f.has("accounts: access-key is taken for access_key") {
		keys = f.header(r, "access-key")
	}
	keys = append(keys, f.header(r, "access_key")...)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if key := r.URL.Query().Get("access_key"); key != "" && f.has("accounts: the key is taken from the query") {
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > 1 && !f.has("accounts: of two keys one is taken") {
		return refKey{}, false
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "otpb_") && f.has("parity: API keys are refused at the servlets") {
			break
		}
		if found, ok := f.keys[key]; ok {
			enabled := found.account.Enabled || f.has("accounts: a disabled account is served")
			return found, enabled && (found.usable || f.has("accounts: a disabled or expired key is served"))
		}
	}
	return refKey{}, f.has("generate: an unknown key reads ERROR")
}

func (f *reference) unauthorised(w http.ResponseWriter, r *http.Request, account *refAccount) {
	text := refTexts(Documented)["unauthorised"] // the process's profile, not the account's
	status := http.StatusOK
	switch {
	case f.has("accounts: the key's text is spelt right"):
		text = "UNAUTHORISED USER"
	case f.has("request: the key's status is 401"):
		status = http.StatusUnauthorized
	case len(f.header(r, "access_key")) == 0 && f.has("accounts: a missing key has a text of its own"):
		text = "Invalid Parameters"
	case account != nil && account.Profile == Live && f.has("accounts: a disabled key answers in its account's profile"):
		text += "\r\n"
	case account != nil && account.Overrides["unauthorised"] != "" && f.has("accounts: the key's text is overridden"):
		text = account.Overrides["unauthorised"]
	case strings.Contains(r.URL.Path, "validation") && f.has("accounts: validation refuses a key as a wrong code"):
		text = "ERROR"
	case strings.Contains(r.URL.Path, "regen") && f.has("regenerate: regenerate says ERROR to a bad key"):
		text = "ERROR"
	}
	f.write(w, status, text)
}

func (f *reference) answer(w http.ResponseWriter, servlet string, a *refAccount, outcome string, left int) {
	kind := refAnswers[outcome]
	status, text := http.StatusOK, kind.text
	if a != nil && a.Strict || f.has("request: every refusal has a status") {
		status = kind.status
	}
	if a == nil {
		f.write(w, http.StatusOK, "ERROR")
		return
	}
	status = f.flawedStatus(outcome, status, a.Strict)
	sends := servlet == "otpgenservlet" || servlet == "otpregenservlet"
	if sends && outcome == "locked" && !f.has("limits: generate says the max text to a locked recipient") {
		text = "error"
	}
	if outcome == "no department" && sends && !f.has("accounts: generate says nothing to a missing department") {
		text = "invalid"
	}
	if servlet == "otpregenservlet" && text != "generated" && text != "regenerations" && !f.fifthText(outcome) {
		text = "error"
	}
	if text == "" {
		line := ""
		if a.Profile == Live && f.has("accounts: the empty answer has a line end") {
			line = "\r\n"
		}
		if f.has("accounts: a missing department on validation is Invalid Parameters") {
			line = refTexts(a.Profile)["invalid"]
		}
		f.write(w, status, line)
		return
	}
	texts := refTexts(a.Profile)
	f.flawedTexts(texts, a.Profile)
	if !f.has("answers: overrides are ignored") {
		maps.Copy(texts, a.Overrides)
	}
	line := strings.ReplaceAll(texts[text], "{n}", strconv.Itoa(left))
	end := ""
	if a.Profile == Live {
		end = "\r\n"
	}
	switch {
	case f.has("generate: no line end in live"), a.Overrides[text] != "" && f.has("answers: an override has no line end"):
		end = ""
	case a.Profile == Live && f.has("generate: a line feed alone in live"):
		end = "\n"
	case a.Profile == Documented && f.has("generate: a line end in documented"):
		end = "\r\n"
	}
	f.write(w, status, line+end)
}

func (f *reference) write(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if f.has("request: answers are JSON") {
		w.Header().Set("Content-Type", "application/json")
	}
	if !f.has("request: answers may be cached") {
		w.Header().Set("Cache-Control", "no-store")
	}
	if !f.has("request: no Content-Length") {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if flusher, ok := w.(http.Flusher); ok && f.has("request: no Content-Length") {
		flusher.Flush()
	}
	_, _ = io.WriteString(w, body)
}

// serve checks in order: the feature, the parameters, the department, then the engine.
func (f *reference) serve(servlet string, key refKey, r *http.Request, body string) (outcome string, left int) {
	a := key.account
	if a == nil {
		return "fault", 0
	}
	if struck := f.strike("servlet", a); struck != "" {
		switch {
		case servlet == "otpgenservlet" && f.has("generate: a fault shows itself"),
			servlet == "otpregenservlet" && f.has("regenerate: a fault is a success"):
			return "generated", 0
		case servlet == "otpvalidationservlet" && f.has("validate: a fault is a wrong code"):
			return "wrong", 2
		}
		return "fault", 0
	}
	p, wellFormed := f.parameters(r, body)
	if f.has("accounts: parameters are checked before the feature") && (!wellFormed || p.ip == "") {
		return "invalid", 0
	}
	plain := servlet == "plainotpvalidationservlet"
	if !a.OTPEnabled && !f.has("accounts: the feature flag is ignored") {
		if servlet != "otpgenservlet" && f.has("accounts: only generate knows the feature flag") {
			return "nothing", 0
		}
		return "feature off", 0
	}
	if plain && !a.Plain && !f.has("accounts: the plain servlet is always on") {
		return "feature off", 0
	}
	p.validation = plain || servlet == "otpvalidationservlet"
	missing := f.departmentMissing(a, r, p.validation)
	if missing && p.validation && f.has("accounts: the department is checked before the parameters") {
		return "no department", 0
	}
	number, valid := f.number(a, p.mobile)
	subject, opaque := f.subject(p.ip)
	if p.ip == "" && !a.KeyOnIP && f.has("accounts: without key_on_ip an ipaddress is optional") {
		opaque = true
	}
	if p.mobile == "" && f.has("request: a missing mobile reads ERROR") {
		return "fault", 0
	}
	if p.validation && !valid && p.mobile != "" && f.has("validate: validation takes any number") {
		return "nothing", 0
	}
	if !wellFormed || !valid || !opaque || !f.emailOK(a, servlet, p) || p.validation && strings.Trim(p.otp, " ") == "" &&
		!f.has("accounts: an empty otp is a wrong code") {
		return "invalid", 0
	}
	if missing {
		return "no department", 0
	}
	if a.Email && p.email == "" && f.has("accounts: both channels need an email") {
		return "invalid", 0
	}
	always := f.has("accounts: key_on_ip cannot be switched off") || f.has("parity: the servlets always key on ip")
	if !a.KeyOnIP && !always || f.has("accounts: one code for all ips") ||
		f.has("parity: the servlets have one code for all ips") {
		subject = ""
	}
	c := refCall{account: a, number: number, recipient: number, slot: subject, email: strings.ToLower(p.email),
		now: time.Now().Add(a.offset)}
	c.recipient += f.environment(key)
	if f.has("validate: the code belongs to the ip alone") || f.has("parity: the servlets' codes belong to the ip alone") {
		c.recipient = "everybody"
	}
	switch {
	case servlet == "otpgenservlet":
		return f.generate(c, p.email), 0
	case servlet == "otpregenservlet":
		return f.regenerate(c, p.email), 0
	case plain:
		if f.has("accounts: the plain servlet decrypts") && len(p.otp) == 32 {
			return f.validate(c, f.decrypt(a, p.otp))
		}
		return f.validate(c, f.digits(p.otp))
	case servlet == "otpvalidationservlet":
		return f.validate(c, f.decrypt(a, p.otp))
	}
	return "nothing", 0
}
