package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
)

type accessKeyCommand struct {
	Add    accessKeyAddCommand    `cmd:"" help:"Add a key for the servlets, and print it once."`
	List   accessKeyListCommand   `cmd:"" help:"List an account's keys."`
	Revoke accessKeyRevokeCommand `cmd:"" help:"Switch a key off, on every server within a second."`
}

type accessKeyAddCommand struct {
	asJSON
	Account     string   `arg:"" help:"The account's esme_address."`
	Allow       []string `placeholder:"CIDR" help:"A network or address that the key may be used from; may be repeated. Without one it may be used from everywhere."`
	Expires     string   `placeholder:"WHEN" help:"When the key ends: a time such as 2027-01-31T00:00:00Z, or from now, such as 90d or 12h."`
	Environment string   `enum:"live,test" default:"live" help:"Whose codes and limits the key shares: ${enum}."`
	KeyFile     string   `placeholder:"FILE" help:"Take the key that is in this file, - for the standard input, instead of making one."`
}

type accessKeyListCommand struct {
	asJSON
	Account string `arg:"" help:"The account's esme_address."`
}

type accessKeyRevokeCommand struct {
	ID string `arg:"" help:"The key's id, as the list shows it."`
}

// Help is shown below the flags.
func (accessKeyAddCommand) Help() string {
	return `An account may have any number, so a key is replaced without a pause: add one, change the integration, revoke the former.

    otpbridge access-key add 4711 --allow 203.0.113.0/24 --allow 198.51.100.7 --expires 365d

The key is stored as a hash, so nobody can read it again.`
}

// Help is shown below the flags.
func (accessKeyRevokeCommand) Help() string {
	return "    otpbridge access-key list 4711\n    otpbridge access-key revoke key_0e9k…\n\n" +
		"A key that leaked: add another first if the integration must go on, and revoke in the same minute."
}

// Run adds the key.
func (a accessKeyAddCommand) Run(p process) error {
	asked := engine.NewAccessKey{AllowedIPs: a.Allow}
	if a.Expires != "" {
		expires, err := deadline(a.Expires, time.Now())
		if err != nil {
			return unusable{fmt.Errorf("--expires %w", err)}
		}
		asked.ExpiresAt = &expires
	}
	if a.KeyFile != "" {
		secret, err := p.readSecret(a.KeyFile)
		if err != nil {
			return err
		}
		if secret == "" {
			return unusable{errors.New("--key-file is empty: it holds the key alone")}
		}
		asked.Key = secret
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		key, secret, err := at.AddAccessKey(ctx, a.Account, otp.Environment(a.Environment), asked)
		if err != nil {
			return err
		}
		made := struct {
			engine.ServletKey
			Key string `json:"key,omitempty"`
		}{ServletKey: key}
		if a.KeyFile == "" {
			made.Key = secret
		}
		return a.print(p.stdout, made, func(w io.Writer) {
			fmt.Fprintf(w, "Added access key %s to account %s, %s.\n", key.ID, key.Account, conditions(key))
			if made.Key != "" {
				fmt.Fprintf(w, "  access_key: %s   (it is not shown again)\n", made.Key)
			}
		})
	})
}

func conditions(key engine.ServletKey) string {
	from := "from everywhere"
	if len(key.AllowedIPs) > 0 {
		from = "from " + strings.Join(key.AllowedIPs, ", ")
	}
	return fmt.Sprintf("for %s, good %s and %s", key.Environment, from, map[bool]string{true: "without end", false: "until " + shownOr(key.ExpiresAt, "")}[key.ExpiresAt == nil])
}

// deadline reads a time, or a span from now with the units that people think of in days.
func deadline(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36_500 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if span, err := time.ParseDuration(text); err == nil && span > 0 {
		return now.Add(span), nil
	}
	return time.Time{}, errors.New("is neither a time such as 2027-01-31T00:00:00Z nor a span such as 90d or 12h")
}

// Run lists the keys.
func (a accessKeyListCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		keys, err := at.AccessKeys(ctx, a.Account)
		if err != nil {
			return err
		}
		return a.print(p.stdout, keys, func(w io.Writer) {
			if len(keys) == 0 {
				fmt.Fprintf(w, "Account %s has no access key: otpbridge access-key add %s\n", a.Account, a.Account)
				return
			}
			rows := []string{"ID\tENDS IN\tSTATUS\tENVIRONMENT\tEXPIRES\tALLOWED FROM"}
			for _, key := range keys {
				from := "everywhere"
				if len(key.AllowedIPs) > 0 {
					from = strings.Join(key.AllowedIPs, ", ")
				}
				rows = append(rows, strings.Join([]string{
					key.ID, key.LastFour, key.Status, string(key.Environment), shownOr(key.ExpiresAt, "never"), from}, "\t"))
			}
			table(w, rows...)
		})
	})
}

// Run revokes the key.
func (a accessKeyRevokeCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		if err := at.RevokeAccessKey(ctx, a.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "Revoked %s; every server refuses it within a second.\n", a.ID)
		return err
	})
}
