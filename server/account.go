package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"otpbridge/server/deliver"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

type accountCommand struct {
	Import accountImportCommand `cmd:"" help:"Make accounts from JSON, with the keys that integrations already have."`
	List   accountListCommand   `cmd:"" help:"List every account and whether it works."`
	Show   accountShowCommand   `cmd:"" help:"Show one account's settings."`
	Set    accountSetCommand    `cmd:"" help:"Change settings of an account."`
	Export accountExportCommand `cmd:"" help:"Write accounts as JSON that import reads."`

	Upstream accountUpstreamCommand `cmd:"" help:"Say where the calls of an account can be passed on to."`
	CutOver  accountCutOverCommand  `cmd:"" help:"Have this server or the upstream answer an account from a moment on."`
}

type accountListCommand struct{ asJSON }

type accountShowCommand struct {
	asJSON
	Account string `arg:"" help:"The account's esme_address."`
}

type accountSetCommand struct {
	Account string   `arg:"" help:"The account's esme_address."`
	Columns []string `arg:"" name:"column=value" help:"What to change. null is the column's NULL; @FILE takes the value from a file, @- from the standard input."`
}

type accountExportCommand struct {
	Accounts []string `arg:"" optional:"" name:"account" help:"Which accounts; without any, all."`
	Secrets  bool     `help:"Write cipher_key, cipher_iv, sms_channels and email_channels in clear. Access keys are stored as hashes only and cannot be written."`
}

// Help implements kong.HelpProvider.
func (accountSetCommand) Help() string {
	return `Every server applies the change within five seconds. For example:

    otpbridge account set 4711 message_profile=live otp_ttl_seconds=180
    otpbridge account set 4711 max_attempts=null countries='["IN","AE","SG"]'
    otpbridge account set 4711 cipher_key=@/run/secrets/iv-and-key

Take secrets from a file: other users of the machine can see the command line.`
}

// Help implements kong.HelpProvider.
func (accountExportCommand) Help() string {
	return `For example, to move an account to another database and keyring:

    otpbridge account export 4711 --secrets > account.json      # umask 077

and there, with an access key in the file or made afterwards:

    otpbridge account import account.json`
}

func idOf(key keyJSON, check bool) string {
	if check {
		return ""
	}
	return key.ID
}

func endsIn(key keyJSON) string {
	if key.LastFour == "" {
		return "(too short to show its end)"
	}
	return "(ends in " + key.LastFour + ")"
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(` ("%s")`, escaped(name, ""))
}

func profileName(p *otp.Profile) string {
	if p == nil {
		return "as OTPBRIDGE_MESSAGE_PROFILE says"
	}
	return string(*p)
}

func channelNames(a *otp.Account) string {
	switch {
	case a.SMSEnabled && a.EmailEnabled:
		return "SMS and e-mail"
	case a.EmailEnabled:
		return "e-mail"
	}
	return "SMS"
}

// Run lists the accounts.
func (a accountListCommand) Run(p process) error {
	type listed struct {
		Address string       `json:"esme_address"`
		Name    string       `json:"name"`
		State   string       `json:"state"`
		Profile *otp.Profile `json:"message_profile"`
		Cipher  string       `json:"otp_cipher"`
		Fault   string       `json:"fault,omitempty"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		accounts, err := at.Accounts.List(ctx)
		if err != nil {
			return err
		}
		list := []listed{}
		for i := range accounts {
			m := &accounts[i]
			row := listed{Address: m.Address, Name: m.Name, State: m.State(), Profile: m.Profile, Cipher: m.Cipher}
			if m.Broken != nil {
				row.Fault = m.Broken.Error()
			}
			list = append(list, row)
		}
		return a.print(p.stdout, list, func(w io.Writer) {
			if len(list) == 0 {
				fmt.Fprintln(w, "There is no account yet: otpbridge account import --help")
				return
			}
			rows := []string{"ACCOUNT\tSTATE\tPROFILE\tCIPHER\tNAME"}
			var faults []string
			for _, row := range list {
				profile := "default"
				if row.Profile != nil {
					profile = string(*row.Profile)
				}
				rows = append(rows, strings.Join([]string{row.Address, row.State, profile, row.Cipher, escaped(row.Name, "")},
					"\t"))
				if row.Fault != "" {
					faults = append(faults, row.Address+": "+row.Fault)
				}
			}
			table(w, rows...)
			for _, fault := range faults {
				fmt.Fprintln(w, fault)
			}
		})
	})
}

// Run shows every column.
func (a accountShowCommand) Run(p process) error {
	type shownAccount struct {
		otp.Account
		State string    `json:"state"`
		Fault string    `json:"fault,omitempty"`
		Keys  []keyJSON `json:"keys"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		managed, err := at.Accounts.Find(ctx, a.Account)
		if err != nil {
			return err
		}
		keys, err := at.Keys.List(ctx, a.Account)
		if err != nil {
			return err
		}
		for _, urls := range []*string{managed.SMSChannels, managed.EmailChannels} {
			if urls != nil {
				*urls = deliver.ShownChannels(*urls)
			}
		}
		about := shownAccount{Account: managed.Account, State: managed.State(), Keys: jsonOfAll(keys)}
		if managed.Broken != nil {
			about.Fault = managed.Broken.Error()
		}
		return a.print(p.stdout, about, func(w io.Writer) {
			rows := []string{"state\t" + about.State}
			if about.Fault != "" {
				rows = append(rows, "fault\t"+about.Fault)
			}
			for _, field := range accountFields() {
				value, err := json.Marshal(reflect.ValueOf(managed.Account).FieldByIndex(field.Index).Interface())
				if err != nil {
					panic(err) // every column has JSON
				}
				rows = append(rows, columnName(field)+"\t"+strings.Trim(string(value), `"`))
			}
			rows = append(rows,
				"cipher_key\t"+sealedOr(managed.SealedCipherKey), "cipher_iv\t"+sealedOr(managed.SealedCipherIV),
				fmt.Sprintf("keys\t%d, see otpbridge key list %s", len(keys), a.Account))
			table(w, rows...)
		})
	})
}

func sealedOr(value []byte) string {
	if value == nil {
		return "null"
	}
	return "[sealed]"
}

// accountFields returns the columns in the table's order.
func accountFields() (fields []reflect.StructField) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[otp.Account]()) {
		if columnName(field) != "-" {
			fields = append(fields, field)
		}
	}
	return fields
}

func columnName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// Run changes the columns, all or none.
func (a accountSetCommand) Run(p process) error {
	values := make(map[string]string)
	for _, assignment := range a.Columns {
		column, text, found := strings.Cut(assignment, "=")
		if !found {
			return unusable{fmt.Errorf("%s has no =: write column=value, for example otp_ttl_seconds=180", column)}
		}
		if _, twice := values[column]; twice {
			return unusable{fmt.Errorf("%s is given twice; which one is meant?", column)}
		}
		if path, isFile := strings.CutPrefix(text, "@"); isFile {
			var err error
			if text, err = p.readSecret(path); err != nil {
				return err
			}
		}
		if text == "" && column != "name" {
			return unusable{fmt.Errorf("%s is given an empty value; null is the column's NULL", column)}
		}
		values[column] = text
	}
	columns := slices.Sorted(maps.Keys(values))
	return work(p, func(ctx context.Context, at *workplace) error {
		_, err := at.Accounts.Change(ctx, manage.Edit{
			Account: a.Account, Columns: columns, By: people.Operator().Actor(),
			Set: func(n *manage.Imported) error {
				for _, column := range columns {
					if err := setColumn(n, column, values[column]); err != nil {
						return unusable{err}
					}
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		return p.say("Changed %s of account %s; every server goes by it within five seconds.\n",
			strings.Join(columns, ", "), a.Account)
	})
}

// setColumn sets a column from the text of a column=value argument.
func setColumn(into *manage.Imported, column, text string) error {
	value, err := manage.ColumnJSON(column, text)
	if err != nil {
		return err
	}
	name, _ := json.Marshal(column)
	return decodeAccount(slices.Concat([]byte("{"), name, []byte(":"), value, []byte("}")), into)
}

// Run writes the accounts.
func (a accountExportCommand) Run(p process) error {
	type exported struct {
		otp.Account
		CipherKey string `json:"cipher_key,omitempty"`
		CipherIV  string `json:"cipher_iv,omitempty"`
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		var accounts []manage.ManagedAccount
		var err error
		if len(a.Accounts) == 0 {
			if accounts, err = at.Accounts.List(ctx); err != nil {
				return err
			}
		}
		for _, address := range a.Accounts {
			managed, err := at.Accounts.Find(ctx, address)
			if err != nil {
				return err
			}
			accounts = append(accounts, managed)
		}
		list := []exported{}
		for i := range accounts {
			m := &accounts[i]
			if m.Broken != nil {
				return fmt.Errorf("account %s: %w; mend it with otpbridge account set, or name the accounts to export", m.Address,
					m.Broken)
			}
			row := exported{Account: m.Account}
			for _, urls := range []*string{row.SMSChannels, row.EmailChannels} {
				if urls != nil && !a.Secrets {
					*urls = deliver.Hidden // which no import takes
				}
			}
			if a.Secrets {
				if row.CipherKey, row.CipherIV, err = at.Accounts.CipherSecrets(&m.Account); err != nil {
					return err
				}
			}
			list = append(list, row)
		}
		return asJSON{true}.print(p.stdout, list, nil)
	})
}
