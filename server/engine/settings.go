package engine

import (
	"fmt"
	"strings"
	"sync"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
)

// channelsOf is the account's own list for a medium, nil where the server's applies.
func (a *account) channelsOf(medium otp.Channels) []deliver.Channel {
	switch {
	case a == nil:
		return nil
	case medium == otp.Email:
		return a.email
	}
	return a.sms
}

// has tells whether the account has a template of this name.
func (a *account) has(template string) bool { return a != nil && a.catalog.Has(template) }

// furnish makes from the account's row what sending needs: its channels and its templates. The
// error names the column.
func (e *Engine) furnish(a *account) (err error) {
	if a.sms, err = e.lists.open(e, "sms_channels", "sms", a.row.SMSChannels); err != nil {
		return err
	}
	if a.email, err = e.lists.open(e, "email_channels", "email", a.row.EmailChannels); err != nil {
		return err
	}
	if a.issuers, err = e.readIssuers(a.row.JWTIssuers); err != nil {
		return err
	}
	a.catalog, err = deliver.NewCatalog(a.row.Templates, a.row.SMSTemplate, a.row.EmailTemplate)
	return err
}

// channelLists are the lists of channels that accounts name, by their text. Accounts are loaded
// every few seconds, and what a list has learnt about its providers must outlive that.
type channelLists struct {
	mu    sync.Mutex
	lists map[[2]string][]deliver.Channel
}

// maxLists bounds the lists, so that editing columns cannot fill the memory.
const maxLists = 1000

func (l *channelLists) open(e *Engine, column, medium string, urls *string) ([]deliver.Channel, error) {
	if urls == nil || strings.TrimSpace(*urls) == "" {
		return nil, nil
	}
	key := [2]string{medium, *urls}
	l.mu.Lock()
	defer l.mu.Unlock()
	if channels, known := l.lists[key]; known {
		return channels, nil
	}
	channels, err := deliver.Parse(*urls, e.parsing(medium))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", column, err)
	}
	channels = e.options.TestRecipients.Before(channels)
	if len(l.lists) >= maxLists {
		clear(l.lists)
	}
	l.lists[key] = channels
	return channels, nil
}

// parsing says how URLs of channels are read here.
func (e *Engine) parsing(medium string) deliver.Options {
	o := deliver.Options{Medium: medium, Sandbox: e.options.Sandbox, Files: e.options.Files, Account: true}
	switch {
	case e.options.Inbox != nil:
		o.Inbox = deliver.Faulty{Channel: e.options.Inbox, Faults: e.options.Faults}
	case o.Sandbox: // a command line, which only looks whether the list can be read
		o.Inbox = deliver.NewInbox()
	}
	return o
}

// refuseSettings returns what is wrong with the columns that are written of an account, all without
// any, and what would keep it from sending.
func (e *Engine) refuseSettings(row *otp.Account, columns ...string) error {
	if err := row.Fits(columns...); err != nil {
		return otp.Refuse(otp.Invalid, err.Error())
	}
	if err := e.furnish(&account{row: *row}); err != nil {
		return otp.Refuse(otp.Invalid, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// refuseStrangers keeps the channels of accounts that anybody who reaches a sandbox can ask for to
// this machine: else anybody could have the server make requests to wherever only the server gets.
func refuseStrangers(row *otp.Account) error {
	for column, urls := range map[string]*string{"sms_channels": row.SMSChannels, "email_channels": row.EmailChannels} {
		if urls != nil && !deliver.Local(*urls) {
			return otp.Refuse(otp.Invalid, column+": of an account that is made here must lead to loopback or be inbox: or discard:; set others on the command line or for the whole server")
		}
	}
	return nil
}
