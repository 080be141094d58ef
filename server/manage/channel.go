package manage

import (
	"context"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Messages previews an account's messages, shows its channels, and sends test messages.
type Messages struct{ *core }

// Wording selects the text of a preview: a given text, or the account's template for a message.
type Wording struct {
	Account string
	Medium  string // sms or email
	Text    string // a template; empty for the account's

	Template, Type, Department, Locale string // as in deliver.Choice
}

// sampleCode is the code in previews, cut to the account's number of digits.
const sampleCode = "1234567890"

// Preview renders a message with a sample code. Refusals: NotFound; Invalid, which names the field.
func (c Messages) Preview(ctx context.Context, w Wording) (deliver.Preview, error) {
	account, err := c.account(ctx, w.Account)
	if err != nil {
		return deliver.Preview{}, err
	}
	if w.Medium != "sms" && w.Medium != "email" {
		return deliver.Preview{}, otp.RefuseField("medium", "must be sms or email")
	}
	choice := deliver.Choice{Medium: w.Medium, Name: w.Template, Type: w.Type, Department: w.Department, Locale: w.Locale}
	template, err := templateOf(&account.Account, choice)
	if err != nil {
		return deliver.Preview{}, err
	}
	if w.Text != "" {
		if template, err = deliver.ParseTemplate(w.Medium, w.Text); err != nil {
			return deliver.Preview{}, otp.RefuseField("text", "cannot be used: "+err.Error())
		}
	}
	return template.Preview(w.Medium, valuesOf(&account.Account, sampleCode[:account.Length], choice)), nil
}

func templateOf(account *otp.Account, choice deliver.Choice) (deliver.Template, error) {
	catalog, err := deliver.NewCatalog(account.Templates, account.SMSTemplate, account.EmailTemplate)
	if err != nil {
		return deliver.Template{}, refuseColumn(err)
	}
	if choice.Name != "" && !catalog.Has(choice.Name) {
		return deliver.Template{}, otp.RefuseField("template", "names none of the account's templates")
	}
	return catalog.Choose(choice), nil
}

func valuesOf(account *otp.Account, code string, choice deliver.Choice) deliver.Values {
	return deliver.Values{Code: code, Lifetime: time.Duration(account.TTLSeconds) * time.Second, Account: account.Name,
		Department: choice.Department, Type: choice.Type,
		DLTEntityID: otp.ValueOr(account.DLTEntityID, ""), DLTTemplateID: otp.ValueOr(account.DLTTemplateID, "")}
}

// Channels are the channels for one medium.
type Channels struct {
	Own   bool     // the account's own, else the server's
	Names []string // in order of preference; names contain no secrets
}

// Channels returns an account's channels for SMS and e-mail. Refusals: NotFound; Invalid for a column that cannot be
// used.
func (c Messages) Channels(ctx context.Context, address string) (sms, email Channels, err error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return sms, email, err
	}
	for medium, into := range map[string]*Channels{"sms": &sms, "email": &email} {
		found, own, err := c.channels(&account.Account, medium)
		if err != nil {
			return sms, email, err
		}
		into.Own, into.Names = own, []string{}
		for _, channel := range found {
			into.Names = append(into.Names, channel.Name())
		}
	}
	return sms, email, nil
}

func (c *core) channels(account *otp.Account, medium string) (found []deliver.Channel, own bool, err error) {
	urls, column, found := account.SMSChannels, "sms_channels", c.sms
	if medium == "email" {
		urls, column, found = account.EmailChannels, "email_channels", c.email
	}
	if urls == nil || strings.TrimSpace(*urls) == "" {
		return found, false, nil
	}
	options := deliver.AccountOptions(medium, c.sandbox, c.files)
	if c.sandbox {
		options.Inbox = deliver.NewInbox()
	}
	if found, err = deliver.Parse(*urls, options); err != nil {
		err = otp.RefuseField(column, "cannot be used: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return found, true, err
}

// trialWait is how long one channel may take, so that the call is answered in time.
const trialWait = 8 * time.Second

// SendTest sends one real message, with a code that is never accepted, through the account's channels or only the
// named one. It returns the result of each channel that was tried. It records the test first. Refusals: NotFound;
// Invalid, which names the field.
func (c Messages) SendTest(ctx context.Context, by otp.Actor, address, to, channel string) ([]deliver.Trial, error) {
	account, err := c.account(ctx, address)
	if err != nil {
		return nil, err
	}
	choice := deliver.Choice{Medium: "email", Type: otp.DefaultType}
	from := account.EmailSender
	if !strings.Contains(to, "@") {
		choice.Medium, from = "sms", account.SMSSender
		if to, err = deliver.NormalNumber(to, account.Countries); err != nil {
			return nil, otp.RefuseField("to", "must be a mailbox, or a number of a country of the account")
		}
	}
	template, err := templateOf(&account.Account, choice)
	if err != nil {
		return nil, err
	}
	message, err := deliver.TestMessage(sql.NewID().Text("test"), to, address, template,
		valuesOf(&account.Account, strings.Repeat("0", account.Length), choice))
	if err != nil {
		return nil, otp.RefuseField("to", err.Error())
	}
	message.From = otp.ValueOr(from, message.From)
	channels, _, err := c.channels(&account.Account, choice.Medium)
	if err != nil {
		return nil, err
	}
	err = c.store.Change(ctx, func(tx *sql.Tx) error {
		return record(tx, otp.TestMessageSent, by, address, otp.At(time.Now()), "recipient", deliver.Mask(message.To))
	})
	if err != nil {
		return nil, err
	}
	tried := deliver.Try(ctx, channels, message, channel, trialWait)
	if len(tried) == 0 {
		return nil, otp.RefuseField("channel",
			"names no channel for "+choice.Medium+"; see GET /api/accounts/{account}/channels")
	}
	return tried, nil
}
