package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"otpbridge/server/bridge"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

type migrationCommand struct {
	Report migrationReportCommand `cmd:"" help:"Say which calls accounts make, and what to call in place of the servlets."`
}

type migrationReportCommand struct {
	asJSON
	Account string        `placeholder:"ACCOUNT" help:"The account's esme_address; without it, all."`
	Since   time.Duration `default:"168h" help:"How far to look back, at most 2160h."`
}

// Run reports.
func (m migrationReportCommand) Run(p process) error {
	if m.Since < time.Hour || m.Since > bridge.Memory {
		return unusable{fmt.Errorf("--since must be 1h to 2160h, which is how long calls are remembered")}
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		accounts, err := reported(ctx, at, m.Account)
		if err != nil {
			return err
		}
		now := time.Now()
		report, err := bridge.NewReports(at.store).On(ctx, accounts, now.Add(-m.Since), now)
		if err != nil {
			return err
		}
		return m.print(p.stdout, report, func(w io.Writer) { writeReport(w, report) })
	})
}

// reported returns the account with the address, or all accounts if it is empty.
func reported(ctx context.Context, at *workplace, address string) (accounts []otp.Account, err error) {
	if address != "" {
		found, err := at.Accounts.Find(ctx, address)
		return []otp.Account{found.Account}, err
	}
	all, err := at.Accounts.List(ctx)
	for i := range all {
		accounts = append(accounts, all[i].Account)
	}
	return accounts, err
}

func writeReport(w io.Writer, report bridge.Report) {
	for _, a := range report.Accounts {
		fmt.Fprintf(w, "Account %s%s: mode %s, %d servlet calls, %d calls of /v1 since %s.\n", a.Address, named(a.Name),
			a.Mode,
			a.Servlets, a.V1, shown(report.Since))
		if len(a.Calls) > 0 {
			rows := []string{"  CALL\tCALLS\tPASSED ON\tLAST\tKEYS\tADDRESSES"}
			for _, c := range a.Calls {
				rows = append(rows, fmt.Sprintf("  %s\t%d\t%d\t%s\t%d\t%d", c.Name, c.Calls, c.PassedOn, shown(c.LastCall),
					len(c.Keys), len(c.Addresses)))
			}
			table(w, rows...)
		}
		for _, c := range a.Calls {
			if c.Successor != "" {
				fmt.Fprintf(w, "  %s → %s\n", c.Name, c.Successor)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(a.Differences)) {
			fmt.Fprintf(w, "  differs %d times: %s\n", a.Differences[name], name)
		}
	}
}

type accountUpstreamCommand struct {
	Account string `arg:"" help:"The account's esme_address."`
	URL     string `arg:"" help:"The upstream's URL up to the servlets' names, as in https://otp.example.com/otpauthapi; none removes it."`
}

type accountCutOverCommand struct {
	Account string `arg:"" help:"The account's esme_address."`
	To      string `enum:"local,forward,shadow" default:"local" help:"Who answers from then on: ${enum}. local is this server, forward the upstream, shadow the upstream while the rules here are compared with it."`
	At      string `placeholder:"TIME" help:"When, as in 2026-12-24T06:00:00Z; at least 10 seconds ahead. Without it, as soon as every server knows of it."`
}

// Help implements kong.HelpProvider.
func (accountCutOverCommand) Help() string {
	return `A code sent before the cut-over stays valid until it expires: whoever made it also verifies it. For example, to pass an account's calls on, to make its codes here from six o'clock on, and to go back:

    otpbridge account upstream 4711 https://otp.example.com/otpauthapi
    otpbridge account cut-over 4711 --to forward
    otpbridge account cut-over 4711 --at 2026-12-24T06:00:00Z
    otpbridge account cut-over 4711 --to forward

Every server of the database must have a version that knows cut-overs: update each of them first.`
}

// Run sets the upstream.
func (a accountUpstreamCommand) Run(p process) error {
	url := &a.URL
	if a.URL == "none" {
		url = nil
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		_, err := at.Accounts.Change(ctx, manage.Edit{Account: a.Account, By: people.Operator().Actor(),
			Columns: []string{"upstream_url"},
			Set:     func(n *manage.Imported) error { n.UpstreamURL = url; return nil }})
		if err != nil {
			return err
		}
		return p.say("Set. Calls of account %s are passed on to it once otpbridge account cut-over says so.\n",
			a.Account)
	})
}

// Run sets the mode and the time it begins.
func (a accountCutOverCommand) Run(p process) error {
	var at time.Time
	if a.At != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, a.At); err != nil {
			return unusable{fmt.Errorf("--at must be a time such as 2026-12-24T06:00:00Z or 2026-12-24T11:30:00+05:30")}
		}
	}
	return work(p, func(ctx context.Context, here *workplace) error {
		changed, err := here.Accounts.CutOver(ctx, people.Operator().Actor(), a.Account, otp.BridgeMode(a.To), at, nil)
		if err != nil {
			return err
		}
		return p.say("From %s on the mode of account %s is %s.\n", shown(changed.CutOverAt.Time()),
			a.Account, a.To)
	})
}
