package deliver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// presets are profiles of gateways whose documentation is public. A row says where each fact of
// it is written; a gateway whose documentation nobody can read gets none.
var presets = map[string]string{
	// Twilio, "Messages resource", https://www.twilio.com/docs/messaging/api/message-resource:
	// POST /2010-04-01/Accounts/{AccountSid}/Messages.json with To, From and Body as a form, HTTP
	// Basic authentication, ValidityPeriod as seconds in their queue, the message's sid in the
	// answer, and the statuses of a message. Its receipts: "Track the Message Status of Outbound
	// Messages", https://www.twilio.com/docs/messaging/guides/track-outbound-message-status.
	"twilio": `{
		"name": "twilio",
		"form": {"To": "{to}", "From": "{sender}", "Body": "{text}", "ValidityPeriod": "{expires_in}"},
		"id": "sid",
		"statuses": {
			"pending": ["accepted", "scheduled", "queued", "sending", "sent"],
			"delivered": ["delivered", "read"],
			"failed": ["failed", "undelivered", "canceled"]
		},
		"receipt": {"id": "MessageSid", "status": "MessageStatus"}
	}`,
}

func presetNamed(name string) (profile, error) {
	text, ok := presets[name]
	if !ok {
		return profile{}, fmt.Errorf("names a preset that does not exist; there are %s", strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return parseProfile([]byte(text))
}
