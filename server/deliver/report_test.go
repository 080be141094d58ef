package deliver

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	callbackSecret = "0123456789abcdef"
	formType       = "application/x-www-form-urlencoded"
)

// receiving returns a gateway whose receipts have these paths and whose statuses are those of SMPP.
func receiving(t testing.TB, names receiptNames, words map[Status][]string) *Gateway {
	t.Helper()
	g := &Gateway{name: "g"}
	require.NoError(t, g.learn(profile{Statuses: words}))
	var err error
	g.callback, err = callbackOf(map[string]string{"callback": callbackSecret}, names, "g", false)
	require.NoError(t, err)
	return g
}

// told returns a report's receipts, one line each: status, id, error.
func told(t testing.TB, g *Gateway, query, contentType, body string) ([]string, error) {
	t.Helper()
	values, err := url.ParseQuery(query)
	require.NoError(t, err)
	at := time.Unix(1, 0)
	receipts, err := g.ReadReceipts(callbackSecret, Report{Query: values, ContentType: contentType, Body: []byte(body)},
		at)
	var lines []string
	for _, r := range receipts.Known {
		require.Equal(t, at, r.At)
		require.Equal(t, "g", r.Provider)
		lines = append(lines, strings.TrimSpace(fmt.Sprint(r.Status, " ", r.MessageID, " ", r.Error)))
	}
	return lines, err
}

// A report is read exactly, in every form.
func TestReport_IsReadInWhateverFormItComes(t *testing.T) {
	flat := receiptNames{Error: "err"}
	nested := receiptNames{List: "results", ID: "messageId", Status: "status.groupName", Error: "error.id"}
	for _, tt := range []struct {
		name              string
		names             receiptNames
		query, kind, body string
		told              []string
	}{
		{"query", flat, "id=q&status=DELIVRD", "", "", []string{"delivered q"}},
		{"query, with an error", flat, "id=q&status=UNDELIV&err=1A", "", "", []string{"failed q 1A"}},
		{"form", flat, "", formType, "id=f&status=delivrd&err=000", []string{"delivered f 000"}},
		{"form with a charset", flat, "", formType + "; charset=utf-8", "id=f&status=EXPIRED", []string{"expired f"}},
		{"form before query", flat, "id=q&status=UNDELIV", formType, "id=f", []string{"failed f"}},
		{"form named text/plain", flat, "", "text/plain", "id=f&status=DELIVRD", []string{"delivered f"}},
		{"form without a name", flat, "", "", "id=f&status=DELIVRD", []string{"delivered f"}},
		{"form with blanks and a line's end", flat, "", formType, "id=f&status=DELIVRD+%0D%0A\r\n", []string{"delivered f"}},
		{"a form in parts", flat, "", "multipart/form-data; boundary=xx",
			"--xx\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\nm\r\n--xx\r\n" +
				"Content-Disposition: form-data; name=\"status\"\r\n\r\nDELIVRD\r\n--xx--\r\n", []string{"delivered m"}},
		{"JSON", flat, "", "application/json; charset=utf-8", `{"id":"j","status":"DELIVRD","more":{"id":"inner"}}`,
			[]string{"delivered j"}},
		{"JSON named text/plain", flat, "", "text/plain", ` {"id":"j","status":"DELIVRD"}`, []string{"delivered j"}},
		{"JSON named a form", flat, "", formType, `{"id":"j","status":"DELIVRD"}`, []string{"delivered j"}},
		{"JSON without a name", flat, "", "", "\ufeff{\"id\":\"j\",\"status\":\"DELIVRD\"}\n", []string{"delivered j"}},
		{"JSON of a vendor", flat, "", "application/vnd.acme.dlr+json", `{"id":"j","status":"DELIVRD"}`,
			[]string{"delivered j"}},
		{"JSON of a problem", flat, "", "application/problem+json", `{"id":"j","status":"REJECTD","err":22}`,
			[]string{"failed j 22"}},
		{"JSON, its status in the query", flat, "status=DELIVRD", "application/json", `{"id":"j"}`, []string{"delivered j"}},
		{"a long number", flat, "", "application/json", `{"id":12345678901234567890,"status":"DELIVRD","err":0}`,
			[]string{"delivered 12345678901234567890 0"}},
		{"numbers as they are written", flat, "", "application/json", `{"id":1.50,"status":"DELIVRD","err":-7}`,
			[]string{"delivered 1.50"}},
		{"a number past every double", flat, "", "application/json", `{"id":1e400,"status":"DELIVRD"}`,
			[]string{"delivered 1e400"}},
		{"several at the root", flat, "", "application/json",
			`[{"id":1,"status":"DELIVRD"},{"id":2,"status":"UNDELIV","err":5}]`, []string{"delivered 1", "failed 2 5"}},
		{"several in a list", nested, "", "application/json",
			`{"results":[{"messageId":"a","status":{"groupName":"DELIVERED"},"error":{"id":0}},{"messageId":"b","status":{"groupName":"EXPIRED"},"error":{"id":27}}]}`,
			[]string{"delivered a 0", "expired b 27"}},
		{"one where a list could be", nested, "", "application/json",
			`{"results":{"messageId":"a","status":{"groupName":"DELIVERED"}}}`, []string{"delivered a"}},
		{"one without its list", nested, "", "application/json", `{"messageId":"a","status":{"groupName":"DELIVERED"}}`,
			[]string{"delivered a"}},
		{"lists in lists, the id outside", receiptNames{List: "data.report", ID: "requestId", Status: "desc",
			Error: "code"}, "", "application/json",
			`{"data":[{"requestId":"r1","report":[{"desc":"DELIVERED"}]},{"requestId":"r2","report":[{"desc":"FAILED","code":"9"},{"desc":"DELIVERED"}]}]}`,
			[]string{"delivered r1", "failed r2 9", "delivered r2"}},
		{"JSON in a field of a form", receiptNames{List: "data.report", ID: "requestId", Status: "desc"}, "", formType,
			"data=" + url.QueryEscape(`[{"requestId":"r1","report":[{"desc":"DELIVERED"}]}]`), []string{"delivered r1"}},
		{"JSON in a field of a query", receiptNames{List: "data", ID: "id", Status: "s"}, "data=" +
			url.QueryEscape(`[{"id":"r1","s":"failed"}]`), "", "", []string{"failed r1"}},
		{"JSON in a text of JSON", receiptNames{List: "data", ID: "id", Status: "s"}, "", "application/json",
			`{"data":"[{\"id\":7,\"s\":\"expired\"}]"}`, []string{"expired 7"}},
		{"lists at the root around lists", receiptNames{List: "data", ID: "meta", Status: "event"}, "", "application/json",
			`[{"data":[{"meta":"0"},{"meta":"1"}],"event":"delivered"}]`, []string{"delivered 0", "delivered 1"}},
		{"places in lists", receiptNames{ID: "ids.1", Status: "s.0.word"}, "", "application/json",
			`{"ids":["a","b"],"s":[{"word":"DELIVRD"}]}`, []string{"delivered b"}},
		{"a name with dots", receiptNames{ID: "message.id", Status: "dlr.status"}, "message.id=a&dlr.status=DELIVRD", "",
			"", []string{"delivered a"}},
		{"a name with dots within", receiptNames{ID: "m.message.id", Status: "status"}, "", "application/json",
			`{"m":{"message.id":"a"},"status":"DELIVRD"}`, []string{"delivered a"}},
		{"by our reference", receiptNames{Reference: "client-ref"}, "client-ref=send_1&id=theirs&status=DELIVRD", "", "",
			[]string{"delivered send_1"}},
		{"pending", flat, "id=q&status=ENROUTE", "", "", []string{"pending q"}},
		{"unknown to the provider itself", flat, "id=q&status=UNKNOWN", "", "", []string{"unknown q"}},
		{"an error that may hold a number", flat, "id=q&status=UNDELIV&err=no+route+to+919551492394", "", "",
			[]string{"failed q"}},
		{"an error that is a sentence", flat, "id=q&status=UNDELIV&err=" + strings.Repeat("a", 65), "", "",
			[]string{"failed q"}},
		{"an error with a line's end", flat, "id=q&status=UNDELIV&err=1%0A2", "", "", []string{"failed q"}},
		{"an error with words", flat, "id=q&status=UNDELIV&err=EC_ABSENT_SUBSCRIBER+27", "", "",
			[]string{"failed q EC_ABSENT_SUBSCRIBER 27"}},
		{"some of which cannot be read", flat, "", "application/json",
			`[{"id":1,"status":"what"},{"id":2},7,null,{"status":"DELIVRD"},{"id":3,"status":"DELIVRD"},{"id":{"x":1},"status":"DELIVRD"}]`,
			[]string{"delivered 3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, err := told(t, receiving(t, tt.names, nil), tt.query, tt.kind, tt.body)
			require.NoError(t, err)
			require.Equal(t, tt.told, lines)
		})
	}
}

// Booleans are words as they are written, and a profile may map them.
func TestReport_WordsAreOfAnyType(t *testing.T) {
	g := receiving(t, receiptNames{Status: "ok"}, map[Status][]string{Delivered: {"true", "1"},
		Failed: {"false", "2", "16"}, Unclear: {"?", "9.0"}})
	for body, want := range map[string]string{
		`{"id":1,"ok":true}`: "delivered 1", `{"id":1,"ok":false}`: "failed 1", `{"id":1,"ok":1}`: "delivered " +
			"1", `{"id":1,"ok":"2"}`: "failed 1",
		`{"id":1,"ok":"TRUE"}`: "delivered 1", `{"id":1,"ok":"?"}`: "unknown 1", `{"id":1,"ok":9.0}`: "unknown " +
			"1", `{"id":true,"ok":16}`: "failed true",
	} {
		lines, err := told(t, g, "", "application/json", body)
		require.NoError(t, err)
		require.Equal(t, []string{want}, lines)
	}
}

func TestReport_WhatCannotBeReadIsRefused(t *testing.T) {
	g := receiving(t, receiptNames{}, nil)
	var fields strings.Builder
	for i := range maxFields + 1 {
		fmt.Fprintf(&fields, "f%d=1&", i)
	}
	for _, tt := range []struct{ query, kind, body, says string }{
		{"", "application/json", `{"id":`, "the body is no JSON object or list"},
		{"", "application/json", `null`, "the body is no JSON object or list"},
		{"", "application/json", `"id"`, "the body is no JSON object or list"},
		{"", "application/json", `{"id":1,"status":"DELIVRD"} x`, "the body is no JSON object or list"},
		{"", "application/json", `id=1&status=DELIVRD`, "the body is no JSON object or list"},
		{"", "application/a+json", `<id>1</id>`, "the body is no JSON object or list"},
		{"", "application/json", `[]`, ErrCallbackFields.Error()},
		{"", "application/json", `[1,"a",null]`, ErrCallbackFields.Error()},
		{"", "application/json", `{"id":null,"status":"DELIVRD"}`, ErrCallbackFields.Error()},
		{"", "application/json", `{"id":"","status":"DELIVRD"}`, ErrCallbackFields.Error()},
		{"", "application/json", `{"id":[1],"status":"DELIVRD"}`, ErrCallbackFields.Error()},
		{"", formType, "id=%zz", "the body is no form"},
		{"", formType, fields.String(), "a report may have 64 fields"},
		{fields.String(), "", "", "a report may have 64 fields"},
		{"", "multipart/form-data", "--x", "the body is no form"},
		{"", "multipart/form-data; boundary=x", "--x\r\nhalf", "the body is no form"},
		{"", "text/xml", "<id>1</id><status>DELIVRD</status>", ErrCallbackFields.Error()},
		{"id=1", "", "", ErrCallbackFields.Error()},
		{"status=DELIVRD", "", "", ErrCallbackFields.Error()},
		{"id=" + strings.Repeat("1", maxMessageID+1) + "&status=DELIVRD", "", "", ErrCallbackFields.Error()},
		{"", "application/json", "[" + strings.Repeat(`{"id":1,"status":"DELIVRD"},`, maxReceipts) +
			`{"id":1,"status":"DELIVRD"}]`, errTooMany.Error()},
		{"", "application/json", strings.Repeat(`[`, 100_000), "the body is no JSON object or list"},
	} {
		lines, err := told(t, g, tt.query, tt.kind, tt.body)
		require.EqualError(t, err, tt.says, "%s %.40s", tt.kind, tt.body)
		require.Empty(t, lines)
	}
	for _, secret := range []string{"", "0123456789abcde", "0123456789abcdef ", "0123456789abcdeg"} {
		_, err := g.ReadReceipts(secret, Report{Query: url.Values{"id": {"1"}, "status": {"DELIVRD"}}}, time.Unix(1, 0))
		require.ErrorIs(t, err, ErrCallbackSecret)
	}
}

// An unknown word changes nothing and is reported once, unless it may be a phone number.
func TestReport_StrangeWordsAreTold(t *testing.T) {
	g := receiving(t, receiptNames{}, nil)
	for word, shown := range map[string]string{
		"OPERATOR_BUSY": "OPERATOR_BUSY", "17": "17", "919551492394": "something that looks like no " +
			"status", "+919551492394": "something that looks like no status",
		"a\nb": "something that looks like no status", strings.Repeat("a",
			33): "something that looks like no status", "DELIVRD to 9551 492 394": "something that looks like no status",
	} {
		receipts, err := g.ReadReceipts(callbackSecret, Report{Query: url.Values{"id": {"1"}, "status": {word}}},
			time.Unix(1, 0))
		require.ErrorIs(t, err, ErrCallbackFields)
		require.Empty(t, receipts.Known)
		require.Equal(t, []string{shown}, receipts.Strange)
	}
}

// A send's receipts are matched by the id that the gateway gave it, or by its own id if that is what comes back: also
// if it is unknown whether the send was accepted.
func TestGateway_ReceiptsNameTheSendByWhatComesBack(t *testing.T) {
	m := message()
	m.SendID = "send_1"
	for _, tt := range []struct {
		status  int
		options string
		id      string
	}{
		{200, "&callback=" + callbackSecret, "theirs"},
		{200, "&callback=" + callbackSecret + "&callback_reference=ref", "send_1"},
		{500, "&callback=" + callbackSecret + "&callback_reference=ref", "send_1"},
		{500, "&callback=" + callbackSecret, ""},
		{400, "&callback=" + callbackSecret + "&callback_reference=ref", ""},
		{200, "", "theirs"},
	} {
		server, seen := provider(t, tt.status, `{"id":"theirs"}`)
		text := withProfile(t, server.URL, `{"form": {"to": "{to}", "text": "{text}", "ref": "{send_id}"}, "id": "id"}`)
		result := one(t, text+tt.options, Options{}).Send(t.Context(), m)
		require.Equal(t, tt.id, result.MessageID, tt.options)
		require.Contains(t, seen.body, "ref=send_1")
	}
	_, err := callbackOf(map[string]string{"callback": callbackSecret, "callback_id": "a"}, receiptNames{Reference: "b"},
		"g", false)
	require.ErrorContains(t, err, "has an id and a reference")
}

// FuzzReport: whatever a stranger sends is read or refused. What is read has an id and a status that could be stored,
// and no report can make another kind of receipt.
func FuzzReport(f *testing.F) {
	f.Add("id=1&status=DELIVRD", formType, "", "", "id", "status", "")
	f.Add("", "application/json", `[{"id":12345678901234567890,"status":true}]`, "", "id", "status", "err")
	f.Add("", "text/plain", `{"r":[{"m":{"id":"a"},"s":"DELIVRD"}]}`, "r", "m.id", "s", "s")
	f.Add("d=%5B%7B%7D%5D", "multipart/form-data; boundary=x",
		"--x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1\r\n--x--", "d", "id", "0", "")
	f.Add("", "a/b+json", "[[[[{}]]]]", "..", ".", "", "..")
	f.Fuzz(func(t *testing.T, query, kind, body, list, id, status, code string) {
		values, _ := url.ParseQuery(query)
		names := receiptNames{List: list, ID: id, Status: status, Error: code}
		g := receiving(t, names, nil)
		receipts, err := g.ReadReceipts(callbackSecret, Report{Query: values, ContentType: kind, Body: []byte(body)},
			time.Unix(1, 0))
		require.Equal(t, err != nil, len(receipts.Known) == 0)
		require.LessOrEqual(t, len(receipts.Known)+len(receipts.Strange), maxReceipts)
		for _, r := range receipts.Known {
			require.NotEmpty(t, r.MessageID)
			require.LessOrEqual(t, len(r.MessageID), maxMessageID)
			require.Contains(t, statuses, r.Status)
			require.Equal(t, r.Error, errorCode(r.Error))
		}
		for _, word := range receipts.Strange {
			require.Equal(t, word, statusWord(word))
		}
	})
}

// FuzzReport_NumbersKeepTheirDigits: an id is returned as it was written, as text or number.
func FuzzReport_NumbersKeepTheirDigits(f *testing.F) {
	f.Add("12345678901234567890")
	f.Add("1e5")
	f.Add("-0.10")
	f.Fuzz(func(t *testing.T, number string) {
		if !json.Valid([]byte(number)) || len(number) > maxMessageID || strings.TrimSpace(number) != number ||
			!strings.ContainsAny(number[:1], "-0123456789") {
			return
		}
		g := receiving(t, receiptNames{}, nil)
		for _, body := range []string{`{"id":` + number + `,"status":"DELIVRD"}`, `{"id":"` + number +
			`","status":"DELIVRD"}`} {
			lines, err := told(t, g, "", "application/json", body)
			require.NoError(t, err)
			require.Equal(t, []string{"delivered " + number}, lines)
		}
	})
}
