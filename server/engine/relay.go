package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Relayed is the result of relaying an inbox message to a real recipient.
type Relayed struct {
	Channel   string `json:"channel"`
	Outcome   string `json:"outcome"` // sent or unknown
	MessageID string `json:"message_id,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// relayTime bounds a relay through all channels.
const relayTime = 20 * time.Second

// Relay sends one message of the inbox, unchanged, to a recipient that the settings allow, through the server's
// channels of its medium that leave this process. It changes no challenge, limit or history; only the answer reports
// the outcome.
//
// Refusals: NotFound; Invalid, field to, for a recipient that is not allowed or not of the message's medium;
// FeatureOff if there is no channel that leaves this process; Undelivered.
func (i *Inbox) Relay(ctx context.Context, id, to string) (Relayed, error) {
	if !i.engine.options.RelayRecipients.Allow(to) {
		return Relayed{}, otp.RefuseField("to", "must be one of OTPBRIDGE_SANDBOX_RELAY_RECIPIENTS; nothing was sent")
	}
	to = deliver.Identity(to)
	found, err := i.Find(ctx, id)
	if err != nil {
		return Relayed{}, err
	}
	all, setting := i.engine.options.SMS, "OTPBRIDGE_SMS_CHANNELS"
	if found.Channel == otp.Email.String() {
		all, setting = i.engine.options.Email, "OTPBRIDGE_EMAIL_CHANNELS"
	}
	if strings.Contains(to, "@") != (found.Channel == otp.Email.String()) {
		return Relayed{}, otp.RefuseField("to",
			"must be a number for an SMS and a mailbox for an e-mail; this message is "+found.Channel)
	}
	channels := slices.DeleteFunc(slices.Clone(all), deliver.Simulated)
	if len(channels) == 0 {
		return Relayed{}, otp.Refuse(otp.FeatureOff,
			"no channel for "+found.Channel+" leads out of this sandbox; name one behind the inbox, as "+
				"in "+setting+"=inbox:,https://…")
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	own := sql.NewID().Text("relay")
	message := deliver.Message{
		// Not the challenge's id: receipts are not about it, and a provider may drop an id that it knows.
		ID: own, SendID: own, Number: 1, Account: found.Account, Medium: found.Channel, To: to,
		ExpiresAt: time.Now().Add(time.Minute),
		Content:   func() (deliver.Content, error) { return found.content, nil },
	}
	reasons := []string{}
	for _, channel := range channels {
		result := i.engine.sendOn(ctx, channel, message)
		if result.Outcome != deliver.NotSent {
			return Relayed{Channel: channel.Name(), Outcome: result.Outcome.String(), MessageID: result.MessageID,
				Reason: result.Reason}, nil
		}
		i.engine.notHandedOver(ctx, channel, message, result)
		reasons = append(reasons, channel.Name()+": "+result.Reason)
	}
	return Relayed{}, otp.Refuse(otp.Undelivered, "no channel took the message; "+strings.Join(reasons, "; "))
}

// Find returns one message of the inbox by its id. Refusal: NotFound.
func (i *Inbox) Find(ctx context.Context, id string) (Message, error) {
	event, _, _ := strings.Cut(id, "-")
	if only, ok := otp.ParseID("msg", event); ok {
		sends, err := i.engine.store.Sandbox.Sends(ctx, sql.SendQuery{Only: only, From: sql.OldestSend(otp.At(time.Now())),
			Limit: 1})
		if err != nil {
			return Message{}, err
		}
		for _, send := range sends {
			shown, err := i.render(ctx, &send)
			if err != nil {
				return Message{}, err
			}
			if i := slices.IndexFunc(shown, func(m Message) bool { return m.ID == id }); i >= 0 {
				return shown[i], nil
			}
		}
	}
	return Message{}, otp.Refuse(otp.NotFound, "no message in the inbox has this id")
}
