package crypto

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// NewKeyPair returns a new Ed25519 key: the private half as PKCS #8 in PEM, the public half in the form that
// ParsePublicKey reads.
func NewKeyPair() (private Secret, public string, err error) {
	publicKey, privateKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Secret{}, "", fmt.Errorf("make a key pair: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(privateKey)
	if err != nil {
		return Secret{}, "", fmt.Errorf("make a key pair: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(publicKey)
	if err != nil {
		return Secret{}, "", fmt.Errorf("make a key pair: %w", err)
	}
	private = NewSecret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}))
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER})), nil
}
