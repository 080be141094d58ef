package console

import (
	"net/http"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// loginPages log in and out, register people and set forgotten passwords.
var loginPages = []route{
	{method: get, path: "login", who: anybody, serve: (*exchange).loginForm},
	{method: post, path: "login", who: anybody, serve: (*exchange).login},
	{method: post, path: "login/code", who: anybody, serve: (*exchange).loginCode},
	{method: get, path: "register", who: anybody, serve: (*exchange).registerForm},
	{method: post, path: "register", who: anybody, serve: (*exchange).register},
	{method: get, path: "recover", who: anybody, serve: (*exchange).recoverForm},
	{method: post, path: "recover", who: anybody, serve: (*exchange).recover},
	{method: post, path: "logout", who: person, serve: (*exchange).logout},
}

// loginBody is the login's form.
type loginBody struct {
	Email, To string
	Code      bool // the password was right, and the form asks for a second factor
	Open      bool // the console also works without a login
	Passkeys  passkeyPlace
	Passkey   *passkeyForm // asks for a passkey
}

func (x *exchange) loginBody(to string) loginBody {
	return loginBody{To: to, Open: x.open(), Passkeys: x.passkeys()}
}

func (x *exchange) loginForm() error {
	return x.show("login", "Log in", x.loginBody(x.query("to")))
}

// login takes address and password. People with a second factor are asked for its code next; meanwhile the browser
// keeps a mark that says that the password was right.
func (x *exchange) login() error {
	in := people.Login{Email: x.form("email"), Password: x.form("password")}
	tokens, mark, err := x.door.People.Steps.Password(x.ctx, in, x.from)
	body := x.loginBody(x.form("to"))
	body.Email = in.Email
	switch {
	case err != nil:
		return x.refuse(err, "login", "Log in", body)
	case mark != "":
		x.door.browser.KeepMark(x.gin.Writer, x.gin.Request, mark)
		body.Code = true
		web.RequestOf(x.gin).Kind = otp.FactorRequired.String()
		return x.render(http.StatusUnauthorized, "login", view{Title: "Log in", Body: body,
			Notice: "Your password is right. Now give a code from your authenticator app, or a backup code."})
	}
	x.enter(tokens)
	return x.goBack(x.form("to"))
}

// loginCode takes the code of a second factor, after the password.
func (x *exchange) loginCode() error {
	tokens, err := x.door.People.Steps.Code(x.ctx, x.door.browser.Mark(x.gin.Request), x.form("mfa_code"), x.from)
	if err != nil {
		body := x.loginBody(x.form("to"))
		body.Code = otp.KindOf(err) != otp.WrongPassword // else the login begins again
		return x.refuse(err, "login", "Log in", body)
	}
	x.door.browser.KeepMark(x.gin.Writer, x.gin.Request, "")
	x.enter(tokens)
	return x.goBack(x.form("to"))
}

// enter sets the session cookie.
func (x *exchange) enter(tokens people.Tokens) {
	x.door.browser.KeepSession(x.gin.Writer, x.gin.Request, x.door.People.Cookie(tokens.Session), tokens.ExpiresAt.Time())
}

// goBack redirects to the page that somebody wanted before the login. It accepts only pages of the console.
func (x *exchange) goBack(to string) error {
	page, ours := strings.CutPrefix(to, Path)
	if !ours || strings.ContainsAny(to, "\\\r\n") || strings.HasPrefix(page, "/") {
		page = ""
	}
	return x.goTo(page)
}

// registerBody is the form for a person with a link, or for the first person in a sandbox.
type registerBody struct {
	Email, Name, Ticket string
	Open                bool // no ticket is needed
}

func (x *exchange) registerForm() error {
	return x.show("register", "Make your login", registerBody{Open: x.open()})
}

func (x *exchange) register() error {
	in := people.Registration{Email: x.form("email"), Password: x.form("password"), Name: x.form("name"),
		Ticket: x.form("ticket")}
	tokens, err := x.door.People.Register(x.ctx, in, x.from)
	if err != nil {
		return x.refuse(err, "register", "Make your login", registerBody{in.Email, in.Name, in.Ticket, x.open()})
	}
	x.enter(tokens)
	return x.goTo("security?done=registered")
}

func (x *exchange) recoverForm() error { return x.show("recover", "Set a new password", "") }

func (x *exchange) recover() error {
	if err := x.door.People.Recover(x.ctx, x.form("ticket"), x.form("password"), x.from); err != nil {
		return x.refuse(err, "recover", "Set a new password", x.form("ticket"))
	}
	return x.goTo("login?done=recovered")
}

func (x *exchange) logout() error {
	if x.loggedIn {
		if err := x.door.People.Logout(x.ctx, x.who); err != nil {
			return err
		}
	}
	x.door.browser.DropSession(x.gin.Writer, x.gin.Request)
	return x.goTo("login?done=logout")
}
