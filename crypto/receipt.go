package crypto

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// ReceiptKey signs receipts: statements that a challenge was verified. A backend can check a receipt itself and need
// not trust the browser that brings it.
type ReceiptKey struct {
	redacted
	id      string
	private ed25519.PrivateKey
}

// RandomReceiptKey returns a new seed for NewReceiptKey, to be sealed and stored.
func RandomReceiptKey() Secret {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:]) // never fails: the runtime stops the process instead
	return NewSecret(seed[:])
}

// NewReceiptKey returns the key with a seed of 32 bytes.
func NewReceiptKey(seed Secret) (*ReceiptKey, error) {
	if seed.Len() != ed25519.SeedSize {
		return nil, fmt.Errorf("a receipt key's seed has %d bytes, got %d", ed25519.SeedSize, seed.Len())
	}
	private := ed25519.NewKeyFromSeed(seed.Bytes())
	return &ReceiptKey{id: receiptKeyID(private.Public().(ed25519.PublicKey)), private: private}, nil
}

// ID returns the key's id in a receipt's kid and in the key set: its thumbprint (RFC 7638, RFC 8037).
func (k *ReceiptKey) ID() string { return k.id }

// Public returns the public key's 32 bytes.
func (k *ReceiptKey) Public() []byte { return k.private.Public().(ed25519.PublicKey) }

func receiptKeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) +
		`"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Receipt is the content of a receipt. Times are in seconds since the Unix epoch.
type Receipt struct {
	Issuer      string `json:"iss"`
	ID          string `json:"jti"` // the event of the verification, unique per receipt
	Challenge   string `json:"sub"`
	Audience    string `json:"aud"` // the account, whose backends accept the receipt
	Account     string `json:"account"`
	Environment string `json:"environment"`
	Type        string `json:"type"`
	// RecipientHash and BindingHash are ReceiptHash of the recipient and of the binding's canonical form; BindingHash
	// is left out if there was no binding.
	RecipientHash string `json:"recipient_hash"`
	BindingHash   string `json:"binding_hash,omitempty"`
	Test          bool   `json:"test,omitempty"` // the recipient is a test recipient, whose code is always the same
	VerifiedAt    int64  `json:"verified_at"`    // by the account's clock
	IssuedAt      int64  `json:"iat"`
	ExpiresAt     int64  `json:"exp"`
}

// receiptType distinguishes a receipt from other kinds of tokens (RFC 8725, section 3.11).
const receiptType = "otp-receipt+jwt"

// ReceiptHash returns the hash by which a receipt refers to a value that its reader knows: base64url, without padding,
// of SHA-256 of the challenge's id, a line feed, and the value. A backend computes the same from its own copy of the
// value and compares.
//
// It does not hide the value: whoever has a receipt can try all numbers of a country. It keeps the value itself out of
// logs, and makes receipts of one person look unrelated. A keyed hash would hide more, but only we could compare it.
func ReceiptHash(challenge, value string) string {
	sum := sha256.Sum256([]byte(challenge + "\n" + value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Sign returns a receipt as a compact JWS (EdDSA over Ed25519, RFC 8037).
func (k *ReceiptKey) Sign(r Receipt) (string, error) {
	return k.sign(receiptType, receiptClaims{Receipt: r})
}

func (k *ReceiptKey) sign(kind string, claims jwt.Claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["typ"], token.Header["kid"] = kind, k.id
	signed, err := token.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", kind, err)
	}
	return signed, nil
}

// receiptClaims lets the library carry a Receipt without the times that the library checks.
type receiptClaims struct {
	Receipt
	jwt.RegisteredClaims `json:"-"`
}

// ErrReceipt says that a text is not a receipt signed by one of the keys.
var ErrReceipt = errors.New("not a receipt of ours")

// OpenReceipt checks the signature of a receipt with public keys by their ids. It accepts EdDSA only, whatever the
// receipt's header says (RFC 8725, section 3.1). The reader checks the audience and the expiry. The error is
// ErrReceipt.
func OpenReceipt(text string, keys map[string][]byte) (Receipt, error) {
	var claims receiptClaims
	if openSigned(text, receiptType, &claims, keys) != nil {
		return Receipt{}, ErrReceipt
	}
	return claims.Receipt, nil
}

// openSigned reads a JWS of one kind that one of the keys has signed.
func openSigned(text, kind string, claims jwt.Claims, keys map[string][]byte) error {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithoutClaimsValidation(),
		jwt.WithStrictDecoding())
	_, err := parser.ParseWithClaims(text, claims, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		key := keys[id]
		if token.Header["typ"] != kind || len(key) != ed25519.PublicKeySize {
			return nil, errors.New("another kind of token, or an unknown key")
		}
		return ed25519.PublicKey(key), nil
	})
	return err
}

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
