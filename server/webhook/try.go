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
	// maxAnswer is how much of an answer is kept, in bytes.
	maxAnswer = 4 << 10
	// maxRetryAfter bounds what a receiver may ask for by Retry-After.
	maxRetryAfter = 24 * time.Hour
)

// delays are how long a notice waits after each try that failed. After the last it is dead.
var delays = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

// attempt sends a notice to its endpoint once, and notes in it what came of that.
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
		return ctx.Err() // the server stops, and this says nothing of the endpoint
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

// signed makes the request of one try. Beside the signatures of Standard Webhooks, one for each secret, it has one in
// hexadecimal digits by the text of the secret, which the header of some receivers holds alone. While there are two
// secrets that one is made with the new and the old by turns, so that the second try succeeds whichever the receiver
// knows.
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

// exchange sends a request. Reason is empty if it was accepted, and safe to show: it quotes neither the answer nor an
// address. Wait is what the receiver asks for before the next.
func exchange(ctx context.Context, client *http.Client, request *http.Request) (status int, answer []byte,
	wait time.Duration, reason string) {
	response, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return 0, nil, 0, deliver.Unreached(err)
	}
	defer response.Body.Close()
	// Whether it was accepted is known by now; an answer that never ends is cut off by the client's timeout.
	answer, _ = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if response.StatusCode/100 == 2 {
		return response.StatusCode, answer, 0, ""
	}
	return response.StatusCode, answer, retryAfter(response.Header.Get("Retry-After"), time.Now()),
		fmt.Sprintf("answered with status %d where 2xx is expected", response.StatusCode)
}

// retryAfter reads the header of RFC 9110, section 10.2.3; 0 for none.
func retryAfter(header string, now time.Time) (wait time.Duration) {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
