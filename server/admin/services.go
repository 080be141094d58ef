package admin

import (
	"net/http"
	"strings"
	"time"

	"otpbridge/server/people"
)

// serviceRoutes are the calls that create, show and end service accounts.
var serviceRoutes = []route{
	{method: http.MethodPost, path: "/api/service-accounts", who: person, needs: people.WriteServices, live: true,
		once: true, call: reads((*exchange).createService)},
	{method: http.MethodGet, path: "/api/service-accounts", who: person, needs: people.ReadServices,
		parameters: []string{limitParameter, cursorParameter}, call: (*exchange).services},
	{method: http.MethodDelete, path: "/api/service-accounts/:id", who: person, needs: people.WriteServices,
		call: readsNothing((*exchange).revokeService)},
}

// service is a service account. Its id is its client_id at the token endpoint.
type service struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Role        people.Role `json:"role"`
	Accounts    []string    `json:"accounts"` // null: all
	Permissions []string    `json:"permissions"`
	Method      string      `json:"token_endpoint_auth_method"`
	CreatedAt   time.Time   `json:"created_at"`
	UsedAt      *time.Time  `json:"last_used_at"` // null: never
	RevokedAt   *time.Time  `json:"revoked_at"`   // null: not
}

func shownService(s people.Service) service {
	return service{s.ID, s.Name, s.Description, s.Grant.Role, s.Grant.Accounts, s.Permissions, s.Method,
		s.CreatedAt.Time(), moment(s.UsedAt), moment(s.RevokedAt)}
}

// madeService is a new service account with its private key or secret, which is shown only once; it has neither if the
// caller sent a public key.
type madeService struct {
	service
	PrivateKey string `json:"private_key,omitempty"` // PEM
	Secret     string `json:"client_secret,omitempty"`
}

func (x *exchange) createService(asked struct {
	Name        string `json:"name" missing:"refused"`
	Description string `json:"description"`
	askedGrant
	Method    string `json:"token_endpoint_auth_method" empty:"refused"`
	PublicKey string `json:"public_key_pem" empty:"refused"`
}) (answer, error) {
	made, secret, err := x.door.People.Services.Create(x.ctx, x.who, people.NewService{Name: asked.Name,
		Description: asked.Description, Grant: asked.grant(), Method: asked.Method, PublicKey: asked.PublicKey})
	if err != nil {
		return answer{}, err
	}
	shown, text := madeService{service: shownService(made)}, strings.TrimSpace(string(secret.Bytes()))
	if made.Method == people.BySecret {
		shown.Secret = text
	} else {
		shown.PrivateKey = text
	}
	return answer{http.StatusCreated, shown}, nil
}

func (x *exchange) services() (answer, error) {
	found, err := x.door.People.Services.List(x.ctx, x.who)
	if err != nil {
		return answer{}, err
	}
	return paged(x, found, shownService, func(s people.Service) string { return s.ID },
		idOf(people.ServicePrefix))
}

func (x *exchange) revokeService() (answer, error) {
	return done, x.door.People.Services.Revoke(x.ctx, x.who, x.gin.Param("id"))
}
