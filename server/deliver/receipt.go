package deliver

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Status is a provider's later report about a message that it had accepted.
type Status string

// The statuses. Delivered, Failed and Expired are final. Unclear says nothing: some providers report it themselves.
const (
	Pending   Status = "pending"
	Delivered Status = "delivered"
	Failed    Status = "failed"
	Expired   Status = "expired"
	Unclear   Status = "unknown"
)

// statuses are those that a profile may map words to.
var statuses = []Status{Pending, Delivered, Failed, Expired, Unclear}

// Receipt is a provider's later report about a message.
type Receipt struct {
	Provider  string // the channel's name
	MessageID string // as in the Result of the send
	Status    Status
	Error     string // the provider's reason code, if it gave one; at most maxErrorCode long
	At        time.Time
}

// Final reports whether the receipt says how the message ended.
func (r Receipt) Final() bool {
	return r.Status == Delivered || r.Status == Failed || r.Status == Expired
}

// receiptNames are the paths of the fields in a provider's receipts. A reference is our own send id, which the
// provider returns; with it the provider's id is not used.
type receiptNames struct {
	List      string `json:"list"` // of several receipts in one report
	ID        string `json:"id"`
	Reference string `json:"reference"`
	Status    string `json:"status"`
	Error     string `json:"error"`
}

// naming returns the path of the field that identifies the message.
func (n receiptNames) naming() string { return cmp.Or(n.Reference, n.ID) }

// callback holds a gateway's receipt settings; without a secret no receipts are accepted.
type callback struct {
	secret string
	url    string // what the gateway is told, including the secret; empty for nothing
	names  receiptNames
}

// minCallbackSecret is the length of the shortest secret, in bytes. Only the secret keeps others from reporting
// messages as delivered.
const minCallbackSecret = 16

// plainStatuses are the words of providers that use SMPP's statuses (version 3.4, appendix B).
func plainStatuses() map[Status][]string {
	return map[Status][]string{
		Pending: {"enroute", "accepted", "acceptd", "queued", "sent"}, Delivered: {"delivrd", "delivered"},
		Failed: {"undeliv", "undelivered", "rejectd", "rejected", "deleted", "failed"}, Expired: {"expired"},
		Unclear: {"unknown"},
	}
}

func callbackOf(said map[string]string, profile receiptNames, name string, sandbox bool) (c callback, err error) {
	c = callback{secret: said["callback"], names: receiptNames{
		List: cmp.Or(said["callback_list"], profile.List),
		ID:   cmp.Or(said["callback_id"], profile.ID), Reference: cmp.Or(said["callback_reference"], profile.Reference),
		Status: cmp.Or(said["callback_status"], profile.Status, "status"), Error: cmp.Or(said["callback_error"],
			profile.Error),
	}}
	if c.names.ID != "" && c.names.Reference != "" {
		return c, errors.New("has an id and a reference for its receipts, which are matched by one of them")
	}
	c.names.ID = cmp.Or(c.names.ID, "id")
	names := said["callback_list"] + said["callback_id"] + said["callback_reference"] + said["callback_status"] +
		said["callback_error"]
	switch {
	case c.secret == "" && names != "":
		return c, errors.New("has names for callbacks and no callback=, the secret that they come with")
	case c.secret != "" && len(c.secret) < minCallbackSecret:
		return c, fmt.Errorf("has a callback secret of less than %d characters", minCallbackSecret)
	}
	c.url, err = callbackURL(said["callback_url"], c.secret, name, sandbox)
	return c, err
}

// callbackURL returns the address that a gateway is told to send receipts to: text, which may be just the origin, with
// the secret. It is part of every request, so it is checked at the start.
func callbackURL(text, secret, name string, sandbox bool) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	path := "/callbacks/" + name
	switch {
	case secret == "":
		return "", errors.New("has a callback_url= and no callback=, the secret that receipts come with")
	case err != nil || host(u) != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil ||
		u.RawQuery+u.Fragment != "":
		return "", errors.New("has a callback_url that is no address such as https://otp.example, without user, query and #")
	case u.Scheme == "http" && !sandbox && !loopback(u):
		return "", errors.New("has a callback_url that would show the secret on a network; write https://")
	case strings.Trim(u.Path, "/") == "":
		u.Path, u.RawPath = path, ""
	case !strings.HasSuffix(u.Path, path) && !strings.Contains(u.Path, path+"/"):
		return "", fmt.Errorf("has a callback_url whose path is not %s, with the account behind it for an account's own "+
			"channel", path)
	}
	u.RawQuery = url.Values{"secret": {secret}}.Encode()
	return u.String(), nil
}

// The errors of a report that is refused as a whole.
var (
	ErrCallbackSecret = errors.New("the channel takes no callbacks, or the secret is not its own")
	ErrCallbackFields = errors.New("the callback has no message id or no status that the channel's profile knows")
	errTooMany        = fmt.Errorf("a report may be about %d messages", maxReceipts)
)

// Receipts is the content of a report.
type Receipts struct {
	Known   []Receipt
	Strange []string // words for a status that the profile does not know
}

// ReadReceipts reads a provider's report if it came with the channel's secret, which is compared in constant time.
// Receipts that cannot be read are left out; if none can be read, that is an error.
func (g *Gateway) ReadReceipts(secret string, report Report, at time.Time) (Receipts, error) {
	want, got := sha256.Sum256([]byte(g.callback.secret)), sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || g.callback.secret == "" {
		return Receipts{}, ErrCallbackSecret
	}
	body, err := report.read()
	if err != nil {
		return Receipts{}, err
	}
	pieces := body.receipts(g.callback.names.List)
	if len(pieces) > maxReceipts {
		return Receipts{}, errTooMany
	}
	var all Receipts
	for _, piece := range pieces {
		g.readReceipt(piece, at, &all)
	}
	if len(all.Known) == 0 {
		return all, ErrCallbackFields
	}
	return all, nil
}

func (g *Gateway) readReceipt(piece *scope, at time.Time, all *Receipts) {
	names := g.callback.names
	id, word := piece.text(names.naming()), piece.text(names.Status)
	if id == "" || len(id) > maxMessageID || word == "" {
		return
	}
	receipt, known := g.Receipt(Receipt{MessageID: id, Error: errorCode(piece.text(names.Error)), At: at}, word)
	if known {
		all.Known = append(all.Known, receipt)
		return
	}
	all.Strange = append(all.Strange, statusWord(word))
}

// maxErrorCode bounds a provider's error code. A longer text is not a code.
const maxErrorCode = 64

var (
	codeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/ -]*$`)
	// longNumber matches what could be a recipient's number.
	longNumber = regexp.MustCompile(`[0-9]([ -]?[0-9]){6}`)
)

// errorCode returns a provider's error code if it can be stored and shown. A text that does not look like a code, such
// as a sentence that quotes the number, is dropped.
func errorCode(text string) string {
	if len(text) > maxErrorCode || !codeForm.MatchString(text) || longNumber.MatchString(text) {
		return ""
	}
	return text
}

// statusWord returns a status word that may be logged.
func statusWord(text string) string {
	if len(text) > 32 || !codeForm.MatchString(text) || longNumber.MatchString(text) {
		return "something that looks like no status"
	}
	return text
}
