package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"otpbridge/server/people"
)

type setupCommand struct{ asJSON }

// Help is shown below the flags.
func (setupCommand) Help() string {
	return `It prints a command and a link, which hold the same token. It is good once and for a day; a later one ends it. Whoever has it may do everything, so give it to nobody else. Once there is an owner this is refused:

    otpbridge setup

The owner invites the others. On the server, "otpbridge user create" does so too.`
}

// link is a ticket as the commands print it.
type link struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	ExpiresAt string `json:"expires_at"`
}

// Run makes the link of the first owner.
func (s setupCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, at *workplace, all *people.People) error {
		issued, err := all.Staff.Setup(ctx, people.Operator())
		if err != nil {
			return err
		}
		return printLink(p, s.asJSON, at, issued, "register", "setup_token", "the first owner")
	})
}

// quote makes one word of a shell of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// withPeople is work for commands about people.
func withPeople(p process, do func(context.Context, *workplace, *people.People) error) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		return do(ctx, at, people.New(people.Options{Store: at.store, Vault: at.Vault(), Sandbox: at.settings.Sandbox()}))
	})
}

// printLink prints a ticket for whom. The command that uses it asks for the password and hands it to curl by standard
// input, as it does the token: whatever is on a command line, others on the machine can see.
func printLink(p process, form asJSON, at *workplace, issued people.Issued, page, member, whom string) error {
	address := at.settings.PublicURL
	if address == "" {
		address = "http://" + at.settings.Addr
	}
	body := `{"` + member + `":"` + issued.Token + `",`
	if page == "register" {
		email := "you@shop.example"
		if member == "invitation" {
			email = whom
		}
		body += `"email":"` + email + `","name":"…",`
	}
	body += `"password":"`
	made := link{
		URL: people.Link(address, page, member, issued.Token), Token: issued.Token, ExpiresAt: shown(issued.ExpiresAt.Time()),
	}
	return form.print(p.stdout, made, func(w io.Writer) {
		fmt.Fprintf(w, "For %s, once, until %s:\n\n", whom, made.ExpiresAt)
		fmt.Fprintf(w, "  read -rsp 'Password: ' PASSWORD && printf %%s %s\"$PASSWORD\"'\"}' |\n"+
			"    curl -sS %s/api/auth/%s -H 'Content-Type: application/json' -d @-\n", quote(body), address, page)
		fmt.Fprint(w, "\nIt is for bash, and takes a password without \" and \\.\n")
		fmt.Fprintf(w, "\nIn a browser, the console takes the same as a link:\n\n  %s\n", made.URL)
	})
}
