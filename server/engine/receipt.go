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

// The times of receipts and their keys.
const (
	// receiptLife is how long a receipt is good: enough for a browser to bring it to a backend.
	receiptLife = 10 * time.Minute
	// publishedAhead is how long a new key is in every server's key set before any signs with it. The
	// servers look at most signingKeysAge late, and their clocks differ by at most a second, or they are
	// not ready.
	publishedAhead = 10 * time.Second
	signingKeysAge = 3 * time.Second
	// publishedBehind is how long a key stays in the set after its last receipt has expired: for
	// verifiers whose clocks are slow.
	publishedBehind = 5 * time.Minute
)

// receiptKey is one of the keys that receipts are signed with.
type receiptKey struct {
	number    int
	id        string
	public    []byte
	signer    *crypto.ReceiptKey
	signsFrom otp.Millis
	goodUntil otp.Millis // in the key set; 0 while nothing has taken its place
}

func signingKeyAAD(id string) []byte { return []byte("signing_keys/" + id) }

// makeSigningKey makes the first key of a new database. Of several servers that start at once one
// wins, and all sign with the winner's.
func (e *Engine) makeSigningKey(ctx context.Context) error {
	keys, err := e.loadSigningKeys(ctx, "")
	if err != nil || len(keys) > 0 {
		return err
	}
	key, err := e.newSigningKey(1, 0)
	if err != nil {
		return err
	}
	if err := e.store.AddSigningKey(ctx, key); !errors.Is(err, sql.ErrTaken) {
		return err
	}
	return nil
}

// newSigningKey makes a key to be stored.
func (e *Engine) newSigningKey(number int, signsFrom otp.Millis) (sql.SigningKey, error) {
	seed := crypto.RandomReceiptKey()
	key, err := crypto.NewReceiptKey(seed)
	if err != nil {
		return sql.SigningKey{}, err
	}
	return sql.SigningKey{
		Number: number, ID: key.ID(), Public: key.Public(),
		Sealed: e.keyring.Seal(signingKeyAAD(key.ID()), seed.Bytes()), CreatedAt: otp.At(time.Now()), SignsFrom: signsFrom,
	}, nil
}

// ReceiptKey is a key of receipts as operators are told of it.
type ReceiptKey struct {
	ID        string    `json:"id"` // a receipt's kid
	SignsFrom time.Time `json:"signs_from"`
	Removed   []string  `json:"removed"` // ids of keys that left the key set with it
}

// ReplaceReceiptKey gives receipts a new key. Running servers take it up by themselves: they publish
// it at once and sign with it once all of them do. The former key stays in the key set until its last
// receipt has expired, and then leaves.
//
// If the former key is compromised, it and all before it are deleted instead: no receipt of theirs
// can be checked any more, a forged one or a good one. Nothing is left to sign with meanwhile, so the
// new key signs at once; a server may show it in its set up to 3 s later than another signs with it,
// and until then its receipts are refused, not believed.
func (e *Engine) ReplaceReceiptKey(ctx context.Context, compromised bool) (ReceiptKey, error) {
	keys, err := e.loadSigningKeys(ctx, "")
	if err != nil {
		return ReceiptKey{}, err
	}
	now := otp.At(time.Now())
	number, signsFrom := 1, now+otp.Span(publishedAhead)
	if compromised {
		signsFrom = now
	}
	var expired []int
	made := ReceiptKey{SignsFrom: signsFrom.Time().UTC(), Removed: []string{}}
	for _, key := range keys {
		number = max(number, key.number+1)
		if compromised || key.goodUntil != 0 && now >= key.goodUntil {
			expired = append(expired, key.number)
			made.Removed = append(made.Removed, key.id)
		}
	}
	key, err := e.newSigningKey(number, signsFrom)
	if err != nil {
		return ReceiptKey{}, err
	}
	if err := e.store.AddSigningKey(ctx, key, expired...); err != nil {
		if errors.Is(err, sql.ErrTaken) {
			err = errors.New("the key is being replaced by somebody else right now; look and try again")
		}
		return ReceiptKey{}, err
	}
	made.ID = key.ID
	return made, nil
}

// loadSigningKeys reads all keys, newest first.
func (e *Engine) loadSigningKeys(ctx context.Context, _ string) ([]receiptKey, error) {
	rows, err := e.store.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []receiptKey
	for i, row := range rows {
		seed, err := e.keyring.Open(signingKeyAAD(row.ID), row.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		signer, err := crypto.NewReceiptKey(crypto.NewSecret(seed))
		if err != nil {
			return nil, fmt.Errorf("open signing key %s: %w", row.ID, err)
		}
		key := receiptKey{number: row.Number, id: row.ID, public: row.Public, signer: signer, signsFrom: row.SignsFrom}
		if i > 0 { // rows[i-1] has taken its place
			key.goodUntil = rows[i-1].SignsFrom + otp.Span(signingKeysAge+receiptLife+publishedBehind)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// signing is the key that signs at now: the newest that may, or the oldest of all.
func signing(keys []receiptKey, now otp.Millis) *crypto.ReceiptKey {
	for _, key := range keys {
		if now >= key.signsFrom {
			return key.signer
		}
	}
	return keys[len(keys)-1].signer
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
	id, now := challenge.ID.Text("otp"), time.Now()
	r := crypto.Receipt{
		Issuer: receiptIssuer, ID: event.Text("evt"), Challenge: id,
		Audience: c.Account.Address, Account: c.Account.Address, Environment: string(c.Environment), Type: challenge.Type(),
		RecipientHash: crypto.ReceiptHash(id, deliver.Identity(recipient)),
		VerifiedAt:    challenge.UsedAt.Time().Unix(), IssuedAt: now.Unix(), ExpiresAt: now.Add(receiptLife).Unix(),
	}
	if binding != "" {
		r.BindingHash = crypto.ReceiptHash(id, binding)
	}
	return signing(keys, otp.At(now)).Sign(r)
}

// JWKS is the public keys of all receipts that can still be good as a JSON Web Key Set (RFC 7517),
// newest first.
func (e *Engine) JWKS(ctx context.Context) ([]byte, error) {
	keys, err := e.signingKeys.value(ctx, "")
	if err != nil {
		return nil, err
	}
	set := struct {
		Keys []map[string]string `json:"keys"`
	}{Keys: []map[string]string{}}
	now := otp.At(time.Now())
	for _, key := range keys {
		if key.goodUntil != 0 && now >= key.goodUntil {
			continue
		}
		set.Keys = append(set.Keys, map[string]string{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
			"kid": key.id, "x": base64.RawURLEncoding.EncodeToString(key.public),
		})
	}
	return json.Marshal(set)
}
