package v1

import (
	"net/http"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// maxCredential is longer than any key that was ever issued, and maxToken than most tokens.
const (
	maxCredential = 1024
	maxToken      = 8 << 10
)

// credential is the one secret that a request carries. Three headers can carry it: Authorization
// as a bearer token (RFC 6750), X-API-Key, and the servlets' access_key. They may repeat each
// other. Where they differ nobody can tell which one whatever stands in front of this server has
// looked at, so such a request is refused as it is, with 400.
//
// Refusal: MissingCredential for none, and for what cannot be a credential.
func credential(header http.Header) (string, error) {
	var found string
	var carrier string
	malformed := false
	for _, name := range []string{"Authorization", "X-Api-Key", "Access_key"} {
		for _, value := range header[name] {
			secret := strings.Trim(value, " \t")
			if name == "Authorization" {
				scheme, token, _ := strings.Cut(secret, " ")
				secret = strings.TrimLeft(token, " ")
				malformed = malformed || !otp.SameName(scheme, "Bearer") || strings.ContainsAny(secret, " \t")
			}
			malformed = malformed || !printable(secret) || len(secret) > longest(secret)
			if carrier != "" && secret != found {
				return "", web.Invalid(web.Fault{Header: name, Detail: "carries another credential than " + carrier + "; send one"})
			}
			found, carrier = secret, name
		}
	}
	switch {
	case carrier == "":
		return "", otp.Refuse(otp.MissingCredential, "no credential was presented; send the header Authorization: Bearer <API key>")
	case malformed:
		return "", otp.Refuse(otp.MissingCredential, "the credential cannot be one; send the header Authorization: Bearer <API key>")
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

// printable tells whether s is one or more printable ASCII characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
