package servlet

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// values is what a test compares: the parameters without the record of which were given.
type values struct{ ipaddress, mobile, email, otp string }

func (p parameters) values() values { return values{p.ipaddress, p.mobile, p.email, p.otp} }

func TestParse_ReadsWhatTheServletsKnow(t *testing.T) {
	whole := values{ipaddress: "10.20.51.122", mobile: "919551492394", email: "user@example.com"}
	tests := map[string]struct {
		query, body string
		want        values
	}{
		"the article's address": {
			query: "ipaddress=10.20.51.122&mobile=919551492394&email=user@example.com", want: whole},
		"its stray blank as %20": {
			query: "%20ipaddress=10.20.51.122&mobile=919551492394&email=user@example.com", want: whole},
		"its stray blank as +": {
			query: "+ipaddress=10.20.51.122&mobile=919551492394&email=user@example.com", want: whole},
		"blanks around names and values": {
			query: "ipaddress+=+10.20.51.122+&%20mobile%20=%20919551492394%20&email=+user%40example.com", want: whole},
		"a form body alone": {
			body: "ipaddress=10.20.51.122&mobile=919551492394&email=user%40example.com", want: whole},
		"some in the query, some in the body": {
			query: "ipaddress=10.20.51.122", body: "mobile=919551492394&email=user%40example.com", want: whole},
		"empty pairs": {
			query: "&&ipaddress=10.20.51.122&&mobile=919551492394&email=user@example.com&", want: whole},
		"unknown ones, repeated, without name or without value": {
			query: "ipaddress=10.20.51.122&a=1&a=2&=x&b&mobile=919551492394&email=user@example.com&c=%00%ff", want: whole},
		"names in another letter case are unknown": {
			query: "IPADDRESS=10.20.51.122&Mobile=919551492394", want: values{}},
		"a plus in front of the number is a blank and goes": {
			query: "mobile=+919551492394", want: values{mobile: "919551492394"}},
		"an escaped plus stays": {
			query: "mobile=%2B919551492394", want: values{mobile: "+919551492394"}},
		"blanks within a value stay": {
			query: "mobile=91+95514+92394", want: values{mobile: "91 95514 92394"}},
		"escapes of either case": {
			query: "email=user%40example.com&ipaddress=%3a%3A1", want: values{email: "user@example.com", ipaddress: "::1"}},
		"an escaped semicolon is a letter": {
			query: "ipaddress=a%3Bb", want: values{ipaddress: "a;b"}},
		"the otp keeps its equals signs": {
			query: "otp=Xrgn4bpX/4iYytICyC1wNg==", want: values{otp: "Xrgn4bpX/4iYytICyC1wNg=="}},
		"the otp is not trimmed": {
			query: "otp=+rc5f87doGFTeAvAwlkhrA==", want: values{otp: " rc5f87doGFTeAvAwlkhrA=="}},
		"the otp may be garbage": {
			query: "otp=%00%ff%0a", want: values{otp: "\x00\xff\n"}},
		"nothing at all": {},
		"a parameter without value is empty": {
			query: "mobile&email=", want: values{}},
		"text beyond ASCII": {
			query: "email=%c3%a9@example.com", want: values{email: "é@example.com"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := parse(test.query, test.body)
			require.NoError(t, err)
			require.Equal(t, test.want, p.values())
		})
	}
}

func TestParse_RefusesAsInvalid(t *testing.T) {
	tests := map[string]struct{ query, body string }{
		"a letter escape":                    {query: "mobile=%zz"},
		"an escape cut short":                {query: "mobile=919551492394%4"},
		"a lone percent sign":                {query: "mobile=919551492394%"},
		"a bad escape in an unknown value":   {query: "mobile=919551492394&x=%zz"},
		"a bad escape in a name":             {query: "mobile=919551492394&%zz=x"},
		"a bad escape in the body":           {query: "mobile=919551492394", body: "x=%zz"},
		"a bad escape in the otp":            {query: "otp=%zz"},
		"a semicolon for a separator":        {query: "ipaddress=10.20.51.122;mobile=919551492394"},
		"a semicolon in an unknown value":    {query: "mobile=919551492394&x=a;b"},
		"a semicolon in the body":            {body: "mobile=919551492394;x=1"},
		"a known one twice":                  {query: "mobile=919551492394&mobile=919551492394"},
		"a known one twice, once blank-led":  {query: "mobile=919551492394&+mobile=919551492394"},
		"a known one twice, both empty":      {query: "email=&email="},
		"a known one twice in the body":      {body: "otp=1&otp=1"},
		"once in the query, once in a body":  {query: "mobile=919551492394", body: "mobile=919551492394"},
		"empty in the query, full in a body": {query: "mobile=", body: "mobile=919551492394"},
		"NUL":                                {query: "mobile=919551492394%00"},
		"a line end":                         {query: "email=user@example.com%0d%0aBcc:x"},
		"a tab":                              {query: "ipaddress=%0910.20.51.122"},
		"DEL":                                {query: "ipaddress=10.20.51.122%7f"},
		"a control character beyond ASCII":   {query: "ipaddress=10.20.51.122%c2%85"},
		"no UTF-8":                           {query: "email=%ff@example.com"},
		"raw bytes that are no UTF-8":        {query: "email=\xff@example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := parse(test.query, test.body)
			require.Equal(t, otp.Invalid, otp.KindOf(err))
			require.Zero(t, p)
		})
	}
}

func TestParse_ErrorsNameTheParameterAndNeverQuoteIt(t *testing.T) {
	for _, query := range []string{
		"mobile=919551492394%07", "mobile=919551492394&mobile=919551492394", "mobile=919551492394%zz",
	} {
		_, err := parse(query, "")
		require.NotContains(t, err.Error(), "919551492394")
	}
	_, err := parse("mobile=1&mobile=1", "")
	require.ErrorContains(t, err, "mobile is given twice")
}

func TestReadParameters_ReadsABodyOnlyOfAForm(t *testing.T) {
	const mobile = "mobile=919551492394"
	tests := map[string]struct {
		contentType, body string
		want              string
	}{
		"a form":                        {"application/x-www-form-urlencoded", mobile, "919551492394"},
		"a form with a charset":         {"Application/X-WWW-Form-Urlencoded; charset=ISO-8859-1", mobile, "919551492394"},
		"no content type":               {"", mobile, ""},
		"JSON":                          {"application/json", `{"mobile":"919551492394"}`, ""},
		"multipart":                     {"multipart/form-data; boundary=x", mobile, ""},
		"a semicolon that is no form":   {"text/plain", "a;b", ""},
		"a form of nothing":             {"application/x-www-form-urlencoded", "", ""},
		"something that starts like it": {"application/x-www-form-urlencoded-not", mobile, ""},
	}
	for name, test := range tests {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+" "+name, func(t *testing.T) {
				r := httptest.NewRequest(method, "/?ipaddress=10.20.51.122", strings.NewReader(test.body))
				r.Header.Set("Content-Type", test.contentType)
				p, err := readParameters(r)
				require.NoError(t, err)
				require.Equal(t, values{ipaddress: "10.20.51.122", mobile: test.want}, p.values())
			})
		}
	}
}

func TestReadParameters_BoundsTheBody(t *testing.T) {
	form := func(length int) string {
		const head = "mobile=919551492394&x="
		return head + strings.Repeat("x", length-len(head))
	}
	tests := map[string]struct {
		body  io.Reader
		known int64 // the announced length; -1 for a chunked body
		want  otp.Kind
	}{
		"64 KiB":                  {strings.NewReader(form(64 << 10)), 64 << 10, 0},
		"64 KiB in chunks":        {strings.NewReader(form(64 << 10)), -1, 0},
		"a byte more":             {strings.NewReader(form(64<<10 + 1)), 64<<10 + 1, otp.Invalid},
		"a byte more in chunks":   {strings.NewReader(form(64<<10 + 1)), -1, otp.Invalid},
		"a body that breaks off":  {io.MultiReader(strings.NewReader("mobile=9195"), brokenReader{}), 100, otp.Invalid},
		"a body without an end":   {endless{}, -1, otp.Invalid},
		"a length that is a dare": {brokenReader{}, 1 << 40, otp.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", test.body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.ContentLength = test.known
			_, err := readParameters(r)
			require.Equal(t, test.want, otp.KindOf(err))
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// FuzzParseRequest compares the parser with a slow one made from net/url. They must agree on every query and body: on
// what is refused, and on every accepted value.
func FuzzParseRequest(f *testing.F) {
	f.Add("+ipaddress=10.20.51.122&mobile=919551492394&email=user@example.com", "")
	f.Add("ipaddress=10.20.51.122", "mobile=%2B919551492394&otp=+rc5f87doGFTeAvAwlkhrA==")
	f.Add("mobile=1&mobile=2", "mobile=3")
	f.Add("mobile=%zz", "a;b")
	f.Add("%6dobile=1&m%6fbile=%00", "=&&=x&%")
	f.Add("email=%c2%85%ff", "otp=%ff%00")
	f.Fuzz(func(t *testing.T, query, body string) {
		if strings.Count(query, "&")+strings.Count(body, "&") > 5000 {
			return // net/url refuses queries of thousands of parameters
		}
		got, err := parse(query, body)
		want, acceptable := slowParse(query, body)
		if !acceptable {
			require.Equal(t, otp.Invalid, otp.KindOf(err), "the slow parser refuses it")
			require.Zero(t, got)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got.values())
	})
}

// slowParse does what parse does, with net/url.
func slowParse(query, body string) (v values, acceptable bool) {
	places := map[string]*string{"ipaddress": &v.ipaddress, "mobile": &v.mobile, "email": &v.email, "otp": &v.otp}
	given := map[string]int{}
	for _, form := range []string{query, body} {
		decoded, err := url.ParseQuery(form)
		if err != nil {
			return values{}, false
		}
		for name, all := range decoded {
			name = strings.Trim(name, " ")
			place, known := places[name]
			if !known {
				continue
			}
			given[name] += len(all)
			if given[name] > 1 {
				return values{}, false
			}
			*place = all[0]
			if name == "otp" {
				continue
			}
			if !utf8.ValidString(all[0]) || strings.ContainsFunc(all[0], unicode.IsControl) {
				return values{}, false
			}
			*place = strings.Trim(all[0], " ")
		}
	}
	return v, true
}

func BenchmarkParse(b *testing.B) {
	for name, query := range map[string]string{
		"generate": "ipaddress=10.20.51.122&mobile=919551492394",
		"validate": "ipaddress=10.20.51.122&mobile=919551492394&otp=Xrgn4bpX%2F4iYytICyC1wNg%3D%3D",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parse(query, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
