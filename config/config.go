// Package config reads every setting of OTPBridge from the environment into one struct.
//
// A [Settings] that [Load] returns is valid as a whole: every value is in its documented range, and values that depend
// on each other fit. Settings are not checked again elsewhere. If something is wrong, Load reports all faults at once,
// each with its remedy. Unknown names are faults too, because a misspelt setting would otherwise be ignored.
//
// Secrets have types that refuse to print ([Secret], [DatabaseURL]), and no fault quotes one.
//
// The package reads the environment that it is given and the files that hold secrets. It opens neither the keyring
// file nor the database.
package config

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/sethvargo/go-envconfig"
)

// Prefix starts the name of every variable of OTPBridge.
const Prefix = "OTPBRIDGE_"

// Settings holds everything an operator decides. A field's tags are its whole definition; Load, [Reference] and the
// texts of faults use them:
//
//	env         the variable's name without the prefix
//	show        yes if the value is safe to show to whoever may run "otpbridge config"; parts if its
//	            type prints what is safe of it. Without this tag nothing of it is shown: a setting
//	            that nobody thought about is taken for a secret
//	default     the value where the variable is not set
//	sandbox     the same, where the modes differ
//	production  the same, where the modes differ
//	values      what may be written: a list "a|b" for enumerations and booleans,
//	            "least to most" for durations, prose for everything else, with
//	            literals in 'single quotes'
//	empty       what a variable set to nothing means; without this tag it is a
//	            fault, since it is mostly a secret that was not there
//	example     what the remedy shows where there is no default to show
//	doc         the meaning, in the words of the settings table
type Settings struct {
	Mode Mode `env:"MODE" show:"yes" default:"sandbox" values:"sandbox|production" doc:"The sandbox has demo accounts, an inbox that shows codes, and the sandbox API; production has none of it."`

	Addr string `env:"ADDR" show:"yes" sandbox:"127.0.0.1:8080" production:":8080" values:"'host:port' or ':port', port 0 to 65535" doc:"Where the server listens. Port 0 takes a free one."`

	DatabaseURL DatabaseURL `env:"DATABASE_URL" show:"parts" default:"sqlite:data/otpbridge.db" values:"'sqlite:path' or 'mysql://user:password@host:3306/database'" doc:"Where the database is. A SQLite path is taken as it stands; special characters in a password are percent-encoded."`

	// Keyring is the text of the keyring, empty if KeyringFile is used.
	Keyring Secret `env:"KEYRING" values:"lines of 'id base64', the first is the primary key" example:"k1 $(openssl rand -base64 32)" doc:"The keys that protect everything at rest, as text. This or the file is required in production; both together are refused."`

	// KeyringFile is the path of the keyring, empty if Keyring is used.
	KeyringFile string `env:"KEYRING_FILE" show:"yes" sandbox:"data/keyring" values:"a path" example:"/run/secrets/otpbridge_keyring" doc:"The same, as a file with one key a line. The default of the sandbox is made on first start; a file named here must exist."`

	// StateDir is empty if nothing is to be stored outside the database.
	StateDir string `env:"STATE_DIR" show:"yes" default:"state" values:"a path" empty:"none: a backup that is restored is not noticed" doc:"A folder of this server's own, outside everything that a backup of the database takes, such as '/var/lib/otpbridge/state'. It remembers how far the server's commits came, so that the codes of a backup that is restored can be ended."`

	// ContextPath is empty for the root, else starts with a slash and does not end with one.
	ContextPath string `env:"CONTEXT_PATH" show:"yes" default:"/otpauthapi" values:"'/' or a path that starts with '/' and does not end with it" empty:"the root" doc:"What stands before the names of the servlets."`

	MessageProfile Profile `env:"MESSAGE_PROFILE" show:"yes" default:"documented" values:"documented|live" doc:"Servlet texts of every account that names no profile, and of every 'UNAUTHERISED USER'."`

	StrictHTTP bool `env:"STRICT_HTTP" show:"yes" default:"false" values:"true|false|1|0" doc:"Give 'UNAUTHERISED USER' the HTTP status 401 instead of 200. For all other answers the account decides."`

	ServletContentType string `env:"SERVLET_CONTENT_TYPE" show:"yes" default:"text/plain; charset=utf-8" values:"a media type" doc:"The Content-Type of servlet answers."`

	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" show:"yes" values:"addresses and networks, separated by commas" empty:"none" example:"10.0.0.0/8,192.0.2.7" doc:"Proxies whose word on the address of a client is believed."`

	// OutboundNetworks allows private networks as targets of requests that customers cause.
	OutboundNetworks []netip.Prefix `env:"OUTBOUND_NETWORKS" show:"yes" values:"addresses and networks, separated by commas" empty:"none" example:"10.20.0.0/16,192.168.7.9" doc:"Private networks to which webhooks and key sets of customers may lead. Without it they lead to public addresses only. Link-local addresses and the metadata services of clouds stay closed, and loopback but for single addresses."`

	// TLSCertFile and TLSKeyFile are both empty or both paths.
	TLSCertFile string `env:"TLS_CERT_FILE" show:"yes" values:"a path" empty:"no TLS" example:"/etc/otpbridge/tls.crt" doc:"The certificate chain to serve TLS with, in PEM. It is read again when it changes. Without it a proxy in front does TLS."`

	TLSKeyFile string `env:"TLS_KEY_FILE" show:"yes" values:"a path" empty:"no TLS" example:"/etc/otpbridge/tls.key" doc:"The private key of the certificate, in PEM."`

	// Doors are the open doors, in any order, each once.
	Doors []Door `env:"DOORS" show:"yes" default:"servlet,v1,api,console" values:"'servlet', 'v1', 'api' and 'console', separated by commas" doc:"Which surfaces this server has: the servlets, the JSON API for applications, the API for management, and the console. A surface that is not named answers 404."`

	HTTPS HTTPS `env:"HTTPS" show:"yes" sandbox:"off" production:"require" values:"require|warn|off" doc:"What happens to a credential that comes over plain HTTP from another machine: 'require' refuses it at the JSON APIs, and logs it at the servlets, whose accounts may refuse it with 'require_https'; 'warn' logs it. HTTPS that ends in a proxy counts where the proxy is one of the trusted and sends 'X-Forwarded-Proto: https'."`

	// PublicURL has no slash at its end; empty if it is not set.
	PublicURL string `env:"PUBLIC_URL" show:"yes" values:"an 'https://' URL without a path; in a sandbox also 'http://'" empty:"the address that is listened on" example:"https://otp.shop.example" doc:"Where people and applications reach this server. Links that people are sent begin with it, passkeys are bound to it, and the console answers to no other name. Without it the console answers to IP addresses and localhost, and over TLS that ends here to every name."`

	// MetricsAddr is empty for no metrics.
	MetricsAddr string `env:"METRICS_ADDR" show:"yes" production:"127.0.0.1:9464" values:"'host:port' or ':port', port 0 to 65535" empty:"no metrics" example:"127.0.0.1:9464" doc:"Where /metrics and /debug/pprof are served, apart from everything else. Whoever reaches it can see how much is sent and hold the server up with profiles, but no recipient, key or code."`

	// RedisURL is empty if each server counts requests for itself.
	RedisURL RedisURL `env:"REDIS_URL" show:"parts" values:"'redis://user:password@host:6379/0', with 'rediss:' over TLS" example:"redis://redis:6379/0" doc:"Where servers that share a database count requests together. Without it, or while it does not answer, each counts for itself. Codes and guesses are always counted in the database."`

	AuthFailuresPerMinute int `env:"AUTH_FAILURES_PER_MINUTE" show:"yes" default:"60" values:"0 to 100000" doc:"How many credentials may be refused to one address in a minute, or to one IPv6 /64, before more of them are looked up a few at a time and answered with 429 by the JSON API; a key that is right is always let in. 0 sets no limit."`

	LogLevel LogLevel `env:"LOG_LEVEL" show:"yes" default:"info" values:"debug|info|warn|error" doc:"The least severe log lines that are written."`

	LogFormat LogFormat `env:"LOG_FORMAT" show:"yes" sandbox:"text" production:"json" values:"text|json" doc:"The form of a log line."`

	// SMSChannels and EmailChannels are URLs separated by commas; deliver reads them.
	SMSChannels Secret `env:"SMS_CHANNELS" sandbox:"inbox:" values:"URLs, separated by commas, in order of preference" empty:"none" example:"https://gateway.example/send?to={to_digits}&text={text}" doc:"What hands SMS on: 'inbox:', 'https:' gateways, 'discard:' for measuring; see the page on delivery. A comma within a URL is written '%2C'."`

	EmailChannels Secret `env:"EMAIL_CHANNELS" sandbox:"inbox:" values:"URLs, separated by commas, in order of preference" empty:"none" example:"smtp://user:password@mail.example?from=codes@shop.example" doc:"The same for e-mail: 'inbox:', 'smtp:' and 'smtps:' servers, 'https:' gateways, 'discard:' for measuring."`

	// FilesDir is empty if channels name no files.
	FilesDir string `env:"FILES_DIR" show:"yes" values:"a path" empty:"none" example:"/etc/otpbridge/files" doc:"The folder of the files that channels may name: profiles of gateways and DKIM keys, at most 64 KiB each. They are read at the start. Accounts name them by name, 'SMS_CHANNELS' and 'EMAIL_CHANNELS' by name or path."`

	CostGuards CostGuards `env:"COST_GUARDS" show:"yes" default:"enforce" values:"enforce|record" doc:"Whether spend caps and stopped prefixes refuse sends, or are only noted in the history; an account may say otherwise."`

	PrefixUnverified int `env:"PREFIX_UNVERIFIED" show:"yes" default:"50" values:"0 to 1000000" doc:"After how many SMS to one prefix that nobody verified the prefix is stopped for an hour, if less than 5 % were verified; 0 stops none. A prefix is the country code and four digits."`

	AuditCalls AuditCalls `env:"AUDIT_CALLS" show:"yes" default:"all" values:"all|writes|off" doc:"Which calls the audit log keeps: all of them, those that change something, or none. Changes of people, keys and accounts are always kept."`

	AuditCallDays int `env:"AUDIT_CALL_DAYS" show:"yes" default:"30" values:"1 to 3650" doc:"For how many days the audit log keeps what a call was. Its hash stays, so that the log still verifies."`

	AuditChangeDays int `env:"AUDIT_CHANGE_DAYS" show:"yes" default:"400" values:"1 to 3650" doc:"The same for changes of people, keys and accounts."`

	// AlertActions are the alerts that act, each once.
	AlertActions []string `env:"ALERT_ACTIONS" show:"yes" values:"'address_failures', 'address_keys', 'address_recipients', 'key_country' and 'key_usage', separated by commas" empty:"none" example:"address_failures" doc:"Which alerts act: those of an address refuse it at the servlets and at the JSON API for 15 minutes, those of a key switch it off. The others say what they would have done."`

	// AlertMailboxes is empty for none; deliver reads it.
	AlertMailboxes Secret `env:"ALERT_MAILBOXES" values:"mailboxes, separated by commas" empty:"none" example:"ops@shop.example" doc:"Who gets a mail of every alert. 'EMAIL_CHANNELS' must name a mail server for it."`

	// AuditCheckpointFile is empty if checkpoints only go to the log.
	AuditCheckpointFile string `env:"AUDIT_CHECKPOINT_FILE" show:"yes" values:"a path" empty:"none" example:"/var/log/otpbridge/checkpoints" doc:"Where checkpoints of the audit log are appended, usually two a second at most. Keep it where whoever can write to the database cannot."`

	// AuditCheckpointMailboxes is empty for none; deliver reads it.
	AuditCheckpointMailboxes Secret `env:"AUDIT_CHECKPOINT_MAILBOXES" values:"mailboxes, separated by commas" empty:"none" example:"auditor@elsewhere.example" doc:"Who gets a mail of a checkpoint of the audit log when a server starts, and once a day after. 'EMAIL_CHANNELS' must name a mail server for it."`

	DeliveryWait time.Duration `env:"DELIVERY_WAIT" show:"yes" default:"5s" values:"0s to 60s" doc:"How long generate and regenerate wait for the outcome of a delivery before they answer that it is on its way; with 0s they do not wait, and never answer SMSEMAILFAIL. Shorter than the write timeout."`

	ReadTimeout time.Duration `env:"READ_TIMEOUT" show:"yes" default:"10s" values:"1s to 60s" doc:"How long a client may take to send a request."`

	WriteTimeout time.Duration `env:"WRITE_TIMEOUT" show:"yes" default:"30s" values:"1s to 120s" doc:"How long an answer may take, from the end of the request header to the last byte."`

	IdleTimeout time.Duration `env:"IDLE_TIMEOUT" show:"yes" default:"120s" values:"1s to 600s" doc:"How long a kept-alive connection may wait for its next request."`

	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" show:"yes" default:"15s" values:"1s to 15s" doc:"How long requests in flight may take to finish once the server was told to stop."`

	// SandboxTestRecipients is empty for none; deliver reads it.
	SandboxTestRecipients Secret `env:"SANDBOX_TEST_RECIPIENTS" values:"'recipient=outcome' or 'recipient=outcome:code', separated by commas; outcomes are 'sent', 'not_sent' and 'unknown', a code is 4 to 10 digits" empty:"none" example:"+919000000001=not_sent,+919000000002=sent:123456" doc:"Recipients that nothing is sent to and whose messages end in a fixed way, whatever channel is set; and the code of their challenges, where codes have that length. Production refuses to start with it."`

	// SandboxRelayRecipients is empty for none; deliver reads it.
	SandboxRelayRecipients Secret `env:"SANDBOX_RELAY_RECIPIENTS" values:"numbers and mailboxes, separated by commas" empty:"none" example:"+919551492394,me@shop.example" doc:"To whom 'POST /sandbox/messages/{id}/relay' may send a message of the inbox, for a look at it on a real phone. Production refuses to start with it."`

	// SandboxFixedCode is empty unless the sandbox uses one code for everything.
	SandboxFixedCode Secret `env:"SANDBOX_FIXED_CODE" values:"4 to 10 digits" example:"123456" doc:"The code of every challenge, for tests that cannot read an inbox. Production refuses to start with it."`
}

// Mode distinguishes a sandbox from a production server.
type Mode string

const (
	Sandbox    Mode = "sandbox"
	Production Mode = "production"
)

// Profile names the set of texts of the servlets' answers.
type Profile string

const (
	Documented Profile = "documented" // as printed in the vendor's article
	Live       Profile = "live"       // as sent by the vendor's service
)

// Door is an interface that can be switched off.
type Door string

const (
	ServletDoor Door = "servlet"
	V1Door      Door = "v1"
	APIDoor     Door = "api"
	ConsoleDoor Door = "console"
)

// HTTPS says what happens to credentials that come over plain HTTP.
type HTTPS string

const (
	RequireHTTPS HTTPS = "require"
	WarnHTTPS    HTTPS = "warn"
	IgnoreHTTPS  HTTPS = "off"
)

// CostGuards says whether the cost guards refuse sends.
type CostGuards string

const (
	EnforceGuards CostGuards = "enforce"
	RecordGuards  CostGuards = "record"
)

// AuditCalls says which calls the audit log keeps.
type AuditCalls string

const (
	AuditAllCalls AuditCalls = "all"
	AuditWrites   AuditCalls = "writes"
	AuditNoCalls  AuditCalls = "off"
)

// LogFormat is the form of a log line.
type LogFormat string

const (
	TextFormat LogFormat = "text"
	JSONFormat LogFormat = "json"
)

// LogLevel is a threshold. It is a [slog.Leveler], so handlers accept it directly.
type LogLevel string

const (
	DebugLevel LogLevel = "debug"
	InfoLevel  LogLevel = "info"
	WarnLevel  LogLevel = "warn"
	ErrorLevel LogLevel = "error"
)

// Level returns slog's number for the level; an empty level is info.
func (l LogLevel) Level() slog.Level {
	switch l {
	case DebugLevel:
		return slog.LevelDebug
	case WarnLevel:
		return slog.LevelWarn
	case ErrorLevel:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// Sandbox reports whether this server is a sandbox.
func (s Settings) Sandbox() bool { return s.Mode == Sandbox }

// MayMakeKeyringFile reports whether a missing keyring file may be created with a new key. Only the sandbox's default
// path may. A configured path refers to an existing key: if the file is missing, a mount is missing, and a new key in
// its place would make every sealed row unreadable for good.
func (s Settings) MayMakeKeyringFile() bool {
	own, _ := fieldNamed("KEYRING_FILE").defaultIn(Sandbox)
	return s.Sandbox() && s.KeyringFile == own
}

// Open reports whether a door is open.
func (s Settings) Open(door Door) bool { return slices.Contains(s.Doors, door) }

// NamesStateDir reports whether the state folder is not the default.
func (s Settings) NamesStateDir() bool {
	own, _ := fieldNamed("STATE_DIR").defaultIn(s.Mode)
	return s.StateDir != "" && s.StateDir != own
}

// Load reads the settings from environ, which has the form of [os.Environ]: of two entries with one name the later
// counts, as in os/exec. Variables without [Prefix] are ignored.
//
// The error is a [Faults] with everything that is wrong; the Settings are then zero.
func Load(environ []string) (Settings, error) {
	given := ownVariables(environ)
	_, faults := readFiles(given)
	mode := modeOf(given)

	// go-envconfig stops at the first value it cannot read. So every text is checked separately before, and
	// go-envconfig gets only the accepted ones.
	accepted := make(map[string]string)
	for _, f := range fields() {
		text, ok := f.textIn(given, mode)
		if !ok {
			continue
		}
		if err := f.check(text); err != nil {
			faults = append(faults, f.fault(err.Error()))
			continue
		}
		accepted[f.key] = text
	}

	var s Settings
	err := envconfig.ProcessWith(context.Background(), &envconfig.Config{
		Target:   &s,
		Lookuper: envconfig.MapLookuper(canonical(accepted)),
	})
	if err != nil {
		return Settings{}, fmt.Errorf("read settings that passed their checks: %w", err)
	}
	if _, text := given["KEYRING"]; text {
		s.KeyringFile = ""
	}

	faults = append(faults, keyringFaults(given, mode)...)
	faults = append(faults, timeFaults(s, accepted)...)
	faults = append(faults, tlsFaults(accepted)...)
	faults = append(faults, publicURLFaults(accepted, mode)...)
	faults = append(faults, nameFaults(given, mode)...)
	if len(faults) > 0 {
		return Settings{}, faults
	}
	return s, nil
}
