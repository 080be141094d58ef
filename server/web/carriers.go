package web

import (
	"mime"
	"net/http"
	"strings"

	"otpbridge/server/otp"
)

// The longest key and the longest token that are accepted, in bytes. No issued key is so long, and few tokens are.
const (
	maxCredential = 1024
	maxToken      = 8 << 10
)

// Credential returns the secret in the headers of a request, empty if there is none. Three headers can carry it:
// Authorization as a bearer token (RFC 6750), X-API-Key, and the servlets' access_key. They may have the same value.
// If they differ it refuses the request, because a proxy may have checked either one. what names the credential in the
// refusal, as in "API key".
//
// Refusals: a Problem with status 400; MissingCredential for a text that cannot be a credential.
func Credential(header http.Header, what string) (string, error) {
	var found, carrier string
	malformed := false
	for _, name := range []string{"Authorization", "X-Api-Key", "Access_key"} {
		for _, value := range header[name] {
			secret := strings.Trim(value, " \t")
			if name == "Authorization" {
				scheme, token, _ := strings.Cut(secret, " ")
				secret = strings.TrimLeft(token, " ")
				malformed = malformed || !otp.SameName(scheme, "Bearer") || strings.ContainsAny(secret, " \t")
			}
			malformed = malformed || !Printable(secret) || len(secret) > longest(secret)
			if carrier != "" && secret != found {
				return "", Invalid(Fault{Header: name, Detail: "carries another credential than " + carrier + "; send one"})
			}
			found, carrier = secret, name
		}
	}
	if malformed {
		return "", otp.Refuse(otp.MissingCredential, "the credential cannot be one; send the header Authorization: Bearer "+
			"<"+what+">")
	}
	return found, nil
}

// longest returns how long a credential of this form may be.
func longest(credential string) int {
	if strings.HasPrefix(credential, "ey") && strings.Count(credential, ".") == 2 {
		return maxToken
	}
	return maxCredential
}

// Printable reports whether s is one or more printable ASCII characters.
func Printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}

// RequireJSON refuses a request whose Content-Type is not JSON in UTF-8. Otherwise a page of another site could send
// JSON as a form, which browsers send without a preflight request. Refusal: a Problem with status 400.
func RequireJSON(header http.Header) error {
	wrong := Invalid(Fault{Header: "Content-Type", Detail: "must be application/json"})
	values := header.Values("Content-Type")
	if len(values) != 1 {
		return wrong
	}
	kind, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || kind != "application/json" {
		return wrong
	}
	for name, value := range parameters {
		if name != "charset" || !otp.SameName(value, "utf-8") {
			return wrong
		}
	}
	return nil
}
