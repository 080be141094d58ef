package engine_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
)

// A safe list may hold whole numbers, and the database holds no number in clear, however the list was written.
func TestSafeList_IsSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		h := open(t, at)
		lists := map[string][]string{
			"a number": {"+919551492394"}, "a beginning": {"+9195514"}, "one digit": {"+9"}, "several": {"+9195", "+4479"},
			"the longest": {"+123456789012345"}, "twice": {"+9195", "+9195"}, "many": manyNumbers(3000), "none": nil,
			"empty": {}, "short and long": {"+1", "+15551234567"},
		}
		stored := func(address string) (text string) {
			require.NoError(t, byHand(t, at).QueryRow(`SELECT COALESCE(safe_list, '') FROM otp_auth_config
				WHERE esme_address = ?`, address).Scan(&text))
			return text
		}
		read := func(h house, address string) []string {
			account, err := h.Accounts.Find(t.Context(), address)
			require.NoError(t, err)
			require.NoError(t, account.Broken)
			return account.SafeList
		}
		for name, list := range lists {
			caller := throwaway(t, h, func(a *otp.Account) { a.SafeList = list })
			address := caller.Account.Address
			require.Equal(t, len(list), len(read(h, address)), name)
			require.NotContains(t, stored(address), `"+`, name)
			_, err := h.Accounts.Change(t.Context(), manage.Edit{Account: address, Columns: []string{"safe_list"},
				Set: func(n *manage.Imported) error { n.SafeList = []string{"+919552"}; return nil }})
			require.NoError(t, err, name)
			require.Equal(t, []string{"+919552"}, read(h, address), name)
			require.NotContains(t, stored(address), "919552", name)
		}

		caller := throwaway(t, h, nil) // its list is written with SQL, or by an earlier version
		bySQL(t, h, `UPDATE otp_auth_config SET safe_list = '["+919553"]' WHERE esme_address = ?`, caller.Account.Address)
		require.Equal(t, []string{"+919553"}, read(h, caller.Account.Address))
		again := open(t, at)
		require.Equal(t, []string{"+919553"}, read(again, caller.Account.Address))
		require.NotContains(t, stored(caller.Account.Address), "919553", "it is sealed at the next start")
	})
}

func manyNumbers(n int) (all []string) {
	for i := range n {
		all = append(all, "+91955"+strings.Repeat("1", i%8))
	}
	return all
}
