package manage

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// A moment is written as RFC 3339 or in milliseconds, and read as RFC 3339.
func TestColumns_OfMomentsAreForPeople(t *testing.T) {
	for text, want := range map[string]string{
		"2027-01-31T00:00:00Z": "1801353600000", "2027-01-31T05:30:00.25+05:30": "1801353600250",
		"1801353600000": "1801353600000", "null": "null", "+5": "5", "007": "7", "-1": "-1",
	} {
		value, err := ColumnJSON("servlets_sunset_at", text)
		require.NoError(t, err, text)
		require.Equal(t, want, string(value))
	}
	for _, text := range []string{"soon", "2027-01-31", "1.5", `"1801353600000"`, "1e3", "9223372036854775808", ""} {
		_, err := ColumnJSON("servlets_sunset_at", text)
		refusal, ok := err.(*otp.Error)
		require.True(t, ok, text)
		require.Equal(t, "servlets_sunset_at", refusal.Field)
	}
	at := otp.Millis(1801353600250)
	texts := ColumnTexts(&otp.Account{ServletsSunsetAt: &at})
	require.Equal(t, "2027-01-31T00:00:00.25Z", texts["servlets_sunset_at"])
	require.Empty(t, texts["servlets_deprecated_at"])
}
