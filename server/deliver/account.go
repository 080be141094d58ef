package deliver

import (
	"fmt"
	"strings"

	"otpbridge/server/otp"
)

// AccountOptions returns the options for reading the channels that accounts name.
func AccountOptions(medium string, sandbox bool, files Files) Options {
	return Options{Medium: medium, Sandbox: sandbox, Files: files, Account: true}
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
