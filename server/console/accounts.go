package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/servlet"
	"otpbridge/server/web"
)

// accountPages show and change accounts.
var accountPages = []route{
	{method: get, path: "accounts", who: person, needs: people.ReadAccounts, serve: (*exchange).accounts},
	{method: get, path: "accounts/:account", who: person, needs: people.ReadAccounts, serve: (*exchange).account},
	{method: get, path: "new-account", who: person, needs: people.WriteAccounts, serve: (*exchange).newAccountForm},
	{method: post, path: "new-account", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).newAccount},
	{method: post, path: "accounts/:account/change", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).changeAccount},
	{method: post, path: "accounts/:account/delete", who: person, needs: people.WriteAccounts, live: true,
		serve: (*exchange).deleteAccount},
}

const shownAccounts = 50

// accountsBody lists accounts.
type accountsBody struct {
	list
	Search, State string
	States        []string
	Accounts      []manage.ManagedAccount
	MayWrite      bool
}

func (x *exchange) accounts() (err error) {
	body := accountsBody{
		list: x.list("accounts", []string{"search", "state"}, order{"", "By account"}, order{"name", "By name"},
			order{"-name", "By name, Z first"}, order{"-address", "By account, last first"}),
		Search: strings.TrimSpace(x.query("search")), State: x.query("state"), States: manage.AccountStates(),
		MayWrite: x.who.May(people.WriteAccounts) == nil,
	}
	q := manage.AccountQuery{Accounts: x.who.Grant.Accounts, Search: body.Search, State: body.State, Sort: body.Sort,
		After: body.Cursor, Limit: shownAccounts + 1}
	if body.Accounts, err = x.door.Manage.Accounts.Page(x.ctx, q); err != nil {
		return x.refuse(err, "accounts", "Accounts", body)
	}
	body.Accounts = part(&body.list, body.Accounts, shownAccounts, q.Cursor)
	return x.show("accounts", "Accounts", body)
}

// column is one column of an account in a form.
type column struct {
	otp.Column
	Value, Hint string
	Input       string   // checkbox, select, number, textarea, secret or text
	Choices     []string // of a select; the first is NULL if the column allows it
	Set         bool     // the secret is set
	Wrong       string   // why the sent value was refused
}

// section is a group of columns with a title.
type section struct {
	Title   string
	Columns []column
}

// sections has the titles of sections, by their first column.
var sections = map[string]string{
	"name": "The account", "message_profile": "What the servlets answer", "otp_length": "Codes",
	"countries": "Who gets codes, and how", "servlet_types": "The servlets", "otp_cipher": "The parameter otp",
	"department_mode": "Departments", "sends_per_minute": "Limits", "sms_channels": "Channels and texts",
	"cors_allowed_origins": "Web pages", "cost_guards": "Cost", "retention_days": "History", "templates": "Templates",
	"require_https": "Safety", "jwt_issuers": "Tokens of your own", "upstream_url": "Migration",
}

// byServer are the columns that a form leaves out: the server sets them, or a cut-over on the page Migration does.
var byServer = []string{"esme_address", "created_at", "updated_at", "bridge_mode", "bridge_before", "cut_over_at",
	"cut_over_before"}

// hidden are the columns whose values are or contain secrets.
var hidden = []string{"cipher_key", "cipher_iv", "sms_channels", "email_channels"}

var (
	choice  = regexp.MustCompile("^`[^`]+`(, `[^`]+`)*$")
	numeric = regexp.MustCompile(`^[0-9]+–[0-9]+$`)
)

// columnsOf returns an account's settings for a form.
func columnsOf(m *manage.ManagedAccount) (all []section) {
	texts := manage.ColumnTexts(&m.Account)
	for _, c := range otp.Columns() {
		if slices.Contains(byServer, c.Name) {
			continue
		}
		if title, begins := sections[c.Name]; begins {
			all = append(all, section{Title: title})
		}
		shown := column{Column: c, Value: texts[c.Name]}
		switch {
		case slices.Contains(hidden, c.Name):
			shown.Set = shown.Value != "" || c.Name == "cipher_key" && m.SealedCipherKey != nil ||
				c.Name == "cipher_iv" && m.SealedCipherIV != nil
			shown.Input, shown.Value = "secret", ""
		case c.Values == "0, 1":
			shown.Input = "checkbox"
		case choice.MatchString(c.Values):
			shown.Input, shown.Choices = "select", strings.Split(strings.ReplaceAll(c.Values, "`", ""), ", ")
			if c.Absent != "" {
				shown.Choices = append([]string{""}, shown.Choices...)
			}
		case numeric.MatchString(c.Values):
			shown.Input = "number"
		case strings.HasPrefix(c.Values, "JSON") || strings.HasPrefix(c.Values, "text with"):
			shown.Input = "textarea"
		default:
			shown.Input = "text"
		}
		shown.Hint = inForm.Replace(plain(c.Meaning))
		switch shown.Input {
		case "checkbox":
		case "select":
			if c.Absent != "" {
				shown.Hint += " Not set: " + plain(c.Absent) + "."
			}
		default:
			if c.Values != "text" {
				shown.Hint += " Takes " + inForm.Replace(plain(c.Values)) + "."
			}
			if c.Absent != "" {
				shown.Hint += " Empty: " + plain(c.Absent) + "."
			}
		}
		all[len(all)-1].Columns = append(all[len(all)-1].Columns, shown)
	}
	return all
}

// inForm puts a column's description, which is for SQL, in the words of a form.
var inForm = strings.NewReplacer("With 0 ", "When off, ", "With 1 ", "When on, ", "must be 1", "must be on",
	" Set it by command or API, not with SQL.", "", "milliseconds since 1970", "a time such as 2027-01-31T00:00:00Z")

var link = regexp.MustCompile(`\[([^]]+)\]\([^)]+\)`)

// quoted matches several words in code's Markdown.
var quoted = regexp.MustCompile("`([^`]* [^`]*)`")

// plain returns a text without its Markdown.
func plain(text string) string {
	text = quoted.ReplaceAllString(link.ReplaceAllString(text, "$1"), "“$1”")
	return strings.ReplaceAll(text, "`", "")
}

// accountBody is one account with its keys.
type accountBody struct {
	*manage.ManagedAccount
	Keys     []manage.Key
	Sections []section
	Version  string
	MayWrite bool
	Answers  []situation // of the servlets, as stored
	LineEnds bool        // each answer ends with a carriage return and a line feed
}

// situation is what the servlets answer when something is granted, refused or fails.
type situation struct {
	servlet.Situation
	What, Means string
}

// situationsOf returns what the servlets answer to calls of an account.
func (x *exchange) situationsOf(a *otp.Account) (all []situation, lineEnds bool) {
	for _, s := range servlet.Answers(a, x.door.Servlets) {
		shown := situation{Situation: s, What: "Something failed on the server"}
		if s.Ok {
			shown.What = "Granted"
		}
		for i, kind := range s.Kinds {
			if i == 0 {
				shown.What = ""
			} else {
				shown.What += ", "
			}
			shown.What += strings.ReplaceAll(kind.String(), "_", " ")
		}
		if len(s.Kinds) == 1 {
			shown.Means = meanings[s.Kinds[0]]
		}
		lineEnds = lineEnds || strings.HasSuffix(s.Generate, "\r\n")
		shown.What = strings.ToUpper(shown.What[:1]) + shown.What[1:]
		all = append(all, shown)
	}
	return all, lineEnds
}

func (x *exchange) account() error { return x.showAccount(nil) }

// seen returns the account in the path, if the reader may see it.
func (x *exchange) seen() (manage.ManagedAccount, error) {
	address := x.gin.Param("account")
	if err := x.who.See(address); err != nil {
		return manage.ManagedAccount{}, err
	}
	return x.door.Manage.Accounts.Find(x.ctx, address)
}

func (x *exchange) showAccount(refused error) error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	body := accountBody{ManagedAccount: &found, MayWrite: x.who.May(people.WriteAccounts) == nil,
		Version: strconv.FormatInt(x.door.Manage.Accounts.Version(&found.Account), 10), Sections: columnsOf(&found)}
	body.Answers, body.LineEnds = x.situationsOf(&found.Account)
	if x.who.May(people.ReadKeys) == nil {
		if body.Keys, err = x.door.Manage.Keys.List(x.ctx, found.Address); err != nil {
			return err
		}
	}
	title := "Account " + found.Address
	if refused != nil {
		body.fill(x, refused)
	}
	return x.page(refused, "account", title, body)
}

// fill puts the posted values into the form again, and the refusal beside its column.
func (b *accountBody) fill(x *exchange, refused error) {
	if version := x.form("version"); version != "" {
		b.Version = version // with the new one, pressing again would overwrite somebody else's change
	}
	refusal, _ := errors.AsType[*otp.Error](refused)
	for i := range b.Sections {
		for j := range b.Sections[i].Columns {
			c := &b.Sections[i].Columns[j]
			if refusal != nil && c.Name == fieldOf(refusal) {
				c.Wrong = sentence(refusal)
			}
			switch c.Input {
			case "secret":
			case "checkbox":
				c.Value = strconv.FormatBool(x.form(c.Name) != "")
			default:
				c.Value = x.form(c.Name)
			}
		}
	}
}

// posted returns the columns that a form changes, as JSON.
func (x *exchange) posted(m *manage.ManagedAccount) (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	for _, s := range columnsOf(m) {
		for _, c := range s.Columns {
			text := strings.ReplaceAll(strings.TrimSpace(x.form(c.Name)), "\r\n", "\n")
			switch {
			case c.Input == "checkbox":
				text = strconv.FormatBool(text != "")
			case c.Input == "secret" && text == "":
				continue
			}
			if text == strings.TrimSpace(c.Value) {
				continue
			}
			if text == "" && c.Column.Absent != "" {
				text = "null"
			}
			value, err := manage.ColumnJSON(c.Name, text)
			if err != nil {
				return nil, err
			}
			members[c.Name] = value
		}
	}
	return members, nil
}

func (x *exchange) changeAccount() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	seenVersion, err := x.versionOf("version")
	if err != nil {
		return x.showAccount(err)
	}
	members, err := x.posted(&found)
	if err != nil {
		return x.showAccount(err)
	}
	if len(members) == 0 {
		return x.goTo("accounts/" + found.Address + "?done=same")
	}
	_, err = x.door.Manage.Accounts.Change(x.ctx, manage.Edit{
		Account: found.Address, Columns: slices.Sorted(maps.Keys(members)), By: x.who.Actor(),
		Match: func(version int64) error {
			if version != seenVersion {
				return otp.Refuse(otp.Outdated, "the account was changed meanwhile; load the page again")
			}
			return nil
		},
		Set: func(n *manage.Imported) error { return setColumns(n, members) },
	})
	return x.after(err, x.showAccount, "accounts/"+found.Address+"?done=account")
}

// setColumns sets columns of an account. A refusal names its column.
func setColumns(n *manage.Imported, members map[string]json.RawMessage) error {
	body, err := json.Marshal(members)
	if err != nil {
		return err
	}
	err = web.Decode(body, n)
	if problem, ok := errors.AsType[*web.Problem](err); ok && len(problem.Faults) > 0 {
		column, _, _ := strings.Cut(strings.TrimPrefix(problem.Faults[0].Pointer, "/"), "/")
		return otp.RefuseField(column, problem.Faults[0].Detail)
	}
	return err
}

func (x *exchange) deleteAccount() error {
	found, err := x.seen()
	if err != nil {
		return err
	}
	name := cmp.Or(found.Name, found.Address)
	if asked, err := x.ask(question{Title: "Delete account " + found.Address + "?", Name: name, Do: "Delete it",
		What: "This removes the account and its keys for good. Calls with these keys are refused at once.",
		Back: "accounts/" + found.Address}); asked {
		return err
	}
	err = x.door.Manage.Accounts.Delete(x.ctx, x.who.Actor(), found.Address, name)
	return x.after(err, x.showAccount, "accounts?done=deleted")
}

// newAccountBody is the form of a new account, and the secrets that were generated for it.
type newAccountBody struct {
	Address, Name, CipherKey, AccessKey string
	Done                                bool
	Made                                []secret // shown once
}

// secret is a value that is shown only once.
type secret struct{ Name, Value string }

func (x *exchange) newAccountForm() error {
	return x.show("new-account", "New account", newAccountBody{})
}

func (x *exchange) newAccount() error {
	body := newAccountBody{Address: strings.TrimSpace(x.form("esme_address")), Name: x.form("name"),
		CipherKey: strings.TrimSpace(x.form("cipher_key")), AccessKey: strings.TrimSpace(x.form("access_key"))}
	n := manage.Imported{Account: otp.DefaultAccount(body.Address)}
	n.Name, n.CipherKey, n.AccessKey = body.Name, body.CipherKey, body.AccessKey
	n.MakeSecrets()
	err := x.who.MayMake(body.Address)
	if err == nil {
		err = x.who.ProvedRecently(now())
	}
	if err == nil {
		_, err = x.door.Manage.Accounts.Import(x.ctx, x.who.Actor(), []manage.Imported{n}, false)
	}
	if err != nil {
		body.CipherKey, body.AccessKey = "", "" // do not send secrets back in the page
		return x.refuse(err, "new-account", "New account", body)
	}
	for _, s := range []secret{{"Cipher key", n.CipherKey}, {"Cipher IV", n.CipherIV}, {"Access key", n.AccessKey}} {
		if s.Value != "" && s.Value != body.CipherKey && s.Value != body.AccessKey {
			body.Made = append(body.Made, s)
		}
	}
	body.Done = true
	return x.show("new-account", "Account "+body.Address, body)
}
