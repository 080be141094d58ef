package otp

import (
	"fmt"
	"slices"
	"strings"
)

// Profile names which texts the servlets answer with.
type Profile string

// The two profiles: the texts of the vendor's article, and the bytes that its production service sends.
const (
	Documented  Profile = "documented"
	LiveProfile Profile = "live"
)

// DepartmentMode says when the servlets require the department-id header.
type DepartmentMode string

// The department modes.
const (
	DepartmentIgnored            DepartmentMode = "ignore"
	DepartmentRequired           DepartmentMode = "require"
	DepartmentRequiredToValidate DepartmentMode = "require_on_validation"
)

// Guards says whether the cost guards refuse sends.
type Guards string

// The modes of the cost guards.
const (
	GuardsEnforce Guards = "enforce"
	GuardsRecord  Guards = "record" // refuse nothing; record what would have been refused
)

// Account is one row of otp_auth_config. The JSON names are the column names. A nil pointer means NULL: the default of
// the server or of the door applies. The cipher key and IV are held in sealed form only.
type Account struct {
	Address              string            `json:"esme_address"`
	Name                 string            `json:"name"`
	Enabled              bool              `json:"enabled"`
	OTPEnabled           bool              `json:"otp_enabled"`
	Profile              *Profile          `json:"message_profile"`
	Overrides            map[string]string `json:"message_overrides"`
	StrictHTTP           bool              `json:"strict_http"`
	Length               int               `json:"otp_length"`
	TTLSeconds           int               `json:"otp_ttl_seconds"`
	MaxAttempts          *int              `json:"max_attempts"`
	MaxRegenerations     int               `json:"max_regenerations"`
	KeyOnIP              bool              `json:"key_on_ip"`
	Countries            []string          `json:"countries"`
	SMSEnabled           bool              `json:"sms_enabled"`
	EmailEnabled         bool              `json:"email_enabled"`
	PlainValidation      bool              `json:"plain_validation_enabled"`
	ServletTypes         []string          `json:"servlet_types"` // types of the codes that the servlets can use
	Cipher               string            `json:"otp_cipher"`
	Encoding             string            `json:"otp_encoding"`
	SealedCipherKey      []byte            `json:"-"`
	SealedCipherIV       []byte            `json:"-"`
	DepartmentMode       DepartmentMode    `json:"department_mode"`
	Departments          []string          `json:"departments"`
	SendsPerMinute       int               `json:"sends_per_minute"`
	SendsPerHour         int               `json:"sends_per_hour"`
	SendsPerDay          int               `json:"sends_per_day"`
	RequestsPerMinute    *int              `json:"requests_per_minute"`
	Burst                *int              `json:"burst"`
	SMSChannels          *string           `json:"sms_channels"`
	EmailChannels        *string           `json:"email_channels"`
	SMSSender            *string           `json:"sms_sender"`
	EmailSender          *string           `json:"email_sender"`
	SMSTemplate          *string           `json:"sms_template"`
	EmailTemplate        *string           `json:"email_template"`
	DLTEntityID          *string           `json:"dlt_entity_id"`
	DLTTemplateID        *string           `json:"dlt_template_id"`
	RetentionDays        int               `json:"retention_days"`
	Templates            map[string]string `json:"templates"` // by name, texts for v1
	CORSOrigins          []string          `json:"cors_allowed_origins"`
	CORSMethods          []string          `json:"cors_allowed_methods"`
	CORSHeaders          []string          `json:"cors_allowed_headers"`
	CostGuards           *Guards           `json:"cost_guards"`
	SpendCapPerDay       *int              `json:"spend_cap_per_day"` // millionths of the currency of prices
	Prices               map[string]int64  `json:"prices"`            // of an SMS, by country; * for all others
	SafeList             []string          `json:"safe_list"`         // numbers and prefixes that are never stopped
	SealedSafeList       []byte            `json:"-"`
	RequireHTTPS         bool              `json:"require_https"`          // the servlets refuse plain HTTP
	JWTIssuers           []JWTIssuer       `json:"jwt_issuers"`            // issuers whose tokens the JSON API accepts
	UpstreamURL          *string           `json:"upstream_url"`           // where servlet calls are forwarded to
	Bridge               BridgeMode        `json:"bridge_mode"`            // from CutOverAt on
	BridgeBefore         *BridgeMode       `json:"bridge_before"`          // the mode until then
	CutOverAt            *Millis           `json:"cut_over_at"`            // nil: Bridge applies, without a hand-over
	CutOverBefore        *Millis           `json:"cut_over_before"`        // the last change before CutOverAt; nil: none
	ServletsDeprecatedAt *Millis           `json:"servlets_deprecated_at"` // nil: answers do not mention deprecation
	ServletsSunsetAt     *Millis           `json:"servlets_sunset_at"`     // when the servlets end; nil: never
	ServletsGrace        bool              `json:"servlets_grace"`         // the servlets stay on after ServletsSunsetAt
	ServletsBrownOuts    []string          `json:"servlets_brown_outs"`    // spans of time in which the servlets are off
	CreatedAt            Millis            `json:"created_at"`
	UpdatedAt            Millis            `json:"updated_at"`
}

// DefaultAccount returns an account with every column at its default.
func DefaultAccount(address string) Account {
	return Account{
		Address: address, Enabled: true, OTPEnabled: true,
		Length: 6, TTLSeconds: 300, MaxRegenerations: 3, KeyOnIP: true,
		Countries: []string{"IN", "AE"}, SMSEnabled: true, ServletTypes: []string{DefaultType},
		Cipher: "aes-cbc", Encoding: "auto", DepartmentMode: DepartmentIgnored,
		SendsPerMinute: 10, SendsPerHour: 20, SendsPerDay: 40, RetentionDays: 30, Bridge: BridgeLocal,
	}
}

// overrideNames are the texts an account may replace, in the order of the servlets' table.
var overrideNames = []string{
	"generated", "unauthorised", "feature_off", "invalid", "undelivered", "error",
	"verified", "expired", "wrong", "exhausted", "regenerations",
}

// maxSends bounds the send limits: a recipient's row stores one entry per send.
const maxSends = 10_000

// Validate returns an error if the row cannot be used. The error names the column and the values it may hold, so that
// someone who edited the row with SQL can correct it. It does not quote texts: a key written into the wrong column
// must not reach a log.
func (a *Account) Validate() error {
	if !ValidAddress(a.Address) {
		return fmt.Errorf("esme_address: must be 1–15 digits without leading zero")
	}
	for _, validate := range []func() error{a.validateRanges, a.validateChoices, a.validatePrices, a.validateSafeList,
		a.validateIssuers, a.validateBridge, a.validateSunset, a.validateOverrides, a.validateSending} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Account) validateRanges() error {
	checks := []struct {
		column   string
		value    int
		from, to int
	}{
		{"otp_length", a.Length, 4, 10},
		{"otp_ttl_seconds", a.TTLSeconds, 30, 1800},
		{"max_attempts", ValueOr(a.MaxAttempts, 1), 1, 100},
		{"max_regenerations", a.MaxRegenerations, 0, 100},
		{"sends_per_minute", a.SendsPerMinute, 0, maxSends},
		{"sends_per_hour", a.SendsPerHour, 0, maxSends},
		{"sends_per_day", a.SendsPerDay, 0, maxSends},
		{"requests_per_minute", ValueOr(a.RequestsPerMinute, 1), 1, 1_000_000},
		{"burst", ValueOr(a.Burst, 1), 1, 1_000_000},
		{"retention_days", a.RetentionDays, 1, 3650},
	}
	for _, c := range checks {
		if c.value < c.from || c.value > c.to {
			return fmt.Errorf("%s %d: must be %d–%d", c.column, c.value, c.from, c.to)
		}
	}
	return nil
}

func (a *Account) validateChoices() error {
	choices := []struct {
		column  string
		value   string
		allowed []string
	}{
		{"message_profile", string(ValueOr(a.Profile, Documented)), []string{string(Documented), string(LiveProfile)}},
		{"otp_cipher", a.Cipher, []string{"aes-cbc", "aes-ecb", "none"}},
		{"otp_encoding", a.Encoding, []string{"auto", "hex", "base64"}},
		{"department_mode", string(a.DepartmentMode), []string{
			string(DepartmentIgnored), string(DepartmentRequired), string(DepartmentRequiredToValidate)}},
		{"cost_guards", string(ValueOr(a.CostGuards, GuardsEnforce)), []string{string(GuardsEnforce), string(GuardsRecord)}},
	}
	for _, c := range choices {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("%s: must be one of %s", c.column, strings.Join(c.allowed, ", "))
		}
	}
	return nil
}

func (a *Account) validateSafeList() error {
	for _, entry := range a.SafeList {
		if digits, plus := strings.CutPrefix(entry, "+"); !plus || len(digits) < 1 || len(digits) > 15 || !Digits(digits) {
			return fmt.Errorf("safe_list: must be a list of numbers, or of their beginnings, like +919551492394 and +91955")
		}
	}
	return nil
}

func (a *Account) validateOverrides() error {
	for name, text := range a.Overrides {
		if !slices.Contains(overrideNames, name) {
			return fmt.Errorf("message_overrides: names a text that is none of %s", strings.Join(overrideNames, ", "))
		}
		if len(text) > 500 || strings.ContainsAny(text, "\r\n\x00") {
			return fmt.Errorf("message_overrides: %q must be one line of at most 500 bytes", name)
		}
	}
	return nil
}

// validateSending checks where codes go, what they are for and who sends them.
func (a *Account) validateSending() error {
	if len(a.Countries) == 0 {
		return fmt.Errorf("countries: must name at least one country, such as IN,AE")
	}
	for _, country := range a.Countries {
		if !validCountry(country) {
			return fmt.Errorf("countries: must be two-letter country codes such as IN,AE")
		}
	}
	if !slices.Contains(a.ServletTypes, DefaultType) {
		return fmt.Errorf("servlet_types: must contain %s, which the servlets' own codes are", DefaultType)
	}
	for _, kind := range a.ServletTypes {
		if types := Types(); !slices.Contains(types, kind) {
			return fmt.Errorf("servlet_types: must hold none but %s", strings.Join(types, ","))
		}
	}
	for _, department := range a.Departments {
		if strings.TrimSpace(department) == "" {
			return fmt.Errorf("departments: an entry is empty")
		}
	}
	if !a.SMSEnabled && !a.EmailEnabled {
		return fmt.Errorf("sms_enabled, email_enabled: at least one must be 1")
	}
	return nil
}

// otherCountries is the key in prices for countries that have no price of their own.
const otherCountries = "*"

// maxMoney bounds prices and caps, in millionths: one million units of the currency.
const maxMoney = 1_000_000_000_000

func (a *Account) validatePrices() error {
	if spend := ValueOr(a.SpendCapPerDay, 0); spend < 0 || spend > maxMoney {
		return fmt.Errorf("spend_cap_per_day: must be 0–%d millionths", maxMoney)
	}
	for country, price := range a.Prices {
		if country != otherCountries && !validCountry(country) {
			return fmt.Errorf(`prices: must have two-letter country codes, or * for all others, such as {"IN":2000,"*":50000}`)
		}
		if price < 0 || price > maxMoney {
			return fmt.Errorf("prices: must be 0–%d millionths", maxMoney)
		}
	}
	if _, all := a.Prices[otherCountries]; a.SpendCapPerDay != nil && !all {
		for _, country := range a.Countries {
			if _, priced := a.Prices[country]; !priced {
				return fmt.Errorf("prices: a cap needs a price for every country of the account, or for *; %q has none", country)
			}
		}
	}
	return nil
}

// Price returns the price of an SMS to a country, in millionths.
func (a *Account) Price(country string) int64 {
	if price, ok := a.Prices[country]; ok {
		return price
	}
	return a.Prices[otherCountries]
}

// Safe reports whether the safe list contains number: the cost guards then never stop sends to it.
func (a *Account) Safe(number string) bool {
	return slices.ContainsFunc(a.SafeList, func(entry string) bool { return strings.HasPrefix(number, entry) })
}

func validCountry(country string) bool {
	return len(country) == 2 && country[0] >= 'A' && country[0] <= 'Z' && country[1] >= 'A' && country[1] <= 'Z'
}

// ValueOr returns what p points to, or another value if it is nil.
func ValueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// ValidAddress reports whether s can be an esme_address: 1–15 digits without a leading zero, so that it can be written
// in SQL without quotes.
func ValidAddress(s string) bool {
	if len(s) < 1 || len(s) > 15 || s[0] == '0' {
		return false
	}
	return Digits(s)
}

// Digits reports whether s is one or more ASCII digits and nothing else.
func Digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
