// Package admin is the JSON API with which people and automation manage the server. It only translates between HTTP
// and the packages that do the work.
//
// It promises the same as the other JSON doors: requests are read strictly, and every refusal is a problem of
// RFC 9457. Package people decides who may do what.
package admin

import (
	"cmp"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// assertionType is the only client_assertion_type that is accepted (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// tokenRequest is the body, as JSON or as a form.
type tokenRequest struct {
	GrantType     string `json:"grant_type"`
	ClientID      string `json:"client_id"`
	ClientSecret  string `json:"client_secret"`
	AssertionType string `json:"client_assertion_type"`
	Assertion     string `json:"client_assertion"`
}

// tokenAnswer is the answer of RFC 6749, section 5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

// tokenRefusal is a problem (RFC 9457) that is also an OAuth error (RFC 6749, section 5.2).
type tokenRefusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Status      int    `json:"status"`
	Detail      string `json:"detail"`
	Code        string `json:"code"`
	Message     string `json:"message"`
	RequestID   string `json:"request_id"`

	Errors []web.Fault `json:"errors,omitempty"`
}

// OAuthOptions are what the token endpoint needs.
type OAuthOptions struct {
	Services *people.Services
	Plain    *web.Plain // refuses credentials over plain HTTP
	Log      *slog.Logger
}

// MountOAuth registers the token endpoint.
func MountOAuth(router gin.IRouter, o OAuthOptions) {
	router.POST(people.TokenPath, func(c *gin.Context) {
		// No cache on the way may store a token.
		c.Header("Cache-Control", "no-store")
		c.Header("X-Content-Type-Options", "nosniff")
		var token people.Token
		err := web.Guarded(func() error {
			proof, err := readProof(c)
			if err != nil {
				return err
			}
			if err := o.Plain.Admit(c, "api"); err != nil {
				return err
			}
			token, err = o.Services.Token(c.Request.Context(), proof)
			return err
		})
		if err != nil {
			o.refuse(c, err)
			return
		}
		web.RequestOf(c).Kind = "ok"
		c.PureJSON(http.StatusOK, tokenAnswer{token.Text, "Bearer", int(token.Lifetime.Seconds())})
	})
}

// oauthError is a refusal of the request itself.
type oauthError struct{ code, detail string }

func (e oauthError) Error() string { return e.code + ": " + e.detail }

func invalidRequest(detail string) error { return oauthError{"invalid_request", detail} }

// readProof reads a request's proof of identity. It refuses two proofs, because it would be unclear which one counts.
func readProof(c *gin.Context) (people.Proof, error) {
	for _, name := range []string{"Authorization", "Content-Type"} {
		if _, err := web.Single(c.Request.Header, name); err != nil {
			return people.Proof{}, err
		}
	}
	if c.Request.URL.RawQuery != "" { // RFC 6749, section 3.2: secrets there would be in logs
		return people.Proof{}, invalidRequest("the URL has a query; send all parameters in the body")
	}
	body, err := web.ReadBody(c)
	if err != nil {
		return people.Proof{}, err
	}
	asked, err := readTokenRequest(c.GetHeader("Content-Type"), body)
	if err != nil {
		return people.Proof{}, err
	}
	return asked.proof(c.Request)
}

// readTokenRequest reads the body.
func readTokenRequest(contentType string, body []byte) (asked tokenRequest, err error) {
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && kind == "application/json":
		err = web.Decode(body, &asked)
	case err == nil && kind == "application/x-www-form-urlencoded":
		err = asked.readForm(string(body))
	default:
		err = invalidRequest("Content-Type must be application/x-www-form-urlencoded or application/json")
	}
	return asked, err
}

// proof returns the one proof of identity in the body or the Authorization header.
func (asked tokenRequest) proof(r *http.Request) (people.Proof, error) {
	ways := 0
	if id, secret, basic := r.BasicAuth(); basic {
		// Both are form-encoded within the header (RFC 6749, section 2.3.1).
		name, err1 := url.QueryUnescape(id)
		password, err2 := url.QueryUnescape(secret)
		if err1 != nil || err2 != nil || asked.ClientID != "" && asked.ClientID != name {
			return people.Proof{}, invalidRequest("the Authorization header cannot be read, or names another client_id")
		}
		ways++
		asked.ClientID = name
		if asked.ClientSecret != "" {
			ways++
		}
		asked.ClientSecret = password
	} else if r.Header.Get("Authorization") != "" {
		return people.Proof{}, invalidRequest("the Authorization header must be Basic, or left out")
	} else if asked.ClientSecret != "" {
		ways++
	}
	if asked.Assertion != "" {
		ways++
	}
	switch {
	case asked.GrantType == "":
		return people.Proof{}, invalidRequest("grant_type is missing; send client_credentials")
	case asked.GrantType != "client_credentials":
		return people.Proof{}, oauthError{"unsupported_grant_type", "grant_type must be client_credentials"}
	case ways != 1:
		return people.Proof{}, invalidRequest("send either client_secret or client_assertion, once")
	case (asked.Assertion != "" || asked.AssertionType != "") && asked.AssertionType != assertionType:
		return people.Proof{}, invalidRequest("client_assertion_type must be " + assertionType)
	case asked.Assertion == "" && asked.ClientID == "":
		return people.Proof{}, invalidRequest("client_id is missing")
	}
	return people.Proof{Client: asked.ClientID, Secret: asked.ClientSecret, Assertion: asked.Assertion}, nil
}

// readForm reads a form as strictly as JSON: it refuses unknown and repeated parameters.
func (r *tokenRequest) readForm(body string) error {
	values, err := url.ParseQuery(body)
	if err != nil {
		return invalidRequest("the form cannot be read")
	}
	members := map[string]*string{
		"grant_type": &r.GrantType, "client_id": &r.ClientID, "client_secret": &r.ClientSecret,
		"client_assertion_type": &r.AssertionType, "client_assertion": &r.Assertion,
	}
	for name, given := range values {
		member, known := members[name]
		switch {
		case !known && slices.Contains([]string{"scope", "resource", "audience"}, name):
			return oauthError{"invalid_scope", name + " is not taken; the service account's permissions hold for its tokens"}
		case !known:
			return invalidRequest("a parameter is not known here; there are grant_type, client_id, client_secret, " +
				"client_assertion_type and client_assertion")
		case len(given) > 1:
			return invalidRequest(name + " is given twice; which is meant?")
		}
		*member = given[0]
	}
	return nil
}

// refuse answers with an error of OAuth.
func (o OAuthOptions) refuse(c *gin.Context, err error) {
	request := web.RequestOf(c)
	request.Kind = otp.Invalid.String()
	answer := tokenRefusal{
		Type: "about:blank", Error: "invalid_request", Status: http.StatusBadRequest, Code: web.CodeInvalid,
		RequestID: request.ID,
	}
	own, isOwn := errors.AsType[oauthError](err)
	problem, isProblem := errors.AsType[*web.Problem](err)
	refusal, isRefusal := errors.AsType[*otp.Error](err)
	switch {
	case isOwn:
		answer.Error, answer.Detail = own.code, own.detail
	case isProblem:
		answer.Detail, answer.Code, answer.Status = problem.Detail, problem.Code, problem.Status
		answer.Errors = problem.Faults
	case isRefusal && refusal.Kind == otp.UnknownCredential:
		answer.Error, answer.Detail = "invalid_client", refusal.Message
		answer.Status, answer.Code = http.StatusUnauthorized, "AUTH_001"
		request.Kind, request.Reason = refusal.Kind.String(), refusal.Reason
		c.Header("WWW-Authenticate", `Basic realm="otpbridge"`)
	case isRefusal && refusal.Kind == otp.Overloaded:
		answer.Error, answer.Detail = "temporarily_unavailable", refusal.Message
		answer.Status, answer.Code = http.StatusServiceUnavailable, "OVERLOADED"
		request.Kind = refusal.Kind.String()
		c.Header("Retry-After", web.Seconds(max(refusal.RetryAfter, 1e9)))
	default:
		o.Log.ErrorContext(c.Request.Context(), "the token endpoint failed", "request_id", request.LogID, "error", err)
		answer.Error, answer.Detail = "server_error", "something went wrong here; the server's log has it"
		answer.Status, answer.Code = http.StatusInternalServerError, "INTERNAL"
		request.Kind = "fault"
	}
	answer.Title = http.StatusText(answer.Status)
	answer.Description, answer.Message = answer.Detail, cmp.Or(answer.Detail, answer.Title)
	c.PureJSON(answer.Status, answer)
}
