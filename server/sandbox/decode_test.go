package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func TestDecode_FaultsAreNamedByPointer(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []inputFault
	}{
		{"unknown field", `{"otp_lenght":6}`, []inputFault{{Pointer: "/otp_lenght", Detail: "is not known here"}}},
		{"other letter case is another name", `{"OTP_LENGTH":6}`, []inputFault{{Pointer: "/OTP_LENGTH", Detail: "is not known here"}}},
		{"given twice", `{"name":"a","name":"b"}`, []inputFault{{Pointer: "/name", Detail: "is given twice; which one is meant?"}}},
		{"given twice by an escape", `{"name":"a","n\u0061me":"b"}`, []inputFault{{Pointer: "/name", Detail: "is given twice; which one is meant?"}}},
		{"string for a number", `{"otp_length":"6"}`, []inputFault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"fraction", `{"otp_length":6.5}`, []inputFault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"number out of range", `{"otp_length":99999999999999999999}`, []inputFault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"number for a boolean", `{"enabled":1}`, []inputFault{{Pointer: "/enabled", Detail: "must be true or false"}}},
		{"null", `{"enabled":null}`, []inputFault{{Pointer: "/enabled", Detail: "must not be null; leave it out for the default"}}},
		{"inside a list", `{"countries":["IN",7]}`, []inputFault{{Pointer: "/countries/1", Detail: "must be a string"}}},
		{"text for a list", `{"countries":"IN,AE"}`, []inputFault{{Pointer: "/countries", Detail: "must be a list"}}},
		{"inside an object of a list", `{"access_keys":[{"key":"a"},{"kee":"b","expires_at":"soon"}]}`, []inputFault{
			{Pointer: "/access_keys/1/kee", Detail: "is not known here"},
			{Pointer: "/access_keys/1/expires_at", Detail: "must be a time such as 2026-01-31T12:00:00Z"},
		}},
		{"twice inside a map", `{"message_overrides":{"error":"a","error":"b"}}`, []inputFault{{Pointer: "/message_overrides/error", Detail: "is given twice; which one is meant?"}}},
		{"escaped pointer", `{"a/b~c":1}`, []inputFault{{Pointer: "/a~1b~0c", Detail: "is not known here"}}},
		{"a sealed column cannot be set", `{"-":"x","SealedCipherKey":"x"}`, []inputFault{
			{Pointer: "/-", Detail: "is not known here"}, {Pointer: "/SealedCipherKey", Detail: "is not known here"},
		}},
		{"all at once", `{"x":1,"enabled":"yes","otp_length":null}`, []inputFault{
			{Pointer: "/x", Detail: "is not known here"},
			{Pointer: "/enabled", Detail: "must be true or false"},
			{Pointer: "/otp_length", Detail: "must not be null; leave it out for the default"},
		}},
		{"a list", `[]`, []inputFault{{Detail: "must be an object"}}},
		{"null alone", `null`, []inputFault{{Detail: "must not be null; leave it out for the default"}}},
		{"trailing data", `{} {}`, []inputFault{{Detail: "is not one JSON value: byte 4"}}},
		{"cut short", `{"name":`, []inputFault{{Detail: "is not one JSON value: byte 8"}}},
		{"not UTF-8", "{\"name\":\"\xff\"}", []inputFault{{Detail: "is not UTF-8"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := newAccount{Account: otp.DefaultAccount("")}
			refused, ok := errors.AsType[*problem](decode([]byte(tt.body), &asked))
			require.True(t, ok, "accepted")
			require.Equal(t, tt.want, refused.faults)
			require.Equal(t, "INVALID_REQUEST", refused.code)
			require.Equal(t, 400, refused.status)
		})
	}
}

func TestDecode_KeepsDefaultsAndReadsEveryColumn(t *testing.T) {
	asked := newAccount{Account: otp.DefaultAccount("")}
	require.NoError(t, decode([]byte(" \n"), &asked), "no body is the empty object")
	require.Equal(t, newAccount{Account: otp.DefaultAccount("")}, asked)

	full := otp.DefaultAccount("4711")
	five, text, live := 5, "text", otp.LiveProfile
	full.Profile, full.MaxAttempts, full.RequestsPerMinute, full.Burst = &live, &five, &five, &five
	full.SMSChannels, full.SMSSender, full.DLTEntityID = &text, &text, &text
	full.Overrides, full.Departments = map[string]string{"error": "no"}, []string{"a", "b"}
	body, err := json.Marshal(full)
	require.NoError(t, err)
	asked = newAccount{Account: otp.DefaultAccount("")}
	require.NoError(t, decode(body, &asked), "every column that is answered can be asked for")
	require.Equal(t, full, asked.Account)
}

func TestDecode_ManyFaultsAreCut(t *testing.T) {
	body := "{" + strings.Repeat(`"x":1,`, 500) + `"y":1}`
	refused, _ := errors.AsType[*problem](decode([]byte(body), &newAccount{}))
	require.Len(t, refused.faults, maxFaults)
}

// The law: what decode accepts, encoding/json accepts too, with the same result, without any
// field that the target lacks.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"name":"a"}`, `{"NAME":"a"}`, `{"name":"a","name":"b"}`, `{"n\u0061me":"\ud800"}`,
		`{"countries":["IN"],"message_overrides":{"error":"x"},"access_keys":[{"key":"k","expires_at":"2026-01-31T12:00:00Z","enabled":false}]}`,
		`{"max_attempts":null,"otp_length":1e1}`, ` {"enabled" : true } `, `{"created_at":-0}`, `{"departments":[]}`, `{}x`,
		`{"message_overrides":{"a":"1","\u0061":"2"}}`, `{"sms_sender":"\u2028"}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ours := newAccount{Account: otp.DefaultAccount("")}
		if decode(body, &ours) != nil || len(bytes.TrimSpace(body)) == 0 {
			return
		}
		theirs := newAccount{Account: otp.DefaultAccount("")}
		reader := json.NewDecoder(bytes.NewReader(body))
		reader.DisallowUnknownFields()
		require.NoError(t, reader.Decode(&theirs))
		require.False(t, reader.More(), "trailing data")
		require.Equal(t, inOneZone(theirs), inOneZone(ours))
	})
}

// inOneZone writes times in one zone: two readings of one instant differ in their pointers.
func inOneZone(a newAccount) newAccount {
	for i, key := range a.AccessKeys {
		if key.ExpiresAt != nil {
			at := time.Unix(0, key.ExpiresAt.UnixNano()).UTC()
			a.AccessKeys[i].ExpiresAt = &at
		}
	}
	return a
}
