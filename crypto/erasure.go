package crypto

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// Certificate is the content of an erasure certificate: what was erased about whom, and what remains until when. Times
// are in seconds since the Unix epoch.
type Certificate struct {
	Issuer      string           `json:"iss"`
	ID          string           `json:"jti"` // of the erasure
	Subject     string           `json:"sub"` // a pseudonym: the same for the same user_id, and it cannot be reversed
	Recipient   string           `json:"recipient_hash,omitempty"`
	Audience    string           `json:"aud"` // the account
	Environment string           `json:"environment"`
	AskedAt     int64            `json:"asked_at"`
	ErasedAt    int64            `json:"erased_at"`
	IssuedAt    int64            `json:"iat"`
	Erased      map[string]int64 `json:"erased"` // number of records by kind
	Remains     []Remainder      `json:"remains"`
}

// Remainder is something that an erasure leaves.
type Remainder struct {
	What  string `json:"what"`
	Until int64  `json:"until,omitempty"` // 0: see Why
	Why   string `json:"why"`
}

// certificateType distinguishes a certificate from other kinds of tokens (RFC 8725, section 3.11).
const certificateType = "otp-erasure+jwt"

type certificateClaims struct {
	Certificate
	jwt.RegisteredClaims `json:"-"`
}

// SignCertificate returns a certificate as a compact JWS (EdDSA over Ed25519, RFC 8037).
func (k *ReceiptKey) SignCertificate(c Certificate) (string, error) {
	return k.sign(certificateType, certificateClaims{Certificate: c})
}

// ErrCertificate says that a text is not an erasure certificate signed by one of the keys.
var ErrCertificate = errors.New("not an erasure certificate of ours")

// OpenCertificate checks the signature of a certificate, as OpenReceipt does. The error is ErrCertificate.
func OpenCertificate(text string, keys map[string][]byte) (Certificate, error) {
	var claims certificateClaims
	if openSigned(text, certificateType, &claims, keys) != nil {
		return Certificate{}, ErrCertificate
	}
	return claims.Certificate, nil
}
