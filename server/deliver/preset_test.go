package deliver

import (
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented is what a gateway's documentation says, in its own bytes except for white space.
type documented struct {
	preset, path, options string // of the channel; the key is user and password
	template              bool   // the text is registered
	method, seen          string // the request that follows: its path with the query
	body                  string // a form sorted by names, or JSON
	headers               map[string]string
	answers               []documentedAnswer
	reports               []documentedReport
}

type documentedAnswer struct {
	status  int
	body    string
	outcome Outcome
	id      string
}

type documentedReport struct {
	query, kind, body string
	told              []string
}

const documentedKeys = "&callback=" + callbackSecret + "&callback_url=https://otp.example"

func documents() []documented {
	return []documented{
		{
			preset: "twilio", path: "/2010-04-01/Accounts/AC1/Messages.json", options: "&sender=%2B15005550006" + documentedKeys,
			method: "POST", seen: "/2010-04-01/Accounts/AC1/Messages.json",
			headers: map[string]string{"Authorization": "Basic dXNlcjprZXk="},
			body: "Body=493817&From=%2B15005550006&StatusCallback=https%3A%2F%2Fotp.example%2Fcallbacks%2Ftwilio" +
				"%3Fsecret%3D0123456789abcdef&To=%2B919876543210&ValidityPeriod=300",
			answers: []documentedAnswer{
				{201, `{"account_sid":"AC1","body":"Hi there","error_code":null,"sid":"SM1f0e8ae6ade43cb3c0ce4525424e404f","status":"queued"}`, Sent, "SM1f0e8ae6ade43cb3c0ce4525424e404f"},
				{400, `{"code":21211,"message":"The 'To' number 5551234567 is not a valid phone number.","more_info":"https://www.twilio.com/docs/errors/21211","status":400}`, NotSent, ""},
			},
			reports: []documentedReport{
				{kind: formType,
					body: "SmsSid=SM1&SmsStatus=sent&MessageStatus=sent&To=%2B1512&MessageSid=SM1&AccountSid=AC1" +
						"&From=%2B1512&ApiVersion=2010-04-01",
					told: []string{"pending SM1"}},
				{kind: formType, body: "MessageSid=SM1&MessageStatus=delivered", told: []string{"delivered SM1"}},
				{kind: formType, body: "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003",
					told: []string{"failed SM1 30003"}},
			},
		},
		{
			preset: "twilio", path: "/Messages.json", options: "&service=MG9752274e9e519418a7406176694466fa",
			method: "POST", seen: "/Messages.json", headers: map[string]string{"Authorization": "Basic dXNlcjprZXk="},
			body: "Body=493817&MessagingServiceSid=MG9752274e9e519418a7406176694466fa&To=%2B919876543210&ValidityPeriod=300",
		},
		{
			preset: "vonage", path: "/sms/json", options: "&sender=AcmeInc" + documentedKeys, method: "POST", seen: "/sms/json",
			body: "api_key=user&api_secret=key&callback=https%3A%2F%2Fotp.example%2Fcallbacks%2Fvonage%3Fsecret" +
				"%3D0123456789abcdef&client-ref=send_1&from=AcmeInc&text=493817&to=919876543210&type=text",
			answers: []documentedAnswer{
				{200, `{"message-count":"1","messages":[{"to":"447700900000","message-id":"0C000000217B7F02","status":"0","remaining-balance":"15.53590000","message-price":"0.03330000","network":"23410"}]}`, Sent, "0C000000217B7F02"},
				{200, `{"message-count":"1","messages":[{"status":"2","error-text":"Missing to param"}]}`, NotSent, ""},
				{200, `{"message-count":"1","messages":[{"status":"5","error-text":"Internal error"}]}`, Unknown, ""},
			},
			reports: []documentedReport{
				{kind: "application/json",
					body: `{"err-code":"0","message-timestamp":"2018-10-25 12:10:29","messageId":"0B00000127FDBC63","msisdn":"447547232824","network-code":"23410","price":"0.03330000","scts":"1810251310","status":"delivered","to":"Nexmo CLI"}`,
					told: []string{"delivered 0B00000127FDBC63 0"}},
				{query: "msisdn=447700900000&to=AcmeInc&messageId=0A0000001234567B&status=accepted&err-code=0",
					told: []string{"pending 0A0000001234567B 0"}},
				{query: "messageId=0A0000001234567B&status=unknown&err-code=1", told: []string{"unknown 0A0000001234567B 1"}},
			},
		},
		{
			preset: "infobip", path: "/sms/2/text/advanced", options: "&sender=InfoSMS" + documentedKeys, template: true,
			method: "POST", seen: "/sms/2/text/advanced", headers: map[string]string{"Authorization": "App key",
				"Accept": "application/json"},
			body: `{"messages":[{"from":"InfoSMS","destinations":[{"to":"919876543210","messageId":"send_1"}],"text":"493817",
				"notifyUrl":"https://otp.example/callbacks/infobip?secret=0123456789abcdef","notifyContentType":"application/json",
				"regional":{"indiaDlt":{"contentTemplateId":"1107","principalEntityId":"1101"}}}]}`,
			answers: []documentedAnswer{
				{200, `{"bulkId":"2034072219640523072","messages":[{"to":"41793026727","status":{"groupId":1,"groupName":"PENDING","id":26,"name":"MESSAGE_ACCEPTED","description":"Message sent to next instance"},"messageId":"2250be2d4219-3af1-78856-aabe-1362af1edfd2"}]}`, Sent, "2250be2d4219-3af1-78856-aabe-1362af1edfd2"},
				{200, `{"messages":[{"to":"41793026727","status":{"groupId":5,"groupName":"REJECTED"},"messageId":"x"}]}`,
					NotSent, ""},
				{400, `{"requestError":{"serviceException":{"messageId":"BAD_REQUEST","text":"Bad request","validationErrors":{"messages[0].text":["invalid text"]}}}}`, NotSent, ""},
			},
			reports: []documentedReport{{kind: "application/json", body: `{"results":[
				{"bulkId":"BULK-ID-123-xyz","messageId":"MESSAGE-ID-123-xyz","to":"41793026727","sentAt":"2019-11-09T16:00:00.000+0000","doneAt":"2019-11-09T16:00:00.000+0000","smsCount":1,
				 "price":{"pricePerMessage":0.01,"currency":"EUR"},
				 "status":{"groupId":3,"groupName":"DELIVERED","id":5,"name":"DELIVERED_TO_HANDSET","description":"Message delivered to handset"},
				 "error":{"groupId":0,"groupName":"Ok","id":0,"name":"NO_ERROR","description":"No Error","permanent":false}},
				{"messageId":"12db39c3-7822-4e72-a3ec-c87442c0ffc5","status":{"groupId":2,"groupName":"UNDELIVERABLE"},"error":{"id":27,"name":"EC_ABSENT_SUBSCRIBER"}}]}`,
				told: []string{"delivered MESSAGE-ID-123-xyz NO_ERROR",
					"failed 12db39c3-7822-4e72-a3ec-c87442c0ffc5 EC_ABSENT_SUBSCRIBER"}}},
		},
		{ // without a template there is no region
			preset: "infobip", path: "/sms/2/text/advanced", method: "POST", seen: "/sms/2/text/advanced",
			body: `{"messages":[{"destinations":[{"to":"919876543210","messageId":"send_1"}],"text":"493817","notifyContentType":"application/json"}]}`,
		},
		{
			preset: "msg91", path: "/api/v5/flow/", options: "&service=EnterflowID&sender=EnterSenderID&callback=" +
				callbackSecret,
			method: "POST", seen: "/api/v5/flow/", headers: map[string]string{"authkey": "key",
				"Content-Type": "application/json"},
			body: `{"flow_id":"EnterflowID","sender":"EnterSenderID","recipients":[{"mobiles":"919876543210","VAR1":"493817"}]}`,
			answers: []documentedAnswer{
				{200, `{"message":"5762846b4f8d285d378b4567","type":"success"}`, Sent, "5762846b4f8d285d378b4567"},
				{200, `{"message":"why not","type":"error"}`, NotSent, ""},
			},
			reports: []documentedReport{
				{kind: formType, body: "data=" + url.QueryEscape(`[{"senderId":"uXXXXm","requestId":"346XXXXXXXXXXXX130","report":[{"date":"2024-05-22 10:06:20","amount":"0.01","clientid":"","INMSID":"0","CRQID":"0","ctCode":"900","number":"9195XXXX6558","credit":"1","status":"1","desc":"DELIVERED","failedReason":""}],"userId":"27XXXX","campaignName":"Sendhttp"}]`),
					told: []string{"delivered 346XXXXXXXXXXXX130"}},
				{kind: "application/json", body: `{"date":"2024-05-22 09:58:16","number":"9195XXXX6558","senderId":"uXXXXm","amount":"0.01","requestId":"346XXXXXXXXXXXX130","INMSID":"0","CRQID":"0","credit":"1","userId":"27XXXX","campaignName":"Sendhttp","status":"1","desc":"DELIVERED"}`,
					told: []string{"delivered 346XXXXXXXXXXXX130"}},
				{kind: "application/json", body: `{"requestId":"346XXXXXXXXXXXX130","status":"17","desc":"Blocked number"}`, told: []string{"failed 346XXXXXXXXXXXX130"}},
			},
		},
		{
			preset: "textlocal", path: "/send/", options: "&sender=TXTLCL" + documentedKeys, method: "POST", seen: "/send/",
			body: "apikey=key&custom=send_1&message=493817&numbers=919876543210&receipt_url=https%3A%2F%2Fotp.example" +
				"%2Fcallbacks%2Ftextlocal%3Fsecret%3D0123456789abcdef&sender=TXTLCL",
			answers: []documentedAnswer{
				{200, `{"batch_id":136546495,"num_messages":1,"messages":[{"recipient":918123456789}],"status":"success"}`, Sent, "send_1"},
				{200, `{"errors":[{"code":2,"message":"Unrecognised command"}],"status":"failure"}`, NotSent, ""},
			},
			reports: []documentedReport{
				{kind: formType, body: "number=918123456789&status=D&customID=send_1&datetime=2024-05-22+10%3A06%3A20",
					told: []string{"delivered send_1"}},
				{kind: formType, body: "number=918123456789&status=U&customID=send_1", told: []string{"failed send_1"}},
				{kind: formType, body: "number=918123456789&status=%3F&customID=send_1", told: []string{"unknown send_1"}},
			},
		},
		{
			preset: "2factor", path: "/API/V1/{password}/SMS/{to}/{code}/{sender}", options: "&sender=OTP%20SHOP",
			method: "GET", seen: "/API/V1/key/SMS/+919876543210/493817/OTP%20SHOP",
			answers: []documentedAnswer{
				{200, `{"Status":"Success","Details":"5D6EBEE6-EC04-4776-846D-F3C5F1AB3C1C"}`, Sent, "5D6EBEE6-EC04-4776-846D-F3C5F1AB3C1C"},
				{200, `{"Status":"Error","Details":"Invalid API Key - No Account Exists"}`, NotSent, ""},
			},
		},
	}
}

// A preset's requests, answers and receipts are those of its gateway's documentation.
func TestPresets_SpeakAsTheirDocumentationSays(t *testing.T) {
	tried := map[string]bool{}
	for _, doc := range documents() {
		tried[doc.preset] = true
		t.Run(doc.preset, func(t *testing.T) {
			for _, answer := range append(doc.answers, documentedAnswer{503, "<html>busy</html>", Unknown, ""}) {
				server, seen := provider(t, answer.status, answer.body)
				g := one(t, strings.Replace(server.URL, "//", "//user:key@", 1)+doc.path+"#preset="+doc.preset+doc.options,
					Options{}).(*Gateway)
				m := message()
				m.SendID = "send_1"
				m.Content = func() (Content, error) {
					content := Content{Text: testCode, Code: testCode}
					if doc.template {
						content.DLTEntityID, content.DLTTemplateID = "1101", "1107"
					}
					return content, nil
				}
				result := g.Send(t.Context(), m)
				require.Equal(t, answer.outcome, result.Outcome, answer.body)
				if answer.outcome != Unknown {
					require.Equal(t, answer.id, result.MessageID)
				}
				require.Equal(t, doc.method, seen.method)
				require.Equal(t, strings.ReplaceAll(doc.seen, "%20", " "), seen.path)
				if strings.HasPrefix(doc.body, "{") {
					require.JSONEq(t, doc.body, seen.body)
				} else {
					require.Equal(t, doc.body, seen.body)
				}
				for name, value := range doc.headers {
					require.Equal(t, value, seen.header.Get(name))
				}
				g.name = "g"
				for _, report := range doc.reports {
					lines, err := told(t, g, report.query, report.kind, report.body)
					require.NoError(t, err)
					require.Equal(t, report.told, lines)
				}
			}
		})
	}
	require.Equal(t, presets(), slices.Sorted(maps.Keys(tried)), "each has its documents")
}

// The page names every preset, with a valid channel.
func TestPresets_ArePartOfThePage(t *testing.T) {
	page, err := os.ReadFile("../doc/delivery.md")
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9]+)` \\| `(https://[^`]+)` \\|.*\\]\\(https://.*\\|$")
	rows := row.FindAllStringSubmatch(string(page), -1)
	named := map[string]bool{}
	for _, row := range rows {
		named[row[1]] = true
		_, err := Parse(row[2], Options{Medium: "sms"})
		require.NoError(t, err, row[1])
	}
	require.Equal(t, presets(), slices.Sorted(maps.Keys(named)))
}
