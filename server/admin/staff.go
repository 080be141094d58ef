package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"otpbridge/server/people"
	"otpbridge/server/web"
)

// staffRoutes are the calls that invite people and change their roles and permissions.
var staffRoutes = []route{
	{method: http.MethodPost, path: "/api/people", who: person, needs: people.WritePeople,
		once: true, call: reads((*exchange).invite)},
	{method: http.MethodGet, path: "/api/people", who: person, needs: people.ReadPeople,
		parameters: peopleParameters, call: (*exchange).people},
	{method: http.MethodGet, path: "/api/people/invitations", who: person, needs: people.ReadPeople,
		parameters: []string{limitParameter, cursorParameter}, call: (*exchange).invitations},
	{method: http.MethodDelete, path: "/api/people/invitations/:id", who: person, needs: people.WritePeople,
		call: readsNothing((*exchange).withdraw)},
	{method: http.MethodGet, path: "/api/people/:id", who: person, needs: people.ReadPeople, call: (*exchange).person},
	{method: http.MethodPatch, path: "/api/people/:id", who: person, needs: people.WritePeople,
		call: reads((*exchange).changePerson)},
	{method: http.MethodDelete, path: "/api/people/:id", who: person, needs: people.WritePeople,
		call: readsNothing((*exchange).removePerson)},
	{method: http.MethodDelete, path: "/api/people/:id/sessions", who: person, needs: people.WritePeople,
		call: readsNothing((*exchange).endAll)},
	{method: http.MethodDelete, path: "/api/people/:id/mfa", who: person, needs: people.WritePeople,
		call: readsNothing((*exchange).resetFactors)},
	{method: http.MethodPost, path: "/api/people/:id/recovery", who: person, needs: people.WritePeople,
		once: true, call: readsNothing((*exchange).recoverPerson)},
}

// peopleParameters are those of the list of people.
var peopleParameters = []string{searchParameter, "role", stateParameter, sortParameter, limitParameter, cursorParameter}

// member is a person as people with the permission to read people see them.
type member struct {
	user
	DisabledAt *time.Time `json:"disabled_at"` // null: not
}

func shownMember(p people.Profile) member { return member{shownUser(p), moment(p.DisabledAt)} }

// askedGrant is a grant in a request.
type askedGrant struct {
	Role        people.Role `json:"role" empty:"refused"`
	Accounts    []string    `json:"accounts"`    // null: all
	Permissions []string    `json:"permissions"` // null: all of the role
}

func (a askedGrant) grant() people.Grant { return people.Grant(a) }

// invitation is an invitation that has not been used yet.
type invitation struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	askedGrant
	CreatedAt *time.Time `json:"created_at,omitempty"`
	ExpiresAt time.Time  `json:"expires_at"`
}

// madeInvitation is a new invitation with its link, which is shown only once.
type madeInvitation struct {
	invitation
	Token string `json:"invitation"`
	Link  string `json:"link"`
}

func (x *exchange) invite(asked struct {
	Email       string      `json:"email" missing:"refused"`
	Role        people.Role `json:"role" missing:"refused"`
	Accounts    []string    `json:"accounts"`
	Permissions []string    `json:"permissions"`
}) (answer, error) {
	grant := askedGrant{asked.Role, asked.Accounts, asked.Permissions}
	made, err := x.door.People.Staff.Invite(x.ctx, x.who, asked.Email, grant.grant())
	return answer{http.StatusCreated, madeInvitation{
		invitation{ID: made.ID, Email: made.Email, askedGrant: grant, ExpiresAt: made.ExpiresAt.Time()},
		made.Token, people.Link(x.door.People.Issuer, "register", "invitation", made.Token),
	}}, err
}

func (x *exchange) invitations() (answer, error) {
	found, err := x.door.People.Staff.Invitations(x.ctx, x.who)
	if err != nil {
		return answer{}, err
	}
	return paged(x, found, func(i people.Invitation) invitation {
		return invitation{i.ID, i.Email, askedGrant(i.Grant), new(i.CreatedAt.Time()), i.ExpiresAt.Time()}
	}, func(i people.Invitation) string { return i.ID }, idOf(people.TicketPrefix))
}

func (x *exchange) withdraw() (answer, error) {
	return done, x.door.People.Staff.Withdraw(x.ctx, x.who, x.gin.Param("id"))
}

func (x *exchange) people() (answer, error) {
	query := web.ReadQuery(x.gin, peopleParameters...)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	q := people.StaffQuery{
		Search: query.Text(searchParameter), Role: among(query, "role", people.Roles()),
		State: among(query, stateParameter, people.StaffStates()), Sort: among(query, sortParameter, people.StaffSorts()),
		After: query.Text(cursorParameter), Limit: limit + 1,
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	found, err := x.door.People.Staff.Page(x.ctx, x.who, q)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.PageOf(x.gin, found, limit, shownMember, q.Cursor)}, nil
}

func (x *exchange) person() (answer, error) {
	found, err := x.door.People.Staff.Find(x.ctx, x.who, x.gin.Param("id"))
	if err != nil {
		return answer{}, err
	}
	return x.shownPerson(found), nil
}

func (x *exchange) shownPerson(p people.Profile) answer {
	x.gin.Header("ETag", web.ETag(p.Version))
	return answer{http.StatusOK, shownMember(p)}
}

func (x *exchange) changePerson(asked struct {
	Name        *string         `json:"name" null:"refused"`
	Role        *people.Role    `json:"role" null:"refused"`
	Accounts    json.RawMessage `json:"accounts"`
	Permissions json.RawMessage `json:"permissions"`
	Disabled    *bool           `json:"disabled" null:"refused"`
}) (answer, error) {
	present, err := x.door.People.Staff.Find(x.ctx, x.who, x.gin.Param("id"))
	if err != nil {
		return answer{}, err
	}
	if err := web.IfMatch(x.gin.Request.Header, present.Version); err != nil {
		return answer{}, err
	}
	patch := people.Patch{Name: asked.Name, Role: asked.Role, Disabled: asked.Disabled}
	if patch.Accounts, err = givenList("accounts", asked.Accounts); err != nil {
		return answer{}, err
	}
	if patch.Permissions, err = givenList("permissions", asked.Permissions); err != nil {
		return answer{}, err
	}
	changed, err := x.door.People.Staff.Change(x.ctx, x.who, present.ID, patch, present.Version)
	if err != nil {
		return answer{}, err
	}
	return x.shownPerson(changed), nil
}

// givenList reads an optional list. It returns nil if the member is missing, and a pointer to nil if it is null.
func givenList(name string, raw json.RawMessage) (*[]string, error) {
	if raw == nil {
		return nil, nil
	}
	lists := map[string][]string{}
	if err := web.Decode([]byte(`{"`+name+`":`+string(raw)+`}`), &lists); err != nil {
		return nil, err
	}
	return new(lists[name]), nil
}

// removePerson removes a person. If-Match is optional.
func (x *exchange) removePerson() (answer, error) {
	version := int64(0)
	if x.gin.GetHeader("If-Match") != "" {
		present, err := x.door.People.Staff.Find(x.ctx, x.who, x.gin.Param("id"))
		if err != nil {
			return answer{}, err
		}
		if err := web.IfMatch(x.gin.Request.Header, present.Version); err != nil {
			return answer{}, err
		}
		version = present.Version
	}
	return done, x.door.People.Staff.Remove(x.ctx, x.who, x.gin.Param("id"), version)
}

func (x *exchange) endAll() (answer, error) {
	return done, x.door.People.Staff.EndSessions(x.ctx, x.who, x.gin.Param("id"))
}

func (x *exchange) resetFactors() (answer, error) {
	return done, x.door.People.Staff.ResetFactors(x.ctx, x.who, x.gin.Param("id"))
}

// recovery is a link with which a person chooses a new password, shown once.
type recovery struct {
	Token     string    `json:"recovery_token"`
	Link      string    `json:"link"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (x *exchange) recoverPerson() (answer, error) {
	made, err := x.door.People.Staff.Recover(x.ctx, x.who, x.gin.Param("id"))
	return answer{http.StatusCreated, recovery{
		made.Token, people.Link(x.door.People.Issuer, "recover", "recovery_token", made.Token), made.ExpiresAt.Time(),
	}}, err
}
