package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"otpbridge/server/otp"
)

// Keep sets how accounts' safe lists are sealed and opened. They may hold whole numbers, and the database holds no
// number in clear. Until Keep is called, sealed lists are read as empty. Call it before several goroutines use the
// store.
func (a *Accounts) Keep(seal func(address string, text []byte) []byte,
	open func(address string, sealed []byte) ([]byte, error)) {
	a.seal, a.open = seal, open
}

// SealSafeLists seals the safe lists that are stored in clear, as SQL and earlier versions write them. A list that
// would not fit its column when sealed stays in clear until it is shortened.
func (a *Accounts) SealSafeLists(ctx context.Context) error {
	var clear []struct {
		Address string `db:"esme_address"`
		Text    string `db:"safe_list"`
	}
	if err := a.store.reads.SelectContext(ctx, &clear,
		`SELECT esme_address, safe_list FROM otp_auth_config WHERE safe_list LIKE '[%' AND LENGTH(safe_list) <= ?`,
		otp.MaxSafeList); err != nil {
		return fmt.Errorf("look for safe lists in clear: %w", err)
	}
	if len(clear) == 0 {
		return nil
	}
	return a.store.write(ctx, func(w *session) error {
		for _, row := range clear {
			sealed := base64.StdEncoding.EncodeToString(a.seal(row.Address, []byte(row.Text)))
			if err := w.exec(ctx, `UPDATE otp_auth_config SET safe_list = ? WHERE esme_address = ? AND safe_list = ?`,
				sealed, row.Address, row.Text); err != nil {
				return fmt.Errorf("seal a safe list: %w", err)
			}
		}
		return nil
	})
}

// safeList reads a sealed value into SealedSafeList, and a value in clear like any list.
func safeList() accountColumn {
	clear := document("safe_list", func(a *otp.Account) *[]string { return &a.SafeList })
	code := sealed("safe_list", func(a *otp.Account) *[]byte { return &a.SealedSafeList })
	return accountColumn{"safe_list",
		func(a *otp.Account, v sql.NullString) error {
			if text := strings.TrimSpace(v.String); text == "" || text[0] == '[' {
				return clear.read(a, v)
			}
			return code.read(a, v)
		},
		func(a *otp.Account) driver.Value {
			if a.SealedSafeList != nil {
				return code.write(a)
			}
			return clear.write(a)
		},
	}
}

func (a *Accounts) openSafeList(account *otp.Account) error {
	if account.SealedSafeList == nil || a.seal == nil {
		return nil
	}
	text, err := a.open(account.Address, account.SealedSafeList)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &account.SafeList); err != nil {
		return fmt.Errorf("safe_list: does not hold what it should: %w", err)
	}
	return nil
}

// sealSafeList seals the list to write.
func (a *Accounts) sealSafeList(account *otp.Account) {
	account.SealedSafeList = nil
	if len(account.SafeList) == 0 || a.seal == nil {
		return
	}
	text, err := json.Marshal(account.SafeList)
	if err != nil {
		panic(err) // texts always have JSON
	}
	account.SealedSafeList = a.seal(account.Address, text)
}
