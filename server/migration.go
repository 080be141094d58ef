package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"otpbridge/server/bridge"
	"otpbridge/server/otp"
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
