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

// Guards lists and lifts the stops of the guards against unwanted costs.
type Guards struct{ *core }

// StoppedPrefix is a range of numbers to which sending is stopped for a while, because hardly anybody verified.
type StoppedPrefix struct {
	Prefix       string // the beginning of the numbers, with its plus
	Environment  otp.Environment
	StoppedAt    otp.Millis
	StoppedUntil otp.Millis
	CountedSince otp.Millis
	Sends        int64 // since then
	Verified     int64 // recipients that verified one of them
	Spend        int64 // cost of the sends, in millionths, by the account's prices
	Loss         int64 // the part of Spend for sends that were not verified
}

// stopSpan is how long a stop lasts unless somebody tries again: see otp.Conversion.
const stopSpan = otp.Hour + otp.Minute

// Stopped returns an account's stopped prefixes, newest first, and the account's spend of today in millionths. The
// spend is nil if the account has no cap, because it is not counted then. Refusal: NotFound.
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

// spent returns the cost of an account's live sends of today.
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

// Lift allows sends to a prefix again, in every environment, and resets its counts. Refusal: NotFound for a prefix
// that is not stopped.
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
