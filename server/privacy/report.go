package privacy

import (
	"context"
	"fmt"
	"time"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Report lists which personal data is kept, for how long, and the exports and erasures: the record that an auditor
// asks for.
type Report struct {
	At       time.Time       `json:"at"`
	Held     []Held          `json:"held"`
	Accounts []AccountReport `json:"accounts"`
	Ledger   Lines           `json:"ledger"`
}

// Held is one class of kept data.
type Held struct {
	Class  string     `json:"class"`
	What   string     `json:"what"`
	Kept   string     `json:"kept"`   // for how long
	Oldest *time.Time `json:"oldest"` // oldest record of all accounts; null: none
}

// AccountReport is an account's part of a Report.
type AccountReport struct {
	Account       string `json:"account"`
	RetentionDays int    `json:"retention_days"`
	Exports       int    `json:"exports"` // that the audit log still has
	Erasures      int    `json:"erasures"`
}

// Lines counts lines of the ledger.
type Lines struct {
	Erasures int `json:"erasures"`
	Open     int `json:"open"` // not done yet
}

// held returns the classes, with the names of sql.Privacy.Oldest.
func (p *Privacy) held() []Held {
	return []Held{
		{Class: "history",
			What: "what was sent and verified, when and on which channel; the mailbox and the metadata, sealed",
			Kept: "retention_days of its account"},
		{Class: "recipients", What: "the number or mailbox, sealed, and counters of sends and wrong codes",
			Kept: "until it has not been used for 24 hours"},
		{Class: "challenges",
			What: "codes that are or were live, none of which is stored; the mailbox and the metadata, sealed",
			Kept: "until an hour after they expire"},
		{Class: "deliveries", What: "messages on their way, with the mailbox, sealed", Kept: "24 hours"},
		{Class: "webhook_deliveries", What: "what accounts' own servers were told, and answered, sealed",
			Kept: "retention_days of its account, at most 30 days"},
		{Class: "stored_answers", What: "answers for repeated requests, sealed", Kept: "24 hours"},
		{Class: "test_recipients", What: "numbers whose code is fixed, or in the safe_list of an account, sealed",
			Kept: "as long as the account says; with a fixed code at most 30 days"},
		{Class: "audit_changes", What: "who did what; of recipients the mask, or a pseudonym",
			Kept: fmt.Sprintf("%d days", p.ChangeDays)},
		{Class: "audit_calls", What: "calls with their addresses, and nobody's number",
			Kept: fmt.Sprintf("%d days", p.CallDays)},
		{Class: "calls", What: "addresses that keys were used from, for the report on the migration",
			Kept: "90 days; a key's last one as long as the key"},
		{Class: "alerts", What: "addresses that refused keys, many keys or many recipients came from",
			Kept: "until 92 days after they are resolved"},
		{Class: "people", What: "who logs in here: mailbox, name, second factors, and sessions with their addresses",
			Kept: "until they are removed; sessions and invitations 30 days after their end"},
	}
}

// Report returns a report, and records that somebody asked for it. It has the accounts for which sees returns true.
func (p *Privacy) Report(ctx context.Context, by otp.Actor, sees func(account string) bool) (r Report, err error) {
	now := otp.At(time.Now())
	err = p.Store.Change(ctx, func(tx *sql.Tx) error {
		return tx.Record(otp.Change{ID: sql.NewID(), At: now, Kind: otp.PrivacyReported, Actor: by})
	})
	if err != nil {
		return r, err
	}
	r = Report{At: now.Time(), Held: p.held(), Accounts: []AccountReport{}}
	for i := range r.Held {
		oldest, err := p.Store.Privacy.Oldest(ctx, r.Held[i].Class)
		if err != nil {
			return r, err
		}
		if oldest != 0 {
			at := oldest.Time()
			r.Held[i].Oldest = &at
		}
	}
	exports, err := p.Store.Privacy.Exports(ctx, string(otp.PrivacyExported))
	if err != nil {
		return r, err
	}
	done := map[string]int{}
	err = p.eachLine(ctx, otp.ID{}, func(e sql.Erasure) error {
		if !sees(e.Account) {
			return nil
		}
		r.Ledger.Erasures++
		done[e.Account]++
		if e.DoneAt == 0 {
			r.Ledger.Open++
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	return r, p.Store.Accounts.Each(ctx, func(a otp.Account, _ error) error {
		if sees(a.Address) {
			r.Accounts = append(r.Accounts, AccountReport{a.Address, a.RetentionDays, exports[a.Address], done[a.Address]})
		}
		return nil
	})
}

// LedgerLine is an erasure that was asked for.
type LedgerLine = sql.Erasure

// Ledger returns the erasures after an id, oldest first, of one account or, for "", of all.
func (p *Privacy) Ledger(ctx context.Context, account string, after otp.ID, limit int) ([]LedgerLine, error) {
	return p.Store.Privacy.Ledger(ctx, account, after, limit)
}
