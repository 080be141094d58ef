package console

import (
	"errors"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// passkeyPages add passkeys, log in with them, and reauthenticate with them. Each starts with a question that a script
// passes to the browser, and ends with a form that has the answer.
var passkeyPages = []route{
	{method: post, path: "login/passkey/begin", who: anybody, serve: (*exchange).askForLogin},
	{method: post, path: "login/passkey", who: anybody, serve: (*exchange).loginByPasskey},
	{method: post, path: "security/passkey", who: person, serve: (*exchange).offerPasskey},
	{method: post, path: "security/passkey/confirm", who: person, serve: (*exchange).addPasskey},
	{method: post, path: "security/prove/passkey/begin", who: person, serve: (*exchange).askForProof},
	{method: post, path: "security/prove/passkey", who: person, serve: (*exchange).proveByPasskey},
}

// passkeyForm is a question and the form that sends its answer.
type passkeyForm struct {
	Title, Action string
	Adds          bool // it adds a passkey; else an existing one signs
	ID, Options   string
	To            string // the page after a login
}

func formOf(q people.Question, title, action string) *passkeyForm {
	return &passkeyForm{Title: title, Action: action, ID: q.ID, Options: string(q.Options)}
}

// passkeyPlace says where passkeys work.
type passkeyPlace struct {
	Here      bool
	Elsewhere string // the origin at which they work, if it is another; empty if there is none
}

func (x *exchange) passkeys() passkeyPlace {
	origin := x.door.People.Passkeys.Origin()
	if x.door.Sandbox && origin != web.BaseOf(x.gin.Request) { // the reader uses the address of loopback, not its name
		return passkeyPlace{Elsewhere: origin}
	}
	return passkeyPlace{Here: origin != ""}
}

// passkeyAnswer returns the answer in the form.
func (x *exchange) passkeyAnswer() people.Answer {
	return people.Answer{Question: x.form("question"), Credential: []byte(x.form("credential"))}
}

func (x *exchange) askForLogin() error {
	body := x.loginBody(x.form("to"))
	question, err := x.door.People.Passkeys.Ask(x.ctx, x.from)
	if err != nil {
		return x.refuse(err, "login", "Log in", body)
	}
	body.Passkey = formOf(question, "Use your passkey", "login/passkey")
	body.Passkey.To = body.To
	return x.show("login", "Log in", body)
}

func (x *exchange) loginByPasskey() error {
	tokens, err := x.door.People.Passkeys.Login(x.ctx, x.passkeyAnswer(), x.from)
	if err != nil {
		return x.refuse(err, "login", "Log in", x.loginBody(x.form("to")))
	}
	x.enter(tokens)
	return x.goBack(x.form("to"))
}

func (x *exchange) offerPasskey() error {
	question, err := x.door.People.Passkeys.Offer(x.ctx, x.who, x.form("passkey"))
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.Field == "name" {
		own := *refusal
		own.Field, err = "passkey", &own // the page has another field for the name of an app
	}
	if err != nil {
		return x.showSecurity(err, securityBody{})
	}
	form := formOf(question, "Add a passkey", "security/passkey/confirm")
	form.Adds = true
	return x.showSecurity(nil, securityBody{Passkey: form})
}

func (x *exchange) addPasskey() error {
	codes, err := x.door.People.Passkeys.Add(x.ctx, x.who, x.passkeyAnswer())
	if err == nil && len(codes) == 0 { // it is not the first factor
		return x.goTo("security?done=passkey")
	}
	return x.showSecurity(err, securityBody{Codes: codes})
}

func (x *exchange) askForProof() error {
	question, err := x.door.People.Passkeys.Ask(x.ctx, x.from)
	if err != nil {
		return x.showSecurity(err, securityBody{})
	}
	return x.showSecurity(nil, securityBody{Passkey: formOf(question, "Use your passkey", "security/prove/passkey")})
}

func (x *exchange) proveByPasskey() error {
	return x.did(x.door.People.Passkeys.Prove(x.ctx, x.who, x.passkeyAnswer()), "proved")
}
