package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
)

// receiptIssuer is the iss of every receipt. The signing key identifies the installation.
const receiptIssuer = "otpbridge"

func (e *Engine) loadSigningKeys(ctx context.Context, _ string) ([]vault.SigningKey, error) {
	return e.vault.SigningKeys(ctx)
}

// signing returns the key that signs at now: the newest that may sign, or the oldest of all.
func signing(keys []vault.SigningKey, now otp.Millis) *crypto.ReceiptKey {
	for _, key := range keys {
		if now >= key.SignsFrom {
			return key.Signer
		}
	}
	return keys[len(keys)-1].Signer
}

// receipt signs that the caller's challenge was verified.
func (e *Engine) receipt(ctx context.Context, c *Caller, event otp.ID, challenge *otp.Challenge, recipient,
	binding string) (string, error) {
	keys, err := e.signingKeys.value(ctx, "")
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", errors.New("there is no key to sign receipts with")
	}
	id, now := challenge.ID.Text("otp"), time.Now()
	r := crypto.Receipt{
		Issuer: receiptIssuer, ID: event.Text("evt"), Challenge: id,
		Audience: c.Account.Address, Account: c.Account.Address, Environment: string(c.Environment), Type: challenge.Type(),
		RecipientHash: crypto.ReceiptHash(id, deliver.Identity(recipient)),
		VerifiedAt:    challenge.UsedAt.Time().Unix(), IssuedAt: now.Unix(), ExpiresAt: now.Add(vault.ReceiptLife).Unix(),
	}
	_, r.Test = c.settings.tests(recipient, challenge.CreatedAt)
	if binding != "" {
		r.BindingHash = crypto.ReceiptHash(id, binding)
	}
	return signing(keys, otp.At(now)).Sign(r)
}

// JWKS returns the public keys of all receipts that can still be valid, as a JSON Web Key Set (RFC 7517), newest
// first, followed by the permanent key of erasure certificates.
func (e *Engine) JWKS(ctx context.Context) ([]byte, error) {
	keys, err := e.signingKeys.value(ctx, "")
	if err != nil {
		return nil, err
	}
	set := struct {
		Keys []map[string]string `json:"keys"`
	}{Keys: []map[string]string{}}
	now := otp.At(time.Now())
	add := func(id string, public []byte) {
		set.Keys = append(set.Keys, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
			"kid": id, "x": base64.RawURLEncoding.EncodeToString(public),
		})
	}
	for _, key := range keys {
		if !key.Over(now) {
			add(key.ID, key.Public)
		}
	}
	certificates, err := e.vault.CertificateKey()
	if err != nil {
		return nil, err
	}
	add(certificates.ID(), certificates.Public())
	return json.Marshal(set)
}
