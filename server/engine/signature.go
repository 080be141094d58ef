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

// Signed is a signed request. The headers are as received, empty if absent.
type Signed struct {
	Method    string
	Path      string // the request target as sent, query included: http.Request.RequestURI
	Timestamp string // X-Timestamp, Unix seconds
	Nonce     string // X-Nonce, 32 hexadecimal characters
	Signature string // X-Signature, hexadecimal
	Body      []byte // as sent
}

// signatureAge is how far a timestamp may differ from this server's clock, either way, in seconds.
const signatureAge = 300

// loadNoncesFrom reads the time since when all used nonces are known. A restored backup has lost the nonces that were
// used after it was made, so requests signed before the restore was found could be replayed.
func (e *Engine) loadNoncesFrom(ctx context.Context) error {
	restores, err := e.store.Restores(ctx, otp.At(time.Now())-2*signatureAge*otp.Second)
	if err == nil && len(restores) > 0 {
		e.noncesFrom = restores[0].FoundAt
	}
	return err
}

// AcceptSignature checks a request's signature and uses up its nonce, according to the mode of the caller's key. A
// nonce works once per key. It is used up only if everything else is right, so that nobody without the secret can use
// up nonces. Refusal: BadSignature.
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
	if err != nil || strconv.FormatInt(stamp, 10) != s.Timestamp { // one spelling only: the text is what is signed
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
	// The whole of the last second counts, as above.
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

// nonceText returns the header if it has a nonce's length, else nothing: the decoding buffer has room for no more.
func nonceText(header string) string {
	if len(header) != 32 {
		return ""
	}
	return header
}
