package console

import (
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
)

// accountPages are what is known of the systems that send codes.
var accountPages = []route{
	{get, "accounts", person, people.ReadAccounts, (*exchange).accounts},
	{get, "accounts/:account", person, people.ReadAccounts, (*exchange).account},
}

func (x *exchange) accounts() error {
	all, err := x.door.Manage.Accounts.List(x.ctx)
	if err != nil {
		return err
	}
	var seen []manage.ManagedAccount
	for i := range all {
		if x.who.MaySee(all[i].Address) {
			seen = append(seen, all[i])
		}
	}
	return x.show("accounts", "Accounts", seen)
}

// accountBody is one account with its keys.
type accountBody struct {
	manage.ManagedAccount
	Keys []manage.Key
}

func (x *exchange) account() error {
	address := x.gin.Param("account")
	if !x.who.MaySee(address) {
		return otp.Refuse(otp.NotFound, "there is no such account")
	}
	found, err := x.door.Manage.Accounts.Find(x.ctx, address)
	if err != nil {
		return err
	}
	body := accountBody{ManagedAccount: found}
	if x.who.May(people.ReadKeys) == nil {
		if body.Keys, err = x.door.Manage.Keys.List(x.ctx, address); err != nil {
			return err
		}
	}
	return x.show("account", "Account "+address, body)
}
