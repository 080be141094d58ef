package conform

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's sandbox: throwaway accounts, an inbox, a clock and faults.

type refMessage struct {
	ID        string    `json:"id"`
	Account   string    `json:"account"`
	Channel   string    `json:"channel"`
	To        string    `json:"to"`
	Text      string    `json:"text"`
	Code      string    `json:"code"`
	Challenge string    `json:"challenge_id"`
	CreatedAt time.Time `json:"created_at"`
}

type refFault struct {
	Target  string `json:"target"`
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Count   int    `json:"count"`
	Delay   string `json:"delay"`
}

// strike returns the fault, if any, that is set for a part of the server.
func (f *reference) strike(target string, a *refAccount) string {
	for i, fault := range f.faults {
		if fault.Target != target || fault.Account != "" && fault.Account != a.Address {
			continue
		}
		if fault.Count == 1 {
			f.faults = slices.Delete(f.faults, i, i+1)
		} else if fault.Count > 1 {
			f.faults[i].Count--
		}
		return fault.Kind
	}
	return ""
}

// sandbox implements the part of the sandbox's API that a tester needs.
func (f *reference) sandbox(w http.ResponseWriter, r *http.Request, body []byte) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sandbox/credentials":
		demo := []any{f.newAccount([]byte(`{"message_profile": "documented"}`)),
			f.newAccount([]byte(`{"message_profile": "live"}`))}
		writeJSON(w, http.StatusOK, map[string]any{"accounts": demo})
	case "POST /sandbox/accounts":
		writeJSON(w, http.StatusCreated, f.newAccount(body))
	case "GET /sandbox/messages":
		f.listMessages(w, r)
	case "PUT /sandbox/clock":
		var asked struct{ Offset, Account string }
		_ = json.Unmarshal(body, &asked)
		offset, err := time.ParseDuration(asked.Offset)
		if account := f.accounts[asked.Account]; account != nil && err == nil {
			account.offset = offset
			writeJSON(w, http.StatusOK, map[string]any{"account": asked.Account, "offset": asked.Offset})
			return
		}
		http.Error(w, "no such account", http.StatusNotFound)
	case "GET /sandbox/faults":
		writeJSON(w, http.StatusOK, map[string]any{"faults": slices.Clone(f.faults)})
	case "PUT /sandbox/faults":
		var asked struct{ Faults []refFault }
		_ = json.Unmarshal(body, &asked)
		f.faults = asked.Faults
		writeJSON(w, http.StatusOK, map[string]any{"faults": f.faults})
	case "DELETE /sandbox/faults":
		f.faults = nil
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// newAccount makes an account from the columns in body and returns its credentials.
func (f *reference) newAccount(body []byte) map[string]any {
	random := func(n int) string {
		fresh := make([]byte, n)
		rand.Read(fresh)
		return base64.StdEncoding.EncodeToString(fresh)
	}
	a := &refAccount{
		Address: "9" + strconv.Itoa(10_000_000_000_000+len(f.accounts)), Profile: Documented, Enabled: true, OTPEnabled: true,
		Length: 6, TTL: 300, MaxRegenerations: 3, KeyOnIP: true, Countries: []string{"IN", "AE"},
		SMS: true, ServletTypes: []string{"verification"}, Cipher: "aes-cbc", Encoding: "auto", DepartmentMode: "ignore",
		PerMinute: 10, PerHour: 20, PerDay: 40,
		CipherKey: random(32), CipherIV: random(16), recipients: map[string]*refRecipient{},
		challenges: map[string]*refChallenge{}, signing: random(24),
	}
	if err := json.Unmarshal(body, a); err != nil {
		panic(err)
	}
	if iv, key, pair := strings.Cut(a.CipherKey, "~"); pair {
		a.CipherIV, a.CipherKey = iv, key
		if f.has("cipher: the IV of iv~key is not the one before the tilde") {
			defer func() { a.CipherIV = random(16) }() // after it was returned
		}
	}
	f.accounts[a.Address] = a
	if f.accounts["shared"] == nil {
		f.accounts["shared"] = &refAccount{recipients: map[string]*refRecipient{}}
	}
	first := random(16)
	if len(a.AccessKeys) > 0 {
		first = a.AccessKeys[0].Key
	}
	f.keys[first] = refKey{account: a, usable: true}
	for _, key := range a.AccessKeys {
		made := refKey{account: a, usable: true}
		switch {
		case key.Enabled != nil && !*key.Enabled:
			made.usable, made.why = false, "disabled"
		case key.ExpiresAt != nil && !key.ExpiresAt.After(time.Now()):
			made.usable, made.why = false, "expired"
		case len(key.Networks) > 0:
			made.usable, made.why = f.has("accounts: a key is good from every network"), "elsewhere"
		}
		f.keys[key.Key] = made
	}
	api, other := "otpb_test_sk_"+randomHex(32), "otpb_live_sk_"+randomHex(32)
	f.keys[api] = refKey{account: a, usable: true}
	f.keys[other] = refKey{account: a, usable: true, environment: " live"}
	return map[string]any{
		"api_key": api, "other_api_key": other, "signing_secret": a.signing,
		"esme_address": a.Address, "access_key": first, "cipher_key": a.CipherKey, "cipher_iv": a.CipherIV,
		"message_profile": a.Profile,
	}
}

func (f *reference) listMessages(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		limit = 50
	}
	found := []refMessage{}
	if a := f.accounts[query.Get("account")]; a != nil {
		for _, m := range slices.Backward(a.messages) {
			if to := query.Get("to"); len(found) < limit && (to == "" ||
				strings.EqualFold(strings.TrimPrefix(to, "+"), strings.TrimPrefix(m.To, "+"))) {
				found = append(found, m)
			}
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": found})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
