package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Signed is a request as its signature sees it. The headers are as they came, empty if absent.
type Signed struct {
	Method    string
	Path      string // the request target as sent, query included: http.Request.RequestURI
	Timestamp string // X-Timestamp, Unix seconds
	Nonce     string // X-Nonce, 32 hexadecimal characters
	Signature string // X-Signature, hexadecimal
	Body      []byte // as sent
}

// signatureAge is how far a timestamp may be from this server's clock, either way, in seconds.
const signatureAge = 300

// loadNoncesFrom reads since when used nonces are all known. A restored backup has lost those that
// were used after it, so that requests signed before it was found could be repeated.
func (e *Engine) loadNoncesFrom(ctx context.Context) error {
	restores, err := e.store.Restores(ctx, otp.At(time.Now())-2*signatureAge*otp.Second)
	if err == nil && len(restores) > 0 {
		e.noncesFrom = restores[0].FoundAt
	}
	return err
}

// AcceptSignature checks a request's signature and uses up its nonce, by the mode of the caller's key. A nonce is good
// once for each key; it is used up only by a request that is right in everything else, so that
// nobody without the secret can use up anybody's. Refusal: BadSignature.
func (e *Engine) AcceptSignature(ctx context.Context, c *Caller, s Signed) error {
	unsigned := s.Timestamp == "" && s.Nonce == "" && s.Signature == ""
	switch c.Key.Signing {
	case otp.SigningOff:
		return nil
	case otp.SigningOptional:
		if unsigned {
			return nil
		}
	}
	if s.Timestamp == "" || s.Nonce == "" || s.Signature == "" {
		return otp.Refuse(otp.BadSignature, "a signed request has the headers X-Timestamp, X-Nonce and X-Signature, all "+
			"three")
	}
	stamp, err := strconv.ParseInt(s.Timestamp, 10, 64)
	if err != nil || strconv.FormatInt(stamp, 10) != s.Timestamp { // one spelling only: what is signed is the text
		return otp.Refuse(otp.BadSignature, "X-Timestamp is not the time in Unix seconds, such as 1700000000")
	}
	if age := time.Now().Unix() - stamp; age > signatureAge || age < -signatureAge {
		return otp.Refuse(otp.BadSignature, fmt.Sprintf("X-Timestamp is more than %d s from this server's clock; sign "+
			"anew, and synchronise the client's clock with NTP", signatureAge))
	}
	if otp.Millis(stamp)*otp.Second <= e.noncesFrom {
		return otp.Refuse(otp.BadSignature, "X-Timestamp is of before the database's backup was restored, with which used "+
			"nonces were lost; sign anew")
	}
	var nonce [16]byte
	if n, err := hex.Decode(nonce[:], []byte(nonceText(s.Nonce))); err != nil || n != len(nonce) {
		return otp.Refuse(otp.BadSignature, "X-Nonce is not 32 hexadecimal characters")
	}
	signed := crypto.SignedRequest{Method: s.Method, Path: s.Path, Timestamp: s.Timestamp, Nonce: s.Nonce, Body: s.Body}
	if !signed.SignedBy(c.Key.signingSecret, s.Signature) {
		return otp.Refuse(otp.BadSignature, "X-Signature is not the HMAC-SHA256 of method, path with query, timestamp, "+
			"nonce and body under the key's signing secret")
	}
	// The whole of the last second counts, as it does above.
	expires := otp.Millis(stamp+signatureAge+1) * otp.Second
	err = e.store.Credentials.TakeNonce(ctx, c.Key.ID, nonce, expires)
	if errors.Is(err, sql.ErrTaken) {
		return otp.Refuse(otp.BadSignature, "X-Nonce was used before; make a new one for every request")
	}
	if err != nil {
		return fmt.Errorf("use up the request's nonce: %w", err)
	}
	return nil
}

// nonceText is the header if it has a nonce's length, and nothing otherwise: what is decoded has
// room for no more.
func nonceText(header string) string {
	if len(header) != 32 {
		return ""
	}
	return header
}
