package main

import (
	"fmt"
	"io"

	"otpbridge/config"
)

type configCommand struct{ asJSON }

// Help implements kong.HelpProvider.
func (configCommand) Help() string {
	return `Secrets are redacted, also those in a database's URL. If a setting is wrong, the list is followed by the faults, and the exit code is 2:

    otpbridge config | grep environment`
}

// Run shows every setting, then what is wrong with them.
func (c configCommand) Run(p process) error {
	all := config.Explain(p.environ)
	err := c.print(p.stdout, all, func(w io.Writer) {
		rows := []string{"SETTING\tVALUE\tSOURCE\tDEFAULT"}
		for _, e := range all {
			value := e.Value
			if value == "" {
				value = "-"
			}
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", e.Name, value, e.Source, e.Default))
		}
		table(w, rows...)
	})
	if err != nil {
		return err
	}
	_, err = config.Load(p.environ)
	return err
}
