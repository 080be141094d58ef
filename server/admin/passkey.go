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
	{method: http.MethodPost, path: "/api/auth/passkeys", who: person, call: reads((*exchange).offerPasskey)},
	{method: http.MethodPost, path: "/api/auth/passkeys/confirm", who: person, call: reads((*exchange).addPasskey)},
	{method: http.MethodPost, path: "/api/auth/passkeys/begin", who: anybody,
		call: readsNothing((*exchange).askForPasskey)},
	{method: http.MethodPost, path: "/api/auth/passkeys/login", who: anybody, call: reads((*exchange).loginByPasskey)},
}

// question is the challenge that a browser passes to its authenticator.
type question struct {
	ID      string          `json:"id"`
	Options json.RawMessage `json:"options"`
}

// passkeyAnswer is the authenticator's answer to it.
type passkeyAnswer struct {
	ID         string          `json:"id" missing:"refused"`
	Credential json.RawMessage `json:"credential" missing:"refused"`
}

func (a passkeyAnswer) answer() people.Answer {
	return people.Answer{Question: a.ID, Credential: a.Credential}
}

func (x *exchange) offerPasskey(asked struct {
	Name string `json:"name"`
}) (answer, error) {
	made, err := x.door.People.Passkeys.Offer(x.ctx, x.who, asked.Name)
	return answer{http.StatusCreated, question(made)}, err
}

func (x *exchange) addPasskey(given passkeyAnswer) (answer, error) {
	codes, err := x.door.People.Passkeys.Add(x.ctx, x.who, given.answer())
	return backupCodes(codes), err
}

func (x *exchange) askForPasskey() (answer, error) {
	made, err := x.door.People.Passkeys.Ask(x.ctx, x.from)
	return answer{http.StatusCreated, question(made)}, err
}

func (x *exchange) loginByPasskey(given passkeyAnswer) (answer, error) {
	t, err := x.door.People.Passkeys.Login(x.ctx, given.answer(), x.from)
	return x.tokens(http.StatusOK, t, err)
}

// reauthenticate accepts a passkey, a code of another second factor, or from a person without one the password.
func (x *exchange) reauthenticate(asked struct {
	Password string         `json:"password"`
	Code     string         `json:"mfa_code"`
	Passkey  *passkeyAnswer `json:"passkey"`
}) (answer, error) {
	if asked.Passkey == nil {
		return done, x.door.People.Reauthenticate(x.ctx, x.who, asked.Password, asked.Code)
	}
	if asked.Password+asked.Code != "" {
		return answer{}, web.Invalid(web.Fault{Pointer: "/passkey", Detail: "is given beside another proof; send one"})
	}
	return done, x.door.People.Passkeys.Prove(x.ctx, x.who, asked.Passkey.answer())
}
