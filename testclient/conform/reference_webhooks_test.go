package conform

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's webhooks. It sends events at once, one endpoint after the other.

type refWebhook struct {
	id, account, url string
	events           []string
	secrets          []string // the new one first
	version          int
	deleted          bool
	deliveries       []any
}

func newRefSecret() string {
	raw := make([]byte, 24)
	rand.Read(raw)
	return "whsec_" + base64.StdEncoding.EncodeToString(raw)
}

func (f *reference) refWebhooks(r *http.Request, p *refPerson, asked map[string]any) refReply {
	id, action, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/webhooks"), "/"), "/")
	if id == "" {
		return f.refAllWebhooks(r, p, asked)
	}
	at := slices.IndexFunc(f.record.webhooks, func(h *refWebhook) bool { return h.id == id })
	if at < 0 || f.record.webhooks[at].deleted && !f.has("webhooks: what was deleted is still shown") {
		return refNone()
	}
	h := f.record.webhooks[at]
	if !p.sees(h.account) && !f.has("webhooks: the webhooks of every account are shown") {
		if f.has("webhooks: another account's webhook is told from one that nobody has") {
			return refProblem(404, "NOT_FOUND", "The webhook is another account's.")
		}
		return refNone()
	}
	switch {
	case action == "test":
		return f.refTest(h)
	case action == "deliveries" && f.has("webhooks: no delivery is listed"):
		return refOK("data", []any{})
	case action == "deliveries":
		return refOK("data", h.deliveries)
	case r.Method == "GET":
		return f.shownWebhook(h, 200, f.has("webhooks: the secret is shown again"))
	}
	switch tag := r.Header.Get("If-Match"); {
	case tag == "" && !f.has("webhooks: a deletion needs no version"):
		return refProblem(428, "PRECONDITION_REQUIRED", "Send If-Match.")
	case tag != "" && tag != h.tag() && !f.has("webhooks: a deletion takes any version"):
		return refProblem(412, "PRECONDITION_FAILED", "The webhook was changed.")
	}
	if action == "rotate" {
		if fresh := newRefSecret(); !f.has("webhooks: a rotation keeps the secret") {
			h.secrets = []string{fresh, h.secrets[0]}
		}
		if f.has("webhooks: after a rotation the old secret signs no more") {
			h.secrets = h.secrets[:1]
		}
		return f.shownWebhook(h, 200, true)
	}
	h.deleted = true
	return refReply{status: 204}
}

func (h *refWebhook) tag() string { return `"` + strconv.Itoa(h.version) + `"` }

func (f *reference) shownWebhook(h *refWebhook, status int, secret bool) refReply {
	reply := refOK("id", h.id, "account", h.account, "url", h.url, "events", h.events)
	reply.status, reply.header["ETag"] = status, h.tag()
	if secret {
		reply.document["secret"] = h.secrets[0]
	}
	return reply
}

func (f *reference) refAllWebhooks(r *http.Request, p *refPerson, asked map[string]any) refReply {
	account, url := r.URL.Query().Get("account"), ""
	if r.Method == "POST" {
		account, _ = asked["account"].(string)
		url, _ = asked["url"].(string)
		if account == "" && !f.has("webhooks: a webhook is nobody's") {
			return refProblem(400, "INVALID_REQUEST", "is missing", "/account")
		}
	}
	if !p.sees(account) && !f.has("webhooks: the webhooks of any account are listed") {
		return refNone()
	}
	if r.Method == "GET" {
		list := []any{}
		for _, h := range f.record.webhooks {
			if h.account == account && !h.deleted {
				list = append(list, f.shownWebhook(h, 200, f.has("webhooks: the list shows the secrets")).document)
			}
		}
		return refOK("data", list)
	}
	h := &refWebhook{id: "whk_" + randomHex(26), account: account, url: url, version: 1, secrets: []string{newRefSecret()}}
	metadata := strings.Contains(url, "169.254.") && !f.has("webhooks: a cloud's metadata can be a webhook")
	if metadata || !strings.HasPrefix(url, "http") && !f.has("webhooks: any text is a URL") {
		return refProblem(400, "INVALID_REQUEST", "cannot be called", "/url")
	}
	events, _ := asked["events"].([]any)
	for i, event := range events {
		h.events = append(h.events, event.(string))
		if event == "otp.lost" && !f.has("webhooks: events that are none can be named") {
			return refProblem(400, "INVALID_REQUEST", "is no event", "/events/"+strconv.Itoa(i))
		}
	}
	f.record.webhooks = append(f.record.webhooks, h)
	return f.shownWebhook(h, 201, true)
}

// refTest sends a test event, and one with wrong signatures.
func (f *reference) refTest(h *refWebhook) refReply {
	text, _ := json.Marshal(map[string]any{"id": "evt_test", "type": "webhook.test"})
	signed, forged := f.post(h, h.secrets, text), 401
	if !f.has("webhooks: a test forges nothing") {
		forged = f.post(h, []string{newRefSecret()}, text)
	}
	ok := signed/100 == 2 && forged/100 == 4
	if f.has("webhooks: a test is always ok") {
		ok = true
	}
	if f.has("webhooks: a test is never ok") {
		ok = false
	}
	return refOK("ok", ok, "signed", map[string]any{"status": signed}, "forged", map[string]any{"status": forged})
}

// tell sends an event about a challenge to an account's webhooks.
func (f *reference) tell(kind string, a *refAccount, ch *refChallenge) {
	for _, h := range f.record.webhooks {
		named := slices.Contains(h.events, kind) || f.has("webhooks: everything is told to everybody")
		if h.account != a.Address || !named || h.deleted && !f.has("webhooks: what was deleted is still told") ||
			f.has("webhooks: nothing is told") {
			continue
		}
		data := map[string]any{"challenge_id": ch.id, "recipient": "+91•••"}
		switch {
		case f.has("webhooks: an event holds the code"):
			data["code"] = ch.code
		case f.has("webhooks: an event holds the whole recipient"):
			data["recipient"] = ch.number
		case f.has("webhooks: an event does not say what it is about"):
			delete(data, "challenge_id")
		}
		event := "evt_" + randomHex(26)
		text, _ := json.Marshal(map[string]any{"id": event, "type": kind, "account": a.Address, "data": data})
		status := f.post(h, h.secrets, text)
		if f.has("webhooks: a delivery is listed without its answer") {
			status = 0
		}
		h.deliveries = append(h.deliveries, map[string]any{"event_id": event, "state": "delivered", "status": status})
	}
}

// post sends an event with a signature by each secret, and returns the status.
func (f *reference) post(h *refWebhook, secrets []string, text []byte) int {
	request, err := http.NewRequest("POST", h.url, bytes.NewReader(text))
	if err != nil {
		return 0
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	var event struct{ ID string }
	_ = json.Unmarshal(text, &event)
	if f.has("webhooks: webhook-id is not the event's id") {
		event.ID = "evt_other"
	}
	at, signatures := strconv.FormatInt(time.Now().Unix(), 10), []string{}
	for _, secret := range secrets {
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		signed := event.ID + "." + at + "." + string(text)
		if f.has("webhooks: the time is not signed") {
			signed = event.ID + "." + string(text)
		}
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(sum(raw, signed)))
	}
	key := []byte(secrets[0])
	if f.has("webhooks: the signature in digits is by the bytes of the secret") {
		key, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(secrets[0], "whsec_"))
	}
	request.Header.Set("Webhook-Id", event.ID)
	request.Header.Set("Webhook-Timestamp", at)
	request.Header.Set("Webhook-Signature", strings.Join(signatures, " "))
	request.Header.Set("X-OTP-Signature", hex.EncodeToString(sum(key, string(text))))
	response, err := (&http.Client{Timeout: 2 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
