package otp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAccount_DefaultsAreValid(t *testing.T) {
	a := DefaultAccount("10000000000001")
	require.NoError(t, a.Validate())
}

func TestAccount_AComplaintNamesTheColumn(t *testing.T) {
	zero, bad := 0, Profile("vendor")
	for column, spoil := range map[string]func(*Account){
		"esme_address":        func(a *Account) { a.Address = "0123" },
		"otp_length":          func(a *Account) { a.Length = 0 },
		"otp_ttl_seconds":     func(a *Account) { a.TTLSeconds = -1 },
		"max_attempts":        func(a *Account) { a.MaxAttempts = &zero },
		"max_regenerations":   func(a *Account) { a.MaxRegenerations = -1 },
		"sends_per_minute":    func(a *Account) { a.SendsPerMinute = -1 },
		"sends_per_hour":      func(a *Account) { a.SendsPerHour = maxSends + 1 },
		"sends_per_day":       func(a *Account) { a.SendsPerDay = -5 },
		"requests_per_minute": func(a *Account) { a.RequestsPerMinute = &zero },
		"burst":               func(a *Account) { a.Burst = &zero },
		"retention_days":      func(a *Account) { a.RetentionDays = 0 },
		"message_profile":     func(a *Account) { a.Profile = &bad },
		"message_overrides":   func(a *Account) { a.Overrides = map[string]string{"greeting": "x"} },
		"otp_cipher":          func(a *Account) { a.Cipher = "des" },
		"otp_encoding":        func(a *Account) { a.Encoding = "base32" },
		"department_mode":     func(a *Account) { a.DepartmentMode = "maybe" },
		"departments":         func(a *Account) { a.Departments = []string{" "} },
		"countries":           func(a *Account) { a.Countries = []string{"india"} },
		"servlet_types":       func(a *Account) { a.ServletTypes = []string{"verification", "login"} },
		"must contain":        func(a *Account) { a.ServletTypes = []string{"transaction"} },
		"sms_enabled":         func(a *Account) { a.SMSEnabled = false },
	} {
		a := DefaultAccount("10000000000001")
		spoil(&a)
		require.ErrorContains(t, a.Validate(), column)
	}
}

func TestAccount_OverridesAreOneLine(t *testing.T) {
	a := DefaultAccount("1")
	a.Overrides = map[string]string{"wrong": "Wrong {n}\r\nSet-Cookie: x"}
	require.ErrorContains(t, a.Validate(), "message_overrides")
}

func TestKinds_HaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range Kinds() {
		require.NotEmpty(t, kind.String())
		require.False(t, seen[kind.String()], kind.String())
		seen[kind.String()] = true
	}
	require.Len(t, seen, int(kindEnd)-1)
	require.Equal(t, "unknown", Kind(0).String())
	require.Equal(t, "unknown", kindEnd.String())
}
