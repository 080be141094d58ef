package admin

import (
	"errors"
	"net/http"
	"strings"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// check is one check of a credential and its result.
type check struct {
	Name   string `json:"check"`
	Passed bool   `json:"passed"`
	Detail string `json:"detail,omitempty"` // why it did not pass, and what to do
}

// checked records a check, and returns its error.
func (x *exchange) checked(name string, err error) error {
	c := check{Name: name, Passed: err == nil}
	if err != nil {
		_, c.Detail = described(err)
	}
	x.checks = append(x.checks, c)
	return err
}

// explanation is how the server read the presented credential. About a refused credential it says only what its holder
// could learn from the credential itself or from a call.
type explanation struct {
	Carrier     *string  `json:"carrier"` // the header, or cookie; null: no credential
	Kind        *string  `json:"kind"`    // of a refused credential: what it looks like
	Accepted    bool     `json:"accepted"`
	Code        *string  `json:"code"` // of the refusal; null: accepted
	ID          *string  `json:"id"`   // this and the following members are null if it was refused
	Name        *string  `json:"name"`
	Role        *string  `json:"role"`     // of a person or service account
	Accounts    []string `json:"accounts"` // null: all, if it was accepted
	Permissions []string `json:"permissions"`
	Network     struct {
		Address string `json:"address"` // of the client, as trusted proxies say
		Allowed *bool  `json:"allowed"` // null: not checked
	} `json:"network"`
	Checks []check `json:"checks"` // in order
}

// The values of explanation.Kind.
const (
	accessTokenKind = "access_token"
	serviceToken    = "service_account_token"
	apiKeyKind      = "api_key"
	cookieKind      = "session_cookie"
	unknownKind     = "unknown"
)

func (x *exchange) explain() (answer, error) {
	code, _ := described(x.refusal)
	kind := otp.KindOf(x.refusal)
	if x.refusal != nil && code == "" || kind == otp.RateLimited || kind == otp.Overloaded {
		return answer{}, x.refusal // floods and faults get the usual answer
	}
	e := explanation{Accepted: x.refusal == nil, Checks: x.checks}
	e.Network.Address = x.from.Address.Unmap().WithZone("").String()
	e.Carrier, e.Kind = x.presented()
	for _, c := range x.checks {
		if c.Name == "network" {
			e.Network.Allowed = &c.Passed
		}
	}
	if x.refusal != nil {
		e.Code = &code
		return answer{http.StatusOK, e}, nil
	}
	who := x.who
	e.ID, e.Name, e.Accounts, e.Permissions = new(who.Text()), &who.Name, who.Grant.Accounts, who.Permissions()
	if who.Grant.Role != "" {
		e.Role = new(string(who.Grant.Role))
	}
	switch who.Kind {
	case people.ServiceKind:
		e.Kind = new(serviceToken)
	case people.KeyKind:
		e.Kind, e.Permissions = new(apiKeyKind), x.apiKey.Key.Kind.Effective(x.apiKey.Key.Permissions)
	}
	return answer{http.StatusOK, e}, nil
}

// presented returns where the credential is in the request, and what it looks like.
func (x *exchange) presented() (carrier, kind *string) {
	header := x.gin.Request.Header
	for _, name := range []string{"Authorization", "X-API-Key", "access_key"} {
		value := header.Get(name)
		if value == "" {
			continue
		}
		secret := strings.TrimSpace(value[strings.LastIndexByte(strings.TrimSpace(value), ' ')+1:])
		switch {
		case strings.Count(secret, ".") == 2:
			return &name, new(accessTokenKind)
		case strings.HasPrefix(secret, crypto.APIKeyPrefix):
			return &name, new(apiKeyKind)
		}
		return &name, new(unknownKind)
	}
	if cookie, err := x.door.browser.Cookie(x.gin.Request); err != nil || cookie != "" {
		return new("cookie"), new(cookieKind)
	}
	return nil, nil
}

// described returns the code and the text of a refusal, empty for a fault.
func described(err error) (code, detail string) {
	if problem, ok := errors.AsType[*web.Problem](err); ok {
		return problem.Code, problem.Detail
	}
	if refusal, ok := errors.AsType[*otp.Error](err); ok {
		row, _ := web.RowOf(refusal.Kind)
		return row.Code, refusal.Message
	}
	return "", ""
}
