package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/strict"
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

type accountImportCommand struct {
	asJSON
	File        string `arg:"" default:"-" help:"A file with an account as a JSON object, or several as a list; - is the standard input."`
	Profile     string `enum:"live,documented,default," default:"" placeholder:"NAME" help:"Texts of accounts whose JSON names no message_profile: live is what the vendor's service sends, and recommended for integrations that ran against it; documented is what its article prints; default leaves it to OTPBRIDGE_MESSAGE_PROFILE."`
	MakeSecrets bool   `help:"Make up the cipher key, the IV and the access key where they are missing, and print what was made. It is not shown again."`
	Check       bool   `help:"Only say what would be made."`
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
	Secrets  bool     `help:"Write cipher_key and cipher_iv in clear. Access keys are stored as hashes only and cannot be written."`
}

// Help is shown below the flags.
func (accountImportCommand) Help() string {
	return `The members are the columns of otp_auth_config; what is left out has its default. For example what a vendor hands out:

    otpbridge account import --profile live - <<'EOF'
    {
      "esme_address": "4711",
      "name":         "Shop",
      "access_key":   "the-key-that-the-integration-sends",
      "cipher_key":   "the IV~the key"
    }
    EOF

cipher_key and cipher_iv are base64 or hex, apart or as 'iv~key'. Instead of access_key there may be access_keys, a list of {"key", "name", "permissions",
"allowed_ips", "denied_ips", "allowed_origins", "requests_per_minute", "burst", "expires_at", "enabled"}. If any account is refused, none is made.`
}

// Help is shown below the flags.
func (accountSetCommand) Help() string {
	return `Every server goes by the change within five seconds. For example:

    otpbridge account set 4711 message_profile=live otp_ttl_seconds=180
    otpbridge account set 4711 max_attempts=null countries='["IN","AE","SG"]'
    otpbridge account set 4711 cipher_key=@/run/secrets/iv-and-key

A secret on the command line itself could be seen by other users of the machine.`
}

// Help is shown below the flags.
func (accountExportCommand) Help() string {
	return `For example, to move an account to another database and keyring:

    otpbridge account export 4711 --secrets > account.json      # umask 077

and there, with an access key added to the file or afterwards:

    otpbridge account import account.json`
}

// Run makes the accounts, all or none.
func (a accountImportCommand) Run(p process) error {
	raw, err := p.readInput(a.File)
	if err != nil {
		return err
	}
	accounts, unnamed, err := readAccounts(raw)
	if err != nil {
		return unusable{err}
	}
	if len(unnamed) > 0 {
		profile, err := a.profile(p)
		if err != nil {
			return err
		}
		for _, i := range unnamed {
			accounts[i].Profile = profile
		}
	}
	return work(p, func(ctx context.Context, at *workplace) error {
		for i := range accounts {
			n := &accounts[i]
			if missing := n.Missing(); len(missing) > 0 && !a.MakeSecrets {
				return unusable{fmt.Errorf("account %s: %s is missing: give it in base64 or hex, or cipher_key as 'iv~key'; or "+
					"have it made with --make-secrets", n.Address, missing[0])}
			}
		}
		made := make([]importedAccount, len(accounts))
		for i := range accounts {
			made[i].was = accounts[i]
			if a.MakeSecrets {
				accounts[i].MakeSecrets()
			}
		}
		imported, err := at.Accounts.Import(ctx, people.Operator().Actor(), accounts, a.Check)
		if err != nil {
			return err
		}
		for i := range imported {
			made[i].fill(imported[i], &accounts[i])
		}
		return a.print(p.stdout, made, func(w io.Writer) {
			for i := range made {
				made[i].write(w, a.Check)
			}
		})
	})
}

// profile is the one for accounts that name none: as the flag says, or as the person does.
func (a accountImportCommand) profile(p process) (*otp.Profile, error) {
	choice := a.Profile
	if choice == "" && a.File != "-" && isTerminal(p.stdin) {
		fmt.Fprint(p.stderr, "Which texts does the integration expect?\n"+
			"  live        what the vendor's service was seen to send; recommended for integrations that ran against it\n"+
			"  documented  what the vendor's article prints\n"+
			"live or documented [live]: ")
		line, err := bufio.NewReader(p.stdin).ReadString('\n')
		if err != nil && line == "" {
			return nil, unusable{errors.New("no profile was chosen; nothing was made")}
		}
		choice = strings.TrimSpace(line)
		if choice == "" {
			choice = string(otp.LiveProfile)
		}
		if choice != string(otp.LiveProfile) && choice != string(otp.Documented) {
			return nil, unusable{errors.New("the answer is neither live nor documented; nothing was made")}
		}
	}
	switch choice {
	case "":
		return nil, unusable{errors.New("no message_profile is named: give --profile live, which is recommended for " +
			"integrations that ran against the vendor's service, or --profile documented")}
	case "default":
		return nil, nil
	}
	profile := otp.Profile(choice)
	return &profile, nil
}

// importedAccount is what was made. Secrets are told only if they were made up just now.
type importedAccount struct {
	otp.Account
	CipherKey  string    `json:"cipher_key,omitempty"`
	CipherIV   string    `json:"cipher_iv,omitempty"`
	AccessKey  string    `json:"access_key,omitempty"`
	AccessKeys []keyJSON `json:"access_keys"`

	was manage.Imported
}

func (m *importedAccount) fill(made manage.ImportedAccount, given *manage.Imported) {
	m.Account, m.AccessKeys = made.Account, jsonOfAll(made.Keys)
	if m.was.CipherKey == "" {
		m.CipherKey = given.CipherKey
	}
	if m.was.CipherIV == "" {
		m.CipherIV = given.CipherIV
	}
	if m.was.AccessKey == "" {
		m.AccessKey = given.AccessKey
	}
}

func (m *importedAccount) write(w io.Writer, check bool) {
	verb := "Made"
	if check {
		verb = "Would make"
	}
	fmt.Fprintf(w, "%s account %s%s: texts %s, cipher %s, %s.\n", verb, m.Address, named(m.Name), profileName(m.Profile),
		m.Cipher, channelNames(&m.Account))
	if check && (m.CipherKey != "" || m.AccessKey != "") {
		fmt.Fprintln(w, "  Its missing secrets would be made up.")
		return
	}
	for _, key := range m.AccessKeys {
		fmt.Fprintf(w, "  access key %s %s\n", idOf(key, check), endsIn(key))
	}
	for _, secret := range [][2]string{{"access_key", m.AccessKey}, {"cipher_key", m.CipherKey},
		{"cipher_iv", m.CipherIV}} {
		if secret[1] != "" {
			fmt.Fprintf(w, "  %s: %s   (made up; it is not shown again)\n", secret[0], secret[1])
		}
	}
	if len(m.AccessKeys) == 0 {
		fmt.Fprintf(w, "  It has no access key yet: otpbridge key create %s --kind access_key\n", m.Address)
	}
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

// accountFields are the columns in the order of the table.
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
		_, err = fmt.Fprintf(p.stdout, "Changed %s of account %s; every server goes by it within five seconds.\n",
			strings.Join(columns, ", "), a.Account)
		return err
	})
}

// setColumn writes a value that a person wrote into its column.
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

// readAccounts reads one object or a list of them, and tells which name no profile.
func readAccounts(raw []byte) (accounts []manage.Imported, unnamed []int, err error) {
	raw = bytes.TrimPrefix(bytes.TrimSpace(raw), []byte("\xef\xbb\xbf"))
	list := []json.RawMessage{raw}
	if bytes.HasPrefix(raw, []byte("[")) && json.Unmarshal(raw, &list) != nil { // its objects are read below
		return nil, nil, strict.Decode(raw, &list)
	}
	for i, object := range list {
		account := manage.Imported{Account: otp.DefaultAccount("")}
		err := decodeAccount(object, &account)
		if err != nil && len(list) > 1 {
			err = fmt.Errorf("account %d of the list: %w", i+1, err)
		}
		if err != nil {
			return nil, nil, err
		}
		var given struct {
			Profile json.RawMessage `json:"message_profile"`
		}
		if json.Unmarshal(object, &given) == nil && given.Profile == nil {
			unnamed = append(unnamed, i)
		}
		accounts = append(accounts, account)
	}
	if len(accounts) == 0 {
		return nil, nil, errors.New("the list of accounts is empty")
	}
	return accounts, unnamed, nil
}

// decodeAccount reads an object over into.
func decodeAccount(raw []byte, into *manage.Imported) error {
	err := strict.Decode(raw, into)
	if wrong, ok := errors.AsType[*strict.Error](err); ok {
		if name := strings.TrimPrefix(wrong.Faults[0].Pointer, "/"); wrong.Faults[0].Detail == strict.Unknown &&
			!strings.Contains(name, "/") {
			return fmt.Errorf("%q is no column of otp_auth_config; server/doc/accounts.md lists them", name)
		}
	}
	return err
}
