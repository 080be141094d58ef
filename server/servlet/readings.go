package servlet

import (
	"errors"
	"strings"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// tell notes what the parameters of a call were read as, or why the call was refused, for the sandbox's list of
// requests.
func (x *exchange) tell(caller *engine.Caller, p *parameters, target *engine.Target, err error) {
	x.readings.Note("access_key", web.ReadAs, x.account.Address, "the account")
	x.readings.Note("environment", web.ReadAs, string(caller.Environment), "that of the key")
	if x.servlet.plain && !x.account.PlainValidation {
		return // nothing else was read
	}
	if p.noForm {
		x.readings.Note("body", web.NotUsed, "", "its Content-Type is not application/x-www-form-urlencoded")
	}
	for name := nameIPAddress; name <= nameOTP; name <<= 1 {
		if p.given&name != 0 {
			x.readings.Note(name.String(), web.NotRead, "", "the call was refused before it was looked at")
		}
	}
	if refusal, refused := errors.AsType[*otp.Error](err); refused {
		name, reason, named := strings.Cut(refusal.Reason, ": ")
		if !named {
			name, reason = "query or form", refusal.Reason
		}
		x.readings.Note(name, web.ReadRefused, "", reason)
		return
	}
	x.readings.Note("mobile", web.ReadAs, target.Recipient, "the number in E.164 form")
	x.tellSubject(target)
	x.tellMailbox(p, target)
	x.tellDepartment(target)
	if p.given&nameOTP != 0 && x.servlet.step != validate {
		x.readings.Note("otp", web.NotUsed, "", "only a validation reads it")
	}
}

func (x *exchange) tellSubject(target *engine.Target) {
	if target.Subject == "" {
		x.readings.Note("ipaddress", web.NotUsed, "", "the account's key_on_ip is off")
		return
	}
	x.readings.Note("ipaddress", web.ReadAs, target.Subject, "has to be the same when the code is checked")
}

func (x *exchange) tellMailbox(p *parameters, target *engine.Target) {
	switch given := p.given&nameEmail != 0; {
	case x.servlet.step == validate && given:
		x.readings.Note("email", web.NotUsed, "", "a validation sends nothing")
	case x.servlet.step == validate:
	case given && !x.account.EmailEnabled:
		x.readings.Note("email", web.NotUsed, "", "the account's email_enabled is off")
	case target.Mailbox != "":
		x.readings.Note("email", web.ReadAs, target.Mailbox, "the mailbox that gets the code too")
	case x.account.EmailEnabled && x.servlet.step == regenerate:
		x.readings.Note("email", web.TakenDefault, "", "not given: the mailbox of the first send, if it had one")
	case x.account.EmailEnabled:
		x.readings.Note("email", web.TakenDefault, "", "not given: no e-mail is sent")
	}
}

func (x *exchange) tellDepartment(target *engine.Target) {
	given := len(x.request.Header["Department-Id"]) > 0
	switch {
	case target.Department != "":
		x.readings.Note("department-id", web.ReadAs, target.Department, "the header chooses the message's text")
	case given:
		x.readings.Note("department-id", web.NotUsed, "", "the header names no department of the account's list")
	}
}

// tellCode notes the code of a validation; empty for one that cannot be read.
func (x *exchange) tellCode(code, how string) {
	if code == "" {
		_, reason, _ := strings.Cut(x.reason, ": ")
		x.readings.Note("otp", web.ReadRefused, "", "it counts as a wrong code: "+reason)
		return
	}
	x.readings.Note("otp", web.ReadAs, code, how)
}
