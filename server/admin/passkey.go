package admin

import (
	"encoding/json"
	"net/http"

	"otpbridge/server/people"
	"otpbridge/server/web"
)

// passkeyRoutes are the calls that add passkeys and log in with them. They are listed and removed with the other
// factors.
var passkeyRoutes = []route{
	{method: http.MethodPost, path: "/api/auth/passkeys", who: person, call: (*exchange).offerPasskey},
	{method: http.MethodPost, path: "/api/auth/passkeys/confirm", who: person, call: (*exchange).addPasskey},
	{method: http.MethodPost, path: "/api/auth/passkeys/begin", who: anybody, call: (*exchange).askForPasskey},
	{method: http.MethodPost, path: "/api/auth/passkeys/login", who: anybody, call: (*exchange).loginByPasskey},
}

// question is the challenge that a browser passes to its authenticator.
type question struct {
	ID      string          `json:"id"`
	Options json.RawMessage `json:"options"`
}

// passkeyAnswer is the authenticator's answer to it.
type passkeyAnswer struct {
	ID         string          `json:"id"`
	Credential json.RawMessage `json:"credential"`
}

func (a passkeyAnswer) read() (people.Answer, error) {
	err := needed("id", a.ID, "credential", string(a.Credential))
	return people.Answer{Question: a.ID, Credential: a.Credential}, err
}

func (x *exchange) offerPasskey() (answer, error) {
	var asked struct {
		Name string `json:"name"`
	}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	made, err := x.door.People.Passkeys.Offer(x.ctx, x.who, asked.Name)
	return answer{http.StatusCreated, question(made)}, err
}

func (x *exchange) addPasskey() (answer, error) {
	given, err := x.readAnswer()
	if err != nil {
		return answer{}, err
	}
	codes, err := x.door.People.Passkeys.Add(x.ctx, x.who, given)
	return backupCodes(codes), err
}

func (x *exchange) askForPasskey() (answer, error) {
	if err := x.readNothing(); err != nil {
		return answer{}, err
	}
	made, err := x.door.People.Passkeys.Ask(x.ctx, x.from)
	return answer{http.StatusCreated, question(made)}, err
}

func (x *exchange) loginByPasskey() (answer, error) {
	given, err := x.readAnswer()
	if err != nil {
		return answer{}, err
	}
	t, err := x.door.People.Passkeys.Login(x.ctx, given, x.from)
	return x.tokens(http.StatusOK, t, err)
}

func (x *exchange) readAnswer() (people.Answer, error) {
	var asked passkeyAnswer
	if err := x.read(&asked); err != nil {
		return people.Answer{}, err
	}
	return asked.read()
}

// reauthenticate accepts a passkey, a code of another second factor, or from a person without one the password.
func (x *exchange) reauthenticate() (answer, error) {
	var asked struct {
		Password string         `json:"password"`
		Code     string         `json:"mfa_code"`
		Passkey  *passkeyAnswer `json:"passkey"`
	}
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if asked.Passkey == nil {
		return done, x.door.People.Reauthenticate(x.ctx, x.who, asked.Password, asked.Code)
	}
	if asked.Password+asked.Code != "" {
		return answer{}, web.Invalid(web.Fault{Pointer: "/passkey", Detail: "is given beside another proof; send one"})
	}
	given, err := asked.Passkey.read()
	if err != nil {
		return answer{}, err
	}
	return done, x.door.People.Passkeys.Prove(x.ctx, x.who, given)
}
