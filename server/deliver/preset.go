package deliver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// presets are profiles of gateways with public documentation. Each row cites the sources of its facts; a gateway
// without public documentation has no preset.
var presets = map[string]string{
	// Twilio, "Messages resource", https://www.twilio.com/docs/messaging/api/message-resource:
	// POST /2010-04-01/Accounts/{AccountSid}/Messages.json with To, From or MessagingServiceSid or
	// both, Body and StatusCallback as a form, HTTP Basic authentication, ValidityPeriod as seconds
	// in their queue, the message's sid in the answer, and the statuses of a message. Its receipts:
	// "Track the Message Status of Outbound Messages",
	// https://www.twilio.com/docs/messaging/guides/track-outbound-message-status.
	"twilio": `{
		"name": "twilio",
		"form": {
			"To": "{to}", "From": "{sender}", "MessagingServiceSid": "{service}", "Body": "{text}",
			"ValidityPeriod": "{expires_in}", "StatusCallback": "{callback_url}"
		},
		"id": "sid",
		"statuses": {
			"pending": ["accepted", "scheduled", "queued", "sending", "sent"],
			"delivered": ["delivered", "read"],
			"failed": ["failed", "undelivered", "canceled"]
		},
		"receipt": {"id": "MessageSid", "status": "MessageStatus", "error": "ErrorCode"}
	}`,

	// Vonage, "SMS API", https://developer.vonage.com/en/api/sms: POST /sms/json with api_key, api_secret, from, to,
	// text, type, callback and client-ref as a form, always status 200, one entry of messages for each part; the
	// entry's status: "Troubleshooting SMS", https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms.
	// After status 5, an internal error, the outcome is not known. Receipts: "Delivery receipts",
	// https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts.
	"vonage": `{
		"name": "vonage",
		"form": {
			"api_key": "{user}", "api_secret": "{password}", "from": "{sender}", "to": "{to_digits}", "text": "{text}",
			"type": "{encoding}", "client-ref": "{send_id}", "callback": "{callback_url}"
		},
		"encodings": {"gsm": "text", "unicode": "unicode"},
		"sent": {"status": "200", "field": "messages.0.status", "values": ["0"]},
		"refused": [
			{"status": "400-407,410,411,413-415,422"},
			{"status": "429", "retry": true},
			{"status": "200", "field": "messages.0.status", "values": ["1", "10"], "retry": true},
			{"status": "200", "field": "messages.0.status", "values": ["2", "3", "4", "6", "7", "8", "9", "11", "12", "14", "15"]}
		],
		"id": "messages.0.message-id",
		"statuses": {
			"pending": ["accepted", "buffered"], "delivered": ["delivered"], "failed": ["failed", "rejected"],
			"expired": ["expired"], "unknown": ["unknown"]
		},
		"receipt": {"id": "messageId", "status": "status", "error": "err-code"}
	}`,

	// Infobip's client for Java, github.com/infobip/infobip-api-java-client, whose tests (SmsApiTest.java) contain
	// POST /sms/2/text/advanced with its answer and its receipts; "API authentication" and "Message status codes",
	// https://www.infobip.com/docs/developer-resources/api-fundamentals/message-status-codes. Group DELIVERED includes
	// messages that reached the operator if nothing more will be reported.
	"infobip": `{
		"name": "infobip",
		"headers": {"Authorization": "App {password}", "Accept": "application/json"},
		"json": {"messages": [{
			"from": "{sender}", "text": "{text}",
			"destinations": [{"to": "{to_digits}", "messageId": "{send_id}"}],
			"notifyUrl": "{callback_url}", "notifyContentType": "application/json",
			"regional": {"indiaDlt": {"principalEntityId": "{dlt_entity_id}", "contentTemplateId": "{dlt_template_id}"}}
		}]},
		"sent": {"status": "200-299", "field": "messages.0.status.groupName", "values": ["PENDING", "DELIVERED"]},
		"refused": [
			{"status": "400-407,410,411,413-415,422"},
			{"status": "429", "retry": true},
			{"status": "200-299", "field": "messages.0.status.groupName", "values": ["UNDELIVERABLE", "EXPIRED", "REJECTED"]}
		],
		"id": "messages.0.messageId",
		"statuses": {"pending": ["PENDING"], "delivered": ["DELIVERED"], "failed": ["UNDELIVERABLE", "REJECTED"], "expired": ["EXPIRED"]},
		"receipt": {"list": "results", "id": "messageId", "status": "status.groupName", "error": "error.name"}
	}`,

	// MSG91, "Send SMS via FLOW", https://control.msg91.com/apidoc/textsms/send-sms-flow.php: POST
	// /api/v5/flow/ with the header authkey, and the request's id as message where type is success.
	// They keep the text: the flow is the service, its variable VAR1 the code. Receipts: "How to use
	// Webhook to get the delivery report on the desired URL?",
	// https://msg91.com/help/webhooks/how-can-i-get-the-delivery-reports-on-my-webhook-url,
	// versions 2 (JSON in the field data of a form) and 3 (one JSON object).
	"msg91": `{
		"name": "msg91",
		"headers": {"authkey": "{password}"},
		"json": {"flow_id": "{service}", "sender": "{sender}", "recipients": [{"mobiles": "{to_digits}", "VAR1": "{code}"}]},
		"sent": {"status": "200-299", "field": "type", "values": ["success"]},
		"refused": [
			{"status": "400-407,410,411,413-415,422"},
			{"status": "429", "retry": true},
			{"status": "200-299", "field": "type", "values": ["error"]}
		],
		"id": "message",
		"statuses": {"delivered": ["1"], "failed": ["2", "9", "16", "17", "25"]},
		"receipt": {"list": "data.report", "id": "requestId", "status": "status", "error": "failedReason"}
	}`,

	// Textlocal India, "API Introduction", https://api.textlocal.in/docs, which says that status is
	// success or failure, and that an error always means failure; "Send SMS", the same /sendsms, and
	// "Handling Receipts", https://api.txtlocal.com/docs/handlingreceipts: a form with number, status
	// and customID, which is the parameter custom; "Helpful Information", /docs/helpfulinfo, for the
	// statuses.
	"textlocal": `{
		"name": "textlocal",
		"form": {
			"apikey": "{password}", "numbers": "{to_digits}", "sender": "{sender}", "message": "{text}",
			"custom": "{send_id}", "receipt_url": "{callback_url}"
		},
		"sent": {"status": "200-299", "field": "status", "values": ["success"]},
		"refused": [
			{"status": "400-407,410,411,413-415,422"},
			{"status": "429", "retry": true},
			{"status": "200-299", "field": "status", "values": ["failure"]}
		],
		"statuses": {"pending": ["P"], "delivered": ["D"], "failed": ["U", "I"], "expired": ["E"], "unknown": ["?"]},
		"receipt": {"reference": "customID", "status": "status"}
	}`,

	// 2Factor, "2Factor API Documentation", https://documenter.getpostman.com/view/301893/TWDamFGh:
	// GET /API/V1/{api_key}/SMS/{phone_number}/{otp}/{template_name}, all of it in the URL of the
	// channel; Status is Success or Error, and Details the session, as programs that quote the page
	// have it. No receipts are known for this call.
	"2factor": `{
		"name": "2factor",
		"sent": {"status": "200-299", "field": "Status", "values": ["Success"]},
		"refused": [
			{"status": "400-407,410,411,413-415,422"},
			{"status": "429", "retry": true},
			{"status": "200-299", "field": "Status", "values": ["Error"]}
		],
		"id": "Details"
	}`,
}

func presetNamed(name string) (profile, error) {
	text, ok := presets[name]
	if !ok {
		return profile{}, fmt.Errorf("names a preset that does not exist; there are %s",
			strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return parseProfile([]byte(text))
}
