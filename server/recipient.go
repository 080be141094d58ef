package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

type recipientCommand struct {
	Show   recipientShowCommand   `cmd:"" help:"Show whether a person is locked out, and the state of their codes."`
	Unlock recipientUnlockCommand `cmd:"" help:"Lift the locks after wrong guesses."`
}

// whose are the arguments that name a recipient of an account.
type whose struct {
	Account     string `arg:"" help:"The account's esme_address."`
	Number      string `arg:"" help:"The number with its country code in any spelling, or the mailbox."`
	Environment string `enum:"live,test,dev" default:"live" help:"The environment of the key that the code was requested with: ${enum}. In a sandbox it is test, or dev if the key was made so."`
}

type recipientShowCommand struct {
	asJSON
	whose
}

type recipientUnlockCommand struct {
	whose
	Reason string `default:"at the command line" placeholder:"TEXT" help:"The reason, for the history."`
}

// Help implements kong.HelpProvider.
func (recipientShowCommand) Help() string {
	return `    otpbridge recipient show 4711 +919551492394

It shows neither the code nor the whole number, so that a person who reads this screen can help but cannot log in.`
}

// Help implements kong.HelpProvider.
func (recipientUnlockCommand) Help() string {
	return `Twenty wrong guesses within an hour lock a recipient until the oldest is an hour old; a hundred in a row lock it for a day. A lock holds for servlets and JSON API and on every server. Lift it only for a person who has proved who they are: each unlocking allows another twenty guesses.

    otpbridge recipient unlock 4711 +919551492394

The unlocking is recorded in the history. Codes that are used up stay so; send a new one.`
}

// Run shows the recipient.
func (r recipientShowCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		person, err := at.Recipients.Find(ctx, r.Account, otp.Environment(r.Environment), r.Number)
		if err != nil {
			return err
		}
		return r.print(p.stdout, person, func(w io.Writer) {
			table(w,
				"recipient\t"+person.Mask,
				"locked until\t"+shownOr(person.LockedUntil, "not locked"),
				fmt.Sprintf("wrong guesses\t%d of %d in the last hour, %d of %d in a row", person.Failures, otp.FailuresPerHour,
					person.Run, otp.FailuresInRun),
				fmt.Sprintf("messages\t%d in the last minute, %d hour, %d day", person.Minute, person.Hour, person.Day))
			if len(person.Challenges) == 0 {
				fmt.Fprintln(w, "There is no code that anybody could still use.")
				return
			}
			rows := []string{"CODE\tSTATE\tMADE\tEXPIRES\tWRONG\tSENT"}
			for _, c := range person.Challenges {
				rows = append(rows, strings.Join([]string{
					c.ID, c.State, shown(c.CreatedAt), shown(c.ExpiresAt),
					fmt.Sprintf("%d of %d", c.Wrong, c.MaxAttempts), strconv.Itoa(c.Sends)}, "\t"))
			}
			table(w, rows...)
		})
	})
}

// Run lifts the locks.
func (r recipientUnlockCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		event, err := at.Recipients.Unlock(ctx, people.Operator().Actor(), r.Account, otp.Environment(r.Environment),
			r.Number,
			r.Reason)
		if err != nil {
			return err
		}
		return p.say("Unlocked; recorded as %s.\n", event.Text("evt"))
	})
}
