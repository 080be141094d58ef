package conform

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the reference server remembers and decides. Times are those of the account's clock.

type refRecipient struct {
	sends, failures []time.Time
	run             int
	lockedUntil     time.Time
	slots           map[string]*refChallenge
}

type refChallenge struct {
	code                 string
	expires              time.Time
	wrong, regenerations int
	used                 bool
	email                string
	replaced             string
}

type refMessage struct {
	ID        string    `json:"id"`
	Account   string    `json:"account"`
	Channel   string    `json:"channel"`
	To        string    `json:"to"`
	Text      string    `json:"text"`
	Code      string    `json:"code"`
	CreatedAt time.Time `json:"created_at"`
}

type refFault struct {
	Target  string `json:"target"`
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Count   int    `json:"count"`
	Delay   string `json:"delay"`
}

// refCall is one request to the engine.
type refCall struct {
	account   *refAccount
	number    string
	recipient string // whose limits and codes these are: the number
	slot      string
	email     string
	now       time.Time
}

func (f *reference) recipient(a *refAccount, to string) *refRecipient {
	all := a.recipients
	if f.has("accounts: accounts share their codes and attempts") {
		all = f.accounts["shared"].recipients
	}
	if all[to] == nil {
		all[to] = &refRecipient{slots: map[string]*refChallenge{}}
	}
	return all[to]
}

func within(times []time.Time, span time.Duration, now time.Time) int {
	n := 0
	for _, t := range times {
		if now.Sub(t) < span {
			n++
		}
	}
	return n
}

func (f *reference) overLimit(a *refAccount, r *refRecipient, now time.Time) bool {
	minute := a.PerMinute
	switch {
	case f.has("limits: 9 sends a minute"):
		minute--
	case f.has("limits: 11 sends a minute"):
		minute++
	case f.has("limits: a lifted limit is none to send") && minute == 0:
		return true
	}
	sends := r.sends
	if f.has("limits: a minute's sends are counted from its first") && len(sends) > 0 {
		first := sends[0]
		sends = slices.DeleteFunc(slices.Clone(sends), func(t time.Time) bool {
			return now.Sub(first)/time.Minute != t.Sub(first)/time.Minute
		})
	}
	if f.has("limits: sends leak out of a bucket") && minute > 0 && len(sends) > 0 {
		leaked := int(now.Sub(sends[0]) * time.Duration(minute) / time.Minute)
		return len(sends)-leaked >= minute
	}
	hour, day := a.PerHour, a.PerDay
	if f.has("limits: no limit an hour") {
		hour = 0
	}
	if f.has("limits: no limit a day") {
		day = 0
	}
	return minute > 0 && within(sends, time.Minute, now) >= minute ||
		hour > 0 && within(r.sends, time.Hour, now) >= hour ||
		day > 0 && within(r.sends, 24*time.Hour, now) >= day
}

func (f *reference) locked(r *refRecipient, now time.Time) bool {
	budget := 20
	switch {
	case f.has("limits: a budget of 19"):
		budget--
	case f.has("limits: a budget of 21"):
		budget++
	case f.has("limits: no budget"):
		return false
	}
	hour := time.Hour
	if f.has("limits: the lock lasts until the newest guess leaves the hour") && len(r.failures) > 0 && len(r.failures) >= budget {
		return now.Sub(r.failures[len(r.failures)-1]) < hour
	}
	if f.has("limits: the lock lasts ten minutes") {
		hour = 10 * time.Minute
	}
	return within(r.failures, hour, now) >= budget || now.Before(r.lockedUntil)
}

// slot is where the recipient's code for this caller is.
func (f *reference) slot(r *refRecipient, c refCall) *refChallenge {
	found := r.slots[c.slot]
	memory := time.Hour
	if f.has("validate: a code is forgotten when it expires") {
		memory = 0
	}
	if found == nil || c.now.Sub(found.expires) > memory && !f.has("validate: a code is never forgotten") {
		return nil
	}
	return found
}

func (f *reference) generate(c refCall, email string) string {
	a, r := c.account, f.recipient(c.account, c.recipient)
	limited := r
	if f.has("limits: sends are limited by ip") {
		limited = f.recipient(a, c.recipient+c.slot)
	}
	if f.has("limits: sends are limited by account") {
		limited = f.recipient(a, "everybody")
	}
	if f.locked(r, c.now) && !f.has("limits: generate is allowed while locked") {
		return "locked"
	}
	if old := r.slots[c.slot]; old != nil && old.used && f.has("generate: no code follows one that was used") {
		return "over limit"
	}
	held := []*refRecipient{limited}
	if a.Email && email != "" && !f.has("limits: a mailbox has no limit") {
		mailbox := c.email
		if f.has("limits: mailboxes count in every spelling") {
			mailbox = email
		}
		held = append(held, f.recipient(a, mailbox))
	}
	if f.has("generate: a refused generate ends the old code") && f.overLimit(a, limited, c.now) {
		delete(r.slots, c.slot)
	}
	for i, one := range held {
		if f.overLimit(a, one, c.now) {
			if f.has("limits: a refused send is counted") {
				one.sends = append(one.sends, c.now)
			}
			return "over limit"
		}
		if f.has("limits: a send that the mailbox refuses is charged to the number") && i == 0 && len(held) > 1 {
			one.sends = append(one.sends, c.now)
		}
	}
	f.yield("concurrency: sends are counted outside the lock")
	for _, one := range held {
		one.sends = append(one.sends, c.now)
	}
	fresh := &refChallenge{code: f.newCode(a), expires: c.now.Add(time.Duration(a.TTL) * time.Second), email: email}
	if f.has("generate: every code lives 300 seconds") {
		fresh.expires = c.now.Add(300 * time.Second)
	}
	if old := r.slots[c.slot]; old != nil {
		switch {
		case f.has("generate: an old code is still accepted"):
			fresh.replaced = old.code
		case f.has("generate: generate sends the old code again"):
			fresh.code = old.code
		case f.has("generate: a new code starts with the old attempts"):
			fresh.wrong = old.wrong
		case f.has("generate: a new code starts with the old regenerations"):
			fresh.regenerations = old.regenerations
		}
	}
	if f.has("accounts: generate ends the codes of every ip") {
		clear(r.slots)
	}
	before := r.slots[c.slot]
	f.yield("concurrency: codes made at once are all live")
	if other := r.slots[c.slot]; other != before && f.has("concurrency: codes made at once are all live") {
		fresh.replaced = other.code
	}
	r.slots[c.slot] = fresh
	switch f.deliver(c, fresh, email) {
	case "undelivered":
		if f.has("generate: a code that was not delivered is taken back") {
			r.slots[c.slot] = before
		}
		for _, one := range held {
			if !f.has("generate: a send that failed is counted") {
				one.sends = one.sends[:len(one.sends)-1]
			}
		}
		if f.has("generate: a failed delivery is a success") {
			return "generated"
		}
		return "undelivered"
	case "unknown":
		if f.has("generate: an unknown delivery is a failure") {
			return "undelivered"
		}
	}
	return "generated"
}

func (f *reference) newCode(a *refAccount) string {
	length := a.Length
	if f.has("generate: every code has six digits") {
		length = 6
	}
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(length)), nil)
	n, _ := rand.Int(rand.Reader, most)
	code := n.String()
	return strings.Repeat("0", length-len(code)) + code
}

// deliver puts a message into the inbox for each channel.
func (f *reference) deliver(c refCall, ch *refChallenge, email string) string {
	a := c.account
	switch f.strike("inbox", a) {
	case "not_sent":
		return "undelivered"
	case "unknown":
		return "unknown"
	}
	send := func(channel, to string) {
		a.messages = append(a.messages, refMessage{
			ID: strconv.Itoa(len(a.messages) + 1), Account: a.Address, Channel: channel, To: to,
			Text: "Your code is " + ch.code, Code: ch.code, CreatedAt: time.Now(),
		})
	}
	mail := a.Email && email != ""
	if mail {
		send("email", email)
	}
	if a.SMS && (!mail || !f.has("accounts: of both channels only e-mail is used")) || f.has("accounts: SMS is sent on every account") {
		send("sms", c.number)
	}
	if a.SMS && !a.Email && email != "" && f.has("generate: e-mail is sent where it is off") {
		send("email", email)
	}
	return "sent"
}

func (f *reference) regenerate(c refCall, email string) string {
	a, r := c.account, f.recipient(c.account, c.recipient)
	ch := f.slot(r, c)
	if ch == nil {
		if f.has("accounts: regenerate generates where nothing is live") {
			return f.generate(c, email)
		}
		return "nothing"
	}
	tooMany := ch.regenerations >= a.MaxRegenerations
	switch {
	case f.has("regenerate: one regeneration fewer"):
		tooMany = ch.regenerations+1 >= a.MaxRegenerations
	case f.has("regenerate: one regeneration more"):
		tooMany = ch.regenerations > a.MaxRegenerations
	case f.has("regenerate: regenerations are not limited"):
		tooMany = false
	}
	switch {
	case tooMany && f.has("limits: the regeneration limit is told before the lock") && f.locked(r, c.now),
		tooMany && f.has("regenerate: the regeneration limit is told before the code's end"):
		return "regenerations"
	case tooMany && f.has("regenerate: the send limit is told before the regeneration limit") && f.overLimit(a, r, c.now):
		return "over limit"
	case ch.used && !f.has("regenerate: a used code is sent again"):
		return "used"
	case !c.now.Before(ch.expires) && !f.has("regenerate: an expired code is sent again"):
		return "expired"
	case ch.wrong >= a.MaxAttempts && !f.has("regenerate: an exhausted code is sent again"):
		return "exhausted"
	case f.locked(r, c.now) && !f.has("limits: regenerate is allowed while locked"):
		return "locked"
	}
	if tooMany {
		if f.has("regenerate: a refused regeneration ends the code") {
			delete(r.slots, c.slot)
		}
		return "regenerations"
	}
	if f.overLimit(a, r, c.now) && !f.has("regenerate: regenerate is not limited in sends") {
		return "over limit"
	}
	f.yield("concurrency: regenerations are counted outside the lock")
	ch.regenerations++
	if !f.has("regenerate: a regeneration is no send") {
		r.sends = append(r.sends, c.now)
	}
	switch {
	case f.has("regenerate: regenerate makes a new code"):
		ch.code = f.newCode(a)
	case f.has("regenerate: regenerate gives all attempts back"):
		ch.wrong = 0
	case f.has("regenerate: regenerate prolongs the code's life"):
		ch.expires = c.now.Add(time.Duration(a.TTL) * time.Second)
	case f.has("regenerate: regenerate sends nothing"):
		return "generated"
	}
	if email == "" || f.has("accounts: regenerate ignores its own email") {
		email = ch.email
		if f.has("accounts: regenerate forgets the first email") {
			email = ""
		}
	} else if f.has("accounts: regenerate remembers the last email") {
		ch.email = email
	}
	if f.deliver(c, ch, email) == "undelivered" {
		if !f.has("regenerate: a failed regeneration is counted") {
			ch.regenerations--
		}
		if !f.has("regenerate: a failed regeneration is counted as a send") {
			r.sends = r.sends[:len(r.sends)-1]
		}
		return "undelivered"
	}
	return "generated"
}

func (f *reference) validate(c refCall, guess string) (outcome string, left int) {
	a, r := c.account, f.recipient(c.account, c.recipient)
	ch := f.slot(r, c)
	if ch == nil {
		if f.has("validate: without a code every guess is wrong") {
			return "wrong", a.MaxAttempts - 1
		}
		if f.has("validate: a guess at nothing is charged") {
			r.failures = append(r.failures, c.now)
		}
		return "nothing", 0
	}
	right := guess == ch.code || guess == ch.replaced && guess != "" ||
		f.has("validate: the first digits are enough") && strings.HasPrefix(guess, ch.code) ||
		f.has("validate: every guess is right") && guess != "unreadable"
	limit := a.MaxAttempts
	if f.has("generate: every code has three attempts") {
		limit = 3
	}
	exhausted := ch.wrong >= limit
	if f.has("validate: one attempt more") {
		exhausted = ch.wrong > limit
	}
	if f.has("validate: the last attempt is never right") && right {
		exhausted = ch.wrong >= limit-1
	}
	switch {
	case f.locked(r, c.now) && f.has("limits: a locked recipient reads ERROR"):
		return "nothing", 0
	case f.locked(r, c.now) && !(right && f.has("limits: a right code opens a locked recipient")):
		return "locked", 0
	case exhausted && !(right && f.has("validate: a right code opens an exhausted one")):
		if f.has("validate: attempts used up read 0 remaining") {
			return "wrong", 0
		}
		return "exhausted", 0
	}
	f.yield("concurrency: attempts are counted outside the lock")
	if !right {
		return f.charge(a, r, ch, c, guess)
	}
	if f.has("validate: right guesses are counted") {
		ch.wrong++
	}
	expires := ch.expires
	switch {
	case f.has("validate: a code lives a second longer"):
		expires = expires.Add(time.Second)
	case f.has("validate: a code lives three seconds less"):
		expires = expires.Add(-3 * time.Second)
	case f.has("validate: a code never expires"):
		expires = expires.Add(24 * time.Hour)
	}
	switch {
	case ch.used && guess != ch.replaced && !f.has("accounts: a code is not consumed"):
		if f.has("accounts: a used code is a wrong code") {
			return f.charge(a, r, ch, c, guess)
		}
		if f.has("accounts: a used code is forgotten") {
			return "nothing", 0
		}
		return "used", 0
	case !c.now.Before(expires):
		if f.has("validate: an expired code is a wrong code") {
			return f.charge(a, r, ch, c, guess)
		}
		return "expired", 0
	}
	f.yield("concurrency: a code is consumed outside the lock")
	ch.used = true
	if !f.has("limits: a success does not end the run") {
		r.run = 0
	}
	if f.has("limits: a success clears the hour's budget") {
		r.failures = nil
	}
	return "verified", 0
}

// charge counts a wrong guess and tells what is left.
func (f *reference) charge(a *refAccount, r *refRecipient, ch *refChallenge, c refCall, guess string) (string, int) {
	dead := ch.used || !c.now.Before(ch.expires)
	switch {
	case guess == "oracle":
		return "fault", 0
	case dead && f.has("validate: a wrong guess at a dead code reads OTPEXPIRED"):
		return "expired", 0
	case guess == "free", dead && f.has("validate: a wrong guess at a dead code costs nothing"), f.has("validate: wrong guesses cost nothing"):
		return "wrong", a.MaxAttempts - ch.wrong - 1
	}
	ch.wrong++
	budget := r
	if f.has("limits: the budget belongs to the ip") {
		budget = f.recipient(a, c.recipient+c.slot)
	}
	budget.failures = append(budget.failures, c.now)
	if budget != r && len(budget.failures) >= 20 {
		r.lockedUntil = c.now.Add(time.Hour)
	}
	r.run++
	if r.run >= 100 && !f.has("limits: a hundred in a row lock no longer") {
		r.lockedUntil = c.now.Add(24 * time.Hour)
	}
	left := a.MaxAttempts - ch.wrong
	switch {
	case f.has("generate: every code has three attempts"):
		left = 3 - ch.wrong
	case f.has("validate: one attempt more"), f.has("validate: what remains includes this guess"):
		left++
	case f.has("validate: what remains is one too few"):
		left--
	}
	if f.has("limits: what remains ignores the budget") {
		return "wrong", left
	}
	return "wrong", min(left, max(0, 20-within(budget.failures, time.Hour, c.now)), max(0, 100-r.run))
}

// yield lets other requests in between a check and the act that relies on it.
func (f *reference) yield(flaw string) {
	if f.has(flaw) {
		f.mu.Unlock()
		time.Sleep(time.Millisecond)
		f.mu.Lock()
	}
}

// strike tells which fault, if any, is set for a part of the server.
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

// sandbox is as much of the sandbox's API as a tester needs.
func (f *reference) sandbox(w http.ResponseWriter, r *http.Request, body []byte) {
	switch r.Method + " " + r.URL.Path {
	case "GET /sandbox/credentials":
		demo := []any{f.newAccount([]byte(`{"message_profile": "documented"}`)), f.newAccount([]byte(`{"message_profile": "live"}`))}
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

// newAccount makes an account of the columns in body and tells its credentials.
func (f *reference) newAccount(body []byte) map[string]any {
	random := func(n int) string {
		fresh := make([]byte, n)
		rand.Read(fresh)
		return base64.StdEncoding.EncodeToString(fresh)
	}
	a := &refAccount{
		Address: "9" + strconv.Itoa(10_000_000_000_000+len(f.accounts)), Profile: Documented, Enabled: true, OTPEnabled: true,
		Length: 6, TTL: 300, MaxAttempts: 3, MaxRegenerations: 3, KeyOnIP: true, Countries: []string{"IN", "AE"},
		SMS: true, Cipher: "aes-cbc", Encoding: "auto", DepartmentMode: "ignore", PerMinute: 10, PerHour: 20, PerDay: 40,
		CipherKey: random(32), CipherIV: random(16), recipients: map[string]*refRecipient{},
	}
	if err := json.Unmarshal(body, a); err != nil {
		panic(err)
	}
	f.accounts[a.Address] = a
	if f.accounts["shared"] == nil {
		f.accounts["shared"] = &refAccount{recipients: map[string]*refRecipient{}}
	}
	first := random(16)
	if len(a.AccessKeys) > 0 {
		first = a.AccessKeys[0].Key
	}
	f.keys[first] = refKey{a, true}
	for _, key := range a.AccessKeys {
		usable := (key.Enabled == nil || *key.Enabled) && (key.ExpiresAt == nil || key.ExpiresAt.After(time.Now())) &&
			(len(key.Networks) == 0 || f.has("accounts: a key is good from every network"))
		f.keys[key.Key] = refKey{a, usable}
	}
	return map[string]any{
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
			if to := query.Get("to"); len(found) < limit && (to == "" || strings.EqualFold(strings.TrimPrefix(to, "+"), strings.TrimPrefix(m.To, "+"))) {
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
