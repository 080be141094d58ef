package deliver

import (
	"fmt"
	"strings"

	"otpbridge/server/otp"
)

// AccountOptions say how the channels that accounts name are read.
func AccountOptions(medium string, sandbox bool, files Files) Options {
	return Options{Medium: medium, Sandbox: sandbox, Files: files, Account: true}
}

// CheckAccount returns why an account could not send: a channel or a template of its own that cannot be read. The
// error names the column. Nothing is opened or sent.
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
