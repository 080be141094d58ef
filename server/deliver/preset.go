package deliver

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// presetFiles are profiles of gateways with public documentation. The following cites the sources of the facts in each
// of them; a gateway without public documentation has no preset.
//
// Twilio, "Messages resource", https://www.twilio.com/docs/messaging/api/message-resource:
// POST /2010-04-01/Accounts/{AccountSid}/Messages.json with To, From or MessagingServiceSid or
// both, Body and StatusCallback as a form, HTTP Basic authentication, ValidityPeriod as seconds
// in their queue, the message's sid in the answer, and the statuses of a message. Its receipts:
// "Track the Message Status of Outbound Messages",
// https://www.twilio.com/docs/messaging/guides/track-outbound-message-status.
//
// Vonage, "SMS API", https://developer.vonage.com/en/api/sms: POST /sms/json with api_key, api_secret, from, to,
// text, type, callback and client-ref as a form, always status 200, one entry of messages for each part; the
// entry's status: "Troubleshooting SMS", https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms.
// After status 5, an internal error, the outcome is not known. Receipts: "Delivery receipts",
// https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts.
//
// Infobip's client for Java, github.com/infobip/infobip-api-java-client, whose tests (SmsApiTest.java) contain
// POST /sms/2/text/advanced with its answer and its receipts; "API authentication" and "Message status codes",
// https://www.infobip.com/docs/developer-resources/api-fundamentals/message-status-codes. Group DELIVERED includes
// messages that reached the operator if nothing more will be reported.
//
// MSG91, "Send SMS via FLOW", https://control.msg91.com/apidoc/textsms/send-sms-flow.php: POST
// /api/v5/flow/ with the header authkey, and the request's id as message where type is success.
// They keep the text: the flow is the service, its variable VAR1 the code. Receipts: "How to use
// Webhook to get the delivery report on the desired URL?",
// https://msg91.com/help/webhooks/how-can-i-get-the-delivery-reports-on-my-webhook-url,
// versions 2 (JSON in the field data of a form) and 3 (one JSON object).
//
// Textlocal India, "API Introduction", https://api.textlocal.in/docs, which says that status is
// success or failure, and that an error always means failure; "Send SMS", the same /sendsms, and
// "Handling Receipts", https://api.txtlocal.com/docs/handlingreceipts: a form with number, status
// and customID, which is the parameter custom; "Helpful Information", /docs/helpfulinfo, for the
// statuses.
//
// 2Factor, "2Factor API Documentation", https://documenter.getpostman.com/view/301893/TWDamFGh:
// GET /API/V1/{api_key}/SMS/{phone_number}/{otp}/{template_name}, all of it in the URL of the
// channel; Status is Success or Error, and Details the session, as programs that quote the page
// have it. No receipts are known for this call.
//
//go:embed presets
var presetFiles embed.FS

// presets returns the names, sorted.
func presets() []string {
	var names []string
	files, _ := presetFiles.ReadDir("presets") // what is embedded can be read
	for _, file := range files {
		names = append(names, strings.TrimSuffix(file.Name(), ".json"))
	}
	return names
}

func presetNamed(name string) (profile, error) {
	if !slices.Contains(presets(), name) {
		return profile{}, fmt.Errorf("names a preset that does not exist; there are %s", strings.Join(presets(), ", "))
	}
	text, err := presetFiles.ReadFile("presets/" + name + ".json")
	if err != nil {
		return profile{}, err
	}
	return parseProfile(text)
}
