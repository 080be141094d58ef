package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// newAccount has every type that a target can have.
type newAccount struct {
	otp.Account
	AccessKeys []struct {
		Key       string     `json:"key"`
		ExpiresAt *time.Time `json:"expires_at"`
		Enabled   *bool      `json:"enabled"`
	} `json:"access_keys"`
	Free json.RawMessage `json:"free"`
	Any  any             `json:"any"`
	By   map[label][]int `json:"by"`
	Mode string          `json:"mode" empty:"refused"`
}

type label string

func TestDecode_FaultsAreNamedByPointer(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       []Fault
	}{
		{"unknown field", `{"otp_lenght":6}`, []Fault{{Pointer: "/otp_lenght", Detail: "is not known here"}}},
		{"other letter case is another name", `{"OTP_LENGTH":6}`,
			[]Fault{{Pointer: "/OTP_LENGTH", Detail: "is not known here"}}},
		{"given twice", `{"name":"a","name":"b"}`, []Fault{{Pointer: "/name",
			Detail: "is given twice; which one is meant?"}}},
		{"given twice by an escape", `{"name":"a","n\u0061me":"b"}`,
			[]Fault{{Pointer: "/name", Detail: "is given twice; which one is meant?"}}},
		{"string for a number", `{"otp_length":"6"}`, []Fault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"fraction", `{"otp_length":6.5}`, []Fault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"number out of range", `{"otp_length":99999999999999999999}`,
			[]Fault{{Pointer: "/otp_length", Detail: "must be a whole number"}}},
		{"number for a boolean", `{"enabled":1}`, []Fault{{Pointer: "/enabled", Detail: "must be true or false"}}},
		{"null", `{"enabled":null}`, []Fault{{Pointer: "/enabled",
			Detail: "must not be null; leave it out for the default"}}},
		{"an empty text for a default", `{"mode":"","name":""}`,
			[]Fault{{Pointer: "/mode", Detail: "must not be empty; leave it out for the default"}}},
		{"inside a list", `{"countries":["IN",7]}`, []Fault{{Pointer: "/countries/1", Detail: "must be a string"}}},
		{"text for a list", `{"countries":"IN,AE"}`, []Fault{{Pointer: "/countries", Detail: "must be a list"}}},
		{"inside an object of a list", `{"access_keys":[{"key":"a"},{"kee":"b","expires_at":"soon"}]}`, []Fault{
			{Pointer: "/access_keys/1/kee", Detail: "is not known here"},
			{Pointer: "/access_keys/1/expires_at", Detail: "must be a time such as 2026-01-31T12:00:00Z"},
		}},
		{"twice inside a map", `{"message_overrides":{"error":"a","error":"b"}}`,
			[]Fault{{Pointer: "/message_overrides/error", Detail: "is given twice; which one is meant?"}}},
		{"escaped pointer", `{"a/b~c":1}`, []Fault{{Pointer: "/a~1b~0c", Detail: "is not known here"}}},
		{"a sealed column cannot be set", `{"-":"x","SealedCipherKey":"x"}`, []Fault{
			{Pointer: "/-", Detail: "is not known here"}, {Pointer: "/SealedCipherKey", Detail: "is not known here"},
		}},
		{"all at once", `{"x":1,"enabled":"yes","otp_length":null}`, []Fault{
			{Pointer: "/x", Detail: "is not known here"},
			{Pointer: "/enabled", Detail: "must be true or false"},
			{Pointer: "/otp_length", Detail: "must not be null; leave it out for the default"},
		}},
		{"a list", `[]`, []Fault{{Detail: "must be an object"}}},
		{"null alone", `null`, []Fault{{Detail: "must not be null; leave it out for the default"}}},
		{"trailing data", `{} {}`, []Fault{{Detail: "is not one JSON value: byte 4"}}},
		{"cut short", `{"name":`, []Fault{{Detail: "is not one JSON value: byte 8"}}},
		{"half a character", `{"name":"\ud83d"}`, []Fault{{Detail: "has half a character: byte 10"}}},
		{"two halves the wrong way round", `{"name":"\ude00\ud83d"}`, []Fault{{Detail: "has half a character: byte 10"}}},
		{"twice in free JSON", `{"free":{"a":[{"b":{"c":1,"d":2,"\u0063":3}}]}}`,
			[]Fault{{Pointer: "/free/a/0/b/c", Detail: "is given twice; which one is meant?"}}},
		{"twice in a later element", `{"free":[1,[],{"a":{}},[2,{"b":1,"b":2}]]}`,
			[]Fault{{Pointer: "/free/3/1/b", Detail: "is given twice; which one is meant?"}}},
		{"deep free JSON", `{"free":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`,
			[]Fault{{Pointer: "/free", Detail: "is nested deeper than 32 levels"}}},
		{"twice in any JSON", `{"any":{"a":[{"b":1,"b":2}]}}`,
			[]Fault{{Pointer: "/any/a/0/b", Detail: "is given twice; which one is meant?"}}},
		{"null in a list of a map", `{"by":{"a":[1,null]}}`, []Fault{{Pointer: "/by/a/1",
			Detail: "must not be null; leave it out for the default"}}},
		{"null for a text in a map", `{"message_overrides":{"error":null}}`,
			[]Fault{{Pointer: "/message_overrides/error", Detail: "must not be null; leave it out for the default"}}},
		{"not UTF-8", "{\"name\":\"\xff\"}", []Fault{{Detail: "is not UTF-8"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := newAccount{Account: otp.DefaultAccount("")}
			refused, ok := errors.AsType[*Error](Decode([]byte(tt.body), &asked))
			require.True(t, ok, "accepted")
			require.Equal(t, tt.want, refused.Faults)
		})
	}
}

func TestDecode_KeepsDefaultsAndReadsEveryColumn(t *testing.T) {
	asked := newAccount{Account: otp.DefaultAccount("")}
	require.NoError(t, Decode([]byte("{}"), &asked))
	require.Equal(t, newAccount{Account: otp.DefaultAccount("")}, asked)

	full := otp.DefaultAccount("4711")
	five, text, live := 5, "text", otp.LiveProfile
	full.Profile, full.MaxAttempts, full.RequestsPerMinute, full.Burst = &live, &five, &five, &five
	full.SMSChannels, full.SMSSender, full.DLTEntityID = &text, &text, &text
	full.Overrides, full.Departments = map[string]string{"error": "no"}, []string{"a", "b"}
	body, err := json.Marshal(full)
	require.NoError(t, err)
	asked = newAccount{Account: otp.DefaultAccount("")}
	require.NoError(t, Decode(body, &asked), "every column that is answered can be asked for")
	require.Equal(t, full, asked.Account)
}

func TestDecode_FreeJSONIsKeptAsItStands(t *testing.T) {
	for _, value := range []string{
		`{"b":{"a":1},"a":[{"a":1},{"a":2},[],{}],"c":"\ud83d\ude00\\ud800"}`, `[1,"x",null,true]`, `"\\\\ud800"`,
		`-0.10e+3`, `null`,
		strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat(`}`, 32),
	} {
		var target newAccount
		require.NoError(t, Decode([]byte(`{"free": `+value+` }`), &target), value)
		require.Equal(t, value, string(target.Free))
	}
}

func TestDecode_AnyJSONKeepsItsNumbers(t *testing.T) {
	var target newAccount
	require.NoError(t, Decode([]byte(`{"any":{"n":12345678901234567890,"l":[1.50,null]},"by":{"a":[1]}}`), &target))
	require.Equal(t, map[string]any{"n": json.Number("12345678901234567890"), "l": []any{json.Number("1.50"), nil}},
		target.Any)
	require.Equal(t, map[label][]int{"a": {1}}, target.By)
	require.NoError(t, Decode([]byte(`{"any":null}`), &target))
	require.Nil(t, target.Any)
}

func TestError_NamesThePlace(t *testing.T) {
	require.EqualError(t, Decode([]byte(`{"countries":["IN",7],"x":1}`), &newAccount{}), "countries/1 must be a string")
	require.EqualError(t, Decode([]byte(`{`), &newAccount{}), "the JSON is not one JSON value: byte 1")
}

func TestDecode_ManyFaultsAreCut(t *testing.T) {
	body := "{" + strings.Repeat(`"x":1,`, 500) + `"y":1}`
	refused, _ := errors.AsType[*Error](Decode([]byte(body), &newAccount{}))
	require.Len(t, refused.Faults, MaxFaults)
}

// What Decode accepts, encoding/json accepts too, with the same result, and without a field that the target lacks.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `{"name":"a"}`, `{"NAME":"a"}`, `{"name":"a","name":"b"}`, `{"n\u0061me":"\ud800"}`,
		`{"countries":["IN"],"message_overrides":{"error":"x"},"access_keys":[{"key":"k","expires_at":"2026-01-31T12:00:00Z","enabled":false}]}`,
		`{"max_attempts":null,"otp_length":1e1}`, ` {"enabled" : true } `, `{"created_at":-0}`, `{"departments":[]}`, `{}x`,
		`{"free":{"a":[1,{"a":2}],"b":{}}}`, `{"free":null}`, `{"free":[[[]]]}`,
		`{"message_overrides":{"a":"1","\u0061":"2"}}`, `{"sms_sender":"\u2028"}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ours := newAccount{Account: otp.DefaultAccount("")}
		if Decode(body, &ours) != nil {
			return
		}
		theirs := newAccount{Account: otp.DefaultAccount("")}
		reader := json.NewDecoder(bytes.NewReader(body))
		reader.DisallowUnknownFields()
		reader.UseNumber()
		require.NoError(t, reader.Decode(&theirs))
		require.False(t, reader.More(), "trailing data")
		require.Equal(t, inOneZone(theirs), inOneZone(ours))
	})
}

// inOneZone converts times to one zone: two readings of one instant differ in their pointers.
func inOneZone(a newAccount) newAccount {
	for i, key := range a.AccessKeys {
		if key.ExpiresAt != nil {
			at := time.Unix(0, key.ExpiresAt.UnixNano()).UTC()
			a.AccessKeys[i].ExpiresAt = &at
		}
	}
	return a
}

// hostileBodies are as large as a body may be, and wrong throughout.
func hostileBodies() map[string][]byte {
	fill := func(head, tail string, part func(i int) string) []byte {
		body := []byte(head)
		for i := 0; ; i++ {
			next := part(i)
			if len(body)+len(next)+len(tail) > 64<<10 {
				return append(body[:len(body)-1], tail...)
			}
			body = append(body, next...)
		}
	}
	number := func(format string) func(int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	return map[string][]byte{
		"unknown members": fill(`{`, `}`, number(`"%x":0,`)),
		"one name":        fill(`{`, `}`, number(`"a":%d,`)),
		"long names": fill(`{`, `}`, func(i int) string {
			return `"` + strings.Repeat("x", 5000) +
				strconv.Itoa(i) + `":0,`
		}),
		"escapes":             fill(`{`, `}`, number(`"\u0061%d":"\ud83d\ude00",`)),
		"wrong list":          fill(`{"list":[`, `]}`, number(`%d,`)),
		"wrong values":        fill(`{"map":{`, `}}`, number(`"%d":{},`)),
		"nested lists":        fill(`{"free":[`, `]}`, number(`[[%d]],`)),
		"free members":        fill(`{"free":{`, `}}`, number(`"%d":0,`)),
		"free names twice":    fill(`{"free":{`, `}}`, number(`"a":%d,`)),
		"unknown deep values": fill(`{`, `}`, number(`"%x":[[[[]]]],`)),
	}
}

type hostileTarget struct {
	List []string          `json:"list"`
	Map  map[string]string `json:"map"`
	Free json.RawMessage   `json:"free"`
}

// Whatever is wrong with a body, only the first faults are reported and searched for.
func TestDecode_StopsAtTheFaultsThatItTells(t *testing.T) {
	for name, body := range hostileBodies() {
		err := Decode(body, &hostileTarget{})
		problem, refused := errors.AsType[*Error](err)
		if name == "nested lists" || name == "free members" {
			require.NoError(t, err, name)
			continue
		}
		require.True(t, refused, name)
		require.LessOrEqual(t, len(problem.Faults), MaxFaults, name)
		if name != "free names twice" && name != "long names" {
			require.Len(t, problem.Faults, MaxFaults, name)
		}
		if strings.HasPrefix(name, "free") || strings.HasPrefix(name, "wrong") {
			continue // their values are read as one
		}
		given := testing.AllocsPerRun(1, func() { _ = Decode(body, &hostileTarget{}) })
		require.Less(t, given, 1000.0, "%s: allocations do not grow with the body", name)
	}
}

func BenchmarkDecode_Hostile(b *testing.B) {
	for name, body := range hostileBodies() {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				_ = Decode(body, &hostileTarget{})
			}
		})
	}
}
