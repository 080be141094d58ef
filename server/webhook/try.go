package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

const (
	// patience is how long a receiver may take to answer.
	patience = 10 * time.Second
	// inDoor is how long a call may take, which is shorter than the time that a door has.
	inDoor = 8 * time.Second
	// maxAnswer is how many bytes of an answer are kept.
	maxAnswer = 4 << 10
	// maxRetryAfter is the longest Retry-After that is honoured.
	maxRetryAfter = 24 * time.Hour
)

// delays are the pauses after each failed try. When the last has failed, the notice is dead.
var delays = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

// attempt sends a notice to its endpoint once, and records the result in the notice.
func (w *Webhooks) attempt(ctx context.Context, client *http.Client, e *sql.Endpoint, n *sql.Notice,
	text sql.Text) error {
	body, err := w.text(ctx, e, n, text)
	if err != nil {
		return err
	}
	now := otp.At(time.Now())
	secrets, err := w.secrets(e, now)
	if err != nil {
		return err
	}
	id := otp.NoticeID(n.Event, otp.NoticeType(n.Type)).Text("evt")
	request, err := signed(e, id, body, secrets, n.Attempts, now.Time())
	if err != nil {
		return err
	}
	n.Attempts, n.TriedAt = n.Attempts+1, now
	began := time.Now()
	status, answer, wait, reason := exchange(ctx, client, request)
	if ctx.Err() != nil {
		return ctx.Err() // the server stops; the endpoint is not at fault
	}
	n.Status, n.Reason, n.Answer = status, otp.Cut(reason, 200), nil
	if len(answer) > 0 {
		n.Answer = w.Vault.Keyring.Seal(vault.WebhookText(n.Endpoint, n.ID), answer)
	}
	if reason == "" {
		n.State, n.DueAt = sql.NoticeDelivered, 0
	} else {
		failed(n, wait, otp.At(time.Now()))
	}
	w.metrics.tried(n.State, time.Since(began))
	return nil
}

// signed returns the request of one try. It has the signatures of Standard Webhooks, one for each secret, and a
// hexadecimal one, whose key is the secret's text, for receivers whose header holds only that. While there are two
// secrets, tries use the new and the old one in turn for the hexadecimal signature, so that the receiver accepts the
// first or the second try, whichever secret it has.
func signed(e *sql.Endpoint, id string, body []byte, secrets []string, try int, now time.Time) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodPost, e.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the endpoint's URL cannot be read")
	}
	var signatures []string
	for _, secret := range secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, errors.New("the endpoint's secret cannot be read")
		}
		signature, err := signer.Sign(id, now, body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	mac := hmac.New(sha256.New, []byte(secrets[try%len(secrets)]))
	mac.Write(body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "OTPBridge")
	request.Header.Set(standardwebhooks.HeaderWebhookID, id)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	request.Header.Set(e.SignatureHeader, hex.EncodeToString(mac.Sum(nil)))
	return request, nil
}

// exchange sends a request. reason says why it was not accepted, and is empty if it was. It is safe to show: it
// contains neither the answer nor an address. wait is the receiver's Retry-After.
func exchange(ctx context.Context, client *http.Client, request *http.Request) (status int, answer []byte,
	wait time.Duration, reason string) {
	response, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return 0, nil, 0, deliver.Unreached(err)
	}
	defer response.Body.Close()
	// The status has already decided whether it was accepted; the client's timeout cuts off an endless answer.
	answer, _ = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if response.StatusCode/100 == 2 {
		return response.StatusCode, answer, 0, ""
	}
	return response.StatusCode, answer, retryAfter(response.Header.Get("Retry-After"), time.Now()),
		fmt.Sprintf("answered with status %d where 2xx is expected", response.StatusCode)
}

// retryAfter parses a Retry-After header (RFC 9110, section 10.2.3); it returns 0 if there is none.
func retryAfter(header string, now time.Time) (wait time.Duration) {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
