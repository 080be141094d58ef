package v1

import (
	"net/http"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// credential is the one secret that a request carries, as web.Credential reads it. Refusal: MissingCredential
// for none, and for what cannot be a credential.
func credential(header http.Header) (string, error) {
	secret, err := web.Credential(header, "API key")
	if err == nil && secret == "" {
		err = otp.Refuse(otp.MissingCredential,
			"no credential was presented; send the header Authorization: Bearer <API key>")
	}
	return secret, err
}
