package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// receiptIssuer is the iss of every receipt. Which installation it comes from is told by the key
// that signed it.
const receiptIssuer = "otpbridge"

// receiptKey is one of the keys that receipts are signed with.
type receiptKey struct {
	id     string
	public []byte
	signer *crypto.ReceiptKey
}

func signingKeyAAD(id string) []byte { return []byte("signing_keys/" + id) }

// makeSigningKey makes the first key of a new database. Of several servers that start at once one
// wins, and all sign with the winner's.
func (e *Engine) makeSigningKey(ctx context.Context) error {
	keys, err := e.loadSigningKeys(ctx, "")
	if err != nil || len(keys) > 0 {
		return err
	}
	seed := crypto.RandomReceiptKey()
	key, err := crypto.NewReceiptKey(seed)
	if err != nil {
		return err
	}
	return e.store.InsertSigningKey(ctx, sql.SigningKey{
		Number: 1, ID: key.ID(), Public: key.Public(),
		Sealed: e.keyring.Seal(signingKeyAAD(key.ID()), seed.Bytes()), CreatedAt: otp.At(time.Now()),
	})
}

func (e *Engine) loadSigningKeys(ctx context.Context, _ string) ([]receiptKey, error) {
	rows, err := e.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []receiptKey
	for _, row := range rows {
		seed, err := e.keyring.Open(signingKeyAAD(row.ID), row.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		signer, err := crypto.NewReceiptKey(crypto.NewSecret(seed))
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		keys = append(keys, receiptKey{id: row.ID, public: row.Public, signer: signer})
	}
	return keys, nil
}

// receipt signs that the caller's challenge was verified.
func (e *Engine) receipt(ctx context.Context, c *Caller, event otp.ID, challenge *otp.Challenge, recipient, binding string) (string, error) {
	keys, err := e.signingKeys.value(ctx, "")
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", errors.New("there is no key to sign receipts with")
	}
	id := challenge.ID.Text("otp")
	r := crypto.Receipt{
		Issuer: receiptIssuer, ID: event.Text("evt"), Challenge: id,
		Account: c.Account.Address, Environment: string(c.Environment), Type: challenge.Type(),
		RecipientHash: crypto.ReceiptHash(id, deliver.Identity(recipient)),
		VerifiedAt:    challenge.UsedAt.Time().Unix(), IssuedAt: time.Now().Unix(),
	}
	if binding != "" {
		r.BindingHash = crypto.ReceiptHash(id, binding)
	}
	return keys[0].signer.Sign(r)
}

// JWKS is the public keys of all receipts as a JSON Web Key Set (RFC 7517), the one in use first.
func (e *Engine) JWKS(ctx context.Context) ([]byte, error) {
	keys, err := e.signingKeys.value(ctx, "")
	if err != nil {
		return nil, err
	}
	set := struct {
		Keys []map[string]string `json:"keys"`
	}{Keys: []map[string]string{}}
	for _, key := range keys {
		set.Keys = append(set.Keys, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
			"kid": key.id, "x": base64.RawURLEncoding.EncodeToString(key.public),
		})
	}
	return json.Marshal(set)
}
