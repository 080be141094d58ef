package v1

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// The headers with which the holder of an access token names the account and environment. A key implies both.
const (
	accountHeader     = "X-Account"
	environmentHeader = "X-Environment"
)

// credential returns the request's only secret, as web.Credential reads it. Refusal: MissingCredential for none, and
// for a malformed one.
func credential(header http.Header) (string, error) {
	secret, err := web.Credential(header, "API key")
	if err == nil && secret == "" {
		err = otp.Refuse(otp.MissingCredential,
			"no credential was presented; send the header Authorization: Bearer <API key>")
	}
	return secret, err
}

// authenticate identifies the caller: by an access token of this server, else by a key or a token of the account's
// issuers.
func (x *exchange) authenticate(secret string, peer netip.Addr) (*engine.Caller, error) {
	if x.door.people != nil && strings.HasPrefix(secret, "ey") { // {" in base64, as every JSON Web Token begins
		who, err := x.door.people.Bearer(x.ctx, secret, x.client())
		if err == nil {
			x.who = who
			return x.holder(who)
		}
		if otp.KindOf(err) != otp.MissingCredential {
			return nil, err
		}
	}
	caller, err := x.door.engine.Authenticate(x.ctx, otp.V1Door, secret, peer)
	if err == nil {
		err = x.checkNamed(caller)
	}
	return caller, err
}

// client returns where the request comes from.
func (x *exchange) client() people.Client {
	return people.Client{
		Address: web.Peer(x.gin.Request), Agent: x.gin.Request.UserAgent(), Request: web.RequestOf(x.gin).LogID,
	}
}

// holder returns the caller for a person or service account on the account that the request names.
func (x *exchange) holder(who people.Principal) (*engine.Caller, error) {
	environment := otp.Environment(x.gin.GetHeader(environmentHeader))
	switch environment {
	case "", otp.Live, otp.Test, otp.Dev:
	default:
		return nil, web.Invalid(web.Fault{Header: environmentHeader, Detail: "must be live, test or dev"})
	}
	permissions := who.Permissions()
	if who.ProvedTwice() != nil && !x.door.people.Sandbox {
		// Sending needs no second factor. Permissions to change settings or data do.
		permissions = slices.DeleteFunc(permissions, func(p string) bool { return strings.HasPrefix(p, "write:") })
	}
	holder := engine.Holder{ID: who.Text(), Name: who.Name, Accounts: who.Grant.Accounts, Permissions: permissions,
		Environment: environment}
	caller, err := holder.Caller(x.ctx, x.door.engine, x.gin.GetHeader(accountHeader))
	if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.Kind == otp.NotFound {
		return nil, web.Invalid(web.Fault{Header: accountHeader, Detail: refusal.Message})
	}
	return caller, err
}

// checkNamed refuses headers that name another account or environment than the key's: one of the two is a mistake.
func (x *exchange) checkNamed(c *engine.Caller) error {
	var faults []web.Fault
	if named := x.gin.GetHeader(accountHeader); named != "" && named != c.Account.Address {
		faults = append(faults, web.Fault{Header: accountHeader, Detail: "is not the account of the key; leave it out"})
	}
	if named := x.gin.GetHeader(environmentHeader); named != "" && named != string(c.Environment) {
		faults = append(faults, web.Fault{Header: environmentHeader, Detail: "is not that of the key; leave it out"})
	}
	if len(faults) == 0 {
		return nil
	}
	return web.Invalid(faults...)
}
