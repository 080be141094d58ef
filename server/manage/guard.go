package manage

import (
	"context"
	"errors"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Guards show and lift what the guards against unwanted costs have stopped.
type Guards struct{ *core }

// StoppedPrefix is a range of numbers to which nothing is sent for a while, because hardly anybody verified.
type StoppedPrefix struct {
	Prefix       string // the beginning of the numbers, with its plus
	Environment  otp.Environment
	StoppedAt    otp.Millis
	StoppedUntil otp.Millis
	CountedSince otp.Millis
	Sends        int64 // since then
	Verified     int64 // recipients that verified one of them
	Spend        int64 // what the sends cost, in millionths, by the account's prices
	Loss         int64 // what of it is lost if none of the others is verified any more
}

// stopSpan is for how long a stop holds unless somebody tries again: see otp.Conversion.
const stopSpan = otp.Hour + otp.Minute

// Stopped returns the prefixes of an account that are stopped, the newest first, and what the account has spent today
// in millionths, nil where it has no cap and nothing is counted. Refusal: NotFound.
func (c Guards) Stopped(ctx context.Context, address string) ([]StoppedPrefix, *int64, error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	now := otp.At(time.Now())
	stops, err := c.store.Guards.Stops(ctx, address, now-stopSpan, now)
	if err != nil {
		return nil, nil, err
	}
	all := []StoppedPrefix{}
	known := map[otp.ID]bool{}
	for i := range stops {
		stop := &stops[i]
		number, err := c.vault.Keyring.Open(vault.Recipient(stop.Recipient), stop.Sealed)
		if err != nil {
			return nil, nil, err
		}
		prefix := deliver.Prefix(string(number))
		id := c.vault.PrefixCounter(address, stop.Environment, prefix)
		counter, err := c.store.Guards.Counter(ctx, id)
		if known[id] || errors.Is(err, sql.ErrNotFound) || err == nil && counter.Stopped(now) == 0 {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		known[id] = true
		price := account.Price(deliver.Country(string(number)))
		all = append(all, StoppedPrefix{
			Prefix: "+" + prefix, Environment: stop.Environment, StoppedAt: stop.At, StoppedUntil: counter.StoppedUntil,
			CountedSince: counter.Since, Sends: counter.Total, Verified: counter.Converted,
			Spend: counter.Total * price, Loss: (counter.Total - counter.Converted) * price,
		})
	}
	spent, err := c.spent(ctx, &account.Account, now)
	return all, spent, err
}

// spent is what the sends in earnest of an account have cost today.
func (c Guards) spent(ctx context.Context, account *otp.Account, now otp.Millis) (*int64, error) {
	if account.SpendCapPerDay == nil {
		return nil, nil
	}
	counter, err := c.store.Guards.Counter(ctx, c.vault.SpendCounter(account.Address, otp.Live, now))
	if errors.Is(err, sql.ErrNotFound) {
		err = nil
	}
	return &counter.Total, err
}

// Lift lets sends to a prefix go on, in every environment, and counts anew. Refusal: NotFound for one that is not
// stopped.
func (c Guards) Lift(ctx context.Context, by otp.Actor, account, prefix string) error {
	if err := c.known(ctx, account); err != nil {
		return err
	}
	prefix = strings.TrimPrefix(prefix, "+")
	return c.store.Change(ctx, func(tx *sql.Tx) error {
		now, lifted := otp.At(time.Now()), false
		for _, environment := range otp.Environments() {
			one, err := c.store.Guards.Lift(tx, c.vault.PrefixCounter(account, environment, prefix), now)
			if err != nil {
				return err
			}
			lifted = lifted || one
		}
		if !lifted {
			return otp.Refuse(otp.NotFound, "the account has no such prefix that is stopped")
		}
		return record(tx, otp.PrefixLifted, by, account, now, "prefix", "+"+prefix)
	})
}
