package config

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const someKeyring = "k1 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="

// load reads assignments written without the prefix.
func load(assignments ...string) (Settings, error) {
	environ := []string{"PATH=/usr/bin", "HOME=/root"}
	for _, assignment := range assignments {
		environ = append(environ, Prefix+assignment)
	}
	return Load(environ)
}

func networksOf(t *testing.T, texts ...string) []netip.Prefix {
	t.Helper()
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		require.NoError(t, err)
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

func TestLoad_NothingSetIsASandbox(t *testing.T) {
	s, err := load()
	require.NoError(t, err)
	require.True(t, s.Sandbox())
	require.Equal(t, "127.0.0.1:8080", s.Addr)
	require.Equal(t, "sqlite:data/otpbridge.db", s.DatabaseURL.Reveal())
	require.True(t, s.Keyring.Empty())
	require.Equal(t, "data/keyring", s.KeyringFile)
	require.True(t, s.MayMakeKeyringFile())
	require.Equal(t, "/otpauthapi", s.ContextPath)
	require.Equal(t, Documented, s.MessageProfile)
	require.False(t, s.StrictHTTP)
	require.Equal(t, "text/plain; charset=utf-8", s.ServletContentType)
	require.Empty(t, s.TrustedProxies)
	require.Equal(t, InfoLevel, s.LogLevel)
	require.Equal(t, TextFormat, s.LogFormat)
	require.Equal(t, "inbox:", s.SMSChannels.Reveal())
	require.Equal(t, "inbox:", s.EmailChannels.Reveal())
	require.Equal(t, 5*time.Second, s.DeliveryWait)
	require.Equal(t, 10*time.Second, s.ReadTimeout)
	require.Equal(t, 30*time.Second, s.WriteTimeout)
	require.Equal(t, 120*time.Second, s.IdleTimeout)
	require.Equal(t, 15*time.Second, s.ShutdownTimeout)
	require.True(t, s.SandboxFixedCode.Empty())
	require.Equal(t, 50, s.PrefixUnverified)
}

func TestLoad_ProductionHasItsOwnDefaults(t *testing.T) {
	s, err := load("MODE=production", "KEYRING="+someKeyring)
	require.NoError(t, err)
	require.False(t, s.Sandbox())
	require.Equal(t, ":8080", s.Addr)
	require.Equal(t, RequireHTTPS, s.HTTPS)
	require.True(t, s.Open(ConsoleDoor))
	require.Equal(t, JSONFormat, s.LogFormat)
	require.Equal(t, someKeyring, s.Keyring.Reveal())
	require.Empty(t, s.KeyringFile)
	require.False(t, s.MayMakeKeyringFile())

	s, err = load("MODE=production", "KEYRING_FILE=/run/secrets/keyring", "ADDR=:80", "LOG_FORMAT=text")
	require.NoError(t, err)
	require.Equal(t, ":80", s.Addr)
	require.Equal(t, TextFormat, s.LogFormat)
	require.Equal(t, "/run/secrets/keyring", s.KeyringFile)
	require.False(t, s.MayMakeKeyringFile())
}

func TestLoad_AKeyringFileSomebodyNamedIsNeverMade(t *testing.T) {
	s, err := load("KEYRING_FILE=/mnt/keyring")
	require.NoError(t, err)
	require.Equal(t, "/mnt/keyring", s.KeyringFile)
	require.False(t, s.MayMakeKeyringFile())

	s, err = load("KEYRING=" + someKeyring)
	require.NoError(t, err)
	require.Empty(t, s.KeyringFile, "the text comes instead of the sandbox's file")
	require.False(t, s.MayMakeKeyringFile())

	s, err = load("MODE=production", "KEYRING_FILE=data/keyring")
	require.NoError(t, err)
	require.False(t, s.MayMakeKeyringFile())
}

// acceptedValues has at least one value for every setting.
var acceptedValues = []struct {
	key, text string
	value     func(Settings) any
	want      any
}{
	{"MODE", "sandbox", func(s Settings) any { return s.Mode }, Sandbox},
	{"ADDR", "0.0.0.0:0", func(s Settings) any { return s.Addr }, "0.0.0.0:0"},
	{"ADDR", "[::1]:65535", func(s Settings) any { return s.Addr }, "[::1]:65535"},
	{"ADDR", "[fe80::1%eth0]:80", func(s Settings) any { return s.Addr }, "[fe80::1%eth0]:80"},
	{"ADDR", "localhost:80", func(s Settings) any { return s.Addr }, "localhost:80"},
	{"DATABASE_URL", "sqlite:/var/lib/otp bridge/a.db", func(s Settings) any { return s.DatabaseURL.Reveal() },
		"sqlite:/var/lib/otp bridge/a.db"},
	{"DATABASE_URL", "sqlite:a.db", func(s Settings) any { return s.DatabaseURL.Scheme() }, "sqlite"},
	{"DATABASE_URL", "mysql://user:password@host:3306/otpauthapi",
		func(s Settings) any { return s.DatabaseURL.Reveal() }, "mysql://user:password@host:3306/otpauthapi"},
	{"DATABASE_URL", "mysql://user@my_db/otp?tls=true", func(s Settings) any { return s.DatabaseURL.Reveal() },
		"mysql://user@my_db/otp?tls=true"},
	{"DATABASE_URL", "mysql://u:p%2F%40@[::1]:3306/otp", func(s Settings) any { return s.DatabaseURL.Scheme() }, "mysql"},
	{"KEYRING", someKeyring + "\nk0 AAAA\n", func(s Settings) any { return s.Keyring.Reveal() }, someKeyring +
		"\nk0 AAAA\n"},
	{"KEYRING_FILE", "/srv/key ring", func(s Settings) any { return s.KeyringFile }, "/srv/key ring"},
	{"CONTEXT_PATH", "/", func(s Settings) any { return s.ContextPath }, ""},
	{"CONTEXT_PATH", "", func(s Settings) any { return s.ContextPath }, ""},
	{"CONTEXT_PATH", "/a/b-c_d.e~f", func(s Settings) any { return s.ContextPath }, "/a/b-c_d.e~f"},
	{"MESSAGE_PROFILE", "live", func(s Settings) any { return s.MessageProfile }, Live},
	{"STRICT_HTTP", "true", func(s Settings) any { return s.StrictHTTP }, true},
	{"STRICT_HTTP", "1", func(s Settings) any { return s.StrictHTTP }, true},
	{"STRICT_HTTP", "0", func(s Settings) any { return s.StrictHTTP }, false},
	{"SERVLET_CONTENT_TYPE", "text/html;charset=ISO-8859-1", func(s Settings) any { return s.ServletContentType },
		"text/html;charset=ISO-8859-1"},
	{"TRUSTED_PROXIES", "", func(s Settings) any { return s.TrustedProxies }, []netip.Prefix(nil)},
	{"OUTBOUND_NETWORKS", "10.0.0.0/8,127.0.0.1", func(s Settings) any { return s.OutboundNetworks },
		[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}},
	{"DOORS", "v1", func(s Settings) any { return s.Doors }, []Door{V1Door}},
	{"DOORS", "console, api", func(s Settings) any { return s.Doors }, []Door{ConsoleDoor, APIDoor}},
	{"HTTPS", "warn", func(s Settings) any { return s.HTTPS }, WarnHTTPS},
	{"PUBLIC_URL", "", func(s Settings) any { return s.PublicURL }, ""},
	{"PUBLIC_URL", "https://otp.shop.example/", func(s Settings) any { return s.PublicURL }, "https://otp.shop.example"},
	{"PUBLIC_URL", "http://127.0.0.1:8080", func(s Settings) any { return s.PublicURL }, "http://127.0.0.1:8080"},
	{"PUBLIC_URL", "https://[2001:db8::1]:8443", func(s Settings) any { return s.PublicURL },
		"https://[2001:db8::1]:8443"},
	{"METRICS_ADDR", "", func(s Settings) any { return s.MetricsAddr }, ""},
	{"METRICS_ADDR", "127.0.0.1:9464", func(s Settings) any { return s.MetricsAddr }, "127.0.0.1:9464"},
	{"ALERT_ACTIONS", "", func(s Settings) any { return s.AlertActions }, []string(nil)},
	{"ALERT_ACTIONS", "key_usage, address_keys", func(s Settings) any { return s.AlertActions },
		[]string{"key_usage", "address_keys"}},
	{"ALERT_MAILBOXES", "a@shop.example, b@shop.example", func(s Settings) any { return s.AlertMailboxes.Reveal() },
		"a@shop.example, b@shop.example"},
	{"AUDIT_CHECKPOINT_MAILBOXES", "a@elsewhere.example",
		func(s Settings) any { return s.AuditCheckpointMailboxes.Reveal() }, "a@elsewhere.example"},
	{"AUDIT_CALLS", "all", func(s Settings) any { return s.AuditCalls }, AuditAllCalls},
	{"AUDIT_CALLS", "writes", func(s Settings) any { return s.AuditCalls }, AuditWrites},
	{"AUDIT_CALLS", "off", func(s Settings) any { return s.AuditCalls }, AuditNoCalls},
	{"AUDIT_CALL_DAYS", "1", func(s Settings) any { return s.AuditCallDays }, 1},
	{"AUDIT_CHANGE_DAYS", "3650", func(s Settings) any { return s.AuditChangeDays }, 3650},
	{"AUDIT_CHECKPOINT_FILE", "", func(s Settings) any { return s.AuditCheckpointFile }, ""},
	{"AUDIT_CHECKPOINT_FILE", "/var/log/cp", func(s Settings) any { return s.AuditCheckpointFile }, "/var/log/cp"},
	{"STATE_DIR", "", func(s Settings) any { return s.StateDir }, ""},
	{"FILES_DIR", "", func(s Settings) any { return s.FilesDir }, ""},
	{"STATE_DIR", "/var/lib/otpbridge/state/", func(s Settings) any { return s.StateDir }, "/var/lib/otpbridge/state/"},
	{"FILES_DIR", "/var/lib/otpbridge/state/", func(s Settings) any { return s.FilesDir }, "/var/lib/otpbridge/state/"},
	{"TLS_CERT_FILE", "", func(s Settings) any { return s.TLSCertFile }, ""},
	{"TLS_KEY_FILE", "", func(s Settings) any { return s.TLSKeyFile }, ""},
	{"LOG_LEVEL", "debug", func(s Settings) any { return s.LogLevel.Level() }, slog.LevelDebug},
	{"LOG_LEVEL", "info", func(s Settings) any { return s.LogLevel.Level() }, slog.LevelInfo},
	{"LOG_LEVEL", "warn", func(s Settings) any { return s.LogLevel.Level() }, slog.LevelWarn},
	{"LOG_LEVEL", "error", func(s Settings) any { return s.LogLevel.Level() }, slog.LevelError},
	{"LOG_FORMAT", "json", func(s Settings) any { return s.LogFormat }, JSONFormat},
	{"SMS_CHANNELS", "https://gateway.example/?to={to}&text={text},inbox:",
		func(s Settings) any { return s.SMSChannels.Reveal() }, "https://gateway.example/?to={to}&text={text},inbox:"},
	{"SMS_CHANNELS", "", func(s Settings) any { return s.SMSChannels.Empty() }, true},
	{"EMAIL_CHANNELS", "smtp://user:pass@mail.example?from=a@b.example",
		func(s Settings) any { return s.EmailChannels.Reveal() }, "smtp://user:pass@mail.example?from=a@b.example"},
	{"DELIVERY_WAIT", "0", func(s Settings) any { return s.DeliveryWait }, time.Duration(0)},
	{"DELIVERY_WAIT", "1500ms", func(s Settings) any { return s.DeliveryWait }, 1500 * time.Millisecond},
	{"READ_TIMEOUT", "1m", func(s Settings) any { return s.ReadTimeout }, time.Minute},
	{"WRITE_TIMEOUT", "2m", func(s Settings) any { return s.WriteTimeout }, 2 * time.Minute},
	{"IDLE_TIMEOUT", "10m", func(s Settings) any { return s.IdleTimeout }, 10 * time.Minute},
	{"SHUTDOWN_TIMEOUT", "1s", func(s Settings) any { return s.ShutdownTimeout }, time.Second},
	{"REDIS_URL", "redis://redis", func(s Settings) any { return s.RedisURL.Reveal() }, "redis://redis"},
	{"REDIS_URL", "rediss://:p%2F%40@[::1]:6380/2", func(s Settings) any { return s.RedisURL.Reveal() },
		"rediss://:p%2F%40@[::1]:6380/2"},
	{"AUTH_FAILURES_PER_MINUTE", "0", func(s Settings) any { return s.AuthFailuresPerMinute }, 0},
	{"AUTH_FAILURES_PER_MINUTE", "100000", func(s Settings) any { return s.AuthFailuresPerMinute }, 100000},
	{"COST_GUARDS", "record", func(s Settings) any { return s.CostGuards }, RecordGuards},
	{"PREFIX_UNVERIFIED", "0", func(s Settings) any { return s.PrefixUnverified }, 0},
	{"SANDBOX_TEST_RECIPIENTS", "+919000000001=sent", func(s Settings) any { return s.SandboxTestRecipients.Reveal() },
		"+919000000001=sent"},
	{"SANDBOX_RELAY_RECIPIENTS", "+919000000001", func(s Settings) any { return s.SandboxRelayRecipients.Reveal() },
		"+919000000001"},
	{"SANDBOX_FIXED_CODE", "0123", func(s Settings) any { return s.SandboxFixedCode.Reveal() }, "0123"},
	{"SANDBOX_FIXED_CODE", "0123456789", func(s Settings) any { return s.SandboxFixedCode.Reveal() }, "0123456789"},
}

func TestLoad_Accepts(t *testing.T) {
	for _, c := range acceptedValues {
		t.Run(c.key+"="+c.text, func(t *testing.T) {
			s, err := load(c.key + "=" + c.text)
			require.NoError(t, err)
			require.Equal(t, c.want, c.value(s))
		})
	}
}

func TestLoad_TrustedProxiesAreNetworks(t *testing.T) {
	s, err := load("TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.7 ,2001:db8::/32,::1,::ffff:192.0.2.8,::ffff:172.16.0.0/108")
	require.NoError(t, err)
	require.Equal(t, networksOf(t, "10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128", "192.0.2.8/32",
		"172.16.0.0/12"), s.TrustedProxies)
}

// refusedValues has at least one value for every setting. problem is what the fault must say.
var refusedValues = []struct{ key, text, problem string }{
	{"MODE", "prod", `"prod" is not on the list`},
	{"MODE", "Production", `"Production" is not on the list`},
	{"MODE", "", "is set to nothing"},
	{"ADDR", "8080", `"8080" is not a host and a port`},
	{"ADDR", "::1:8080", "not a host and a port"},
	{"ADDR", ":http", "no port"},
	{"ADDR", ":65536", "no port"},
	{"ADDR", ":-1", "no port"},
	{"ADDR", ":", "no port"},
	{"ADDR", "a b:80", "no host"},
	{"ADDR", "http://localhost:80", "not a host and a port"},
	{"DOORS", "", "is set to nothing"},
	{"DOORS", "v1,,api", "an empty place"},
	{"DOORS", "servlets", `"servlets" is no door`},
	{"DOORS", "V1", `"V1" is no door`},
	{"DOORS", "v1,v1", `"v1" stands twice`},
	{"DOORS", "v1,console", "without the api"},
	{"HTTPS", "true", `"true" is not on the list`},
	{"HTTPS", "", "is set to nothing"},
	{"PUBLIC_URL", "otp.shop.example", "begins neither with https://"},
	{"PUBLIC_URL", "ftp://otp.shop.example", "begins neither with https://"},
	{"PUBLIC_URL", "https://", "names no host"},
	{"PUBLIC_URL", "https://user:hunter2@otp.shop.example", "has an @"},
	{"PUBLIC_URL", "https://otp.shop.example/bridge", "more than scheme, host and port"},
	{"PUBLIC_URL", "https://otp.shop.example?a=b", "more than scheme, host and port"},
	{"PUBLIC_URL", "https://otp.shop.example#x", "more than scheme, host and port"},
	{"PUBLIC_URL", "https://OTP.shop.example", "in capitals"},
	{"PUBLIC_URL", "https://otp.shop.example:443", "the port that https means"},
	{"PUBLIC_URL", "https://otp.shop.example:99999", "a port that is not one"},
	{"PUBLIC_URL", "https://shop example", "begins neither"},
	{"DATABASE_URL", "", "is set to nothing"},
	{"DATABASE_URL", "postgres://user:password@host/otp", "starts neither"},
	{"DATABASE_URL", "user:password@tcp(host:3306)/otp", "starts neither"},
	{"DATABASE_URL", "SQLITE:a.db", "starts neither"},
	{"DATABASE_URL", "sqlite:", "names no file"},
	{"DATABASE_URL", "sqlite://data/a.db", "slashes"},
	{"DATABASE_URL", "sqlite:data/", "names a folder"},
	{"DATABASE_URL", "sqlite:a.db?mode=ro", "has options"},
	{"DATABASE_URL", "sqlite:a.db\n", "line break"},
	{"DATABASE_URL", "mysql://host:3306/otp", "names no user"},
	{"DATABASE_URL", "mysql://user:pass/word@host:3306/otp", "not a URL"},
	{"DATABASE_URL", "mysql://user:12/34@host:3306/otp", "names no user"},
	{"DATABASE_URL", "mysql://user:12#34@host:3306/otp", "names no user"},
	{"DATABASE_URL", "mysql://user:12?34@host:3306/otp", "names no user"},
	{"DATABASE_URL", "mysql://user:100%@host:3306/otp", "not a URL"},
	{"DATABASE_URL", "mysql://user:password@/otp", "names no host"},
	{"DATABASE_URL", "mysql://user:password@host:0/otp", "port"},
	{"DATABASE_URL", "mysql://user:password@host:/otp", "port"},
	{"DATABASE_URL", "mysql://user:password@host:70000/otp", "port"},
	{"DATABASE_URL", "mysql://user:password@host", "names no database"},
	{"DATABASE_URL", "mysql://user:password@host/", "names no database"},
	{"DATABASE_URL", "mysql://user:password@host/a/b", "names no database"},
	{"DATABASE_URL", "mysql://user:password@host/otp#x", "#"},
	{"KEYRING", "", "is set to nothing"},
	{"KEYRING", " \n", "nothing but blanks"},
	{"KEYRING_FILE", "", "is set to nothing"},
	{"KEYRING_FILE", someKeyring, "holds a keyring"},
	{"KEYRING_FILE", someKeyring + "\nk0 AAAA", "holds a keyring"},
	{"KEYRING_FILE", "data/keyring\n", "line break"},
	{"KEYRING_FILE", "data/", "is a folder"},
	{"CONTEXT_PATH", "otpauthapi", "does not start with a slash"},
	{"CONTEXT_PATH", "/otpauthapi/", "ends with a slash"},
	{"CONTEXT_PATH", "//", "ends with a slash"},
	{"CONTEXT_PATH", "/a/../b", "dots"},
	{"CONTEXT_PATH", "/a/./b", "dots"},
	{"CONTEXT_PATH", "/a b", "characters"},
	{"CONTEXT_PATH", "/a//b", "characters"},
	{"CONTEXT_PATH", "/:any", "characters"},
	{"CONTEXT_PATH", "/*any", "characters"},
	{"CONTEXT_PATH", "/a%2Fb", "characters"},
	{"MESSAGE_PROFILE", "default", "not on the list"},
	{"STRICT_HTTP", "yes", "not on the list"},
	{"SERVLET_CONTENT_TYPE", "text", "not a media type"},
	{"SERVLET_CONTENT_TYPE", "text/plain;;", "not a media type"},
	{"SERVLET_CONTENT_TYPE", "text/plain;\r\n charset=utf-8", "not a media type"},
	{"SERVLET_CONTENT_TYPE", "text/plain; charset=\"\xff\"", "not a media type"},
	{"ALERT_ACTIONS", "spend", "is no alert that can act"},
	{"ALERT_ACTIONS", "key_usage,key_usage", "stands twice"},
	{"ALERT_ACTIONS", "key_usage,", "is no alert"},
	{"TRUSTED_PROXIES", "proxy.example", "neither an address nor a network"},
	{"TRUSTED_PROXIES", "10.0.0.0/8,", "empty place"},
	{"TRUSTED_PROXIES", " ", "empty place"},
	{"TRUSTED_PROXIES", "10.0.0.1/8", "the network is 10.0.0.0/8, the address alone 10.0.0.1"},
	{"TRUSTED_PROXIES", "10.0.0.0/33", "neither"},
	{"TRUSTED_PROXIES", "fe80::1%eth0", "neither"},
	{"TRUSTED_PROXIES", "0.0.0.0/0", "every address"},
	{"TRUSTED_PROXIES", "::/0", "every address"},
	{"TRUSTED_PROXIES", "::ffff:0.0.0.0/96", "every address"},
	{"OUTBOUND_NETWORKS", "10.0.0.1/8", "the network is 10.0.0.0/8"},
	{"OUTBOUND_NETWORKS", "hooks.internal", "neither an address nor a network"},
	{"OUTBOUND_NETWORKS", "0.0.0.0/0", "every address"},
	{"OUTBOUND_NETWORKS", "::/0", "every address"},
	{"OUTBOUND_NETWORKS", "127.0.0.0/8", "one by one"},
	{"OUTBOUND_NETWORKS", "10.0.0.0/8,169.254.0.0/16", "never opened"},
	{"OUTBOUND_NETWORKS", "169.254.169.254", "never opened"},
	{"OUTBOUND_NETWORKS", "fe80::/10", "never opened"},
	{"OUTBOUND_NETWORKS", "224.0.0.0/4", "never opened"},
	{"OUTBOUND_NETWORKS", "::", "never opened"},
	{"METRICS_ADDR", "9464", "not a host and a port"},
	{"STATE_DIR", "/var/lib/otp\nbridge", "line break"},
	{"AUDIT_CALLS", "none", "not on the list"},
	{"AUDIT_CALL_DAYS", "0", "out of range"},
	{"AUDIT_CHANGE_DAYS", "3651", "out of range"},
	{"AUDIT_CHECKPOINT_FILE", "/var/log/\ncp", "line break"},
	{"FILES_DIR", "/var/lib/otp\nbridge", "line break"},
	{"TLS_CERT_FILE", "/etc/tls/", "is a folder"},
	{"TLS_KEY_FILE", "-----BEGIN PRIVATE KEY-----", "instead of its path"},
	{"LOG_LEVEL", "INFO", "not on the list"},
	{"LOG_FORMAT", "logfmt", "not on the list"},
	{"SANDBOX_TEST_RECIPIENTS", " ", "nothing but blanks"},
	{"SANDBOX_RELAY_RECIPIENTS", " ", "nothing but blanks"},
	{"ALERT_MAILBOXES", " ", "nothing but blanks"},
	{"AUDIT_CHECKPOINT_MAILBOXES", " ", "nothing but blanks"},
	{"SMS_CHANNELS", " ", "nothing but blanks"},
	{"EMAIL_CHANNELS", "inbox:,\nsmtp://mail.example", "a line break or another control character"},
	{"DELIVERY_WAIT", "5", "has no unit"},
	{"DELIVERY_WAIT", "-1s", "out of range"},
	{"DELIVERY_WAIT", "61s", "out of range"},
	{"DELIVERY_WAIT", "soon", "not a duration"},
	{"READ_TIMEOUT", "0s", "out of range"},
	{"WRITE_TIMEOUT", "121s", "out of range"},
	{"IDLE_TIMEOUT", "11m", "out of range"},
	{"SHUTDOWN_TIMEOUT", "16s", "out of range"},
	{"PREFIX_UNVERIFIED", "1000001", "is out of range"},
	{"COST_GUARDS", "off", `"off" is not on the list`},
	{"REDIS_URL", "redis:6379", "starts neither with redis:// nor with rediss://"},
	{"REDIS_URL", "redis://", "names no host"},
	{"REDIS_URL", "redis://host:0", "has a port that is not one from 1 to 65535"},
	{"REDIS_URL", "redis://host:", "has a port that is not one from 1 to 65535"},
	{"REDIS_URL", "redis://host/zero", "names a database that is not a number"},
	{"REDIS_URL", "redis://host?db=1", "has something behind the database"},
	{"REDIS_URL", "redis://:a%@host", "is not a URL"},
	{"AUTH_FAILURES_PER_MINUTE", "-1", "is not a whole number"},
	{"AUTH_FAILURES_PER_MINUTE", "+1", "is not a whole number"},
	{"AUTH_FAILURES_PER_MINUTE", "1.5", "is not a whole number"},
	{"AUTH_FAILURES_PER_MINUTE", "60s", "is not a whole number"},
	{"AUTH_FAILURES_PER_MINUTE", "100001", "is out of range"},
	{"AUTH_FAILURES_PER_MINUTE", "99999999999999999999", "is not a whole number"},
	{"SANDBOX_FIXED_CODE", "123", "is not 4 to 10 digits"},
	{"SANDBOX_FIXED_CODE", "12345678901", "is not 4 to 10 digits"},
	{"SANDBOX_FIXED_CODE", "12a4", "is not 4 to 10 digits"},
	{"SANDBOX_FIXED_CODE", "١٢٣٤", "is not 4 to 10 digits"},
}

func TestLoad_RefusesHalfACertificate(t *testing.T) {
	_, err := load("TLS_CERT_FILE=/etc/tls.crt")
	require.ErrorContains(t, err, "OTPBRIDGE_TLS_KEY_FILE: is not set, and OTPBRIDGE_TLS_CERT_FILE is")
	_, err = load("TLS_KEY_FILE=/etc/tls.key", "TLS_CERT_FILE=")
	require.ErrorContains(t, err, "OTPBRIDGE_TLS_CERT_FILE: is not set, and OTPBRIDGE_TLS_KEY_FILE is")
	s, err := load("TLS_KEY_FILE=/etc/tls.key", "TLS_CERT_FILE=/etc/tls.crt")
	require.NoError(t, err)
	require.Equal(t, "/etc/tls.crt", s.TLSCertFile)
}

func TestLoad_Refuses(t *testing.T) {
	for _, c := range refusedValues {
		t.Run(c.key+"="+c.text, func(t *testing.T) {
			s, err := load(c.key + "=" + c.text)
			require.Zero(t, s)
			var faults Faults
			require.ErrorAs(t, err, &faults)
			require.Len(t, faults, 1)
			require.Equal(t, Prefix+c.key, faults[0].Name)
			require.Contains(t, faults[0].Problem, c.problem)
			require.Contains(t, faults[0].Remedy, "for example "+Prefix+c.key+"=")
			require.Equal(t, 1, strings.Count(err.Error(), "\n"), "a line for the head and one for the fault")
		})
	}
}

func TestLoad_EverySettingIsTriedGoodAndBad(t *testing.T) {
	good, bad := make(map[string]bool), make(map[string]bool)
	for _, c := range acceptedValues {
		good[c.key] = true
	}
	for _, c := range refusedValues {
		bad[c.key] = true
	}
	for _, f := range fields() {
		require.True(t, good[f.key], "no accepted value of %s", f.key)
		require.True(t, bad[f.key], "no refused value of %s", f.key)
	}
}

func TestLoad_EveryRemedyWorks(t *testing.T) {
	for _, f := range fields() {
		example := f.example
		if example == "" {
			example = f.texts[Sandbox]
		}
		require.NoError(t, f.check(example), f.name())
		for mode, text := range f.texts {
			require.NoError(t, f.check(text), "the default of %s in %s", f.name(), mode)
		}
	}
}

func TestLoad_EverythingWrongIsToldAtOnce(t *testing.T) {
	s, err := load(
		"MODE=production",
		"ADDR=8080",
		"LOG_LEVEL=loud",
		"READ_TIMEOUT=10",
		"DELIVERY_WAIT=40s",
		"SANDBOX_FIXED_CODE=123456",
		"SANDBOX_TOMORROW=1",
		"MESAGE_PROFILE=live",
	)
	require.Zero(t, s)
	require.Equal(t, `the settings have 8 faults:
  OTPBRIDGE_ADDR: "8080" is not a host and a port; write 'host:port' or ':port', port 0 to 65535, for example OTPBRIDGE_ADDR=127.0.0.1:8080
  OTPBRIDGE_LOG_LEVEL: "loud" is not on the list; write one of 'debug', 'info', 'warn', 'error', for example OTPBRIDGE_LOG_LEVEL=info
  OTPBRIDGE_READ_TIMEOUT: "10" has no unit; write 1s to 60s, for example OTPBRIDGE_READ_TIMEOUT=10s
  OTPBRIDGE_KEYRING_FILE: is not set, nor is OTPBRIDGE_KEYRING: production has no keyring of its own making; write the keys into a file, one 'id base64' a line, and name it, for example OTPBRIDGE_KEYRING_FILE=/run/secrets/otpbridge_keyring; or set OTPBRIDGE_KEYRING="k1 $(openssl rand -base64 32)"
  OTPBRIDGE_WRITE_TIMEOUT: 30s is not longer than OTPBRIDGE_DELIVERY_WAIT, which is 40s: a servlet that waits that long for a delivery is cut off before it answers; raise it above, or lower the wait, for example OTPBRIDGE_WRITE_TIMEOUT=30s and OTPBRIDGE_DELIVERY_WAIT=5s
  OTPBRIDGE_MESAGE_PROFILE: is no setting; did you mean OTPBRIDGE_MESSAGE_PROFILE? Otherwise unset it
  OTPBRIDGE_SANDBOX_FIXED_CODE: belongs to the sandbox, and production refuses to start with it; unset it, or set OTPBRIDGE_MODE=sandbox where nothing is guarded
  OTPBRIDGE_SANDBOX_TOMORROW: belongs to the sandbox, and production refuses to start with it; unset it, or set OTPBRIDGE_MODE=sandbox where nothing is guarded`,
		err.Error())
}

func TestLoad_TwoKeyringsAreRefused(t *testing.T) {
	for _, mode := range []string{"sandbox", "production"} {
		_, err := load("MODE="+mode, "KEYRING="+someKeyring, "KEYRING_FILE=data/keyring")
		var faults Faults
		require.ErrorAs(t, err, &faults)
		require.Len(t, faults, 1)
		require.Contains(t, err.Error(), "OTPBRIDGE_KEYRING: is set, and so is OTPBRIDGE_KEYRING_FILE")
		require.NotContains(t, err.Error(), someKeyring)
	}
}

func TestLoad_AnAnswerMayTakeLongerThanADelivery(t *testing.T) {
	_, err := load("WRITE_TIMEOUT=5s")
	require.ErrorContains(t, err, "OTPBRIDGE_DELIVERY_WAIT")
	_, err = load("WRITE_TIMEOUT=5001ms")
	require.NoError(t, err)
	_, err = load("DELIVERY_WAIT=60s", "WRITE_TIMEOUT=61s")
	require.NoError(t, err)

	_, err = load("WRITE_TIMEOUT=5s", "DELIVERY_WAIT=soon")
	require.ErrorContains(t, err, "have 1 fault:", "what is faulty itself is not compared")
}

func TestLoad_AnUnknownModeIsNotHeldToTheRulesOfAnother(t *testing.T) {
	_, err := load("MODE=prod", "SANDBOX_FIXED_CODE=1234")
	require.ErrorContains(t, err, "have 1 fault:")
}

func TestLoad_UnknownNames(t *testing.T) {
	for key, near := range map[string]string{
		"ADDRESS":        "ADDR",
		"Mode":           "MODE",
		"addr":           "ADDR",
		"DATABASE_URI":   "DATABASE_URL",
		"KEYRINGFILE":    "KEYRING_FILE",
		"TRUSTED_PROXY":  "TRUSTED_PROXIES",
		"SHUTDOWN_TIME":  "SHUTDOWN_TIMEOUT",
		"PORTS":          "",
		"SERVICE":        "",
		"":               "",
		"X":              "",
		"REDIS_URL":      "",
		"SANDBOX_FIXED":  "",
		"LOGLEVEL":       "LOG_LEVEL",
		"CONTEXTPATH":    "CONTEXT_PATH",
		"WRITE_TIMEOUTS": "WRITE_TIMEOUT",
	} {
		t.Run(key, func(t *testing.T) {
			_, err := load(key + "=hunter2")
			var faults Faults
			require.ErrorAs(t, err, &faults)
			require.Len(t, faults, 1)
			require.Equal(t, Prefix+key, faults[0].Name)
			require.NotContains(t, err.Error(), "hunter2")
			if near == "" {
				require.NotContains(t, faults[0].Remedy, "did you mean")
			} else {
				require.Contains(t, faults[0].Remedy, "did you mean "+Prefix+near+"?")
			}
		})
	}
}

func TestLoad_WhatKubernetesInjectsIsIgnored(t *testing.T) {
	_, err := load(
		"MODE=production", "KEYRING="+someKeyring,
		"SERVICE_HOST=10.3.0.4",
		"SERVICE_PORT=8080",
		"SERVICE_PORT_HTTP=8080",
		"PORT=tcp://10.3.0.4:8080",
		"PORT_8080_TCP=tcp://10.3.0.4:8080",
		"PORT_8080_TCP_PROTO=tcp",
		"PORT_8080_TCP_PORT=8080",
		"PORT_8080_TCP_ADDR=10.3.0.4",
	)
	require.NoError(t, err)
}

func TestLoad_ReadsItsOwnVariablesOnly(t *testing.T) {
	s, err := Load([]string{"MODE=nonsense", "XOTPBRIDGE_ADDR=nonsense", "otpbridge_addr=nonsense", "OTPBRIDGE_ADDR", "",
		"="})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", s.Addr)

	s, err = load("ADDR=:1", "ADDR=:2")
	require.NoError(t, err)
	require.Equal(t, ":2", s.Addr, "the later of two counts")
}

func TestLoad_AValueCannotForgeLines(t *testing.T) {
	_, err := load("ADDR=x\n  OTPBRIDGE_MODE: forged", "A\nB=x", "C\x1b[2J=x", "LOG_LEVEL="+strings.Repeat("long", 1000))
	require.Error(t, err)
	require.Equal(t, 4, strings.Count(err.Error(), "\n"))
	require.NotContains(t, err.Error(), "\x1b")
	require.Less(t, len(err.Error()), 2000)
}
