package admin

import (
	"net/http"
	"time"

	"otpbridge/server/people"
)

// authRoutes are the calls with which people register, log in and log out.
var authRoutes = []route{
	{method: http.MethodPost, path: "/api/auth/register", who: anybody, call: reads((*exchange).register)},
	{method: http.MethodPost, path: "/api/auth/login", who: anybody, call: reads((*exchange).login)},
	{method: http.MethodPost, path: "/api/auth/refresh", who: anybody, call: reads((*exchange).refresh)},
	{method: http.MethodPost, path: "/api/auth/recover", who: anybody, call: reads((*exchange).recover)},
	{method: http.MethodPost, path: "/api/auth/logout", who: person, call: readsNothing((*exchange).logout)},
	{method: http.MethodPost, path: "/api/auth/password", who: person, call: reads((*exchange).changePassword)},
	{method: http.MethodPost, path: "/api/auth/reauthenticate", who: person, call: reads((*exchange).reauthenticate)},
	{method: http.MethodGet, path: "/api/auth/explain", who: stranger, call: (*exchange).explain},
	{method: http.MethodGet, path: "/api/auth/me", who: caller, call: (*exchange).me},
	{method: http.MethodGet, path: "/api/csrf-token", who: person, call: (*exchange).csrfToken},
	{method: http.MethodGet, path: "/api/auth/sessions", who: person,
		parameters: []string{limitParameter, cursorParameter}, call: (*exchange).sessions},
	{method: http.MethodDelete, path: "/api/auth/sessions", who: person, call: readsNothing((*exchange).endOthers)},
	{method: http.MethodGet, path: "/api/auth/sessions/:id", who: person, call: (*exchange).session},
	{method: http.MethodDelete, path: "/api/auth/sessions/:id", who: person, call: readsNothing((*exchange).endSession)},
	{method: http.MethodGet, path: "/api/auth/mfa", who: person, call: (*exchange).factors},
	{method: http.MethodPost, path: "/api/auth/mfa/enable", who: person, call: reads((*exchange).enrolApp)},
	{method: http.MethodPost, path: "/api/auth/mfa/confirm", who: person, call: reads((*exchange).confirmApp)},
	{method: http.MethodPost, path: "/api/auth/mfa/backup-codes", who: person,
		call: readsNothing((*exchange).newBackupCodes)},
	{method: http.MethodDelete, path: "/api/auth/mfa/:id", who: person, call: readsNothing((*exchange).removeFactor)},
}

// user is a person as they see themselves.
type user struct {
	ID          string      `json:"id"`
	Email       string      `json:"email"`
	Name        string      `json:"name"`
	CreatedAt   time.Time   `json:"created_at"`
	Role        people.Role `json:"role"`
	Accounts    []string    `json:"accounts"` // null: all
	Permissions []string    `json:"permissions"`
}

func shownUser(p people.Profile) user {
	return user{p.ID, p.Email, p.Name, p.CreatedAt.Time(), p.Role, p.Accounts, p.Permissions}
}

// tokensAnswer has the tokens of a new or refreshed session.
type tokensAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	User         user   `json:"user"`
}

// tokens answers with a session's tokens, and sets the session cookie.
func (x *exchange) tokens(status int, t people.Tokens, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	x.keepSession(t)
	return answer{status, tokensAnswer{t.AccessToken, t.RefreshToken, "Bearer", int(people.AccessLife.Seconds()),
		shownUser(t.Person)}}, nil
}

func (x *exchange) register(asked struct {
	Email      string `json:"email" missing:"refused"`
	Password   string `json:"password" missing:"refused"`
	Name       string `json:"name" missing:"refused"`
	SetupToken string `json:"setup_token"`
	Invitation string `json:"invitation"`
}) (answer, error) {
	ticket, err := oneOf("setup_token", asked.SetupToken, "invitation", asked.Invitation)
	if err != nil {
		return answer{}, err
	}
	t, err := x.door.People.Register(x.ctx, people.Registration{Email: asked.Email, Password: asked.Password,
		Name: asked.Name, Ticket: ticket}, x.from)
	return x.tokens(http.StatusCreated, t, err)
}

func (x *exchange) login(asked struct {
	Email    string `json:"email" missing:"refused"`
	Password string `json:"password" missing:"refused"`
	Code     string `json:"mfa_code"`
}) (answer, error) {
	t, err := x.door.People.Login(x.ctx, people.Login{Email: asked.Email, Password: asked.Password, Code: asked.Code},
		x.from)
	return x.tokens(http.StatusOK, t, err)
}

func (x *exchange) refresh(asked struct {
	Token string `json:"refresh_token" missing:"refused"`
}) (answer, error) {
	t, err := x.door.People.Refresh(x.ctx, asked.Token, x.from)
	return x.tokens(http.StatusOK, t, err)
}

// recover sets a person's new password, with the token of a link that an admin made.
func (x *exchange) recover(asked struct {
	Token    string `json:"recovery_token" missing:"refused"`
	Password string `json:"password" missing:"refused"`
}) (answer, error) {
	return done, x.door.People.Recover(x.ctx, asked.Token, asked.Password, x.from)
}

func (x *exchange) logout() (answer, error) {
	if err := x.door.People.Logout(x.ctx, x.who); err != nil {
		return answer{}, err
	}
	x.door.browser.DropSession(x.gin.Writer, x.gin.Request)
	return done, nil
}

func (x *exchange) changePassword(asked struct {
	Present string `json:"current_password" missing:"refused"`
	New     string `json:"new_password" missing:"refused"`
}) (answer, error) {
	return done, x.door.People.ChangePassword(x.ctx, x.who, asked.Present, asked.New)
}

// self is a service account or API key as it sees itself.
type self struct {
	ID          string      `json:"id"`
	Kind        string      `json:"kind"`
	Name        string      `json:"name"`
	Role        people.Role `json:"role,omitempty"`
	Accounts    []string    `json:"accounts"` // null: all
	Permissions []string    `json:"permissions"`
}

func (x *exchange) me() (answer, error) {
	if x.who.Kind != people.PersonKind {
		return answer{http.StatusOK, self{x.who.Text(), x.who.Kind, x.who.Name, x.who.Grant.Role, x.who.Grant.Accounts,
			x.who.Permissions()}}, nil
	}
	profile, err := x.door.People.Profile(x.ctx, x.who)
	return answer{http.StatusOK, shownUser(profile)}, err
}

func (x *exchange) csrfToken() (answer, error) {
	return answer{http.StatusOK, map[string]string{"csrf_token": x.door.People.CSRFToken(x.who)}}, nil
}
