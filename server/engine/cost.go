package engine

import (
	"strings"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The guards against unwanted costs. They apply to SMS that leave the process, and decide with counters in the
// database, inside the operation that makes the send. So they are exact with any number of servers: 64 concurrent
// sends at the edge of a cap never exceed it.

// Cost holds the server's settings of the guards.
type Cost struct {
	// RecordOnly allows what would be refused, and records it in the history.
	RecordOnly bool
	// PrefixUnverified is how many sends to one prefix may stay unverified in a day before the prefix is stopped, if
	// less than 5 % were verified; 0 stops none. otp.Conversion states the maximum cost.
	PrefixUnverified int
}

// conversion returns when a prefix stops. Far more than one in twenty of the people who ask for a code verify it.
// Someone who is paid for each message to a range of numbers verifies none, or only those to a few numbers of their
// own; each of these allows 19 more sends a day.
func (c Cost) conversion() otp.Conversion {
	return otp.Conversion{Unverified: int64(c.PrefixUnverified), Percent: 5, Window: otp.Day, Pause: otp.Hour}
}

// guard holds what one send counts against.
type guard struct {
	record  bool
	spend   otp.ID // zero without a cap
	price   int64
	cap     int64
	prefix  otp.ID // zero without a breaker
	numbers string // the range that the prefix stands for
	rule    otp.Conversion
	at      otp.Millis // of the send
}

// guard gives the operation the counters that decide about a send to t by these channels. It is nil if the send costs
// nothing: an e-mail, or a send that stays in the process.
func (e *Engine) guard(c *Caller, op *sql.Operation, t Target, channels otp.Channels) *guard {
	g := e.guardAt(c, t, channels, op.Now)
	op.Counters = g.counters()
	return g
}

// guardOf returns the guard that decided about a delivery's send.
func (e *Engine) guardOf(s *send, row *otp.Delivery) *guard {
	g := e.guardAt(s.caller, s.target, s.channels, row.CreatedAt)
	if g != nil {
		g.price = row.Price
	}
	return g
}

func (e *Engine) guardAt(c *Caller, t Target, channels otp.Channels, at otp.Millis) *guard {
	if _, test := c.settings.tests(t.Recipient, at); test || !e.costs(c, t, channels) {
		return nil
	}
	account := c.Account
	g := &guard{record: e.options.Cost.RecordOnly, rule: e.options.Cost.conversion(), at: at,
		numbers: deliver.Prefix(t.Recipient)}
	if account.CostGuards != nil {
		g.record = *account.CostGuards == otp.GuardsRecord
	}
	if account.SpendCapPerDay != nil {
		g.spend = e.vault.SpendCounter(account.Address, c.Environment, at)
		g.cap, g.price = int64(*account.SpendCapPerDay), account.Price(deliver.Country(t.Recipient))
	}
	if g.rule.Unverified > 0 && !account.Safe(t.Recipient) {
		g.prefix = e.prefixCounter(c, t)
	}
	return g
}

// costs reports whether a send to t is an SMS that leaves the process.
func (e *Engine) costs(c *Caller, t Target, channels otp.Channels) bool {
	return !e.rehearsed(t, otp.SMS) && channels.Has(otp.SMS) && strings.HasPrefix(t.Recipient, "+") &&
		e.outbound(c, otp.SMS)
}

func (e *Engine) prefixCounter(c *Caller, t Target) otp.ID {
	return e.vault.PrefixCounter(c.Account.Address, c.Environment, deliver.Prefix(t.Recipient))
}

// counters returns the ids of g's counters, in the order that of expects.
func (g *guard) counters() (ids []otp.ID) {
	if g == nil {
		return nil
	}
	for _, id := range [...]otp.ID{g.spend, g.prefix} {
		if !id.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

// of returns the loaded counters, nil for one that is not used.
func (g *guard) of(state *sql.State) (spend, prefix *otp.Counter) {
	counters := state.Counters
	if len(counters) > 0 && !g.spend.IsZero() {
		spend, counters = counters[0], counters[1:]
	}
	if len(counters) > 0 && !g.prefix.IsZero() {
		prefix = counters[0]
	}
	return spend, prefix
}

// charge counts one send inside its operation, or refuses it as CostLimited. A refusal changes nothing.
func (g *guard) charge(op *sql.Operation, c *Caller, state *sql.State, challenge *otp.Challenge) error {
	if g == nil {
		return nil
	}
	note := func(kind otp.EventKind) {
		noted := event(op, c, state, challenge, kind)
		noted.ID, noted.Send, noted.Channels = sql.NewID(), challenge.Sends, otp.SMS
		noted.Sending = otp.Sending{Channels: otp.SMS, Prefix: g.numbers}
		state.Also(noted)
	}
	spend, prefix := g.of(state)
	if prefix != nil {
		if left := prefix.Stopped(state.Now); left > 0 && !g.record {
			return &otp.Error{Kind: otp.CostLimited, RetryAfter: left.Duration(),
				Message: "too many codes to numbers like this one were never used, so none are sent there for a while"}
		}
		if prefix.Send(g.rule, state.Now) {
			note(otp.EventPrefixStop)
		}
	}
	if spend == nil {
		return nil
	}
	switch within := spend.Spend(g.price, g.cap, g.record, state.Now); {
	case !within && !g.record:
		return &otp.Error{Kind: otp.CostLimited, RetryAfter: (otp.Day - op.Now%otp.Day).Duration(),
			Message: "the account has spent what it may in a day; see spend_cap_per_day"}
	case within && !g.record && spend.Total+g.price > g.cap: // the last send that it allows
		note(otp.EventSpendCap)
	case !within && spend.Total-g.price <= g.cap: // the first send beyond
		note(otp.EventSpendCap)
	}
	return nil
}

// release takes back what a send counted if it surely reached nobody.
func (g *guard) release(state *sql.State) {
	if g == nil {
		return
	}
	spend, prefix := g.of(state)
	spend.Release(g.price, state.Now)
	if prefix != nil && g.at >= prefix.Since { // otherwise it was counted in a window that is over
		prefix.Release(1, state.Now)
	}
}

// lockConversion lets an operation count a right guess at a code that was sent to t.
func (e *Engine) lockConversion(c *Caller, op *sql.Operation, t Target) {
	if e.options.Cost.PrefixUnverified > 0 && e.costs(c, t, otp.SMS) && !c.Account.Safe(t.Recipient) {
		recipient := e.index.Sum("converted", c.Account.Address, string(c.Environment), t.Recipient)
		op.Counters = []otp.ID{e.prefixCounter(c, t), recipient}
	}
}

// countVerified counts a verified send in the metrics.
func (e *Engine) countVerified(op *sql.Operation, t Target, err error) {
	if err == nil && len(op.Counters) > 0 {
		e.metrics.verified.WithLabelValues(deliver.Country(t.Recipient)).Inc()
	}
}

// countConverted counts the recipient of a verified challenge for its prefix.
func countConverted(state *sql.State, challenge *otp.Challenge) {
	if len(state.Counters) == 2 && challenge.Channels.Has(otp.SMS) {
		prefix, recipient := state.Counters[0], state.Counters[1]
		prefix.Verified(recipient, state.Now)
	}
}
