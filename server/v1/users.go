package v1

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
)

// userRoutes are the calls about the records of one person.
var userRoutes = []route{
	{http.MethodGet, "/v1/users/{id}/export", otp.PermitPrivacy, (*exchange).exportUser, nil},
	{http.MethodDelete, "/v1/users/{id}/delete", otp.PermitPrivacy, (*exchange).deleteUser, nil},
}

// usersPath begins the paths that name a person.
const usersPath = "/v1/users/"

// KeepEscapes allows a slash, written as %2F, in an id in a path; otherwise the router would split the path there.
func KeepEscapes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, usersPath) {
			r.URL.Path = r.URL.EscapedPath()
		}
		next.ServeHTTP(w, r)
	})
}

// userAsked returns the person that a call is about, in the environment of its key.
func (x *exchange) userAsked() (privacy.Asked, error) {
	id, err := url.PathUnescape(x.gin.Param("id"))
	if err != nil {
		return privacy.Asked{}, web.Invalid(web.Fault{Parameter: "id", Detail: "is not escaped as a part of a path is"})
	}
	return privacy.Asked{Account: x.caller.Account.Address, Environment: x.caller.Environment, ID: id}, nil
}

// exportUser streams the export.
func (x *exchange) exportUser() (engine.Answer, error) {
	asked, err := x.userAsked()
	if err != nil {
		return engine.Answer{}, err
	}
	by := x.asker().Actor
	x.stream = func(ctx context.Context, w io.Writer) error { return x.door.privacy.Export(ctx, by, asked, w) }
	return engine.Answer{}, nil
}

func (x *exchange) deleteUser() (engine.Answer, error) {
	if err := x.readNothing(); err != nil {
		return engine.Answer{}, err
	}
	asked, err := x.userAsked()
	if err != nil {
		return engine.Answer{}, err
	}
	return answered(x.door.privacy.Erase(x.ctx, x.asker().Actor, asked))
}
