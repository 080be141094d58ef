package conform

import (
	"crypto/rand"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference server's state and decisions. Times are those of the account's clock.

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

	limit      int // of wrong guesses
	id, slot   string
	holder     *refRecipient
	canceled   bool
	created    time.Time
	verifiedAt time.Time
	send       *refSend // nil if a servlet sent it
	number     string
}

// refCall is one request to the engine.
type refCall struct {
	account   *refAccount
	number    string
	recipient string // whose limits and codes are used: the number
	slot      string
	email     string
	now       time.Time
	send      *refSend // the request of /v1; nil at the servlets
}

func (f *reference) recipient(a *refAccount, to string) *refRecipient {
	all := a.recipients
	if f.has("accounts: accounts share their codes and attempts") ||
		f.has("parity: the servlets' accounts share their codes") {
		all = f.accounts["shared"].recipients
	}
	if all[to] == nil {
		all[to] = &refRecipient{slots: map[string]*refChallenge{}}
	}
	return all[to]
}

// slot returns the recipient's code for this caller.
func (f *reference) slot(r *refRecipient, c refCall) *refChallenge {
	found := r.slots[c.slot]
	memory := time.Hour
	if f.has("validate: a code is forgotten when it expires") {
		memory = 0
	}
	if found == nil || c.now.Sub(found.expires) > memory && !f.has("validate: a code is never forgotten") {
		return nil
	}
	seen := c.account.ServletTypes
	if f.has("parity: servlet_types is not looked at") {
		seen = []string{"verification"}
	}
	if !slices.Contains(seen, found.kind()) && !f.has("parity: the servlets see codes for any purpose") {
		return nil
	}
	return found
}

func (f *reference) generate(c refCall, email string) string {
	a, r := c.account, f.recipient(c.account, c.recipient)
	limited := r
	if c.send != nil && f.has("parity: the sends of /v1 are counted apart") {
		limited = f.recipient(a, "v1 "+c.recipient)
	}
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
	f.identify(c, fresh, r)
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
	a.challenges[fresh.id] = fresh
	before := r.slots[c.slot]
	f.yield("concurrency: codes made at once are all live")
	if other := r.slots[c.slot]; other != before && f.has("concurrency: codes made at once are all live") {
		fresh.replaced = other.code
	}
	if before != nil && c.send == nil && before.kind() != fresh.kind() &&
		f.has("parity: a generate leaves a code for another purpose") {
		before.slot += " " + before.kind()
		r.slots[before.slot] = before
	}
	r.slots[c.slot] = fresh
	switch f.deliver(c, fresh, email) {
	case "undelivered":
		if f.has("generate: a code that was not delivered is taken back") {
			r.slots[c.slot] = before
		}
		for _, one := range held {
			if !f.has("generate: a send that failed is counted") &&
				!f.has("parity: a send that failed at a servlet is counted") {
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
			Text: "Your code is " + ch.code, Code: ch.code, CreatedAt: time.Now(), Challenge: ch.id,
		})
	}
	if c.send != nil {
		if c.send.Method == "email" && !f.has("v1/send: the method is ignored") &&
			!f.has("v1/resend: the method is ignored") {
			send("email", email)
		} else {
			send("sms", c.number)
		}
		return "sent"
	}
	mail := a.Email && email != ""
	if mail {
		send("email", email)
	}
	if a.SMS && (!mail || !f.has("accounts: of both channels only e-mail is used")) ||
		f.has("accounts: SMS is sent on every account") {
		send("sms", c.number)
	}
	if a.SMS && !a.Email && email != "" && f.has("generate: e-mail is sent where it is off") {
		send("email", email)
	}
	return "sent"
}

func (f *reference) regenerate(c refCall, email string) string {
	r := f.recipient(c.account, c.recipient)
	ch := f.slot(r, c)
	if ch != nil && ch.canceled && !f.has("parity: a code called off is regenerated") {
		ch = nil
	}
	if ch == nil {
		if f.has("accounts: regenerate generates where nothing is live") {
			return f.generate(c, email)
		}
		return "nothing"
	}
	return f.again(c, ch, r, email)
}

// again sends a code again, for either door.
func (f *reference) again(c refCall, ch *refChallenge, r *refRecipient, email string) string {
	a := c.account
	tooMany := ch.regenerations >= a.MaxRegenerations
	if f.has("parity: regenerations and resends are counted apart") {
		tooMany = false
	}
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
	case ch.wrong >= ch.limit && !f.has("regenerate: an exhausted code is sent again"):
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
			return "wrong", 2
		}
		if f.has("validate: a guess at nothing is charged") {
			r.failures = append(r.failures, c.now)
		}
		return "nothing", 0
	}
	right := guess == ch.code || guess == ch.replaced && guess != "" ||
		f.has("validate: the first digits are enough") && strings.HasPrefix(guess, ch.code) ||
		f.has("validate: every guess is right") && guess != "unreadable"
	if ch.canceled && !f.has("parity: a code called off verifies at the servlets") {
		return "nothing", 0
	}
	limit := ch.limit
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
	case ch.used && guess != ch.replaced && !f.has("validate: a code is not consumed"):
		if f.has("validate: a used code is a wrong code") {
			return f.charge(a, r, ch, c, guess)
		}
		if f.has("validate: a used code is forgotten") {
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
	f.yield("parity: a code is consumed outside the lock")
	ch.used, ch.verifiedAt = true, c.now
	if !f.has("limits: a success does not end the run") {
		r.run = 0
	}
	if f.has("limits: a success clears the hour's budget") {
		r.failures = nil
	}
	return "verified", 0
}

// charge counts a wrong guess and returns what is left.
func (f *reference) charge(a *refAccount, r *refRecipient, ch *refChallenge, c refCall, guess string) (string, int) {
	dead := ch.used || !c.now.Before(ch.expires)
	switch {
	case guess == "oracle":
		return "fault", 0
	case dead && f.has("validate: a wrong guess at a dead code reads OTPEXPIRED"):
		return "expired", 0
	case guess == "free", dead && f.has("validate: a wrong guess at a dead code costs nothing"), f.has("validate: " +
		"wrong guesses cost nothing"):
		return "wrong", ch.limit - ch.wrong - 1
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
	left := ch.limit - ch.wrong
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

// yield lets other requests run between a check and the action that relies on it.
func (f *reference) yield(flaw string) {
	if f.has(flaw) {
		f.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		f.mu.Lock()
	}
}
