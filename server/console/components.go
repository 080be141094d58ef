package console

import (
	"net/http"
	"time"

	"otpbridge/server/people"
)

// componentsBody is what the parts show.
type componentsBody struct {
	At, Never time.Time
	Account   string
	Accounts  []string
	Role      people.Role
	Roles     []people.Role
	Secrets   []secret
	Passkeys  passkeyPlace
}

// components shows every part of the pages, in all its states.
func (x *exchange) components() error {
	return x.render(http.StatusOK, "components", view{Title: "Components",
		Body: componentsBody{At: time.Now(), Account: "4711", Accounts: []string{"4711", "4712"}, Role: people.Developer,
			Roles: people.Roles(), Secrets: []secret{{"Key", "otpb_an_example"}},
			Passkeys: passkeyPlace{Elsewhere: "http://localhost:8080"}},
		Notice: "This is what a page says when something was done.", Problem: "This is what it says when it was not.",
		wrong: "refused", Prove: true})
}
