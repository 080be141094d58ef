package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"otpbridge/server/people"
)

type userCommand struct {
	Create   userCreateCommand   `cmd:"" help:"Print a link with which a person registers."`
	List     userListCommand     `cmd:"" help:"Show everybody who may log in."`
	Recover  userRecoverCommand  `cmd:"" help:"Print a link with which a person chooses a new password."`
	ResetMFA userResetMFACommand `cmd:"" name:"reset-mfa" help:"Remove all second factors of a person."`
	Remove   userRemoveCommand   `cmd:"" help:"Remove a person for good."`
}

// someone is the argument that names a person.
type someone struct {
	Person string `arg:"" help:"The person's e-mail address, or id."`
}

type userCreateCommand struct {
	asJSON
	Email       string   `arg:"" help:"The address that the person will log in with."`
	Role        string   `required:"" enum:"owner,admin,developer,support,auditor" help:"What the person may do: ${enum}."`
	Accounts    []string `help:"The esme_address of each account that the person may see, separated by commas; without it, all."`
	Permissions []string `help:"Only these permissions of the role, separated by commas; without it, all of them."`
}

// Help implements kong.HelpProvider.
func (userCreateCommand) Help() string {
	return `The link works once, within seven days, and until a newer one is made for the same address. The person chooses name and password:

    otpbridge user create dev@shop.example --role developer --accounts 4711`
}

// Run invites the person.
func (u userCreateCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, at *workplace, all *people.People) error {
		grant := people.Grant{Role: people.Role(u.Role), Accounts: u.Accounts, Permissions: u.Permissions}
		issued, err := all.Staff.Invite(ctx, people.Operator(), u.Email, grant)
		if err != nil {
			return err
		}
		return printLink(p, u.asJSON, at, issued, "register", "invitation", u.Email)
	})
}

type userListCommand struct{ asJSON }

// userRow is one person of the list.
type userRow struct {
	ID       string      `json:"id"`
	Email    string      `json:"email"`
	Name     string      `json:"name"`
	Role     people.Role `json:"role"`
	Accounts []string    `json:"accounts"` // null: all
	Enabled  bool        `json:"enabled"`
	Since    string      `json:"created_at"`
}

// Run lists everybody.
func (u userListCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, _ *workplace, all *people.People) error {
		found, err := all.Staff.List(ctx, people.Operator())
		if err != nil {
			return err
		}
		rows := make([]userRow, len(found))
		for i, f := range found {
			rows[i] = userRow{f.ID, f.Email, f.Name, f.Role, f.Accounts, f.DisabledAt == 0, shown(f.CreatedAt.Time())}
		}
		return u.print(p.stdout, rows, func(w io.Writer) {
			lines := []string{"EMAIL\tNAME\tROLE\tACCOUNTS\tENABLED\tSINCE\tID"}
			for _, r := range rows {
				accounts := "all"
				if r.Accounts != nil {
					accounts = strings.Join(r.Accounts, ",")
				}
				lines = append(lines, strings.Join([]string{r.Email, r.Name, string(r.Role), accounts, fmt.Sprint(r.Enabled),
					r.Since, r.ID}, "\t"))
			}
			table(w, lines...)
		})
	})
}

type userRecoverCommand struct {
	asJSON
	someone
}

// Help implements kong.HelpProvider.
func (userRecoverCommand) Help() string {
	return `Use it only for a person who has proved who they are, and give the link to nobody else. It works once, within a day. It does not change second factors; "otpbridge user reset-mfa" removes them:

    otpbridge user recover owner@shop.example`
}

// Run makes the link.
func (u userRecoverCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, at *workplace, all *people.People) error {
		issued, err := all.Staff.Recover(ctx, people.Operator(), u.Person)
		if err != nil {
			return err
		}
		return printLink(p, u.asJSON, at, issued, "recover", "recovery_token", u.Person)
	})
}

type userResetMFACommand struct{ someone }

// Help implements kong.HelpProvider.
func (userResetMFACommand) Help() string {
	return `Use it for a person who lost phone, passkey and backup codes, and who has proved who they are. Their sessions end, and the password alone is enough until they add a factor:

    otpbridge user reset-mfa owner@shop.example`
}

// Run removes the factors.
func (u userResetMFACommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, _ *workplace, all *people.People) error {
		if err := all.Staff.ResetFactors(ctx, people.Operator(), u.Person); err != nil {
			return err
		}
		return p.say("All second factors and backup codes are gone, and all sessions have ended.\n")
	})
}

type userRemoveCommand struct{ someone }

// Run removes the person.
func (u userRemoveCommand) Run(p process) error {
	return withPeople(p, func(ctx context.Context, _ *workplace, all *people.People) error {
		if err := all.Staff.Remove(ctx, people.Operator(), u.Person, 0); err != nil {
			return err
		}
		return p.say("Removed; the history keeps what they did.\n")
	})
}

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
