package main

import (
	"fmt"
	"text/tabwriter"

	"otpbridge/testclient/conform"
)

type listCommand struct {
	picks
}

// Run lists the cases that the arguments select.
func (c *listCommand) Run(p process) error {
	cases, err := conform.Selected(conform.Cases(), c.Cases, c.level(), c.profile())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tlevel\tfrom\tprofile\trequirement")
	for _, one := range cases {
		profile := string(one.Profile)
		switch one.Profile {
		case conform.Any:
			profile = "both"
		case conform.None:
			profile = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.ID, one.Level, one.Source, profile, one.Requirement)
	}
	return table.Flush()
}
