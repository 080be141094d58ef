package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

type keyCommand struct {
	Create createKeyCommand `cmd:"" help:"Make a key for an account, or import one, and show its secret once."`
	Show   showKeyCommand   `cmd:"" help:"Show everything about a key except its secrets."`
	List   listKeysCommand  `cmd:"" help:"List the keys of an account, or of all accounts, without their secrets."`
	Rotate rotateKeyCommand `cmd:"" help:"Make a key's successor, and end the key after a grace period."`
	Revoke revokeKeyCommand `cmd:"" help:"End a key for good."`
}

type createKeyCommand struct {
	Account           string   `arg:"" help:"The account's esme_address."`
	Name              string   `placeholder:"TEXT" help:"What the key is for, to tell it from others."`
	Kind              string   `enum:"secret,service,read_only,client,access_key" default:"secret" help:"What the key may be used for: ${enum}."`
	Environment       string   `enum:"live,test,dev," default:"" help:"live, test or dev. Without it live, or test in a sandbox. Codes of test and dev are not delivered to anybody."`
	Permissions       []string `placeholder:"NAME" help:"What the key may do: send:otp, verify:otp, resend:otp, cancel:otp, read:otp, read:webhooks, write:webhooks, write:privacy, read:accounts, read:keys, read:audit, read:statistics, debug or *. Without it, the permissions ending in :otp that its kind may have."`
	AllowedIPs        []string `name:"allowed-ips" placeholder:"NETWORK" help:"Addresses and networks that the key may be used from. Without it, all."`
	DeniedIPs         []string `name:"denied-ips" placeholder:"NETWORK" help:"Addresses and networks that the key may not be used from, even if an allowed network contains them."`
	AllowedOrigins    []string `placeholder:"ORIGIN" help:"Web pages that the key may be used from, like https://www.example.com. A client key needs at least one."`
	RequestsPerMinute *int     `placeholder:"N" help:"Limit of requests per minute. Without it the account's limit, else 1000, 60 for a client key and none for an access key."`
	Burst             *int     `placeholder:"N" help:"How many of these requests may come at once. Without it, as many as in a minute."`
	ExpiresAt         string   `placeholder:"TIME" help:"When the key ends, like 2027-01-31T00:00:00Z or 2027-01-31, or after how long, like 720h or 90d."`
	Signing           string   `enum:"off,optional,required" default:"off" help:"Whether requests carry an HMAC signature: ${enum}."`
	ImportFile        string   `placeholder:"PATH" help:"Import the key in this file (- for the standard input) instead of making a new one, so that an integration can keep its key."`
	asJSON
}

type listKeysCommand struct {
	Account string `arg:"" optional:"" help:"The account's esme_address; without it all accounts."`
	asJSON
}

type showKeyCommand struct {
	ID string `arg:"" name:"key-id" help:"The key's id, which starts with key_."`
	asJSON
}

type rotateKeyCommand struct {
	ID    string        `arg:"" name:"key-id" help:"The key's id, which starts with key_."`
	Grace time.Duration `default:"24h" help:"How long the old key stays valid; 0s ends it at once."`
	asJSON
}

type revokeKeyCommand struct {
	ID string `arg:"" name:"key-id" help:"The key's id, which starts with key_."`
}

const keySettings = `
The command works on the database and with the keyring that the OTPBRIDGE_ variables name, a
running server's or not; give it the same variables. Servers see the change within a second.`

// Help implements kong.HelpProvider.
func (createKeyCommand) Help() string {
	return `For example, a key for a backend, a key for a dashboard that only reads, a key for a web page, and the
key of another system that its clients keep using:

    otpbridge key create 10000000000001 --name "shop, backend" --allowed-ips 203.0.113.0/24
    otpbridge key create 10000000000001 --kind read_only --expires-at 720h
    otpbridge key create 10000000000001 --kind client --allowed-origins https://www.example.com
    otpbridge key create 10000000000001 --kind access_key --import-file /run/secrets/old-key

The servlets are called with keys of the kind access_key. A key that is imported has 16 to 512
printable ASCII characters without blanks, at least 5 of them different, and is neither a short text
repeated nor made of sequences and well-known words; keys that are published in the documents are
refused.
` + keySettings
}

// Help implements kong.HelpProvider.
func (listKeysCommand) Help() string {
	return `For example:

    otpbridge key list
    otpbridge key list 10000000000001 --json
` + keySettings
}

// Help implements kong.HelpProvider.
func (showKeyCommand) Help() string {
	return `For example:

    otpbridge key show ` + exampleKeyID + ` --json
` + keySettings
}

// Help implements kong.HelpProvider.
func (rotateKeyCommand) Help() string {
	return `The new key has the same settings and new secrets. For example:

    otpbridge key rotate ` + exampleKeyID + ` --grace 72h
` + keySettings
}

// Help implements kong.HelpProvider.
func (revokeKeyCommand) Help() string {
	return `The key's successor, if it has one, stays valid. For example:

    otpbridge key revoke ` + exampleKeyID + `
` + keySettings
}

const exampleKeyID = "key_06d13s0c5n7hp8v3k2a9e4q1tc"

// Run makes a key and prints it.
func (c createKeyCommand) Run(p process) error {
	n := manage.NewKey{
		Account: c.Account, Name: c.Name, Kind: otp.KeyKind(c.Kind), Environment: otp.Environment(c.Environment),
		Permissions: c.Permissions, AllowedIPs: c.AllowedIPs, DeniedIPs: c.DeniedIPs, AllowedOrigins: c.AllowedOrigins,
		RequestsPerMinute: c.RequestsPerMinute, Burst: c.Burst, Signing: otp.Signing(c.Signing),
	}
	if c.ExpiresAt != "" {
		ends, err := deadline(c.ExpiresAt, time.Now())
		if err != nil {
			return unusable{fmt.Errorf("--expires-at %q %w", c.ExpiresAt, err)}
		}
		n.ExpiresAt = &ends
	}
	if c.ImportFile != "" {
		secret, err := p.readSecret(c.ImportFile)
		if err != nil {
			return fmt.Errorf("--import-file: %w", err)
		}
		if strings.TrimSpace(secret) == "" {
			return unusable{fmt.Errorf("--import-file: %s is empty; it should hold the key and nothing else", c.ImportFile)}
		}
		n.Import = secret
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		key, secret, signing, err := at.Keys.Create(ctx, manage.Operator(), n)
		if err != nil {
			return err
		}
		return c.printSecrets(p.stdout, "was made", key, secret, signing, c.ImportFile != "")
	})
}

// deadline parses a time, a date, or a duration from now; a duration may also be in days, like 90d.
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
	return time.Time{}, errors.New("is neither a time such as 2027-01-31T00:00:00Z nor a span such as 90d or 720h")
}

// Run prints a key without its secrets.
func (c showKeyCommand) Run(p process) error {
	id, err := keyID(c.ID)
	if err != nil {
		return err
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		key, err := at.Keys.Find(ctx, manage.Operator(), id)
		if err != nil {
			return err
		}
		return c.print(p.stdout, jsonOf(key), func(w io.Writer) { describe(w, key) })
	})
}

// describe writes a key's restrictions, one a line.
func describe(w io.Writer, key manage.Key) {
	rows := []string{
		"id\t" + key.ID.Text("key"), "account\t" + key.Account, "name\t" + cmp.Or(escaped(key.Name, ""), "-"), "kind\t" +
			string(key.Kind),
		"environment\t" + string(key.Environment), "ends with\t" + cmp.Or(key.LastFour, "-"), "status\t" + string(key.Status),
		"allowed from\t" + allowedFrom(key), "denied from\t" + cmp.Or(strings.Join(key.DeniedIPs, ", "), "-"),
		"origins\t" + cmp.Or(strings.Join(key.AllowedOrigins, ", "), "-"),
		"permissions\t" + cmp.Or(strings.Join(key.Permissions, ", "), "those of its kind"), "signing\t" + string(key.Signing),
		"created\t" + moment(key.CreatedAt), "expires\t" + cmp.Or(moment(key.ExpiresAt), "never"),
	}
	if !key.Successor.IsZero() {
		rows = append(rows, "successor\t"+key.Successor.Text("key"))
	}
	table(w, rows...)
}

func allowedFrom(key manage.Key) string {
	return cmp.Or(strings.Join(key.AllowedIPs, ", "), "everywhere")
}

// Run prints the keys.
func (c listKeysCommand) Run(p process) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		keys, err := at.Keys.List(ctx, c.Account)
		if err != nil {
			return err
		}
		return c.print(p.stdout, map[string]any{"data": jsonOfAll(keys)}, func(w io.Writer) {
			if len(keys) == 0 {
				fmt.Fprintf(w, "There is no key: otpbridge key create %s --kind access_key\n", cmp.Or(c.Account, "ACCOUNT"))
				return
			}
			rows := []string{"ID\tACCOUNT\tKIND\tENVIRONMENT\tENDS WITH\tSTATUS\tEXPIRES\tALLOWED FROM\tNAME"}
			for _, key := range keys {
				rows = append(rows, strings.Join([]string{
					key.ID.Text("key"), key.Account, string(key.Kind), string(key.Environment), cmp.Or(key.LastFour, "-"),
					string(key.Status), cmp.Or(moment(key.ExpiresAt), "never"), allowedFrom(key), escaped(key.Name, "")}, "\t"))
			}
			table(w, rows...)
		})
	})
}

// Run makes a successor and prints it.
func (c rotateKeyCommand) Run(p process) error {
	id, err := keyID(c.ID)
	if err != nil {
		return err
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		key, secret, signing, err := at.Keys.Rotate(ctx, manage.Operator(), id, c.Grace)
		if err != nil {
			return err
		}
		return c.printSecrets(p.stdout, fmt.Sprintf("succeeds %s, which stays good for %v at most", c.ID, c.Grace),
			key, secret, signing, false)
	})
}

// Run ends a key.
func (c revokeKeyCommand) Run(p process) error {
	id, err := keyID(c.ID)
	if err != nil {
		return err
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		if err := at.Keys.Revoke(ctx, manage.Operator(), id); err != nil {
			return err
		}
		return p.say("Key %s is revoked.\n", c.ID)
	})
}

// keyID parses a key's id. Its error does not quote the text, which may be the key itself.
func keyID(text string) (otp.ID, error) {
	id, ok := otp.ParseID("key", text)
	if !ok {
		return id, unusable{fmt.Errorf("KEY-ID is no id of a key, which reads like %s; \"otpbridge key list\" shows them",
			exampleKeyID)}
	}
	return id, nil
}

// printSecrets prints a key with the secrets that are shown only once.
func (a asJSON) printSecrets(out io.Writer, what string, key manage.Key, secret, signing crypto.Secret,
	imported bool) error {
	data := jsonOf(key)
	if data.SigningSecret = string(signing.Bytes()); !imported {
		data.Secret = string(secret.Bytes())
	}
	return a.print(out, data, func(w io.Writer) {
		fmt.Fprintf(w, "Key %s (%s, %s) of account %s %s.\n", data.ID, key.Kind, key.Environment, key.Account, what)
		if imported {
			fmt.Fprintln(w, "It is the imported key.")
		} else {
			fmt.Fprintf(w, "\n    %s\n\nThis is the key. Store it now: only its hash is kept, and it is not shown again.\n",
				secret.Bytes())
		}
		if !signing.IsZero() {
			fmt.Fprintf(w, "\n    %s\n\nThis signs its requests. Store it apart from the key; it is not shown again either.\n",
				signing.Bytes())
		}
	})
}

// keyJSON is a key as every command prints it with --json.
type keyJSON struct {
	ID                string   `json:"id"`
	Account           string   `json:"account"`
	Name              string   `json:"name"`
	Kind              string   `json:"kind"`
	Environment       string   `json:"environment"`
	Secret            string   `json:"secret,omitempty"`
	SigningSecret     string   `json:"signing_secret,omitempty"`
	LastFour          string   `json:"last_four"`
	Status            string   `json:"status"`
	Permissions       []string `json:"permissions,omitempty"`
	AllowedIPs        []string `json:"allowed_ips,omitempty"`
	DeniedIPs         []string `json:"denied_ips,omitempty"`
	AllowedOrigins    []string `json:"allowed_origins,omitempty"`
	RequestsPerMinute *int     `json:"requests_per_minute"`
	Burst             *int     `json:"burst"`
	Signing           string   `json:"signing"`
	CreatedAt         string   `json:"created_at"`
	ExpiresAt         string   `json:"expires_at,omitempty"`
	RevokedAt         string   `json:"revoked_at,omitempty"`
	Successor         string   `json:"successor,omitempty"`
}

func jsonOf(k manage.Key) keyJSON {
	shown := keyJSON{
		ID: k.ID.Text("key"), Account: k.Account, Name: k.Name, Kind: string(k.Kind), Environment: string(k.Environment),
		LastFour: k.LastFour, Status: string(k.Status), Permissions: k.Permissions,
		AllowedIPs: k.AllowedIPs, DeniedIPs: k.DeniedIPs, AllowedOrigins: k.AllowedOrigins,
		RequestsPerMinute: k.RequestsPerMinute, Burst: k.Burst, Signing: string(k.Signing),
		CreatedAt: moment(k.CreatedAt), ExpiresAt: moment(k.ExpiresAt), RevokedAt: moment(k.RevokedAt),
	}
	if !k.Successor.IsZero() {
		shown.Successor = k.Successor.Text("key")
	}
	return shown
}

func jsonOfAll(keys []manage.Key) []keyJSON {
	shown := make([]keyJSON, 0, len(keys))
	for _, key := range keys {
		shown = append(shown, jsonOf(key))
	}
	return shown
}

// moment formats a time as RFC 3339; it is empty for zero.
func moment(at otp.Millis) string {
	if at == 0 {
		return ""
	}
	return at.Time().Format(time.RFC3339)
}
