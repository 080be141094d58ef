package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/sql/sqltest/migrated"
)

// contents is a channel that stores what it was given to send.
type contents struct {
	*provider
	seen *[]deliver.Content
}

func (c contents) Send(ctx context.Context, m deliver.Message) deliver.Result {
	content, err := m.Content()
	if err == nil {
		*c.seen = append(*c.seen, content)
	}
	return c.provider.Send(ctx, m)
}

func TestAccount_ABadListOfChannelsOrTemplateBreaksItByTheColumnsName(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		for column, text := range map[string]string{
			"sms_channels": "https://user:swordfish@sms.example/", "email_channels": "inbox:,ftp://x", "sms_template": "no " +
				"code", "templates": `{"a/b/c/d":"{code}"}`,
		} {
			h := open(t, at)
			made, credentials, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: otp.DefaultAccount("")})
			require.NoError(t, err)
			bySQL(t, h, `UPDATE otp_auth_config SET `+column+` = ? WHERE esme_address = ?`, text, made.Address)
			_, err = h.Authenticate(background, otp.ServletDoor, credentials.AccessKey, peer)
			require.Equal(t, otp.BrokenAccount, otp.KindOf(err), column)
			require.ErrorContains(t, err.(*otp.Error).Err, column)
			require.NotContains(t, err.(*otp.Error).Err.Error(), "swordfish")
		}
	})
}

func TestCreateAccount_LeadsItsChannelsToThisMachineAlone(t *testing.T) {
	h := open(t, place(migrated.SQLite(t)))
	for urls, good := range map[string]bool{
		"inbox:": true, "http://127.0.0.1:1/?to={to}&text={text}": true,
		"http://localhost:1/?to={to}&text={text}#name=a,inbox:": true,
		"http://169.254.169.254/?to={to}&text={text}":           false,
		"inbox:,https://sms.example/?to={to}&text={text}":       false,
	} {
		account := otp.DefaultAccount("")
		account.SMSChannels = &urls
		_, _, err := h.Sandbox.CreateAccount(background, manage.NewAccount{Account: account})
		require.Equal(t, good, err == nil, "%s: %v", urls, err)
	}
}

func TestContent_IsWordedByTheAccountsTemplates(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		var seen []deliver.Content
		h := through(t, at, nil, contents{&provider{name: "next"}, &seen})
		template, name := "{code} from {department} of {account}", "4711"
		caller := throwaway(t, h, func(a *otp.Account) {
			a.Name, a.SMSTemplate, a.DLTEntityID = "Shop", &template, &name
			a.Templates = map[string]string{"retail:default/sms": "Retail says {code}"}
		})
		to := target(t, h, caller, "919551492394", "x")
		to.Department = "other"
		_, err := h.Generate(background, caller, to)
		require.NoError(t, err)
		to.Department = "retail"
		_, err = h.Resend(background, caller, to)
		require.NoError(t, err)
		require.Equal(t, seen[0].Code+" from other of Shop", seen[0].Text)
		require.Equal(t, "Retail says "+seen[0].Code, seen[1].Text)
		require.Equal(t, "4711", seen[0].DLTEntityID)
	})
}

// Hand-overs in progress may end, and deliveries that wait for another try are left to others at once.
func TestClose_LetsHandOversEndAndLeavesTheRest(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		taken := &provider{name: "taken"}
		slowly := &provider{name: "slowly", send: func(ctx context.Context, m deliver.Message) deliver.Result {
			time.Sleep(300 * time.Millisecond)
			return taken.Send(ctx, m)
		}}
		h := through(t, at, func(o *engine.Options) { o.DeliveryWait = 0 }, slowly)
		caller := throwaway(t, h, nil)
		_, err := h.Generate(background, caller, target(t, h, caller, "919551492394", "x"))
		require.NoError(t, err)
		h.Close()
		require.Equal(t, 1, taken.called())
		require.Equal(t, 1, outcomes(t, h, otp.OutcomeSent))

		unreached := down("unreached")
		h = through(t, at, nil, unreached)
		caller = throwaway(t, h, nil)
		caller.Door = otp.V1Door
		_, err = h.Send(background, caller, engine.Send{Target: target(t, h, caller, "919551492395", "x"), Method: "sms"})
		require.NoError(t, err)
		require.Eventually(t, func() bool { return unreached.called() > 0 }, 10*time.Second, time.Millisecond)
		h.Close()
		heir := through(t, at, nil, taken)
		_, err = heir.TakeOver(background)
		require.NoError(t, err)
		settled(t, heir)
		require.Equal(t, 2, taken.called())
	})
}
