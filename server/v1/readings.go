package v1

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// readings returns where this exchange notes what it read, for the sandbox's list of requests; nil outside of a
// sandbox.
func (x *exchange) readings() *web.Readings { return web.RequestOf(x.gin).Readings }

// tellCaller notes the caller.
func (x *exchange) tellCaller() {
	if r := x.readings(); r != nil {
		r.Note("key", web.ReadAs, x.caller.Account.Address, "the account")
		r.Note("kind", web.ReadAs, string(x.caller.Key.Kind), "that of the key")
		r.Note("environment", web.ReadAs, string(x.caller.Environment), "that of the key")
	}
}

// readAll is read for a body whose members are used as they are, and notes them.
func (x *exchange) readAll(target any) error {
	if err := x.read(target); err != nil {
		return err
	}
	r := x.readings()
	var members map[string]json.RawMessage
	if r == nil || json.Unmarshal(x.body, &members) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		r.Note(name, web.ReadAs, otp.Cut(string(members[name]), 256), "as it was sent")
	}
	return nil
}

// tell notes what the members of a send were read as.
func (s *sendRequest) tell(x *exchange, target *engine.Target) {
	r := x.readings()
	if r == nil {
		return
	}
	x.tellTarget(target, s.IP)
	r.Note("method", web.ReadAs, s.Method, "how it is sent")
	r.Note("type", web.ReadAs, s.Type, "what the code is for")
	optional(r, "template", s.Template, "one of the account's templates", "not given: the account's text for this type")
	optional(r, "locale", s.Locale, "the language of the message", "not given: the language of the account's text")
	switch {
	case s.TTL == nil:
		r.Note("ttl", web.TakenDefault, "", "not given: the account's otp_ttl_seconds, at most 600")
	case *s.TTL > int(engine.MaxTTL/time.Second):
		r.Note("ttl", web.ReadAs, "600 s", "the most there is")
	default:
		r.Note("ttl", web.ReadAs, strconv.Itoa(*s.TTL)+" s", "how long the code is valid")
	}
	if s.Length == nil {
		r.Note("length", web.TakenDefault, "", "not given: the account's otp_length")
	} else {
		r.Note("length", web.ReadAs, strconv.Itoa(*s.Length), "the digits of the code")
	}
	if s.Email != nil {
		r.Note("email", web.ReadAs, target.Mailbox, "where e-mail goes")
	}
	if len(s.Fallback) > 0 {
		r.Note("fallback", web.ReadAs, s.Fallback[0], "tried if the method surely did not send")
	}
	if len(s.Metadata) > 0 {
		r.Note("metadata", web.ReadAs, string(s.Metadata), "kept with the code")
	}
	x.tellBinding(target.Binding, s.Binding)
}

// tell notes which challenge a request names.
func (n *named) tell(x *exchange, meant *engine.Named) {
	r := x.readings()
	if r == nil {
		return
	}
	binding := meant.Binding
	if n.ID != nil {
		r.Note("id", web.ReadAs, meant.ID.Text(idPrefix), "the code that was sent")
	} else {
		x.tellTarget(&meant.Target, n.IP)
		binding = meant.Target.Binding
	}
	otherwise := "not given: verification"
	if n.ID != nil && x.gin.FullPath() != "/v1/verify" {
		otherwise = "not given: the id is enough"
	}
	optional(r, "type", n.Type, "has to be that of the code", otherwise)
	x.tellBinding(binding, n.Binding)
}

// tellTarget notes a recipient and the address of the user.
func (x *exchange) tellTarget(target *engine.Target, ip *string) {
	r := x.readings()
	if target.Mailbox == target.Recipient {
		r.Note("to", web.ReadAs, target.Recipient, "a mailbox")
	} else {
		r.Note("to", web.ReadAs, target.Recipient, "the number in E.164 form")
	}
	switch {
	case target.Subject != "":
		r.Note("ip", web.ReadAs, target.Subject, "has to be the same when the code is checked")
	case ip != nil:
		r.Note("ip", web.NotUsed, "", "the account's key_on_ip is off")
	default:
		r.Note("ip", web.TakenDefault, "", "not given: the code is checked without one too")
	}
}

func (x *exchange) tellBinding(canonical string, given json.RawMessage) {
	switch {
	case canonical != "":
		x.readings().Note("binding", web.ReadAs, canonical, "has to be the same when the code is checked")
	case len(given) > 0:
		x.readings().Note("binding", web.TakenDefault, "", "null: the code is bound to nothing")
	}
}

// optional notes a member that has a default.
func optional(r *web.Readings, name string, given *string, note, otherwise string) {
	if given == nil {
		r.Note(name, web.TakenDefault, "", otherwise)
		return
	}
	r.Note(name, web.ReadAs, *given, note)
}
