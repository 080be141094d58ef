package deliver

import (
	"os"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

var home = []string{"IN", "AE"}

func TestNormalNumber_EverySpellingIsOneNumber(t *testing.T) {
	for _, spelling := range []string{
		"919551492394", "+919551492394", "00919551492394", "91 95514 92394", "+91-95514-92394", " " +
			"919551492394 ", "0091-95514 92394",
	} {
		number, err := NormalNumber(spelling, home)
		require.NoError(t, err, spelling)
		require.Equal(t, "+919551492394", number, spelling)
	}
	for spelling, expected := range map[string]string{
		"971501234567":     "+971501234567", // with IN as the default region a library would make +91971501234567
		"+971-50-123-4567": "+971501234567",
		"914422334455":     "+914422334455", // a fixed line, possible
		"915551234567":     "+915551234567", // not allotted, possible
	} {
		number, err := NormalNumber(spelling, home)
		require.NoError(t, err, spelling)
		require.Equal(t, expected, number, spelling)
	}
	for _, us := range []string{"12015550123", "13105550123"} {
		number, err := NormalNumber(us, []string{"US"})
		require.NoError(t, err)
		require.Equal(t, "+"+us, number)
	}
}

func TestNormalNumber_RefusesWhatCannotBeSentTo(t *testing.T) {
	for why, number := range map[string]string{
		"empty": "", "letters": "9195514x2394", "too short": "91955149", "sixteen digits": "9195514923941111",
		"another country": "12015550123", "no country code": "9551492394", "two pluses": "++919551492394", "full-width " +
			"digits": "９19551492394",
		"toll free": "911800123456", "parentheses": "91(95514)92394", "zeros": "000000000000", "a plus": "+",
		"a NUL": "91955149239\x00",
	} {
		_, err := NormalNumber(number, home)
		require.Equal(t, otp.Invalid, otp.KindOf(err), "%s: %q", why, number)
		require.ErrorContains(t, err, "mobile", why)
		if len(number) > 10 {
			require.NotContains(t, err.Error(), number, "an error never holds the number")
		}
	}
	for _, kind := range refusedTypes {
		for _, region := range []string{"GB", "IT"} {
			if example := phonenumbers.GetExampleNumberForType(region, kind); example != nil {
				number := phonenumbers.Format(example, phonenumbers.E164)
				_, err := NormalNumber(number, []string{region})
				require.Equal(t, otp.Invalid, otp.KindOf(err), number)
			}
		}
	}
	_, err := NormalNumber("919551492394", []string{"AE"})
	require.Equal(t, otp.Invalid, otp.KindOf(err), "the fast path asks for the country too")
}

// The library accepts what the fast path accepts, as the same number; and every accepted number is its own normal
// form.
func FuzzNormalNumber(f *testing.F) {
	for _, seed := range []string{"919551492394", "+91 95514-92394", "971501234567", "00914422334455", "911800123456",
		"916000000000", "919999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, err := NormalNumber(text, home)
		if err != nil {
			if otp.KindOf(err) != otp.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if again, err := NormalNumber(number, home); err != nil || again != number {
			t.Fatalf("%q became %q, which became %q (%v)", text, number, again, err)
		}
		parsed, err := phonenumbers.Parse(number, "ZZ")
		if err != nil || !phonenumbers.IsPossibleNumber(parsed) || phonenumbers.Format(parsed, phonenumbers.E164) != number {
			t.Fatalf("%q was accepted as %q, which the library refuses: %v", text, number, err)
		}
		slow, err := parsedNumber(strings.TrimPrefix(number, "+"), home)
		if err != nil || slow != number {
			t.Fatalf("%q: the fast path says %q, the library %q (%v)", text, number, slow, err)
		}
		if any := AnyNumber(strings.TrimPrefix(number, "+")); any != number {
			t.Fatalf("%q: without a list of countries it is %q, with one %q", text, any, number)
		}
	})
}

// Every prefix of the fast path with FULL=1, and otherwise every thirteenth.
func TestNormalNumber_TheLibraryAcceptsEveryPrefixOfTheFastPath(t *testing.T) {
	step := 13 // coprime to ten, so every digit comes at every place
	if os.Getenv("FULL") == "1" {
		step = 1
	}
	for prefix := 60000; prefix <= 99999; prefix += step {
		digits := "91" + itoa(prefix) + "12345"
		if !indianMobile(digits) {
			t.Fatalf("%s is not on the fast path", digits)
		}
		if number, err := parsedNumber(digits, home); err != nil || number != "+"+digits {
			t.Fatalf("the library says %q to %s: %v", number, digits, err)
		}
	}
}

func itoa(n int) string {
	var digits [5]byte
	for i := 4; i >= 0; i-- {
		digits[i], n = byte('0'+n%10), n/10
	}
	return string(digits[:])
}
