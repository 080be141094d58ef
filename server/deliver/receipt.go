package deliver

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// Status is what became of a message after the provider had taken it.
type Status string

// The statuses. Delivered and the two that failed are final.
const (
	Pending   Status = "pending"
	Delivered Status = "delivered"
	Failed    Status = "failed"
	Expired   Status = "expired"
)

// statuses are those that a profile may map words to.
var statuses = []Status{Pending, Delivered, Failed, Expired}

// Receipt is what a provider reports about a message later.
type Receipt struct {
	Provider  string // the channel's name
	MessageID string // as in the Result of the send
	Status    Status
	At        time.Time
}

// receiptNames are the names that a provider's receipts have for two things.
type receiptNames struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// callback is what is known of a gateway's receipts; without a secret none are taken.
type callback struct {
	secret string
	names  receiptNames
}

// minCallbackSecret is the length of the shortest secret, in bytes. It is all that keeps others
// from reporting messages as delivered that never were.
const minCallbackSecret = 16

// plainStatuses are the words of providers that speak as SMPP does (version 3.4, appendix B).
func plainStatuses() map[Status][]string {
	return map[Status][]string{
		Pending: {"enroute", "accepted", "acceptd", "queued", "sent"}, Delivered: {"delivrd", "delivered"},
		Failed: {"undeliv", "undelivered", "rejectd", "rejected", "deleted", "failed"}, Expired: {"expired"},
	}
}

func callbackOf(said map[string]string, profile receiptNames) (callback, error) {
	c := callback{secret: said["callback"], names: receiptNames{
		ID: cmp.Or(said["callback_id"], profile.ID, "id"), Status: cmp.Or(said["callback_status"], profile.Status, "status"),
	}}
	switch {
	case c.secret == "" && (said["callback_id"] != "" || said["callback_status"] != ""):
		return c, errors.New("has names for callbacks and no callback=, the secret that they come with")
	case c.secret != "" && len(c.secret) < minCallbackSecret:
		return c, fmt.Errorf("has a callback secret of less than %d characters", minCallbackSecret)
	}
	return c, nil
}

// The two ways in which a callback is refused.
var (
	ErrCallbackSecret = errors.New("the channel takes no callbacks, or the secret is not its own")
	ErrCallbackFields = errors.New("the callback has no message id or no status that the channel's profile knows")
)

// ReadReceipt reads a provider's callback: the secret that came with it and its fields, wherever
// they stood. The secret is compared in constant time.
func (g *Gateway) ReadReceipt(secret string, fields map[string]string, at time.Time) (Receipt, error) {
	want, got := sha256.Sum256([]byte(g.callback.secret)), sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || g.callback.secret == "" {
		return Receipt{}, ErrCallbackSecret
	}
	id := fields[g.callback.names.ID]
	receipt, known := g.Receipt(Receipt{MessageID: id, At: at}, fields[g.callback.names.Status])
	if id == "" || len(id) > maxMessageID || !known {
		return Receipt{}, ErrCallbackFields
	}
	return receipt, nil
}
