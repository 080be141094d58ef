package console

import (
	"net/http"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// componentsBody is what the parts show.
type componentsBody struct {
	list
	At, Never                   time.Time
	Account, Environment, State string
	Span                        string
	Accounts, States            []string
	Environments                []otp.Environment
	Spans                       []span
	Role                        people.Role
	Roles                       []people.Role
	Secrets                     []secret
	Passkeys                    passkeyPlace
}

// example is what the page of components shows.
func example() componentsBody {
	return componentsBody{
		list: list{Orders: []order{{"", "Newest first"}, {"at", "Oldest first"}}, First: Path + "components",
			Next: Path + "components"},
		At: time.Now(), Account: "4711", Accounts: []string{"4711", "4712"}, Environments: otp.Environments(),
		States: []string{"on", "off"}, Spans: spans, Role: people.Developer, Roles: people.Roles(),
		Secrets: []secret{{"Key", "otpb_an_example"}}, Passkeys: passkeyPlace{Elsewhere: "http://localhost:8080"},
	}
}

// components shows every part of the pages, in all its states.
func (x *exchange) components() error {
	return x.render(http.StatusOK, "components", view{Title: "Components", Body: example(),
		Notice: "This is what a page says when something was done.", Problem: "This is what it says when it was not.",
		wrong: "refused", Prove: true})
}
