package crypto

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// signatureVectors come from Python's hmac and json modules.
type signatureVectors struct {
	Secret   string
	Requests []struct {
		Note, Method, Path, Timestamp, Nonce, Signature string
		Body                                            *string
		Canonical                                       string
	} `json:"request_signing"`
}

func readSignatureVectors(t testing.TB) (v signatureVectors) {
	t.Helper()
	raw, err := os.ReadFile("testdata/signatures.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &v))
	require.NotEmpty(t, v.Requests)
	return v
}

func TestSignedBy_AcceptsEveryVectorAndNothingNearIt(t *testing.T) {
	vectors := readSignatureVectors(t)
	secret := NewSecret([]byte(vectors.Secret))
	for _, v := range vectors.Requests {
		r := SignedRequest{Method: v.Method, Path: v.Path, Timestamp: v.Timestamp, Nonce: v.Nonce}
		if v.Body != nil {
			r.Body = []byte(*v.Body)
		}
		require.True(t, r.SignedBy(secret, v.Signature), v.Note)
		require.True(t, r.SignedBy(secret, strings.ToUpper(v.Signature)), v.Note)
		if v.Canonical != "" {
			canonical, ok := PythonJSON(r.Body)
			require.True(t, ok)
			require.Equal(t, v.Canonical, string(canonical))
		}
		require.True(t, r.SignedBy(secret, r.Sign(secret)), "over the bytes as sent")

		require.False(t, r.SignedBy(NewSecret([]byte(vectors.Secret+"x")), v.Signature), v.Note)
		require.False(t, r.SignedBy(Secret{}, v.Signature), v.Note)
		for _, wrong := range []string{"", v.Signature[1:], v.Signature + "00", "zz" + v.Signature[2:],
			strings.Repeat("0", 64)} {
			require.False(t, r.SignedBy(secret, wrong), "%s %q", v.Note, wrong)
		}
		for _, spoil := range []func(*SignedRequest){
			func(r *SignedRequest) { r.Method = "PUT" },
			func(r *SignedRequest) { r.Path += "?" },
			func(r *SignedRequest) { r.Timestamp = "1700000001" },
			func(r *SignedRequest) { r.Nonce = strings.Repeat("0", 32) },
			func(r *SignedRequest) { r.Body = append(bytes.Clone(r.Body), ' ', 'x') },
			func(r *SignedRequest) { r.Body = []byte(`{"to":"+15005550006"}`) },
		} {
			other := r
			spoil(&other)
			require.False(t, other.SignedBy(secret, v.Signature), v.Note)
		}
	}
}

func TestSignedBy_AnEmptyObjectIsNoBody(t *testing.T) {
	secret := NewSecret([]byte("s"))
	none := SignedRequest{Method: "POST", Path: "/v1/cancel", Timestamp: "1700000000", Nonce: strings.Repeat("0", 32)}
	empty := none
	empty.Body = []byte(" { } ")
	require.True(t, empty.SignedBy(secret, none.Sign(secret)))
	empty.Body = []byte("{}")
	require.True(t, empty.SignedBy(secret, none.Sign(secret)))
	require.True(t, empty.SignedBy(secret, empty.Sign(secret)), "as sent it is good too")
	empty.Body = []byte("[]")
	require.False(t, empty.SignedBy(secret, none.Sign(secret)))
}

func TestSignedBy_ANameTwiceHasNoCanonicalForm(t *testing.T) {
	secret := NewSecret([]byte("s"))
	one := SignedRequest{Method: "POST", Path: "/", Body: []byte(`{"a": 2}`)}
	twice := SignedRequest{Method: "POST", Path: "/", Body: []byte(`{"a": 1, "a": 2}`)}
	require.False(t, twice.SignedBy(secret, one.Sign(secret)))
	require.True(t, twice.SignedBy(secret, twice.Sign(secret)))
}

func TestPythonJSON_IsPythons(t *testing.T) {
	raw, err := os.ReadFile("testdata/canonical_json.json")
	require.NoError(t, err)
	var file struct {
		Vectors []struct{ Text, Canonical string }
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.NotEmpty(t, file.Vectors)
	for _, v := range file.Vectors {
		canonical, ok := PythonJSON([]byte(v.Text))
		require.True(t, ok, v.Text)
		require.Equal(t, v.Canonical, string(canonical))
	}
}

func TestPythonJSON_RefusesWhatIsNotOneJSONValue(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "}", "{}{}", "[1,]", "[,1]", "[1 " +
			"2]", `{"a"}`, `{"a":}`, `{"a":1,}`, `{,"a":1}`, `{a:1}`, `{'a':1}`, `{1:1}`,
		"01", "+1", ".5", "1.", "1e", "1e+", "-", "--1", "0x1", "1_0", "NaN", "Infinity", "-Infinity",
		"tru", "True", "nul", "nullx", `"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", `"\ud83d\u12"`,
		"\xef\xbb\xbf{}", "\"\xff\"", "\"\xed\xa0\x80\"", "\v1", "1\u00a0",
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `[{"b":{"c":1,"c":1}}]`,
		strings.Repeat("[", 70) + strings.Repeat("]", 70), strings.Repeat("[", 100_000),
	} {
		_, ok := PythonJSON([]byte(text))
		require.False(t, ok, "%.40q", text)
	}
	deep := strings.Repeat("[", 60) + strings.Repeat("]", 60)
	_, ok := PythonJSON([]byte(deep))
	require.True(t, ok)
}

// A text with a canonical form is JSON; the form is printable ASCII, means the same and is its own canonical form.
// JSON without repeated names has a canonical form.
func FuzzPythonJSON(f *testing.F) {
	for _, v := range readSignatureVectors(f).Requests {
		if v.Body != nil {
			f.Add([]byte(*v.Body))
		}
	}
	for _, seed := range []string{`{"\ud800":["\udc00\ud83d\ude00"]}`, `{"a":1,"\u0061":2}`, ` [1e5, -0.0, {"":{}}] `,
		"\"\u2028\x7f\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		canonical, ok := PythonJSON(text)
		if !ok {
			if json.Valid(text) && utf8.Valid(text) && bytes.Count(text, []byte(":")) < 2 &&
				bytes.Count(text, []byte("[")) < 60 {
				t.Fatalf("%q is JSON and has no canonical form", text)
			}
			return
		}
		require.True(t, json.Valid(text), "%q", text)
		require.NotContains(t, string(bytes.Trim(canonical, " ~")), "\x7f")
		for _, b := range canonical {
			require.True(t, b >= ' ' && b <= '~', "%q", canonical)
		}
		again, ok := PythonJSON(canonical)
		require.True(t, ok, "%q", canonical)
		require.Equal(t, string(canonical), string(again))
		if bytes.Contains(bytes.ToLower(canonical), []byte(`\ud`)) {
			return // encoding/json has one character for every half of a pair
		}
		require.Equal(t, parsed(t, text), parsed(t, canonical))
	})
}

func parsed(t *testing.T, text []byte) (value any) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value))
	return value
}
