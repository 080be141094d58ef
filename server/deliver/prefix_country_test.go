package deliver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrefixCountry_IsThatOfTheNumber(t *testing.T) {
	for number, country := range map[string]string{
		"+919551492394": "IN", "+12045550123": "CA", "+12125550123": "US", "+18765550123": "JM", "+447400123456": "GB",
		"+447797123456": "JE", "+79161234567": "RU", "+77012345678": "KZ", "+4915112345678": "DE", "+393331234567": "IT",
		"+5511987654321": "BR", "+6581234567": "SG", "+8613812345678": "CN", "+33612345678": "FR", "+61412345678": "AU",
	} {
		require.Equal(t, country, Country(number), number)
		require.Equal(t, country, PrefixCountry(Prefix(number)), number)
	}
	require.Empty(t, PrefixCountry(""), "a mailbox has no range")
	require.Equal(t, "ZZ", PrefixCountry("9999999"))
}
