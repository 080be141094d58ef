package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"otpbridge/config"
	"otpbridge/server/deliver"
	"otpbridge/sql"
)

type sendTestCommand struct {
	To      string `arg:"" help:"A number with its plus and country code, or a mailbox."`
	Channel string `placeholder:"NAME" help:"Only the channel with this name; without it each is tried, in order, until one has sent."`
}

// Help implements kong.HelpProvider.
func (sendTestCommand) Help() string {
	return `Sends one message with the code 000000, which is never accepted, through the channels in
OTPBRIDGE_SMS_CHANNELS or OTPBRIDGE_EMAIL_CHANNELS, and prints the result of each:

    otpbridge send-test +919551492394

It does not use the database or the server. The message is a real one, and your provider charges for it.`
}

// sendTestWait is how long one channel may take. The slowest has 20 seconds by default.
const sendTestWait = time.Minute

// Run sends, and fails unless a channel has sent.
func (s sendTestCommand) Run(p process) error {
	settings, err := config.Load(p.environ)
	if err != nil {
		return err
	}
	message, err := deliver.TestMessage(sql.NewID().Text("test"), s.To, "test", deliver.Template{}, deliver.Values{})
	if err != nil {
		return unusable{fmt.Errorf("the recipient %w", err)}
	}
	message.Content = func() (deliver.Content, error) {
		return deliver.Render(message.Medium == "email", "000000", 5*time.Minute), nil
	}
	out, err := openOutlets(settings, deliver.NewInbox())
	if err != nil {
		return err
	}
	channels := out.sms
	if message.Medium == "email" {
		channels = out.email
	}
	tried := deliver.Try(context.Background(), channels, message, s.Channel, sendTestWait)
	for _, t := range tried {
		fmt.Fprintf(p.stdout, "%s: %s after %v%s%s\n", t.Channel, t.Outcome, t.Took.Round(time.Millisecond),
			detail(", its id is ", t.MessageID), detail(": ", t.Reason))
		switch t.Outcome {
		case deliver.Sent:
			return nil
		case deliver.Unknown:
			return errors.New("the message may have been sent, so no other channel is tried")
		}
	}
	if len(tried) == 0 {
		return unusable{fmt.Errorf("there is no such channel for %s; set %s%s_CHANNELS", message.Medium, config.Prefix,
			map[string]string{"sms": "SMS", "email": "EMAIL"}[message.Medium])}
	}
	return errors.New("no channel has sent it")
}

// detail returns text with words before it; it is empty if text is.
func detail(words, text string) string {
	if text == "" {
		return ""
	}
	return words + text
}
