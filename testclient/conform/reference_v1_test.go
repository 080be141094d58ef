package conform

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The reference server's /v1, with the same state as its servlets.

// refV1 is the state of the door itself.
type refV1 struct {
	signer   ed25519.PrivateKey
	asked    map[string][]time.Time // requests, by key
	replays  map[string]refReply    // by credential and Idempotency-Key
	nonces   map[string]bool
	failures int // failed authentications of all callers
}

func newRefV1() refV1 {
	_, signer, _ := ed25519.GenerateKey(rand.Reader)
	return refV1{signer: signer, asked: map[string][]time.Time{}, replays: map[string]refReply{},
		nonces: map[string]bool{}}
}

// refSend is the body of a send.
type refSend struct {
	To       string         `json:"to"`
	Method   string         `json:"method"`
	Type     string         `json:"type"`
	TTL      *int           `json:"ttl"`
	Length   *int           `json:"length"`
	Email    string         `json:"email"`
	IP       string         `json:"ip"`
	Fallback []string       `json:"fallback"`
	Metadata map[string]any `json:"metadata"`
	Binding  any            `json:"binding"`
	binding  string
}

// refReply is an answer before it is written.
type refReply struct {
	status   int
	header   map[string]string
	document map[string]any
	request  string // the request that it answers, for replays
}

func refProblem(status int, code, detail string, pointers ...string) refReply {
	document := map[string]any{
		"type": "https://reference.invalid/" + strings.ToLower(code), "title": http.StatusText(status), "status": status,
		"code": code, "detail": detail, "message": detail,
	}
	var errors []map[string]string
	for _, pointer := range pointers {
		errors = append(errors, map[string]string{"pointer": pointer, "detail": detail})
	}
	if errors != nil {
		document["errors"] = errors
	}
	return refReply{status: status, document: document, header: map[string]string{}}
}

func (f *reference) refInvalid(pointer, detail string) refReply {
	if f.has("v1/common: a problem names no member") {
		return refProblem(400, "INVALID_REQUEST", detail)
	}
	return refProblem(400, "INVALID_REQUEST", detail, pointer)
}

var refRequestID = regexp.MustCompile(`^[A-Za-z0-9._:-]{8,128}$`)

func (f *reference) serveV1(w http.ResponseWriter, r *http.Request, body []byte) {
	header := http.Header{} // a request without a network has names as they were spelt
	for name, values := range r.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header = header
	id := r.Header.Get("X-Request-Id")
	if !refRequestID.MatchString(id) && !f.has("v1/common: any request id is echoed") ||
		f.has("v1/common: request ids are not echoed") {
		id = "req-" + randomHex(16)
	}
	if id == "" || f.has("v1/common: without a request id there is none") && r.Header.Get("X-Request-Id") == "" {
		id = ""
	}
	reply := f.replyV1(r, body)
	if id != "" {
		w.Header().Set("X-Request-Id", id)
	}
	kind := "application/json"
	if reply.status >= 400 {
		reply.document["request_id"] = id
		kind = "application/problem+json"
		f.spoilProblem(reply.document, &kind)
	}
	if f.has("v1/common: a refused body sends all the same") && reply.status == 400 {
		a := f.keys[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")].account
		if a != nil {
			a.messages = append(a.messages, refMessage{ID: "x", To: "+910000000000", Code: "000000"})
		}
	}
	for name, value := range reply.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(reply.status)
	_ = json.NewEncoder(w).Encode(reply.document)
}

// describe answers for the documents of the API.
func (f *reference) describe(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/openapi.json":
		paths := map[string]any{}
		for _, call := range []string{"send", "verify", "resend", "cancel", "status/{id}"} {
			paths["/v1/"+call] = map[string]any{}
		}
		version := "3.1.0"
		if f.has("v1/common: the API describes itself in OpenAPI 3.0") {
			version = "3.0.3"
		}
		if f.has("v1/common: the API does not describe cancel") {
			delete(paths, "/v1/cancel")
		}
		writeJSON(w, http.StatusOK, map[string]any{"openapi": version, "paths": paths})
	case "/docs":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		page := `<script src="/docs/page.js"></script><a href="https://spec.openapis.org/">OpenAPI</a>`
		if f.has("v1/common: the page fetches from elsewhere") {
			page += `<script async src='//cdn.invalid/page.js'></script>`
		}
		_, _ = w.Write([]byte(page))
	default:
		return false
	}
	return true
}

func (f *reference) spoilProblem(document map[string]any, kind *string) {
	switch {
	case f.has("v1/common: errors are application/json"):
		*kind = "application/json"
	case f.has("v1/common: errors have no message"):
		delete(document, "message")
	case f.has("v1/common: codes are in lower case"):
		document["code"] = strings.ToLower(fmt.Sprint(document["code"]))
	case f.has("v1/common: errors have no title"):
		delete(document, "title")
	case f.has("v1/common: errors have another status inside"):
		document["status"] = 400
	case f.has("v1/common: errors hold no request id"):
		delete(document, "request_id")
	}
}

// replyV1 checks in order: the credential, its limit, its signature, the fault, the call.
func (f *reference) replyV1(r *http.Request, body []byte) refReply {
	if r.URL.Path == "/.well-known/jwks.json" {
		key := map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "1",
			"x": base64.RawURLEncoding.EncodeToString(f.v1.signer.Public().(ed25519.PublicKey))}
		if f.has("v1/verify: the set of keys is empty") {
			return refReply{status: 200, document: map[string]any{"keys": []any{}}}
		}
		return refReply{status: 200, document: map[string]any{"keys": []any{key}}}
	}
	secret, key, refusal := f.credential(r)
	if refusal != nil {
		f.v1.failures++
		return *refusal
	}
	quota, refusal := f.takeRequest(secret, key.account)
	if refusal != nil {
		return *refusal
	}
	reply := f.signedV1(r, secret, key, body)
	if !f.has("v1/common: answers have no rate-limit headers") &&
		!(f.has("v1/common: errors have no rate-limit headers") && reply.status >= 400) {
		for name, value := range quota {
			if reply.header[name] == "" || f.has("v1/limits: the headers of 429 describe the key's limit") {
				reply.header[name] = value
			}
		}
	}
	return reply
}

func (f *reference) credential(r *http.Request) (string, refKey, *refReply) {
	refuse := func(status int, code string) (string, refKey, *refReply) {
		problem := refProblem(status, code, "The credential is not good for this.")
		return "", refKey{}, &problem
	}
	var given []string
	bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if isBearer && !f.has("v1/common: no key is taken from Authorization") && bearer != "" {
		given = append(given, bearer)
	}
	if key := r.Header.Get("X-API-Key"); key != "" && !f.has("v1/common: no key is taken from X-API-Key") &&
		(len(given) == 0 || given[0] != key || f.has("v1/common: one key in two carriers is two")) {
		given = append(given, key)
	}
	if key := r.URL.Query().Get("api_key"); key != "" && f.has("v1/common: a key is taken from the query") {
		given = append(given, key)
	}
	if len(given) == 0 && f.has("v1/status: a status needs no credential") &&
		strings.HasPrefix(r.URL.Path, "/v1/status/") {
		return "", f.anyKey(strings.TrimPrefix(r.URL.Path, "/v1/status/")), nil
	}
	switch {
	case len(given) == 0 && f.has("v1/common: no credential is 403"):
		return refuse(403, "AUTH_003")
	case len(given) == 0 && f.has("v1/common: no credential is AUTH_001"):
		return refuse(401, "AUTH_001")
	case len(given) == 0:
		return refuse(401, "AUTH_003")
	case len(given) > 1 && !f.has("v1/common: of two keys the first is taken"):
		return refuse(400, "TWO_CREDENTIALS")
	}
	found, known := f.keys[given[0]]
	switch {
	case !known && f.has("v1/common: an unknown key is 403"):
		return refuse(403, "AUTH_004")
	case !known, !strings.HasPrefix(given[0], "otpb_") && f.has("v1/common: access keys are refused"):
		return refuse(401, "AUTH_004")
	case found.why == "disabled" && !f.has("v1/common: a disabled key is good"),
		!found.account.Enabled && !f.has("v1/common: a disabled account's key is good"):
		return refuse(401, "AUTH_004")
	case found.why == "expired" && !f.has("v1/common: an expired key is AUTH_004"):
		return refuse(401, "AUTH_002")
	case found.why == "expired":
		return refuse(401, "AUTH_004")
	case found.why == "elsewhere" && !f.has("v1/common: a key is good from every network"):
		return refuse(403, "AUTH_005")
	}
	return given[0], found, nil
}

// anyKey returns a key of the account that has a challenge.
func (f *reference) anyKey(id string) refKey {
	for _, key := range f.keys {
		if key.account.challenges[id] != nil {
			return key
		}
	}
	return refKey{}
}

func refQuota(limit, remaining int, reset time.Time) map[string]string {
	return map[string]string{
		"X-RateLimit-Limit": strconv.Itoa(limit), "X-RateLimit-Remaining": strconv.Itoa(remaining),
		"X-RateLimit-Reset": strconv.FormatInt(reset.Unix(), 10), "X-RateLimit-Window": "60",
	}
}

func (f *reference) takeRequest(secret string, a *refAccount) (map[string]string, *refReply) {
	limit, now := 1000, time.Now()
	if a.PerKey > 0 {
		limit = a.PerKey
	}
	switch {
	case f.has("v1/limits: a key's own limit is ignored"), f.has("v1/common: a key has 100 requests a minute") &&
		a.PerKey == 0:
		limit = 100
	}
	asked := f.v1.asked[secret]
	if within(asked, time.Minute, now) >= limit {
		f.warn(a.Address)
		reply := f.overLimitV1(limit, now.Add(time.Minute), now)
		return nil, &reply
	}
	if !f.has("v1/common: requests are not counted") {
		f.v1.asked[secret] = append(asked, now)
	}
	quota := refQuota(limit, limit-within(f.v1.asked[secret], time.Minute, now), now.Add(time.Minute))
	if f.has("v1/common: the reset is in seconds from now") {
		quota["X-RateLimit-Reset"] = "60"
	}
	if f.has("v1/common: the window is not told") {
		delete(quota, "X-RateLimit-Window")
	}
	return quota, nil
}

// overLimitV1 returns the refusal of a limit, with its headers.
func (f *reference) overLimitV1(limit int, reset, now time.Time) refReply {
	reply := refProblem(429, "RATE_LIMIT_EXCEEDED", "Too many.")
	if f.has("v1/limits: a limit is 403") {
		reply = refProblem(403, "RATE_LIMIT_EXCEEDED", "Too many.")
	}
	if f.has("v1/limits: a limit is TOO_MANY_REQUESTS") {
		reply = refProblem(429, "TOO_MANY_REQUESTS", "Too many.")
	}
	maps.Copy(reply.header, refQuota(limit, 0, reset))
	if f.has("v1/limits: the reset of 429 is in milliseconds") {
		reply.header["X-RateLimit-Reset"] = strconv.FormatInt(reset.UnixMilli(), 10)
	}
	if !f.has("v1/limits: 429 has no Retry-After") {
		reply.header["Retry-After"] = strconv.Itoa(max(1, int(reset.Sub(now).Seconds())))
	}
	return reply
}

// signedV1 checks the signature, if there is one.
func (f *reference) signedV1(r *http.Request, secret string, key refKey, body []byte) refReply {
	given := r.Header.Get("X-Signature")
	if given == "" || f.has("v1/signing: signatures are not looked at") {
		return f.callV1(r, secret, key, body)
	}
	at, nonce := r.Header.Get("X-Timestamp"), r.Header.Get("X-Nonce")
	var document map[string]json.RawMessage
	_ = json.Unmarshal(body, &document)
	good := false
	for _, over := range [][]byte{body, f.canonical(body)} {
		path := r.URL.Path
		if f.has("v1/signing: the path is not signed") {
			path = "/v1/status/otp_unknown"
		}
		mac := hmac.New(sha256.New, []byte(key.account.signing))
		mac.Write([]byte(r.Method + path + at + nonce))
		mac.Write(over)
		good = good || hex.EncodeToString(mac.Sum(nil)) == given
		if f.has("v1/signing: only the canonical form is signed") && bytes.Equal(over, body) {
			good = false
		}
		if f.has("v1/signing: only the bytes as sent are signed") {
			break
		}
	}
	if f.has("v1/signing: every signature is good") {
		good = true
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	away := time.Since(time.Unix(seconds, 0)).Abs()
	most := 300 * time.Second
	if f.has("v1/signing: a timestamp is good for an hour") {
		most = time.Hour
	}
	if f.has("v1/signing: a timestamp is good for a minute") {
		most = time.Minute
	}
	form := len(nonce) == 32 || f.has("v1/signing: a nonce has any form")
	replayed := f.v1.nonces[nonce] && !f.has("v1/signing: nonces are not remembered")
	if !good || err != nil || away > most || !form || replayed {
		f.v1.failures++
		if f.has("v1/signing: a bad signature is 400") {
			return refProblem(400, "BAD_SIGNATURE", "The signature is not good.")
		}
		return refProblem(401, "BAD_SIGNATURE", "The signature is not good.")
	}
	f.v1.nonces[nonce] = true
	return f.callV1(r, secret, key, body)
}

// canonical returns the form of Python's json.dumps(sort_keys=True).
func (f *reference) canonical(body []byte) []byte {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil
	}
	sorted, _ := json.Marshal(value)
	var b strings.Builder
	quoted := false
	for _, c := range string(sorted) {
		switch {
		case c == '"':
			quoted = !quoted
			b.WriteRune(c)
		case !quoted && (c == ',' || c == ':'):
			b.WriteString(string(c) + " ")
		case c > '~':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return []byte(b.String())
}

func (f *reference) callV1(r *http.Request, secret string, key refKey, body []byte) refReply {
	switch f.strike("v1", key.account) {
	case "error", "panic":
		if f.has("v1/common: a fault shows its place") {
			return refProblem(500, "INTERNAL_ERROR", "panic at server.go:17")
		}
		if f.has("v1/common: a fault is 503") {
			return refProblem(503, "INTERNAL_ERROR", "Something is broken.")
		}
		return refProblem(500, "INTERNAL_ERROR", "Something is broken.")
	}
	if strings.HasPrefix(r.URL.Path, "/v1/users/") || r.URL.Path == "/v1/audit-logs" {
		return f.refOwn(r, key)
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/v1/status"); ok && r.Method == "GET" {
		return f.statusV1(key, strings.TrimPrefix(id, "/"), r.URL.Query())
	}
	calls := map[string]func(refKey, []byte) refReply{
		"POST /v1/send": f.sendV1, "POST /v1/verify": f.verifyV1, "POST /v1/resend": f.resendV1, "POST " +
			"/v1/cancel": f.cancelV1,
	}
	call := calls[r.Method+" "+r.URL.Path]
	if call == nil {
		return refProblem(404, "NOT_FOUND", "There is no such call.")
	}
	once := r.Header.Get("Idempotency-Key")
	if once == "" || r.URL.Path != "/v1/send" && f.has("v1/idempotency: a resend is done twice") ||
		f.has("v1/idempotency: keys are ignored") {
		return call(key, body)
	}
	return f.onceV1(secret, once, r.URL.Path+string(body), func() refReply { return call(key, body) })
}

func (f *reference) onceV1(secret, once, request string, do func() refReply) refReply {
	if f.has("v1/idempotency: keys belong to everybody") {
		secret = ""
	}
	if f.has("v1/idempotency: there is one key") {
		once = ""
	}
	stored, done := f.v1.replays[secret+" "+once]
	switch {
	case !done:
		f.yield("v1/idempotency: requests at once are each done")
		reply := do()
		reply.request = request
		f.v1.replays[secret+" "+once] = reply
		if f.has("v1/idempotency: the first answer is called a replay") {
			reply.header["Idempotent-Replayed"] = "true"
		}
		return reply
	case stored.request != request && f.has("v1/idempotency: another body is done"):
		return do()
	case stored.request != request && f.has("v1/idempotency: another body is 409"):
		return refProblem(409, "IDEMPOTENCY_MISMATCH", "The key was used for another request.")
	case stored.request != request && !f.has("v1/idempotency: another body gets the first answer"):
		return refProblem(422, "IDEMPOTENCY_MISMATCH", "The key was used for another request.")
	}
	if f.has("v1/idempotency: a replay sends again") {
		do()
	}
	stored.header = maps.Clone(stored.header)
	if f.has("v1/idempotency: a replay is 200") {
		stored.status = 200
	}
	if f.has("v1/idempotency: a replay has no Location") {
		delete(stored.header, "Location")
	}
	if !f.has("v1/idempotency: a replay is not marked") {
		stored.header["Idempotent-Replayed"] = "true"
	}
	return stored
}
