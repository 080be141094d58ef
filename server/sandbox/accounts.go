package sandbox

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// newAccount is what may be asked of a throwaway account: every column, the cipher's key and IV
// in clear, and access keys of the caller's choice.
type newAccount struct {
	otp.Account
	CipherKey  string                `json:"cipher_key"`
	CipherIV   string                `json:"cipher_iv"`
	AccessKeys []engine.NewAccessKey `json:"access_keys"`
}

// createdAccount is every column, and in clear what is sealed or hashed at rest: this answer is
// the only place that tells it.
type createdAccount struct {
	otp.Account
	AccessKey string `json:"access_key"`
	APIKey    string `json:"api_key"`
	CipherKey string `json:"cipher_key"`
	CipherIV  string `json:"cipher_iv"`
}

func (d *door) createAccount(c *gin.Context) error {
	if err := web.ReadQuery(c).Err(); err != nil {
		return err
	}
	asked := newAccount{Account: otp.DefaultAccount("")}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	account, credentials, err := d.Engine.CreateAccount(c.Request.Context(), engine.NewAccount{
		Account: asked.Account, CipherKey: asked.CipherKey, CipherIV: asked.CipherIV, AccessKeys: asked.AccessKeys,
	})
	if err != nil {
		return err
	}
	if account.Departments == nil {
		account.Departments = []string{}
	}
	c.PureJSON(http.StatusCreated, createdAccount{
		Account:   account,
		AccessKey: credentials.AccessKey,
		APIKey:    credentials.APIKey,
		CipherKey: credentials.CipherKey,
		CipherIV:  credentials.CipherIV,
	})
	return nil
}
