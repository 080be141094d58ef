package deliver

import (
	"fmt"
	"net/url"
	"strings"

	"otpbridge/server/otp"
)

// AccountOptions returns the options for reading the channels that accounts name.
func AccountOptions(medium string, sandbox bool, files Files) Options {
	return Options{Medium: medium, Sandbox: sandbox, Files: files, Account: true}
}

// Hidden stands where a secret would be shown.
const Hidden = "[redacted]"

// ShownChannels is what may be shown of a list of channels: where each leads. Users, passwords, paths and queries are
// each where some gateway has its secret. Nothing is shown of a list that cannot be read.
func ShownChannels(urls string) string {
	var shown []string
	for text := range strings.SplitSeq(urls, ",") {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		switch {
		case text == "inbox:", text == "discard:", text == urls && text == "":
			shown = append(shown, text)
		case err != nil, u.Host == "", strayAt(text), kindOf(text, "sms") < 0 && kindOf(text, "email") < 0:
			return Hidden
		default:
			shown = append(shown, u.Scheme+"://"+u.Host+" "+Hidden)
		}
	}
	return strings.Join(shown, ", ")
}

// CheckAccount returns an error if the account could not send, because one of its own channels or templates cannot be
// read. The error names the column. Nothing is opened or sent.
func CheckAccount(row *otp.Account, sandbox bool, files Files) error {
	for _, column := range []struct {
		name, medium string
		urls         *string
	}{{"sms_channels", "sms", row.SMSChannels}, {"email_channels", "email", row.EmailChannels}} {
		if column.urls == nil || strings.TrimSpace(*column.urls) == "" {
			continue
		}
		options := AccountOptions(column.medium, sandbox, files)
		if sandbox {
			options.Inbox = NewInbox()
		}
		if _, err := Parse(*column.urls, options); err != nil {
			return fmt.Errorf("%s: %w", column.name, err)
		}
	}
	_, err := NewCatalog(row.Templates, row.SMSTemplate, row.EmailTemplate)
	return err
}
