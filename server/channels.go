package main

import (
	"errors"
	"fmt"
	"strings"

	"otpbridge/config"
	"otpbridge/server/deliver"
)

// channels opens the server's own channels for SMS and e-mail. The error names the setting, and
// nothing of its value that could be secret. Inbox and faults are nil in production.
func channels(settings config.Settings, inbox *deliver.Inbox, faults *deliver.Faults) (sms, email []deliver.Channel, err error) {
	open := func(name, medium string, urls config.Secret) ([]deliver.Channel, error) {
		if strings.TrimSpace(urls.Reveal()) == "" {
			return nil, nil
		}
		options := deliver.Options{Medium: medium, Sandbox: settings.Sandbox()}
		if inbox != nil {
			options.Inbox = deliver.Faulty{Channel: inbox, Faults: faults}
		}
		list, err := deliver.Parse(urls.Reveal(), options)
		if err != nil {
			return nil, unusable{fmt.Errorf("%s%s: %w", config.Prefix, name, err)}
		}
		return list, nil
	}
	sms, smsErr := open("SMS_CHANNELS", "sms", settings.SMSChannels)
	email, emailErr := open("EMAIL_CHANNELS", "email", settings.EmailChannels)
	return sms, email, errors.Join(smsErr, emailErr)
}
