package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

type serviceCommand struct {
	Create serviceCreateCommand `cmd:"" help:"Make a service account, and print its private key or secret once."`
	List   serviceListCommand   `cmd:"" help:"List the service accounts."`
	Revoke serviceRevokeCommand `cmd:"" help:"End a service account and its tokens, within a second."`
}

type serviceCreateCommand struct {
	asJSON
	Name        string   `arg:"" help:"A name for people."`
	Role        string   `required:"" enum:"admin,developer,support,auditor" help:"What it may do: ${enum}."`
	Accounts    []string `placeholder:"ACCOUNT" help:"The accounts that it may manage; without any, all."`
	Permissions []string `placeholder:"PERMISSION" help:"The role's permissions that it gets; without any, all of them."`
	Secret      bool     `xor:"proof" help:"Give it a secret instead of a key pair."`
	PublicKey   string   `xor:"proof" placeholder:"FILE" help:"Its public key in PEM, Ed25519 or P-256; - is the standard input. Without it a pair is made."`
}

type serviceListCommand struct{ asJSON }

type serviceRevokeCommand struct {
	ID string `arg:"" help:"The id, as list shows it."`
}

// Help implements kong.HelpProvider.
func (serviceCreateCommand) Help() string {
	return `Automation manages accounts as a service account. It gets an access token for an hour from POST /oauth/token, either
with a JSON Web Token that it signs with its private key, or with its secret. For example:

    otpbridge service create rotation --role developer > rotation.pem     # umask 077
    otpbridge service create dashboard --role auditor --secret

It prints the private key or secret to the standard output and the id to the standard error, so that a file gets only
the secret.`
}

// serviceJSON is a service account as --json prints it.
type serviceJSON struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Role        string   `json:"role"`
	Accounts    []string `json:"accounts"` // null: all
	Permissions []string `json:"permissions"`
	Method      string   `json:"token_endpoint_auth_method"`
	State       string   `json:"state"`
	UsedAt      *string  `json:"last_used_at"`
	Secret      string   `json:"secret,omitempty"` // or the private key; shown once
}

func jsonOfService(s people.Service) serviceJSON {
	shownAs := serviceJSON{
		ID: s.ID, Name: s.Name, Role: string(s.Grant.Role), Accounts: s.Grant.Accounts, Permissions: s.Permissions,
		Method: s.Method, State: "active",
	}
	if s.RevokedAt != 0 {
		shownAs.State = "revoked"
	}
	if s.UsedAt != 0 {
		at := shown(s.UsedAt.Time())
		shownAs.UsedAt = &at
	}
	return shownAs
}

// Run makes the service account.
func (c serviceCreateCommand) Run(p process) error {
	grant := people.Grant{Role: people.Role(c.Role), Accounts: c.Accounts, Permissions: c.Permissions}
	asked := people.NewService{Name: c.Name, Grant: grant}
	if c.Secret {
		asked.Method = people.BySecret
	}
	if c.PublicKey != "" {
		text, err := p.readInput(c.PublicKey)
		if err != nil {
			return err
		}
		asked.PublicKey = string(text)
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		made, secret, err := at.services().Create(ctx, people.Operator(), asked)
		if err != nil {
			return err
		}
		all := jsonOfService(made)
		all.Secret = string(secret.Bytes())
		return c.print(p.stdout, all, func(w io.Writer) {
			fmt.Fprintf(p.stderr, "Service account %s%s. Its client_id is the id.\n", made.ID, named(made.Name))
			if !secret.IsZero() {
				fmt.Fprintln(p.stderr, "Store what follows now: it is not kept, and not shown again.")
				fmt.Fprintln(w, strings.TrimSpace(string(secret.Bytes())))
			}
		})
	})
}

// Run lists the service accounts.
func (c serviceListCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		all, err := at.services().List(ctx, people.Operator())
		if err != nil {
			return err
		}
		list := []serviceJSON{}
		rows := []string{"ID\tSTATE\tROLE\tACCOUNTS\tPROVES BY\tLAST TOKEN\tNAME"}
		for _, s := range all {
			row := jsonOfService(s)
			list = append(list, row)
			rows = append(rows, strings.Join([]string{
				row.ID, row.State, row.Role, cmp.Or(strings.Join(row.Accounts, ","), "all"), row.Method,
				otp.ValueOr(row.UsedAt, "never"), row.Name}, "\t"))
		}
		return c.print(p.stdout, list, func(w io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(w, "There is no service account yet: otpbridge service create --help")
				return
			}
			table(w, rows...)
		})
	})
}

// Run ends the service account.
func (c serviceRevokeCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		if err := at.services().Revoke(ctx, people.Operator(), c.ID); err != nil {
			if otp.KindOf(err) == otp.NotFound {
				return otp.Refuse(otp.NotFound, "there is no such service account, or it is revoked; see otpbridge service list")
			}
			return err
		}
		return p.say("Revoked; it gets no more tokens, and those it has are refused.\n")
	})
}

// services opens the service accounts. The command line issues no tokens, so the issuer does not matter.
func (w *workplace) services() *people.Services {
	return people.NewServices(w.store, w.keyring, w.settings.PublicURL)
}
