package crypto

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExactNumbers_TellsWhatADoubleHolds(t *testing.T) {
	for _, number := range []string{
		"0", "-0", "0.0", "0e999999999", "1", "1.0", "1e0", "10E-1", "-17", "0.1", "0.10", "1.50", "2e-3",
		"333333333.3333333", "0.30000000000000004",
		"9007199254740991", "9007199254740992", "9007199254740994", "1e15", "1e22", "100000000000000000000",
		"12345678901234567168", "-9007199254740992",
		"5e-324", "1.7976931348623157e-300", "0.000000000000000000000000001", "18446744073709551616", "123456789.5",
	} {
		require.NoError(t, ExactNumbers([]byte(number)), number)
	}
	for _, number := range []string{
		"12345678901234567890", "12345678901234567891", "12345678901234567000", "9007199254740993", "-9007199254740993",
		"9007199254740993.0",
		"90071992547409930e-1", "1e400", "-1e400", "1e-400", "4e-324", "1e23", "0.1000000000000000055511151231257827",
		"0.30000000000000001",
		"333333333.33333329", "9007199254740992.5", "1.00000000000000000001", "1e-99999999999999999999",
		"1e99999999999999999999",
		"1" + strings.Repeat("0", 200) + "1", "3.14159265358979323846",
	} {
		err := ExactNumbers([]byte(number))
		require.Error(t, err, number)
		require.NotContains(t, err.Error(), number)
	}
	for value, pointer := range map[string]string{
		`{"iban":12345678901234567890}`: "/iban", `[1,[2,9007199254740993]]`: "/1/1", `{"a/b":{"~":1e400}}`: "/a~1b/~0",
		`9007199254740993`: "",
		`{"a":1,"b":[{"c":0.5},{"c":9007199254740993}]}`: "/b/1/c",
	} {
		inexact, is := errors.AsType[InexactError](ExactNumbers([]byte(value)))
		require.True(t, is, value)
		require.Equal(t, pointer, inexact.Pointer, value)
	}
	require.NoError(t, ExactNumbers([]byte(`{"iban":"12345678901234567890","s":"9007199254740993"}`)), "text is text")
}

// Two accepted numbers with one canonical form have the same value.
func FuzzExactNumbers(f *testing.F) {
	f.Add("12345678901234567168", "12345678901234567000")
	f.Add("0.1", "0.10")
	f.Add("1e22", "10000000000000000000000")
	f.Add("9007199254740992.5", "9007199254740992")
	f.Fuzz(func(t *testing.T, a, b string) {
		var numbers [2]json.Number
		var forms, values [2]string
		for i, text := range []string{a, b} {
			if len(text) > 400 || json.Unmarshal([]byte(text), &numbers[i]) != nil || strings.HasPrefix(text, `"`) ||
				numbers[i] == "" {
				return
			}
			if ExactNumbers([]byte(text)) != nil {
				return
			}
			form, err := JCS([]byte(text))
			require.NoError(t, err, "what passes has a form")
			value, ok := new(big.Rat).SetString(strings.TrimSpace(text))
			if !ok {
				return
			}
			forms[i], values[i] = string(form), fmt.Sprint(value)
		}
		if forms[0] == forms[1] {
			require.Equal(t, values[0], values[1], "%s and %s are both %s", a, b, forms[0])
		}
	})
}
