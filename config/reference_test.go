package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReference_CoversEveryField(t *testing.T) {
	settings := Reference()
	files := 0
	for _, f := range fields() {
		if f.takesFile() {
			files++
		}
	}
	require.Len(t, settings, reflect.TypeFor[Settings]().NumField()+files)
	seen := make(map[string]bool)
	for _, s := range settings {
		require.Regexp(t, `^OTPBRIDGE_[A-Z]+(_[A-Z]+)*$`, s.Name)
		require.False(t, seen[s.Name], "%s twice", s.Name)
		seen[s.Name] = true
		require.NotEmpty(t, s.Default, s.Name)
		require.NotEmpty(t, s.Values, s.Name)
		require.Regexp(t, `^[A-Z].*\.$`, s.Meaning, s.Name)
		for _, text := range []string{s.Default, s.Values, s.Meaning} {
			require.Zero(t, strings.Count(text, "'")%2, "an odd quote in %q", text)
		}
	}
}

func TestReference_TellsModesApart(t *testing.T) {
	byName := make(map[string]Setting)
	for _, s := range Reference() {
		byName[s.Name] = s
	}
	require.Equal(t, "'127.0.0.1:8080' in sandbox, ':8080' in production", byName["OTPBRIDGE_ADDR"].Default)
	require.Equal(t, "'data/keyring' in sandbox, none in production", byName["OTPBRIDGE_KEYRING_FILE"].Default)
	require.Equal(t, "'documented'", byName["OTPBRIDGE_MESSAGE_PROFILE"].Default)
	require.Equal(t, "none", byName["OTPBRIDGE_KEYRING"].Default)
	require.Equal(t, "'debug', 'info', 'warn', 'error'", byName["OTPBRIDGE_LOG_LEVEL"].Values)
	require.Equal(t, "0s to 60s", byName["OTPBRIDGE_DELIVERY_WAIT"].Values)
}
