package conform

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/mail"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The calls of the reference server's /v1.

// environment separates the recipients of the environments.
func (f *reference) environment(key refKey) string {
	if f.has("parity: the environments are one") {
		return ""
	}
	return key.environment
}

// decode reads a body strictly into a pointer to a struct. It returns a pointer to what is wrong, "/" for the whole
// body.
func (f *reference) decode(body []byte, into any) (pointer string) {
	if len(body) > 64<<10 && !f.has("v1/common: a body has any size") || len(body) > 32<<10 &&
		f.has("v1/common: a body has 32 KiB") {
		return "/"
	}
	if f.has("v1/common: an empty body is an empty object") && len(body) == 0 {
		body = []byte(`{"to":"+919551492394","method":"sms","type":"verification"}`)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if !f.has("v1/common: a member twice counts once") && hasDuplicate(decoder) {
		return "/"
	}
	decoder = json.NewDecoder(bytes.NewReader(body))
	var document map[string]json.RawMessage
	if decoder.Decode(&document) != nil || document == nil {
		return "/"
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) && !f.has("v1/common: what follows the object is not read") {
		return "/"
	}
	known := map[string]bool{}
	for field := range reflect.TypeOf(into).Elem().Fields() {
		known[field.Tag.Get("json")] = true
	}
	for name := range document {
		if !known[name] && !f.has("v1/common: unknown members are passed over") {
			return "/" + name
		}
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(into); err != nil {
		wrong, typed := errors.AsType[*json.UnmarshalTypeError](err)
		if typed && f.has("v1/common: a member of the wrong type is passed over") {
			return ""
		}
		if typed {
			return "/" + strings.Split(wrong.Field, ".")[0]
		}
		return "/"
	}
	return ""
}

// hasDuplicate reports whether an object has a repeated member, at any depth.
func hasDuplicate(decoder *json.Decoder) bool {
	token, err := decoder.Token()
	if err != nil {
		return false
	}
	delimiter, _ := token.(json.Delim)
	if delimiter != '{' && delimiter != '[' {
		return false
	}
	seen := map[any]bool{}
	for decoder.More() {
		if delimiter == '{' {
			name, err := decoder.Token()
			if err != nil || seen[name] {
				return err == nil
			}
			seen[name] = true
		}
		if hasDuplicate(decoder) {
			return true
		}
	}
	_, _ = decoder.Token()
	return false
}

// recipientV1 returns the normal form of a recipient.
func (f *reference) recipientV1(a *refAccount, to string) (recipient, pointer string) {
	if strings.Contains(to, "@") {
		if f.has("v1/send: a mailbox is no recipient") {
			return "", "/to"
		}
		if _, err := mail.ParseAddress(to); err != nil && !f.has("v1/send: any recipient is taken") {
			return "", "/to"
		}
		if f.has("v1/send: the letter case of a mailbox counts") {
			return to, ""
		}
		return strings.ToLower(to), ""
	}
	if f.has("v1/send: every country is served") {
		a = &refAccount{Countries: []string{"IN", "AE", "US"}}
	}
	number, ok := f.number(a, to)
	if (!ok || !strings.HasPrefix(to, "+")) && !(to != "" && f.has("v1/send: any recipient is taken")) {
		if to == "" && f.has("v1/send: a recipient is optional") {
			return "+919551492394", ""
		}
		return "", "/to"
	}
	return number, ""
}

// slotV1 returns the slot of a recipient's challenge for an ip and a binding.
func (f *reference) slotV1(a *refAccount, ip, binding string) string {
	subject, _ := f.subject(ip)
	if ip == "" {
		subject = ""
	}
	if f.has("parity: an address counts as it is spelt at /v1") {
		subject = ip
	}
	if !a.KeyOnIP && !f.has("parity: key_on_ip is not looked at by /v1") || f.has("parity: /v1 knows no ip") ||
		f.has("v1/verify: the ip is ignored") {
		subject = ""
	}
	if binding != "" && !f.has("v1/verify: the binding is ignored") && !f.has("parity: the binding is ignored") {
		return subject + "\x00" + binding
	}
	return subject
}

func (f *reference) bindingText(raw any) string {
	if raw == nil {
		if f.has("v1/verify: a null binding is one") {
			return "null"
		}
		return ""
	}
	text, _ := json.Marshal(raw) // sorted, and every number in its shortest form
	return string(text)
}

func (f *reference) sendV1(key refKey, body []byte) refReply {
	a, ask := key.account, refSend{}
	if pointer := f.decode(body, &ask); pointer != "" {
		return f.refInvalid(pointer, "The body cannot be read.")
	}
	ask.binding = f.bindingText(ask.Binding)
	if ask.Binding == nil && !bytes.Contains(body, []byte(`"binding"`)) {
		ask.binding = ""
	}
	if f.has("v1/verify: bindings are compared as they are spelt") {
		var spelt struct{ Binding json.RawMessage }
		_ = json.Unmarshal(body, &spelt)
		ask.binding = string(spelt.Binding)
	}
	recipient, pointer := f.recipientV1(a, ask.To)
	if pointer == "" {
		pointer = f.checkSend(a, &ask)
	}
	if pointer != "" {
		if f.has("v1/send: a refused send ends the code before") {
			clear(f.recipient(a, "+"+strings.TrimPrefix(ask.To, "+")).slots)
		}
		return f.refInvalid(pointer, "This cannot be sent.")
	}
	c := refCall{
		account: a, number: recipient, recipient: recipient + f.environment(key), slot: f.slotV1(a, ask.IP, ask.binding),
		email: strings.ToLower(ask.Email), now: time.Now().Add(a.offset), send: &ask,
	}
	if f.has("v1/limits: sends are limited by slot") {
		c.recipient += c.slot
	}
	email := ask.Email
	if strings.Contains(recipient, "@") {
		email = recipient
	}
	holder := f.recipient(a, c.recipient)
	replacedBefore := holder.slots[c.slot]
	if f.has("parity: a send leaves the servlets' code") && replacedBefore != nil && replacedBefore.send == nil {
		c.slot += " v1"
	}
	outcome := f.generate(c, email)
	if outcome == "over limit" && f.has("v1/limits: a refused send ends the code before") {
		clear(holder.slots)
	}
	if outcome != "generated" && outcome != "undelivered" {
		return f.refusedV1(a, holder, c.now, outcome)
	}
	f.tell("otp.sent", a, holder.slots[c.slot])
	reply := f.challengeV1(a, holder.slots[c.slot], c.now)
	reply.status = 201
	if f.has("v1/send: a send is 200") {
		reply.status = 200
	}
	if outcome == "undelivered" && f.has("v1/send: a send that reached nobody is counted") {
		holder.sends = append(holder.sends, c.now)
	}
	if !f.has("v1/send: there is no Location") {
		reply.header["Location"] = "/v1/status/" + holder.slots[c.slot].id
	}
	f.spoilSend(reply.document, holder.slots[c.slot], ask)
	return reply
}

func (f *reference) spoilSend(document map[string]any, ch *refChallenge, ask refSend) {
	switch {
	case f.has("v1/send: the recipient is not masked"):
		document["to"] = ask.To
	case f.has("v1/send: the answer holds the code"):
		document["code"] = ch.code
	case f.has("v1/send: the answer has no status"):
		delete(document, "status")
	case f.has("v1/send: the answer always says verification"):
		document["type"] = "verification"
	case f.has("v1/send: metadata do not come back"):
		delete(document, "metadata")
	case f.has("v1/common: ids have no type"):
		document["id"] = strings.TrimPrefix(ch.id, "otp_")
	case f.has("v1/common: times are local"):
		document["created_at"] = ch.created.Format("2006-01-02T15:04:05+05:30")
	case f.has("v1/common: times are numbers"):
		document["expires_at"] = ch.expires.Unix()
	case f.has("v1/send: expires_at is not cut"):
		if ask.TTL != nil {
			document["expires_at"] = refTime(ch.created.Add(time.Duration(*ask.TTL) * time.Second))
		}
	}
}

// checkSend refuses an invalid send, and fills in defaults.
func (f *reference) checkSend(a *refAccount, ask *refSend) (pointer string) {
	methods := []string{"sms", "email"}
	types := []string{"verification", "two_factor", "password_reset", "transaction"}
	if f.has("v1/send: three types") {
		types = types[:3]
	}
	if ask.Method == "" && f.has("v1/send: a method is optional") {
		ask.Method = "sms"
	}
	if ask.Type == "" && f.has("v1/send: a type is optional") {
		ask.Type = "verification"
	}
	if !slices.Contains(methods, ask.Method) && !(ask.Method != "" && f.has("v1/send: any method is taken")) {
		return "/method"
	}
	if !slices.Contains(types, ask.Type) && !(ask.Type != "" && f.has("v1/send: any type is taken")) {
		return "/type"
	}
	for _, method := range ask.Fallback {
		if !slices.Contains(methods, method) && !f.has("v1/send: any fallback is taken") {
			return "/fallback/0"
		}
	}
	if len(ask.Fallback) > 0 && f.has("v1/send: a fallback is refused") {
		return "/fallback"
	}
	if _, valid := f.subject(ask.IP); ask.IP != "" && !valid && !f.has("v1/send: an ip has any length") ||
		len(ask.IP) == 64 && f.has("v1/send: an ip has less than 64 characters") {
		return "/ip"
	}
	metadata, _ := json.Marshal(ask.Metadata)
	if len(metadata) > 1024 && !f.has("v1/send: metadata have any size") {
		return "/metadata"
	}
	switch {
	case ask.TTL == nil || f.has("v1/send: the ttl is ignored") || f.has("v1/verify: the ttl is ignored") ||
		f.has("parity: the ttl is ignored"):
		ask.TTL = &a.TTL
		if f.has("v1/send: every code lives 300 seconds") {
			ask.TTL = new(300)
		}
	case *ask.TTL < 30 && !f.has("v1/send: any ttl is taken") || f.has("v1/send: a ttl over 600 is refused") &&
		*ask.TTL > 600:
		return "/ttl"
	case *ask.TTL > 600 && !f.has("v1/send: a ttl has no end") && !f.has("v1/send: expires_at is not cut"):
		ask.TTL = new(600)
	}
	switch {
	case ask.Length == nil || f.has("v1/send: the length is ignored"):
		ask.Length = &a.Length
		if f.has("v1/send: every code has six digits") {
			ask.Length = new(6)
		}
	case (*ask.Length < a.Length || *ask.Length > 10) && !f.has("v1/send: any length is taken"):
		return "/length"
	}
	return ""
}

// identify gives a new challenge an id for /v1.
func (f *reference) identify(c refCall, fresh *refChallenge, holder *refRecipient) {
	a := c.account
	fresh.id, fresh.slot, fresh.holder, fresh.created, fresh.send, fresh.number = "otp_"+randomHex(24), c.slot, holder,
		c.now, c.send, c.number
	fresh.limit = 3
	if c.send != nil {
		length := *c.send.Length
		if f.has("v1/send: every code has six digits") {
			length = 6
		}
		code := f.newCode(&refAccount{Length: length})
		fresh.code, fresh.limit = code, 5
		fresh.expires = c.now.Add(time.Duration(*c.send.TTL) * time.Second)
		if f.has("v1/send: a code has three attempts") || f.has("v1/verify: a code has three attempts") ||
			f.has("parity: a code of /v1 has three attempts") {
			fresh.limit = 3
		}
	} else if f.has("parity: a code of the servlets has five attempts") {
		fresh.limit = 5
	}
	if a.MaxAttempts > 0 && !(c.send != nil && f.has("v1/verify: max_attempts is ignored")) {
		fresh.limit = a.MaxAttempts
	}
}

func refTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// challengeV1 returns a challenge as shown by /v1.
func (f *reference) challengeV1(a *refAccount, ch *refChallenge, now time.Time) refReply {
	send := refSend{Method: "sms", Type: "verification"}
	if ch.send != nil {
		send = *ch.send
	}
	masked := "***" + ch.number[len(ch.number)-4:]
	status := "sent"
	switch {
	case ch.used:
		status = "verified"
	case ch.canceled:
		status = "canceled"
	case ch.holder.slots[ch.slot] != ch:
		status = "replaced"
	case !now.Before(ch.expires):
		status = "expired"
	case ch.wrong >= ch.limit:
		status = "failed"
	}
	if f.has("v1/status: the status is always sent") || f.has("v1/cancel: the status stays sent") ||
		status == "verified" && f.has("v1/status: verified is not told") {
		status = "sent"
	}
	document := map[string]any{
		"id": ch.id, "to": masked, "method": send.Method, "type": send.Type, "status": status,
		"created_at": refTime(ch.created), "expires_at": refTime(ch.expires),
	}
	if send.Metadata != nil && !f.has("v1/status: metadata are not told") {
		document["metadata"] = send.Metadata
	}
	if status == "sent" || f.has("v1/status: attempts are always told") {
		document["attempts_remaining"] = ch.limit - ch.wrong
		if f.has("v1/status: the attempts are those of the start") {
			document["attempts_remaining"] = ch.limit
		}
		document["resends_remaining"] = a.MaxRegenerations - ch.regenerations
		if f.has("v1/send: one resend more") || f.has("v1/resend: one resend more is told") {
			document["resends_remaining"] = a.MaxRegenerations - ch.regenerations + 1
		}
	}
	if ch.used {
		document["verified_at"] = refTime(ch.verifiedAt)
	}
	return refReply{status: 200, document: document, header: map[string]string{}}
}

// refusedV1 returns the refusal of a send or resend.
func (f *reference) refusedV1(a *refAccount, holder *refRecipient, now time.Time, outcome string) refReply {
	switch outcome {
	case "locked":
		return f.lockedV1()
	case "over limit":
		limit, span := a.PerMinute, time.Minute
		if limit == 0 || within(holder.sends, span, now) < limit {
			limit, span = max(a.PerHour, a.PerDay), time.Hour
		}
		reset := time.Now().Add(span)
		for _, at := range holder.sends {
			if now.Sub(at) < span {
				reset = time.Now().Add(span - now.Sub(at))
				break
			}
		}
		if f.has("v1/limits: Retry-After is always a minute") {
			reset = time.Now().Add(span)
		}
		return f.overLimitV1(limit, reset, time.Now())
	case "regenerations":
		if f.has("v1/resend: the last resend is 400") {
			return refProblem(400, "RESEND_LIMIT_EXCEEDED", "It was sent as often as it may be.")
		}
		return refProblem(429, "RESEND_LIMIT_EXCEEDED", "It was sent as often as it may be.")
	case "nothing":
		return refProblem(404, "NOT_FOUND", "There is no such challenge.")
	}
	if f.has("v1/resend: a dead code is no refusal") {
		return refReply{status: 200, document: map[string]any{}, header: map[string]string{}}
	}
	return refProblem(409, "CHALLENGE_NOT_LIVE", "The challenge is over.")
}

func (f *reference) lockedV1() refReply {
	reply := refProblem(429, "RECIPIENT_LOCKED", "Too many wrong codes.")
	if f.has("v1/limits: a locked recipient is RATE_LIMIT_EXCEEDED") {
		reply.document["code"] = "RATE_LIMIT_EXCEEDED"
	}
	reply.header["Retry-After"] = "3600"
	return reply
}

// challengeByID finds a challenge of the caller's account.
func (f *reference) challengeByID(key refKey, id string, anybodys bool) *refChallenge {
	if ch := key.account.challenges[id]; ch != nil {
		return ch
	}
	if anybodys {
		for _, a := range f.accounts {
			if a.challenges[id] != nil {
				return a.challenges[id]
			}
		}
	}
	return nil
}

// refNamed is how a request names a challenge.
type refNamed struct{ id, to, ip, kind, binding string }

func (n refNamed) one() bool { return (n.id == "") != (n.to == "") }

// named finds the challenge that a request names, for calls other than verify. section is where its flaws are tested.
func (f *reference) named(key refKey, n refNamed, section string, anybodys bool) *refChallenge {
	if n.id != "" {
		return f.challengeByID(key, n.id, anybodys)
	}
	a := key.account
	to, _ := f.recipientV1(a, n.to)
	holder := f.recipient(a, to+f.environment(key))
	ch := holder.slots[f.slotV1(a, n.ip, n.binding)]
	if f.has(section + ": any code of the recipient is found") {
		for _, other := range holder.slots {
			if ch == nil || other.created.After(ch.created) {
				ch = other
			}
		}
	}
	if ch != nil && !f.purpose(ch, n.kind) && !f.has(section+": by the recipient the type is ignored") {
		return nil
	}
	if ch != nil && f.has(section+": the oldest code of the recipient is found") {
		for _, other := range a.challenges {
			if other.holder == holder && other.slot == ch.slot && other.created.Before(ch.created) {
				ch = other
			}
		}
	}
	return ch
}

func (f *reference) notFoundV1(tells bool) refReply {
	if tells {
		return refProblem(403, "FORBIDDEN", "Not yours.")
	}
	return refProblem(404, "NOT_FOUND", "There is no such challenge.")
}

func (f *reference) resendV1(key refKey, body []byte) refReply {
	a := key.account
	var ask struct {
		ID      string `json:"id"`
		To      string `json:"to"`
		IP      string `json:"ip"`
		Type    string `json:"type"`
		Binding any    `json:"binding"`
		Method  string `json:"method"`
	}
	if pointer := f.decode(body, &ask); pointer != "" {
		return f.refInvalid(pointer, "The body cannot be read.")
	}
	named := refNamed{ask.ID, ask.To, ask.IP, ask.Type, f.bindingText(ask.Binding)}
	if !named.one() && !f.has("v1/resend: an id and a recipient are taken together") {
		return f.refInvalid("/id", "Give id or to.")
	}
	ch := f.named(key, named, "v1/resend", f.has("v1/resend: another account's code is sent again"))
	if ch == nil || f.has("parity: the servlets' codes cannot be sent again by their recipient") && ask.ID == "" &&
		ch.send == nil {
		return f.notFoundV1(f.has("v1/resend: an unknown id is 403"))
	}
	now, holder := time.Now().Add(a.offset), ch.holder
	send := refSend{Method: "sms"}
	if ch.send != nil {
		send = *ch.send
	}
	if ask.Method != "" {
		send.Method = ask.Method
	}
	switch {
	case holder.slots[ch.slot] != ch && !f.has("v1/resend: a replaced code is sent again"),
		ch.canceled && !f.has("v1/resend: a cancelled code is sent again"):
		return f.refusedV1(a, holder, now, "dead")
	}
	if f.has("v1/resend: resends are not limited") {
		ch.regenerations = 0
	}
	if f.has("v1/resend: a resend is no send") {
		holder = &refRecipient{slots: holder.slots, failures: holder.failures, run: holder.run}
	}
	c := refCall{account: a, number: ch.number, slot: ch.slot, now: now, send: &send}
	if f.has("v1/limits: a locked recipient is sent to again") {
		holder = &refRecipient{slots: holder.slots}
	}
	email := ch.email
	if f.has("v1/resend: a resend makes a new code") {
		ch.code = f.newCode(a)
	}
	used, expires := ch.used, ch.expires
	if f.has("v1/resend: a dead code is sent again") {
		ch.used, ch.expires = false, now.Add(time.Minute)
	}
	outcome := f.again(c, ch, holder, email)
	ch.used, ch.expires = used, expires
	if outcome != "generated" && outcome != "undelivered" {
		return f.refusedV1(a, ch.holder, now, outcome)
	}
	if f.has("v1/resend: a resend gives all attempts back") {
		ch.wrong = 0
	}
	if f.has("v1/resend: a resend prolongs the code's life") {
		ch.expires = now.Add(300 * time.Second)
	}
	return f.challengeV1(a, ch, now)
}

func (f *reference) cancelV1(key refKey, body []byte) refReply {
	var ask struct {
		ID      string `json:"id"`
		To      string `json:"to"`
		IP      string `json:"ip"`
		Type    string `json:"type"`
		Binding any    `json:"binding"`
	}
	pointer := f.decode(body, &ask)
	named := refNamed{ask.ID, ask.To, ask.IP, ask.Type, f.bindingText(ask.Binding)}
	if f.has("v1/cancel: an id is optional") && ask.ID == "" && ask.To == "" {
		return refReply{status: 200, document: map[string]any{}, header: map[string]string{}}
	}
	if pointer != "" || !named.one() {
		return f.refInvalid("/id", "Give id or to.")
	}
	a := key.account
	ch := f.named(key, named, "v1/cancel", f.has("v1/cancel: another account's code is called off"))
	if ch == nil || f.has("parity: the servlets' codes cannot be called off by their recipient") && ask.ID == "" &&
		ch.send == nil {
		return f.notFoundV1(f.has("v1/cancel: an unknown id is 403"))
	}
	if !f.has("v1/cancel: nothing is called off") {
		ch.canceled = true
	}
	if f.has("v1/cancel: every code of the recipient is called off") {
		for _, other := range ch.holder.slots {
			other.canceled = true
		}
	}
	if f.has("v1/cancel: a cancellation gives the send back") {
		ch.holder.sends = nil
	}
	if f.has("v1/cancel: no code follows one that was called off") {
		ch.holder.lockedUntil = time.Now().Add(time.Hour)
	}
	return f.challengeV1(a, ch, time.Now().Add(a.offset))
}

func (f *reference) statusV1(key refKey, id string, query url.Values) refReply {
	named := refNamed{id, query.Get("to"), query.Get("ip"), query.Get("type"), ""}
	for name := range query {
		if !slices.Contains([]string{"to", "ip", "type"}, name) && !f.has("v1/status: any query is taken") {
			return f.refInvalid("/"+name, "This is not known.")
		}
	}
	if !named.one() {
		if f.has("v1/status: a recipient is optional") {
			return refReply{status: 200, document: map[string]any{}, header: map[string]string{}}
		}
		return f.refInvalid("/to", "Give a recipient.")
	}
	ch := f.named(key, named, "v1/status", f.has("v1/status: another account's status is told"))
	if ch == nil || f.has("parity: the servlets' codes have no status by their recipient") && id == "" && ch.send == nil {
		return f.notFoundV1(f.has("v1/status: an unknown id is 403"))
	}
	a := key.account
	if f.has("v1/status: a status costs an attempt") {
		ch.wrong++
	}
	if f.has("parity: /v1 does not know the servlets' codes by their id") && ch.send == nil {
		return f.notFoundV1(false)
	}
	reply := f.challengeV1(a, ch, time.Now().Add(a.offset))
	switch {
	case f.has("v1/status: the status holds the code"):
		reply.document["code"] = ch.code
	case f.has("v1/status: the recipient is not masked"):
		reply.document["to"] = ch.number
	}
	return reply
}
