package console

import (
	"html/template"
	"slices"

	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// securityPages manage a person's own login.
var securityPages = []route{
	{method: get, path: "security", who: person, serve: (*exchange).security},
	{method: post, path: "security/password", who: person, serve: (*exchange).changePassword},
	{method: post, path: "security/app", who: person, serve: (*exchange).enrolApp},
	{method: post, path: "security/app/confirm", who: person, serve: (*exchange).confirmApp},
	{method: post, path: "security/remove", who: person, serve: (*exchange).removeFactor},
	{method: post, path: "security/backup-codes", who: person, serve: (*exchange).newBackupCodes},
	{method: post, path: "security/end", who: person, serve: (*exchange).endSession},
	{method: post, path: "security/end-others", who: person, serve: (*exchange).endOthers},
	{method: post, path: "security/prove", who: person, serve: (*exchange).prove},
}

// securityBody is the data of the page about the reader's own login.
type securityBody struct {
	Profile  people.Profile
	Sessions []people.Session
	Factors  []people.Factor
	Left     int // backup codes that are left
	Prove    bool
	Passkeys passkeyPlace

	// AppName and PasskeyName are the names in the forms for new factors.
	AppName, PasskeyName string
	Unconfirmed          string // the id of an app whose code was wrong

	// The following are shown only once.
	Passkey   *passkeyForm
	Enrolment *people.Enrolment
	Image     template.URL // its QR code, a data: URI that this server made
	Codes     []string
}

// HasPasskey reports whether one of the factors is a passkey.
func (b securityBody) HasPasskey() bool {
	return slices.ContainsFunc(b.Factors, func(f people.Factor) bool { return f.Kind == people.PasskeyFactor })
}

func (x *exchange) security() error { return x.showSecurity(nil, securityBody{}) }

// typed returns what the form posted for a field, or what the field has without a form.
func (x *exchange) typed(name, otherwise string) string {
	if value, posted := x.gin.Request.PostForm[name]; posted {
		return value[0]
	}
	return otherwise
}

// showSecurity shows the page, with a refusal or with data that is shown only once.
func (x *exchange) showSecurity(refused error, body securityBody) (err error) {
	if !x.loggedIn {
		return loginNeeded{}
	}
	if body.Profile, err = x.door.People.Profile(x.ctx, x.who); err != nil {
		return err
	}
	if body.Sessions, err = x.door.People.Sessions.List(x.ctx, x.who); err != nil {
		return err
	}
	if body.Factors, body.Left, err = x.door.People.Factors.List(x.ctx, x.who); err != nil {
		return err
	}
	body.Passkeys = x.passkeys()
	body.AppName, body.PasskeyName = "My phone", "This device"
	body.Prove = x.query("done") == "prove" && (len(body.Factors) > 0 || x.who.ProvedRecently(now()) != nil)
	if refused != nil {
		body.AppName, body.PasskeyName = x.typed("name", body.AppName), x.typed("passkey", body.PasskeyName)
		body.Prove = otp.KindOf(refused) == otp.ReauthenticationRequired
	}
	return x.page(refused, "security", "My security", body)
}

// did redirects to the page after a change, or shows why it was refused.
func (x *exchange) did(err error, what string) error {
	if err != nil {
		return x.showSecurity(err, securityBody{})
	}
	return x.goTo("security?done=" + what)
}

func (x *exchange) changePassword() error {
	err := x.door.People.ChangePassword(x.ctx, x.who, x.form("current_password"), x.form("new_password"))
	return x.did(err, "password")
}

func (x *exchange) enrolApp() error {
	made, err := x.door.People.Factors.EnrolApp(x.ctx, x.who, x.form("name"))
	if err != nil {
		return x.showSecurity(err, securityBody{})
	}
	return x.showSecurity(nil, securityBody{Enrolment: &made, Image: template.URL(made.Image)})
}

func (x *exchange) confirmApp() error {
	codes, err := x.door.People.Factors.ConfirmApp(x.ctx, x.who, x.form("id"), x.form("code"))
	body := securityBody{Codes: codes}
	if err != nil && otp.KindOf(err) == otp.Invalid {
		body.Unconfirmed = x.form("id")
	}
	return x.showSecurity(err, body)
}

func (x *exchange) newBackupCodes() error {
	codes, err := x.door.People.Factors.NewBackupCodes(x.ctx, x.who)
	return x.showSecurity(err, securityBody{Codes: codes})
}

func (x *exchange) removeFactor() error {
	all, _, err := x.door.People.Factors.List(x.ctx, x.who)
	if err != nil {
		return err
	}
	var name string // empty for an unknown factor, which Remove refuses
	for _, f := range all {
		if f.ID == x.form("id") {
			name = f.Name
		}
	}
	if asked, err := x.ask(question{Title: "Remove this second factor?", Name: name, Do: "Remove it", Back: "security",
		What: "You cannot log in with it any more. Without a second factor you cannot change anything live in production.",
		Keep: []string{"id"}}); asked {
		return err
	}
	return x.did(x.door.People.Factors.Remove(x.ctx, x.who, x.form("id")), "removed")
}

func (x *exchange) endSession() error {
	return x.did(x.door.People.Sessions.End(x.ctx, x.who, x.form("id")), "session")
}

func (x *exchange) endOthers() error {
	return x.did(x.door.People.Sessions.EndOthers(x.ctx, x.who), "sessions")
}

func (x *exchange) prove() error {
	return x.did(x.door.People.Reauthenticate(x.ctx, x.who, x.form("password"), x.form("code")), "proved")
}
