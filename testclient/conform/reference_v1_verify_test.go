package conform

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// verifyV1 answers a guess at the reference server's /v1.

func (f *reference) verifyV1(key refKey, body []byte) refReply {
	a := key.account
	var ask struct {
		ID      string `json:"id"`
		To      string `json:"to"`
		IP      string `json:"ip"`
		Code    string `json:"code"`
		Type    string `json:"type"`
		Binding any    `json:"binding"`
	}
	if pointer := f.decode(body, &ask); pointer != "" {
		return f.refInvalid(pointer, "The body cannot be read.")
	}
	switch {
	case ask.Code == "" && !f.has("v1/verify: a code is optional"):
		return f.refInvalid("/code", "A code is required.")
	case ask.ID != "" && ask.To != "" && !f.has("v1/verify: an id and a recipient are taken together"),
		ask.ID == "" && ask.To == "" && !f.has("v1/verify: a guess at nothing is taken"):
		return f.refInvalid("/id", "Give id or to.")
	}
	binding := f.bindingText(ask.Binding)
	if ask.Binding == nil && !bytes.Contains(body, []byte(`"binding"`)) {
		binding = ""
	}
	if f.has("v1/verify: bindings are compared as they are spelt") {
		var spelt struct{ Binding json.RawMessage }
		_ = json.Unmarshal(body, &spelt)
		binding = string(spelt.Binding)
	}
	now := time.Now().Add(a.offset)
	var ch *refChallenge
	if ask.ID != "" && (ask.To == "" || !f.has("v1/verify: a guess at nothing is taken")) {
		ch = f.challengeByID(key, ask.ID, f.has("v1/verify: accounts share their ids"))
		if ch != nil && ch.send != nil && ch.send.binding != binding && !f.has("v1/verify: the binding is ignored") &&
			!f.has("v1/verify: by the id the binding is ignored") {
			ch = nil
		}
	} else {
		to, _ := f.recipientV1(a, ask.To)
		of := a
		if f.has("parity: accounts share their recipients") {
			for _, other := range f.accounts {
				if r := other.recipients[to]; r != nil && r.slots[f.slotV1(a, ask.IP, binding)] != nil {
					of = other
				}
			}
		}
		if f.has("parity: the recipient is ignored") {
			for other, r := range a.recipients {
				if r.slots[f.slotV1(a, ask.IP, binding)] != nil {
					to = strings.TrimSuffix(other, f.environment(key))
				}
			}
		}
		if f.has("parity: without an ip any code is found") && ask.IP == "" {
			for slot := range f.recipient(of, to+f.environment(key)).slots {
				ch = f.recipient(of, to+f.environment(key)).slots[slot]
			}
		}
		if ch == nil {
			ch = f.recipient(of, to+f.environment(key)).slots[f.slotV1(of, ask.IP, binding)]
		}
	}
	if ch != nil && !f.purpose(ch, ask.Type) {
		if f.has("v1/verify: a guess of another type is charged") {
			ch.wrong++
		}
		ch = nil
	}
	if ch == nil && f.has("v1/verify: nothing found is 404") {
		return f.notFoundV1(false)
	}
	return f.proveV1(a, ch, ask.Code, now)
}

// purpose reports whether a challenge has the type that a request names.
func (f *reference) purpose(ch *refChallenge, named string) bool {
	if f.has("v1/verify: the type is ignored") || named == "" && f.has("v1/verify: without a type any code is meant") {
		return true
	}
	if named == "" {
		named = "verification"
	}
	return ch.kind() == named
}

// kind returns what a challenge's code is for.
func (ch *refChallenge) kind() string {
	if ch.send == nil {
		return "verification"
	}
	return ch.send.Type
}

// verdictV1 returns the answer to a guess that is not right.
func (f *reference) verdictV1(reason string, ch *refChallenge) refReply {
	document := map[string]any{"valid": false, "reason": reason}
	if f.has("v1/verify: attempts_remaining comes with every reason") && ch != nil {
		document["attempts_remaining"] = ch.limit - ch.wrong
	}
	if f.has("v1/verify: a reason has status 400") {
		return refReply{status: 400, document: document, header: map[string]string{}}
	}
	return refReply{status: 200, document: document, header: map[string]string{}}
}

// proveV1 holds the table of the answers to guesses.
func (f *reference) proveV1(a *refAccount, ch *refChallenge, guess string, now time.Time) refReply {
	memory := time.Hour
	if f.has("v1/verify: a challenge is never forgotten") {
		memory = 1000 * time.Hour
	}
	if f.has("v1/verify: a challenge is forgotten when it expires") {
		memory = 0
	}
	if ch == nil || now.Sub(ch.expires) > memory {
		return f.verdictV1("NOT_FOUND", nil)
	}
	holder := ch.holder
	replaced := holder.slots[ch.slot] != ch
	lockless := f.has("parity: /v1 knows no lock") || f.has("v1/limits: /v1 knows no lock")
	right := guess == ch.code || f.has("v1/verify: every guess is right")
	switch {
	case ch.canceled && f.has("v1/cancel: a cancelled code verifies"):
	case ch.canceled && f.has("v1/cancel: a cancelled code is NOT_FOUND"):
		return f.verdictV1("NOT_FOUND", ch)
	case replaced && f.has("v1/verify: what was replaced is always REPLACED"):
		return f.verdictV1("REPLACED", ch)
	case ch.canceled:
		return f.verdictV1("CANCELED", ch)
	case replaced && !ch.used && f.has("v1/verify: a replaced code is NOT_FOUND"):
		return f.verdictV1("NOT_FOUND", ch)
	case replaced && !ch.used && (f.has("v1/verify: a guess at a replaced code is charged") && !right):
		holder.slots[ch.slot].wrong++
		return f.verdictV1("REPLACED", ch)
	case replaced && !ch.used && !f.has("v1/send: a replaced code verifies") &&
		!f.has("parity: a replaced code verifies by its id"):
		return f.verdictV1("REPLACED", ch)
	case f.locked(holder, now) && !lockless && !(right && f.has("v1/limits: a right code opens a locked recipient")):
		return f.lockedV1()
	}
	exhausted := ch.wrong >= ch.limit
	if f.has("v1/verify: one attempt more") {
		exhausted = ch.wrong > ch.limit
	}
	if f.has("v1/verify: the last attempt is never right") && right {
		exhausted = ch.wrong >= ch.limit-1
	}
	if exhausted && !(right && f.has("v1/verify: a right code opens an exhausted one")) &&
		!f.has("parity: /v1 has attempts of its own") {
		return f.verdictV1("MAX_ATTEMPTS", ch)
	}
	if !right && (f.has("v1/verify: a wrong guess at a used code is compared") && ch.used ||
		f.has("v1/verify: a wrong guess at an expired code is compared") && !now.Before(ch.expires)) {
		return f.mismatchV1(a, ch, holder, guess, now)
	}
	used := ch.used && !f.has("v1/verify: a code is not consumed") &&
		!f.has("parity: a code used elsewhere is good at /v1")
	if used {
		return f.verdictV1("ALREADY_VERIFIED", ch)
	}
	expires := ch.expires
	if f.has("v1/verify: a code never expires") || f.has("parity: a code never expires at /v1") {
		expires = expires.Add(30 * time.Minute)
	}
	if !now.Before(expires) {
		return f.verdictV1("EXPIRED", ch)
	}
	if !right {
		return f.mismatchV1(a, ch, holder, guess, now)
	}
	f.yield("v1/verify: a code is consumed outside the lock")
	f.yield("parity: a code is consumed outside the lock")
	if !f.has("parity: what is used at /v1 is not used elsewhere") {
		ch.used = true
		f.tell("otp.verified", a, ch)
	}
	ch.verifiedAt, holder.run = now, 0
	document := map[string]any{"valid": true, "id": ch.id, "verified_at": refTime(now), "attempts": ch.wrong}
	if ch.send != nil && ch.send.Metadata != nil && !f.has("v1/verify: metadata do not come back") {
		document["metadata"] = ch.send.Metadata
	}
	document["receipt"] = f.receipt(ch, now)
	switch {
	case f.has("v1/verify: a valid answer names no challenge"):
		delete(document, "id")
	case f.has("v1/verify: a valid answer has no time"):
		delete(document, "verified_at")
	case f.has("v1/verify: attempts_remaining comes with every reason"):
		document["attempts_remaining"] = ch.limit - ch.wrong
	}
	return refReply{status: 200, document: document, header: map[string]string{}}
}

func (f *reference) mismatchV1(a *refAccount, ch *refChallenge, holder *refRecipient, guess string,
	now time.Time) refReply {
	if f.has("v1/verify: wrong guesses cost nothing") || f.has("parity: guesses at /v1 cost nothing") ||
		f.has("v1/limits: wrong guesses cost nothing") {
		reply := f.verdictV1("MISMATCH", ch)
		reply.document["attempts_remaining"] = ch.limit - ch.wrong - 1
		return reply
	}
	f.yield("parity: attempts are counted outside the lock")
	f.yield("v1/verify: attempts are counted outside the lock")
	_, left := f.charge(a, holder, ch, refCall{account: a, now: now}, guess)
	reply := f.verdictV1("MISMATCH", ch)
	reply.document["attempts_remaining"] = left
	if f.has("v1/verify: what remains includes this guess") {
		reply.document["attempts_remaining"] = left + 1
	}
	return reply
}

func (f *reference) receipt(ch *refChallenge, now time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	head, _ := json.Marshal(map[string]string{"alg": "EdDSA", "kid": "1"})
	payload, _ := json.Marshal(map[string]any{"sub": ch.id, "iat": now.Unix()})
	if f.has("v1/verify: the receipt names no challenge") {
		payload = []byte(`{}`)
	}
	text := encode(head) + "." + encode(payload)
	signature := ed25519.Sign(f.v1.signer, []byte(text))
	if f.has("v1/verify: the receipt is not signed") {
		signature[0] ^= 1
	}
	return text + "." + encode(signature)
}
