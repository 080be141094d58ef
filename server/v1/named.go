package v1

import (
	"encoding/json"
	"net/http"
	"strings"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

// named is how a request names a challenge: by id, or by the recipient and what tells the challenge from the
// recipient's others.
type named struct {
	ID      *string         `json:"id" null:"refused"`
	To      *string         `json:"to" null:"refused"`
	IP      *string         `json:"ip" null:"refused"`
	Type    *string         `json:"type" null:"refused"`
	Binding json.RawMessage `json:"binding"`
}

const recipientForm = "must be a number such as +919551492394 or a mailbox such as user@example.com"

// check returns the id, zero if the request names a recipient.
func (n *named) check(k *checks) (id otp.ID) {
	switch {
	case n.ID == nil && n.To == nil:
		k.that(false, "/id", "is missing; name the challenge by id, or its recipient by to")
	case n.ID != nil && n.To != nil:
		k.that(false, "/to", "must not stand beside id; which one is meant?")
	case n.ID != nil:
		id = k.idAt("/id", *n.ID)
		k.that(n.IP == nil, "/ip", "must not stand beside id, which names one challenge")
	default:
		k.text("/to", *n.To, maxTo, recipientForm)
		k.subject("/ip", n.IP)
	}
	if n.Type != nil {
		k.choice("/type", *n.Type, types)
	}
	return id
}

// meant returns the challenge that a checked request names.
func (x *exchange) meant(n *named, id otp.ID) (m engine.Named, err error) {
	m = engine.Named{ID: id, Type: otp.ValueOr(n.Type, "")}
	if n.ID != nil {
		m.Binding, err = engine.CanonicalBinding(n.Binding)
	} else {
		m.Target, err = x.caller.TargetOf(otp.ValueOr(n.To, ""), otp.ValueOr(n.IP, ""), "", n.Binding)
	}
	if err == nil {
		n.tell(x, &m)
	}
	return m, err
}

// byRecipient are the query parameters that name a challenge by its recipient.
var byRecipient = []string{"to", "ip", "type"}

// meantByQuery returns the challenge that the request's query names.
func (x *exchange) meantByQuery() (engine.Named, error) {
	var k checks
	given := func(name string) *string {
		if value, ok := x.query.Given(name); ok {
			return &value
		}
		return nil
	}
	n := named{To: given("to"), IP: given("ip"), Type: given("type")}
	switch {
	case n.To == nil:
		k.that(false, "/to", "is missing; "+recipientForm)
	case strings.HasPrefix(*n.To, " "):
		k.that(false, "/to", "begins with a blank; in a query the + of a number is written %2B")
	default:
		n.check(&k)
	}
	// The checks point into a body, which a query is not.
	for i, fault := range k.faults {
		k.faults[i].Parameter, k.faults[i].Pointer = strings.TrimPrefix(fault.Pointer, "/"), ""
	}
	if err := k.err(); err != nil {
		return engine.Named{}, err
	}
	return x.meant(&n, otp.ID{})
}

// resendRequest is the body of POST /v1/resend.
type resendRequest struct {
	named
	Method *string `json:"method" null:"refused"`
}

// resend sends a challenge's code again, with the same expiry.
func (x *exchange) resend() (engine.Answer, error) {
	var asked resendRequest
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	var k checks
	id := asked.check(&k)
	if asked.Method != nil {
		k.choice("/method", *asked.Method, methods)
	}
	if err := k.err(); err != nil {
		return engine.Answer{}, err
	}
	meant, err := x.meant(&asked.named, id)
	if err != nil {
		return engine.Answer{}, err
	}
	if r := x.readings(); r != nil {
		optional(r, "method", asked.Method, "how it is sent", "not given: the one of the first send")
	}
	return x.once(func(once otp.ID) (engine.Answer, error) {
		resent, err := x.door.engine.ResendNamed(x.ctx, x.caller, meant, otp.ValueOr(asked.Method, ""), once)
		if err != nil {
			return engine.Answer{}, err
		}
		return answerOf(http.StatusOK, shown(resent))
	})
}

// cancel cancels a challenge: its code is not accepted any more.
func (x *exchange) cancel() (engine.Answer, error) {
	var asked named
	if err := x.read(&asked); err != nil {
		return engine.Answer{}, err
	}
	var k checks
	id := asked.check(&k)
	if err := k.err(); err != nil {
		return engine.Answer{}, err
	}
	meant, err := x.meant(&asked, id)
	if err != nil {
		return engine.Answer{}, err
	}
	canceled, err := x.door.engine.CancelNamed(x.ctx, x.caller, meant)
	if err != nil {
		return engine.Answer{}, err
	}
	return answerOf(http.StatusOK, shown(canceled))
}
