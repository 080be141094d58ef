package admin

import (
	"net/http"
	"slices"
	"time"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// session is one login of a person.
type session struct {
	ID        string    `json:"id"`
	Address   string    `json:"address"`
	Agent     string    `json:"agent"`
	Factor    string    `json:"factor,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"last_seen_at"` // to a minute
	ExpiresAt time.Time `json:"expires_at"`
	Current   bool      `json:"current"`
}

func (x *exchange) sessions() (answer, error) {
	query := web.ReadQuery(x.gin, limitParameter, cursorParameter)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	last, given := query.Given(cursorParameter)
	if given && !idOf(people.SessionPrefix)(last) {
		query.Fault(cursorParameter, notCursor)
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	found, err := x.door.People.Sessions.List(x.ctx, x.who) // newest first, and ids are in order of time
	if err != nil {
		return answer{}, err
	}
	rest := slices.DeleteFunc(found, func(s people.Session) bool { return given && s.ID >= last })
	return answer{http.StatusOK, web.PageOf(x.gin, rest, limit, shownSession, func(s people.Session) string {
		return s.ID
	})}, nil
}

func shownSession(s people.Session) session {
	return session{s.ID, s.Address, s.Agent, s.Factor, s.CreatedAt.Time(), s.SeenAt.Time(), s.ExpiresAt.Time(), s.Current}
}

func (x *exchange) session() (answer, error) {
	found, err := x.door.People.Sessions.Find(x.ctx, x.who, x.gin.Param("id"))
	return answer{http.StatusOK, shownSession(found)}, err
}

func (x *exchange) endOthers() (answer, error) {
	return done, x.door.People.Sessions.EndOthers(x.ctx, x.who)
}

func (x *exchange) endSession() (answer, error) {
	return done, x.door.People.Sessions.End(x.ctx, x.who, x.gin.Param("id"))
}

// factor is a second factor of a person.
type factor struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"`
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"last_used_at"` // null: never
}

func (x *exchange) factors() (answer, error) {
	found, left, err := x.door.People.Factors.List(x.ctx, x.who)
	all := make([]factor, len(found))
	for i, f := range found {
		all[i] = factor{f.ID, f.Kind, f.Name, f.CreatedAt.Time(), moment(f.UsedAt)}
	}
	return answer{http.StatusOK, map[string]any{"data": all, "backup_codes_left": left}}, err
}

func moment(at otp.Millis) *time.Time {
	if at == 0 {
		return nil
	}
	t := at.Time()
	return &t
}

// enrolment is what an authenticator app needs, shown only once.
type enrolment struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	URI    string `json:"otpauth_uri"`
	Image  string `json:"qr_code"` // a data: URI of a PNG
}

func (x *exchange) enrolApp(asked struct {
	Name string `json:"name"`
}) (answer, error) {
	made, err := x.door.People.Factors.EnrolApp(x.ctx, x.who, asked.Name)
	return answer{http.StatusCreated, enrolment(made)}, err
}

func (x *exchange) confirmApp(asked struct {
	ID   string `json:"id" missing:"refused"`
	Code string `json:"code" missing:"refused"`
}) (answer, error) {
	codes, err := x.door.People.Factors.ConfirmApp(x.ctx, x.who, asked.ID, asked.Code)
	return backupCodes(codes), err
}

func (x *exchange) newBackupCodes() (answer, error) {
	codes, err := x.door.People.Factors.NewBackupCodes(x.ctx, x.who)
	return backupCodes(codes), err
}

// backupCodes answers with backup codes, which are shown only once. There are none for a second app.
func backupCodes(codes []string) answer {
	if codes == nil {
		codes = []string{}
	}
	return answer{http.StatusOK, map[string][]string{"backup_codes": codes}}
}

func (x *exchange) removeFactor() (answer, error) {
	return done, x.door.People.Factors.Remove(x.ctx, x.who, x.gin.Param("id"))
}

// oneOf returns the one of two members that is given, empty if neither is. It refuses both.
func oneOf(name, value, other, otherValue string) (string, error) {
	if value != "" && otherValue != "" {
		return "", web.Invalid(web.Fault{Pointer: "/" + other, Detail: "is given beside " + name + "; send one of them"})
	}
	return value + otherValue, nil
}
