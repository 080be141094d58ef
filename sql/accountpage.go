package sql

import (
	"context"

	"otpbridge/server/otp"
)

// AccountQuery selects a page of accounts in the order of their addresses, or of their names and then addresses.
type AccountQuery struct {
	Accounts []string // nil: all
	ByName   bool
	Backward bool
	After    AccountPlace // the place of the last account of the page before; zero for the first page
	Limit    int
}

// AccountPlace is an account's place in a list.
type AccountPlace struct {
	Address string
	Name    string // used in the order of names
}

// AccountRow is one row of otp_auth_config. Broken is nil, or a *BrokenRow if the row cannot be used; Account then
// holds the columns that could be read.
type AccountRow struct {
	Account otp.Account
	Broken  error
}

// where returns the condition and the order of the rows that q selects.
func (q *AccountQuery) where() (string, []any) {
	where, args := among(q.Accounts)
	beyond, direction := `>`, ``
	if q.Backward {
		beyond, direction = `<`, ` DESC`
	}
	order := `esme_address` + direction
	if q.ByName {
		order = `name` + direction + `, ` + order
	}
	switch {
	case q.After.Address == "":
	case q.ByName: // the first condition is for the index
		where += ` AND name ` + beyond + `= ? AND (name ` + beyond + ` ? OR esme_address ` + beyond + ` ?)`
		args = append(args, q.After.Name, q.After.Name, q.After.Address)
	default:
		where, args = where+` AND esme_address `+beyond+` ?`, append(args, q.After.Address)
	}
	return where + ` ORDER BY ` + order + ` LIMIT ?`, append(args, q.Limit)
}

// Page reads the page that a query selects. Each order has an index, so it reads no row before the page and none after.
func (a *Accounts) Page(ctx context.Context, q AccountQuery) ([]AccountRow, error) {
	where, args := q.where()
	var all []AccountRow
	return all, a.each(ctx, where, args, func(account otp.Account, broken error) error {
		all = append(all, AccountRow{account, broken})
		return nil
	})
}
