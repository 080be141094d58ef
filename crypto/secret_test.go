package crypto

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sentinel is a secret that no output may contain in any form.
const sentinel = "sentinel-0123456789-abcdefghijkl"

// requireNoSentinel searches text for the sentinel in clear, in hex, in base64, and as the lists of numbers that fmt
// makes from bytes.
func requireNoSentinel(t *testing.T, text string) {
	t.Helper()
	raw := []byte(sentinel)
	decimal := strings.Trim(fmt.Sprint(raw), "[]")
	for _, spelling := range []string{
		sentinel[:8],
		hex.EncodeToString(raw[:8]),
		strings.ToUpper(hex.EncodeToString(raw[:8])),
		base64.StdEncoding.EncodeToString(raw[:9]),
		decimal[:20],
		strings.ReplaceAll(decimal[:20], " ", ","),
		"0x73, 0x65",
		"1936027252", "73656e74", // "sent" as a word of an AES key schedule
		"1953391987", "746e6573",
	} {
		require.NotContains(t, text, spelling)
	}
}

// secretHolders returns values of every type here that holds a secret, each made from the sentinel.
func secretHolders(t *testing.T) map[string]any {
	t.Helper()
	secret := NewSecret([]byte(sentinel))
	ring, err := ParseKeyring("k1 " + base64.StdEncoding.EncodeToString([]byte(sentinel)))
	require.NoError(t, err)
	servlet, err := NewServletCipher(AESCBC, EncodingAuto, secret, NewSecret([]byte(sentinel[:16])))
	require.NoError(t, err)
	return map[string]any{
		"Secret":         secret,
		"*Secret":        &secret,
		"*Keyring":       ring,
		"*IndexKey":      NewIndexKey(secret),
		"*ServletCipher": servlet,
	}
}

var everyVerb = []string{
	"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%O", "%c", "%U", "%t", "%e", "%g", "%100v", "%-5s",
	"% x", "%#x", "%z",
}

func TestSecrets_RefuseToPrintWithEveryVerb(t *testing.T) {
	for name, holder := range secretHolders(t) {
		for _, verb := range everyVerb {
			require.Equal(t, redaction, fmt.Sprintf(verb, holder), "%s with %s", name, verb)
		}
		require.Equal(t, redaction, fmt.Sprint(holder), name)
		require.Equal(t, redaction, holder.(fmt.Stringer).String(), name)
		require.Equal(t, redaction, holder.(fmt.GoStringer).GoString(), name)
	}
}

// The hard case: fmt cannot call methods of values in unexported fields, and does not for %p and for invalid verbs.
func TestSecrets_RefuseToPrintInsideOtherValues(t *testing.T) {
	secret := NewSecret([]byte(sentinel))
	type inner struct{ secret Secret }
	type account struct {
		Exported Secret
		hidden   Secret
		deeper   inner
		list     []Secret
		byName   map[string]Secret
		any      any
	}
	outer := account{
		Exported: secret, hidden: secret, deeper: inner{secret}, list: []Secret{secret},
		byName: map[string]Secret{"key": secret}, any: secret,
	}
	for _, verb := range append(everyVerb, "%p") {
		requireNoSentinel(t, fmt.Sprintf(verb, outer))
		requireNoSentinel(t, fmt.Sprintf(verb, &outer))
		requireNoSentinel(t, fmt.Sprintf(verb, []any{secret, outer}))
		for _, holder := range secretHolders(t) {
			requireNoSentinel(t, fmt.Sprintf(verb, holder))
			requireNoSentinel(t, fmt.Sprintf(verb, struct{ hidden any }{holder}))
		}
	}
	requireNoSentinel(t, fmt.Errorf("open: %w: %v", ErrSealed, outer).Error())
	tooMany := []any{1, secret, outer}
	requireNoSentinel(t, fmt.Sprintf("%v", tooMany...))
}

func TestSecrets_RefuseToPrintThroughEncodersAndLogs(t *testing.T) {
	type page struct{ Key any }
	for name, holder := range secretHolders(t) {
		text, err := json.Marshal(map[string]any{"key": holder})
		require.NoError(t, err, name)
		require.JSONEq(t, `{"key":"[redacted]"}`, string(text), name)

		text, err = xml.Marshal(page{holder})
		require.NoError(t, err, name)
		require.Contains(t, string(text), redaction, name)
		requireNoSentinel(t, string(text))

		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).Info("made", "key", holder, slog.Any("group", []any{holder}))
		}
		require.Contains(t, log.String(), "key="+redaction, name)
		require.Contains(t, log.String(), `"key":"[redacted]"`, name)
		requireNoSentinel(t, log.String())
	}
}

func TestSecret_IsACopyOfWhatItWasMadeFrom(t *testing.T) {
	source := []byte(sentinel)
	secret := NewSecret(source)
	clear(source)
	require.Equal(t, []byte(sentinel), secret.Bytes())
	require.Equal(t, len(sentinel), secret.Len())
	require.False(t, secret.IsZero())
}

func TestSecret_ZeroValueIsTheUnsetSecret(t *testing.T) {
	for _, secret := range []Secret{{}, NewSecret(nil), NewSecret([]byte{})} {
		require.True(t, secret.IsZero())
		require.Zero(t, secret.Len())
		require.Empty(t, secret.Bytes())
		require.Equal(t, redaction, fmt.Sprint(secret))
	}
}

func TestSecret_EqualComparesContents(t *testing.T) {
	secret := NewSecret([]byte(sentinel))
	require.True(t, secret.Equal(NewSecret([]byte(sentinel))))
	require.False(t, secret.Equal(NewSecret([]byte(sentinel[1:]))))
	require.False(t, secret.Equal(NewSecret([]byte(strings.ToUpper(sentinel)))))
	require.False(t, secret.Equal(Secret{}))
	require.True(t, Secret{}.Equal(Secret{}))
}
