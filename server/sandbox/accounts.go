package sandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// newAccount is the body that makes a throwaway account: any columns, the cipher's key and IV in clear, and access
// keys.
type newAccount struct {
	otp.Account
	CipherKey  string                `json:"cipher_key"`
	CipherIV   string                `json:"cipher_iv"`
	AccessKeys []manage.NewAccessKey `json:"access_keys"`
}

// createdAccount is a new account with every column and its secrets in clear. Only this answer has them: they are
// stored sealed or hashed.
type createdAccount struct {
	otp.Account
	AccessKey string `json:"access_key"`
	APIKey    string `json:"api_key"`
	CipherKey string `json:"cipher_key"`
	CipherIV  string `json:"cipher_iv"`
}

func (d *door) createAccount(c *gin.Context) error {
	asked := newAccount{Account: otp.DefaultAccount("")}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	account, credentials, err := d.Manage.Sandbox.CreateAccount(c.Request.Context(), asked.order())
	if err != nil {
		return err
	}
	c.PureJSON(http.StatusCreated, created(account, credentials))
	return nil
}

// order returns the account as manage needs it.
func (n newAccount) order() manage.NewAccount {
	return manage.NewAccount{Account: n.Account, CipherKey: n.CipherKey, CipherIV: n.CipherIV, AccessKeys: n.AccessKeys}
}

func created(account otp.Account, credentials manage.Credentials) createdAccount {
	return createdAccount{
		Account:   withLists(account),
		AccessKey: credentials.AccessKey,
		APIKey:    credentials.APIKey,
		CipherKey: credentials.CipherKey,
		CipherIV:  credentials.CipherIV,
	}
}

// withLists sets empty departments to [], so that the JSON does not have null.
func withLists(account otp.Account) otp.Account {
	if account.Departments == nil {
		account.Departments = []string{}
	}
	return account
}

// accounts lists every account without its secrets.
func (d *door) accounts(c *gin.Context) error {
	listed, err := d.Manage.Sandbox.ListAccounts(c.Request.Context())
	if err != nil {
		return err
	}
	for i := range listed {
		listed[i].Account = withLists(listed[i].Account)
	}
	return answerList(c, listed)
}

// maxSeed is how many accounts one seed may have.
const maxSeed = 100

// seed resets everything and makes accounts in one step.
func (d *door) seed(c *gin.Context, account string, texts []json.RawMessage) error {
	switch {
	case account != "":
		return web.Invalid(web.Fault{Pointer: "/accounts",
			Detail: "must not be given with account: a seed resets everything"})
	case len(texts) > maxSeed:
		return web.Invalid(web.Fault{Pointer: "/accounts", Detail: "must be at most " + strconv.Itoa(maxSeed)})
	}
	orders := make([]manage.NewAccount, 0, len(texts))
	for i, text := range texts {
		asked := newAccount{Account: otp.DefaultAccount("")}
		if err := web.Decode(text, &asked); err != nil {
			return below(seedPointer(i), err)
		}
		orders = append(orders, asked.order())
	}
	accounts, credentials, err := d.Manage.Sandbox.ResetTo(c.Request.Context(), orders)
	if wrong, ok := errors.AsType[*manage.SeedError](err); ok {
		if refusal, ok := errors.AsType[*otp.Error](err); ok && refusal.Kind == otp.Invalid {
			return web.Invalid(web.Fault{Pointer: seedPointer(wrong.Index), Detail: refusal.Message})
		}
	}
	if err != nil {
		return err
	}
	d.forget()
	made := make([]createdAccount, len(accounts))
	for i := range accounts {
		made[i] = created(accounts[i], credentials[i])
	}
	c.PureJSON(http.StatusCreated, list[createdAccount]{Data: made})
	return nil
}

func seedPointer(index int) string { return "/accounts/" + strconv.Itoa(index) }

// below prefixes the pointers of a part's faults with the part's own pointer.
func below(pointer string, err error) error {
	problem, ok := errors.AsType[*web.Problem](err)
	if !ok {
		return err
	}
	faults := slices.Clone(problem.Faults)
	for i := range faults {
		faults[i].Pointer = pointer + faults[i].Pointer
	}
	return web.Invalid(faults...)
}
