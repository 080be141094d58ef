package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Reason says why a recipient gets no message: what would refuse the next one now, or the result of the last one.
type Reason struct {
	Code   string     `json:"code"`
	Text   string     `json:"text"`
	Remedy string     `json:"remedy"`
	Until  *time.Time `json:"until"` // when it ends by itself; null: never
}

// Why returns the reasons why a recipient of an account gets no message, usually one, and the recipient, nil if it is
// unknown. If nothing stops messages, the reason is the result of the last one. Why records the call. Refusals:
// NotFound for the account; Invalid for a text that is not a recipient, or is in a country that the account does not
// send to.
func (c Recipients) Why(ctx context.Context, by otp.Actor, address string, environment otp.Environment, to string) (
	reasons []Reason, known *Recipient, err error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	to = strings.TrimSpace(to)
	found, row, err := c.look(ctx, by, address, environment, to)
	unknown := otp.KindOf(err) == otp.NotFound
	if err != nil && !unknown {
		return nil, nil, err
	}
	now, err := c.now(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	reasons = c.whyNone(&account, strings.Contains(to, "@"))
	stopped, err := c.whyStopped(ctx, &account.Account, environment, to, now)
	if err != nil {
		return nil, nil, err
	}
	reasons = append(reasons, stopped...)
	if unknown {
		return append(reasons, Reason{Code: "never_asked", Text: "Nothing was sent to it for a day in the " +
			string(environment) + " environment of this account.", Remedy: "Check the number, the account and the " +
			"environment; if they are right, see how the client's calls were answered."}), nil, nil
	}
	if found.LockedUntil != nil {
		reasons = append(reasons, Reason{"locked", fmt.Sprintf("It is locked: %d wrong codes in the last hour, %d in a row.",
			found.Failures, found.Run), "Unlock it for somebody who has proved who they are.", found.LockedUntil})
	}
	last := lastSend(found.History)
	if told, ok := c.simulated(&account.Account, to)[last.Code]; ok {
		last = told
	}
	return append(append(reasons, whyLimited(&account.Account, row.Sends, now)...), last), &found, nil
}

// simulated returns what a sandbox says instead of the result of a last send, by its code. It returns nil if the
// account's channels lead out of the sandbox.
func (c Recipients) simulated(account *otp.Account, to string) map[string]Reason {
	medium := "sms"
	if strings.Contains(to, "@") {
		medium = "email"
	}
	if !c.sandbox {
		return nil
	}
	channels, _, err := c.channels(account, medium)
	leadsOut := func(channel deliver.Channel) bool { return !deliver.Simulated(channel) }
	if err != nil || slices.ContainsFunc(channels, leadsOut) {
		return nil
	}
	return map[string]Reason{
		"taken": {Code: "taken", Text: "The last message is in the sandbox's inbox; no provider was asked.",
			Remedy: "Look there. To reach a phone, relay the message, or run in production with a channel."},
		"unsent": {Code: "unsent", Text: "The last message reached no channel; it was not counted.",
			Remedy: "A fault that was set does this (GET /sandbox/faults), or the outcome of a test recipient."},
	}
}

// whyNone returns the reasons why an account cannot send at all.
func (c Recipients) whyNone(account *ManagedAccount, mail bool) (reasons []Reason) {
	switch {
	case account.Broken != nil:
		reasons = append(reasons, Reason{Code: "account", Text: "The account is out of service: " +
			account.Broken.Error() + ".", Remedy: "Mend the column that is named."})
	case account.State() != "active":
		reasons = append(reasons, Reason{Code: "account", Text: "The account is " + account.State() + ".",
			Remedy: "See its columns enabled and otp_enabled."})
	}
	medium, enabled := "sms", account.SMSEnabled
	if mail {
		medium, enabled = "email", account.EmailEnabled
	}
	if !enabled {
		return append(reasons, Reason{Code: "medium", Text: "The account does not send by " + medium + ".",
			Remedy: "Set " + medium + "_enabled."})
	}
	if channels, _, err := c.channels(&account.Account, medium); err != nil {
		reasons = append(reasons, Reason{Code: "channel", Text: "The account's channels for " + medium + " cannot be used.",
			Remedy: err.Error() + "."})
	} else if len(channels) == 0 && !c.sandbox {
		reasons = append(reasons, Reason{Code: "channel", Text: "There is no channel for " + medium + ".",
			Remedy: "Name one in " + medium + "_channels, or one for the whole server."})
	}
	return reasons
}

// whyStopped returns the stops of the guards against costs.
func (c Recipients) whyStopped(ctx context.Context, account *otp.Account, environment otp.Environment, to string,
	now otp.Millis) (reasons []Reason, err error) {
	if strings.Contains(to, "@") || account.CostGuards != nil && *account.CostGuards == otp.GuardsRecord {
		return nil, nil
	}
	number, err := deliver.NormalNumber(to, account.Countries)
	if err != nil {
		return nil, err
	}
	prefix := deliver.Prefix(number)
	counter, err := c.store.Guards.Counter(ctx, c.vault.PrefixCounter(account.Address, environment, prefix))
	if err != nil && !errors.Is(err, sql.ErrNotFound) {
		return nil, err
	}
	if err == nil && counter.Stopped(now) > 0 && !account.Safe(number) {
		reasons = append(reasons, Reason{"prefix", fmt.Sprintf("Numbers that begin with +%s get none for a while: %d of %d "+
			"codes sent there were verified.", prefix, counter.Converted, counter.Total),
			"Lift the stop if these are customers, or put the number on the account's safe list.",
			moment(counter.StoppedUntil)})
	}
	if account.SpendCapPerDay == nil {
		return reasons, nil
	}
	spent, err := c.store.Guards.Counter(ctx, c.vault.SpendCounter(account.Address, environment, now))
	if err != nil && !errors.Is(err, sql.ErrNotFound) {
		return nil, err
	}
	if price := account.Price(deliver.Country(number)); spent.Total+price > int64(*account.SpendCapPerDay) {
		reasons = append(reasons, Reason{"spend", "The account has spent what it may in a day.",
			"Raise spend_cap_per_day, or wait for the next day (UTC).", moment(now - now%otp.Day + otp.Day)})
	}
	return reasons, nil
}

// whyLimited returns the limits on sends to the recipient that are reached.
func whyLimited(account *otp.Account, sends otp.Window, now otp.Millis) (reasons []Reason) {
	for _, limit := range []struct {
		column string
		span   otp.Millis
		max    int
	}{
		{"sends_per_minute", otp.Minute, account.SendsPerMinute}, {"sends_per_hour", otp.Hour, account.SendsPerHour},
		{"sends_per_day", otp.Day, account.SendsPerDay},
	} {
		if limit.max > 0 && sends.Within(limit.span, now) >= limit.max {
			reasons = append(reasons, Reason{"limit",
				fmt.Sprintf("It got %d messages, the limit of %s.", limit.max, limit.column),
				"Wait, or raise " + limit.column + " of the account.", moment(sends.Oldest(limit.max) + limit.span)})
		}
	}
	return reasons
}

func moment(at otp.Millis) *time.Time {
	t := at.Time()
	return &t
}

// lastSend returns the result of the newest send in a history, which is newest first.
func lastSend(history []Happening) Reason {
	outcomes := map[otp.EventKind]Reason{
		otp.EventUnsent: {Code: "unsent", Text: "The last message reached no channel; it was not counted.",
			Remedy: "Look at the provider in the server's log and metrics, and send a test message with the account."},
		otp.EventUnknown: {Code: "unknown", Text: "Whether a channel took the last message will never be known.",
			Remedy: "Send again. If it happens often, the provider answers too slowly or not at all."},
		otp.EventUndelivered: {Code: "undelivered", Text: "The provider reported that the last message did not arrive.",
			Remedy: "Check the number, and the provider's own log for the reason."},
		otp.EventDelivered: {Code: "delivered", Text: "The provider reported that the last message arrived.",
			Remedy: "Ask the person to look again, in filtered messages too."},
		otp.EventTaken: {Code: "taken",
			Text:   "A channel took the last message; its provider has not reported what became of it.",
			Remedy: "Look at the provider's own log. Providers report only where receipts are set up."},
	}
	for i := range history {
		reason, ends := outcomes[history[i].Kind]
		switch history[i].Kind {
		case otp.EventSent, otp.EventResent:
			return outcomes[otp.EventTaken]
		}
		if ends {
			return reason
		}
	}
	return Reason{Code: "none_sent", Text: "Nothing was sent to it in the last day.",
		Remedy: "See how the client's calls were answered."}
}
