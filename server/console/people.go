package console

import (
	"strconv"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// peoplePages manage the people who may use the console, and their permissions.
var peoplePages = []route{
	{method: get, path: "people", who: person, needs: people.ReadPeople, serve: (*exchange).people},
	{method: post, path: "people/invite", who: person, needs: people.WritePeople, serve: (*exchange).invite},
	{method: post, path: "people/withdraw", who: person, needs: people.WritePeople, serve: (*exchange).withdraw},
	{method: get, path: "people/:id", who: person, needs: people.ReadPeople, serve: (*exchange).person},
	{method: post, path: "people/:id/change", who: person, needs: people.WritePeople, serve: (*exchange).changePerson},
	{method: post, path: "people/:id/recover", who: person, needs: people.WritePeople, serve: (*exchange).recoverPerson},
	{method: post, path: "people/:id/reset-factors", who: person, needs: people.WritePeople,
		serve: (*exchange).resetFactors},
	{method: post, path: "people/:id/end-sessions", who: person, needs: people.WritePeople,
		serve: (*exchange).endSessionsOf},
	{method: post, path: "people/:id/remove", who: person, needs: people.WritePeople, serve: (*exchange).removePerson},
}

const shownPeople = 50

// peopleBody lists people and invitations.
type peopleBody struct {
	list
	Search, State, Only string // of the filter; Only is a role
	States              []string

	People      []people.Profile
	Invitations []people.Invitation
	Roles       []people.Role
	MayWrite    bool
	Email, Role string // of the form
	Accounts    string
	Link        string // of an invitation, shown only once
}

func (x *exchange) people() error {
	return x.showPeople(nil, peopleBody{Role: string(people.Developer)})
}

func (x *exchange) showPeople(refused error, body peopleBody) (err error) {
	body.list = x.list("people", []string{"search", "role", "state"}, order{"", "Oldest first"},
		order{"-created", "Newest first"}, order{"name", "By name"}, order{"email", "By e-mail"})
	body.Search, body.Only, body.State = strings.TrimSpace(x.query("search")), x.query("role"), x.query("state")
	body.States, body.Roles, body.MayWrite = people.StaffStates(), people.Roles(), x.who.May(people.WritePeople) == nil
	q := people.StaffQuery{Search: body.Search, Role: people.Role(body.Only), State: body.State, Sort: body.Sort,
		After: body.Cursor, Limit: shownPeople + 1}
	if body.People, err = x.door.People.Staff.Page(x.ctx, x.who, q); err != nil {
		return x.refuse(err, "people", "People", body)
	}
	body.People = part(&body.list, body.People, shownPeople, q.Cursor)
	if body.Invitations, err = x.door.People.Staff.Invitations(x.ctx, x.who); err != nil {
		return err
	}
	return x.page(refused, "people", "People", body)
}

// grant returns the grant in a form: a role, and accounts that are separated by commas or blanks.
func (x *exchange) grant() people.Grant {
	return people.Grant{Role: people.Role(x.form("role")), Accounts: listed(x.form("accounts"))}
}

// listed splits a field at commas and blanks; it returns nil for an empty field. A field of commas and blanks alone is
// an empty list, which is refused where nil means everything.
func listed(text string) []string {
	if text == "" {
		return nil
	}
	return entries(text)
}

// entries is listed, but returns an empty list for an empty field.
func entries(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

func (x *exchange) invite() error {
	body := peopleBody{Email: x.form("email"), Role: x.form("role"), Accounts: x.form("accounts")}
	issued, err := x.door.People.Staff.Invite(x.ctx, x.who, body.Email, x.grant())
	if err != nil {
		return x.showPeople(err, body)
	}
	link := people.Link(x.base(), "register", "invitation", issued.Token)
	return x.showPeople(nil, peopleBody{Role: body.Role, Link: link})
}

func (x *exchange) withdraw() error {
	if asked, err := x.ask(question{Title: "Withdraw this invitation?", Do: "Withdraw it", Back: "people",
		What: "Its link stops working, also if it was sent already.", Keep: []string{"id"}}); asked {
		return err
	}
	if err := x.door.People.Staff.Withdraw(x.ctx, x.who, x.form("id")); err != nil {
		return x.showPeople(err, peopleBody{Role: string(people.Developer)})
	}
	return x.goTo("people?done=withdrawn")
}

// personBody is one person, and the actions that the reader may take.
type personBody struct {
	people.Profile
	Roles    []people.Role
	MayWrite bool
	Limited  string // the accounts, separated by commas
	Off      bool   // cannot log in
	Link     string // for a new password, shown only once
}

// fill puts the values of a refused change into its form again.
func (b *personBody) fill(x *exchange) {
	b.Name, b.Role, b.Limited, b.Off = x.form("name"), people.Role(x.form("role")), x.form("accounts"),
		x.form("disabled") != ""
	if version, err := x.versionOf("version"); err == nil {
		b.Version = version // with the new one, pressing again would overwrite somebody else's change
	}
}

func (x *exchange) person() error { return x.showPerson(nil, "") }

func (x *exchange) showPerson(refused error, link string) error {
	found, err := x.door.People.Staff.Find(x.ctx, x.who, x.gin.Param("id"))
	if err != nil {
		return err
	}
	body := personBody{Profile: found, Roles: people.Roles(), MayWrite: x.who.May(people.WritePeople) == nil,
		Limited: strings.Join(found.Accounts, ", "), Off: found.DisabledAt != 0, Link: link}
	if refused != nil && x.isForm("people/:id/change") {
		body.fill(x)
	}
	return x.page(refused, "person", found.Name, body)
}

// didPerson redirects to a person's page after a change, or shows why it was refused.
func (x *exchange) didPerson(err error, what string) error {
	if err != nil {
		return x.showPerson(err, "")
	}
	return x.goTo("people/" + x.gin.Param("id") + "?done=" + what)
}

func (x *exchange) changePerson() error {
	version, err := x.versionOf("version")
	if err != nil {
		return x.showPerson(err, "")
	}
	name, grant, off := x.form("name"), x.grant(), x.form("disabled") != ""
	patch := people.Patch{Name: &name, Role: &grant.Role, Disabled: &off}
	if x.gin.Request.PostForm.Has("accounts") { // a form that was cut short gives nobody all accounts
		patch.Accounts = &grant.Accounts
	}
	_, err = x.door.People.Staff.Change(x.ctx, x.who, x.gin.Param("id"), patch, version)
	return x.didPerson(err, "changed")
}

func (x *exchange) recoverPerson() error {
	issued, err := x.door.People.Staff.Recover(x.ctx, x.who, x.gin.Param("id"))
	if err != nil {
		return x.showPerson(err, "")
	}
	return x.showPerson(nil, people.Link(x.base(), "recover", "recovery_token", issued.Token))
}

// askForPerson asks q about the person in the path.
func (x *exchange) askForPerson(q question) (bool, error) {
	found, err := x.door.People.Staff.Find(x.ctx, x.who, x.gin.Param("id"))
	if err != nil {
		return true, err
	}
	q.Name, q.Back = found.Email, "people/"+x.gin.Param("id")
	return x.ask(q)
}

func (x *exchange) resetFactors() error {
	if asked, err := x.askForPerson(question{Title: "Remove their second factors?", Do: "Remove them",
		What: "This removes their apps, passkeys and backup codes for good. " +
			"Until they add new ones, the password is enough."}); asked {
		return err
	}
	return x.didPerson(x.door.People.Staff.ResetFactors(x.ctx, x.who, x.gin.Param("id")), "factors")
}

func (x *exchange) endSessionsOf() error {
	return x.didPerson(x.door.People.Staff.EndSessions(x.ctx, x.who, x.gin.Param("id")), "ended")
}

func (x *exchange) removePerson() error {
	if asked, err := x.askForPerson(question{Title: "Remove this person?", Do: "Remove them",
		What: "This ends their login and sessions at once and for good. What they did stays in the history."}); asked {
		return err
	}
	if err := x.door.People.Staff.Remove(x.ctx, x.who, x.gin.Param("id"), 0); err != nil {
		return x.showPerson(err, "")
	}
	return x.goTo("people?done=gone")
}

// versionOf returns the version that a form was made from, so that it does not overwrite another's change.
func (x *exchange) versionOf(name string) (int64, error) {
	version, err := strconv.ParseInt(x.form(name), 10, 64)
	if err != nil || version < 1 {
		return 0, otp.RefuseField(name, "is not the one of this page; load the page again")
	}
	return version, nil
}
