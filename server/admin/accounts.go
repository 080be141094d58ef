package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/web"
)

// accountRoutes are the calls that create, show and change accounts.
var accountRoutes = slices.Concat(messageRoutes, []route{
	{method: http.MethodGet, path: "/api/accounts", who: person, needs: people.ReadAccounts,
		parameters: accountParameters, call: (*exchange).accounts},
	{method: http.MethodPost, path: "/api/accounts", who: person, needs: people.WriteAccounts, live: true,
		once: true, call: (*exchange).createAccount},
	{method: http.MethodGet, path: "/api/accounts/:account", who: person, needs: people.ReadAccounts,
		call: (*exchange).account},
	{method: http.MethodPatch, path: "/api/accounts/:account", who: person, needs: people.WriteAccounts, live: true,
		call: reads((*exchange).changeAccount)},
	{method: http.MethodDelete, path: "/api/accounts/:account", who: person, needs: people.WriteAccounts, live: true,
		call: reads((*exchange).deleteAccount)},
})

// accountParameters are those of the list of accounts.
var accountParameters = []string{searchParameter, stateParameter, sortParameter, limitParameter, cursorParameter}

// accountOutline is an account in a list.
type accountOutline struct {
	Address string       `json:"esme_address"`
	Name    string       `json:"name"`
	State   string       `json:"state"` // active, disabled, feature off or broken
	Fault   string       `json:"fault,omitempty"`
	Profile *otp.Profile `json:"message_profile"`
	Cipher  string       `json:"otp_cipher"`
}

// writeOnly shows whether a column with a secret is set.
type writeOnly struct {
	Set bool `json:"set"`
}

// shownAccount is an account without its secrets. The URLs of channels count as secrets: gateways put secrets into
// the user, the password, the path or the query.
type shownAccount struct {
	otp.Account
	CipherKey     writeOnly `json:"cipher_key"`
	CipherIV      writeOnly `json:"cipher_iv"`
	SMSChannels   writeOnly `json:"sms_channels"`
	EmailChannels writeOnly `json:"email_channels"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	State         string    `json:"state"`
	Fault         string    `json:"fault,omitempty"`
}

// showAccount answers with an account and its entity tag.
func (x *exchange) showAccount(status int, m manage.ManagedAccount) answer {
	x.gin.Header("ETag", web.ETag(x.door.Manage.Accounts.Version(&m.Account)))
	return answer{status, shown(&m)}
}

func shown(m *manage.ManagedAccount) shownAccount {
	return shownAccount{
		Account: m.Account, CipherKey: writeOnly{m.SealedCipherKey != nil}, CipherIV: writeOnly{m.SealedCipherIV != nil},
		SMSChannels: writeOnly{m.SMSChannels != nil}, EmailChannels: writeOnly{m.EmailChannels != nil},
		CreatedAt: m.CreatedAt.Time(), UpdatedAt: m.UpdatedAt.Time(), State: m.State(), Fault: faultOf(m),
	}
}

func faultOf(m *manage.ManagedAccount) string {
	if m.Broken == nil {
		return ""
	}
	return m.Broken.Error()
}

func (x *exchange) accounts() (answer, error) {
	query := web.ReadQuery(x.gin, accountParameters...)
	limit := query.Number(limitParameter, usualPage, 1, 100)
	q := manage.AccountQuery{
		Accounts: x.who.Grant.Accounts, Search: query.Text(searchParameter),
		State: among(query, stateParameter, manage.AccountStates()), Sort: among(query, sortParameter, manage.AccountSorts()),
		After: query.Text(cursorParameter), Limit: limit + 1,
	}
	if err := query.Err(); err != nil {
		return answer{}, err
	}
	found, err := x.door.Manage.Accounts.Page(x.ctx, q)
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, web.PageOf(x.gin, found, limit, func(m manage.ManagedAccount) accountOutline {
		return accountOutline{m.Address, m.Name, m.State(), faultOf(&m), m.Profile, m.Cipher}
	}, q.Cursor)}, nil
}

// madeAccount is a new account with the secrets that were generated for it, which are shown only once.
type madeAccount struct {
	shownAccount
	MadeUp map[string]string `json:"secrets"` // by member name
}

func (x *exchange) createAccount() (answer, error) {
	var asked struct {
		manage.Imported
		MakeSecrets bool `json:"make_secrets"`
	}
	asked.Account = otp.DefaultAccount("")
	if err := x.read(&asked); err != nil {
		return answer{}, err
	}
	if asked.Address == "" {
		return answer{}, web.Invalid(missing("/esme_address"))
	}
	if err := x.who.MayMake(asked.Address); err != nil {
		return answer{}, err
	}
	given := asked.Imported
	if asked.MakeSecrets {
		asked.Imported.MakeSecrets()
	}
	if err := x.who.ProvedRecently(otp.At(time.Now())); err != nil { // a new account may get keys
		return answer{}, err
	}
	made, err := x.door.Manage.Accounts.Import(x.ctx, x.who.Actor(), []manage.Imported{asked.Imported}, false)
	if err != nil {
		return answer{}, err
	}
	secrets := map[string]string{}
	for name, values := range map[string][2]string{
		"cipher_key": {given.CipherKey, asked.CipherKey}, "cipher_iv": {given.CipherIV, asked.CipherIV},
		"access_key": {given.AccessKey, asked.AccessKey},
	} {
		if values[0] != values[1] {
			secrets[name] = values[1]
		}
	}
	account := x.showAccount(http.StatusCreated, manage.ManagedAccount{Account: made[0].Account})
	return answer{account.status, madeAccount{account.body.(shownAccount), secrets}}, nil
}

func (x *exchange) account() (answer, error) {
	found, err := x.door.Manage.Accounts.Find(x.ctx, x.gin.Param("account"))
	if err != nil {
		return answer{}, err
	}
	return x.showAccount(http.StatusOK, found), nil
}

// changeAccount sets the columns in the body; null is the column's NULL.
func (x *exchange) changeAccount(members map[string]json.RawMessage) (answer, error) {
	changed, err := x.door.Manage.Accounts.Change(x.ctx, manage.Edit{
		Account: x.gin.Param("account"), Columns: slices.Sorted(maps.Keys(members)), By: x.who.Actor(),
		Match: func(version int64) error { return web.IfMatch(x.gin.Request.Header, version) },
		Set: func(n *manage.Imported) error {
			body, err := json.Marshal(members)
			if err != nil {
				return err
			}
			return web.Decode(body, n)
		},
	})
	if err != nil {
		return answer{}, err
	}
	return x.showAccount(http.StatusOK, changed), nil
}

func (x *exchange) deleteAccount(asked struct {
	Confirm string `json:"confirm"`
}) (answer, error) {
	return done, x.door.Manage.Accounts.Delete(x.ctx, x.who.Actor(), x.gin.Param("account"), asked.Confirm)
}
