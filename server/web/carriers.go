package web

import (
	"mime"
	"net/http"
	"strings"

	"otpbridge/server/otp"
)

// maxCredential is longer than any key that was ever issued, and maxToken than most tokens.
const (
	maxCredential = 1024
	maxToken      = 8 << 10
)

// Credential returns the one secret that the headers of a request carry, empty for none. Three can carry it:
// Authorization as a bearer token (RFC 6750), X-API-Key, and the servlets' access_key. They may repeat each
// other. Where they differ, a proxy in front may have checked either one, so such a request is refused as it
// is, with 400. What says what the caller should send, as in "API key".
//
// Refusals: a Problem with status 400; MissingCredential for what cannot be a credential.
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

// longest is how long a credential of that look may be.
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

// RequireJSON refuses a request whose header does not say that its body is JSON in UTF-8. Anything else was
// meant for another reader, and a form that happens to read as JSON would have come past a browser's preflight.
// Refusal: a Problem with status 400.
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
