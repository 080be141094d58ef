package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"otpbridge/server/people"
)

type setupCommand struct{ asJSON }

// Help implements kong.HelpProvider.
func (setupCommand) Help() string {
	return `Prints a command and a link with the same token. The token works once, within a day, and until a newer one is made. Its holder may do everything, so keep it to yourself. If there is an owner, the command is refused:

    otpbridge setup

The owner invites the others, in the console or with "otpbridge user create" on the server.`
}

// link is a ticket as commands print it with --json.
type link struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	ExpiresAt string `json:"expires_at"`
}

// Run makes the link for the first owner.
func (s setupCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, at *workplace, all *people.People) error {
		issued, err := all.Staff.Setup(ctx, people.Operator())
		if err != nil {
			return err
		}
		return printLink(p, s.asJSON, at, issued, "register", "setup_token", "the first owner")
	})
}

// quote quotes text as one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// withPeople is work for commands that need People.
func withPeople(p process, do func(context.Context, *workplace, *people.People) error) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		return do(ctx, at, people.New(people.Options{Store: at.store, Vault: at.Vault(), Sandbox: at.settings.Sandbox()}))
	})
}

// printLink prints a ticket. The printed command asks for the password and passes it and the token to curl by standard
// input, because other users of the machine can see a command line.
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
