package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/strict"
)

type accountImportCommand struct {
	asJSON
	File        string `arg:"" default:"-" help:"A file with an account as a JSON object, or several as a list; - is the standard input."`
	Profile     string `enum:"live,documented,default," default:"" placeholder:"NAME" help:"The message_profile of accounts whose JSON names none: live answers with the texts of the vendor's service, and is recommended for integrations that ran against it; documented answers with those that its article prints; default uses OTPBRIDGE_MESSAGE_PROFILE."`
	MakeSecrets bool   `help:"Generate the cipher key, the IV and the access key where they are missing, and print them. They are not shown again."`
	Check       bool   `help:"Only say what would be made."`
}

// Help implements kong.HelpProvider.
func (accountImportCommand) Help() string {
	return `The members are the columns of otp_auth_config; a member that is left out gets its default. For example, with what a vendor hands out:

    otpbridge account import --profile live - <<'EOF'
    {
      "esme_address": "4711",
      "name":         "Shop",
      "access_key":   "the-key-that-the-integration-sends",
      "cipher_key":   "the IV~the key"
    }
    EOF

cipher_key and cipher_iv are base64 or hex, in two members or in one as 'iv~key'. access_keys can replace access_key: a list of {"key", "name", "permissions",
"allowed_ips", "denied_ips", "allowed_origins", "requests_per_minute", "burst", "expires_at", "enabled"}. If any account is refused, none is made.`
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

// profile returns the profile for accounts that name none: the flag's, or else the one that the person at the terminal
// chooses. It is nil for the default.
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

// importedAccount is an account as import prints it. It has the secrets only if the command generated them.
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

// readAccounts reads one object or a list of them. unnamed holds the indexes of those that name no profile.
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

// decodeAccount decodes an object into into; members that are missing keep into's values.
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
