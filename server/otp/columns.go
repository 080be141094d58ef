package otp

// Column describes one column of otp_auth_config for people: the page on accounts is made of these.
type Column struct {
	Name    string
	Values  string // what it may hold; a range as from–to
	Absent  string // what NULL means; empty where there is no NULL
	Meaning string
}

// Columns describes every column, in the order of the table.
func Columns() []Column {
	return []Column{
		{"esme_address", "1 to 15 digits, the first not 0", "", "Names the account."},
		{"name", "text", "", "A label for people."},
		{"enabled", "0, 1", "", "With 0 every key of the account is `UNAUTHERISED USER`."},
		{"otp_enabled", "0, 1", "", "With 0 every servlet answers `The feature is not enabled`."},
		{"message_profile", "`documented`, `live`", "`OTPBRIDGE_MESSAGE_PROFILE`", "Which texts the servlets answer."},
		{"message_overrides", "JSON object of texts by name", "none",
			"Texts that replace the profile's: generated, unauthorised, feature_off, invalid, undelivered, error, verified, " +
				"expired, wrong (with `{n}`), exhausted, regenerations."},
		{"strict_http", "0, 1", "", "With 1 refusals have HTTP statuses of their own instead of 200."},
		{"otp_length", "4–10", "", "Digits of a code."},
		{"otp_ttl_seconds", "30–1800", "", "Lifetime of a code; `doctor` warns above 600."},
		{"max_attempts", "1–100", "3 at the servlets, 5 on the JSON API", "Wrong guesses that a code takes."},
		{"max_regenerations", "0–100", "", "How often a code is sent again."},
		{"key_on_ip", "0, 1", "", "With 1 the caller's `ipaddress` tells codes to one number apart."},
		{"countries", "country codes, separated by commas", "", "Where numbers may be."},
		{"sms_enabled", "0, 1", "", "Whether codes go out by SMS."},
		{"email_enabled", "0, 1", "", "Whether codes go out by e-mail, where an address is given. One of the two must be 1."},
		{"plain_validation_enabled", "0, 1", "", "Whether `plainotpvalidationservlet` takes codes in clear."},
		{"servlet_types", "types, separated by commas", "",
			"What codes that the servlets verify may have been sent for: `verification`, `two_factor`, `password_reset`, " +
				"`transaction`."},
		{"otp_cipher", "`aes-cbc`, `aes-ecb`, `none`", "", "How the `otp` parameter is encrypted."},
		{"otp_encoding", "`auto`, `hex`, `base64`", "", "How the encrypted block is written; `auto` tells the two apart."},
		{"cipher_key", "16, 24 or 32 bytes in base64 or hex, or `iv~key`; sealed at rest",
			"no key; the cipher must be `none`", "The key of the `otp` parameter. Set it by command or API, not with SQL."},
		{"cipher_iv", "16 bytes in base64 or hex; sealed at rest", "no IV",
			"The IV of `aes-cbc`. Set it by command or API, not with SQL."},
		{"department_mode", "`ignore`, `require`, `require_on_validation`", "",
			"Where the header `department-id` is required."},
		{"departments", "JSON list", "any department", "The departments that are taken."},
		{"sends_per_minute", "0–10000", "", "Messages to one recipient in any minute; 0 lifts the limit."},
		{"sends_per_hour", "0–10000", "", "The same in any hour."},
		{"sends_per_day", "0–10000", "", "The same in any day."},
		{"requests_per_minute", "1–1000000", "1000 for API keys, no limit for access keys", "Requests with one key."},
		{"burst", "1–1000000", "as `requests_per_minute`", "How many of them may come at once."},
		{"sms_channels", "URLs, separated by commas", "`OTPBRIDGE_SMS_CHANNELS`",
			"What hands SMS on, see [delivery.md](delivery.md)."},
		{"email_channels", "URLs, separated by commas", "`OTPBRIDGE_EMAIL_CHANNELS`", "What hands e-mail on."},
		{"sms_sender", "text", "the channel's", "From whom an SMS comes."},
		{"email_sender", "a mailbox", "the channel's", "From whom an e-mail comes."},
		{"sms_template", "text with `{code}`", "the built-in one", "The words of an SMS."},
		{"email_template", "text with `{code}`", "the built-in one", "The words of an e-mail."},
		{"dlt_entity_id", "text", "none", "The sender's registration in India, for channels with `{dlt_entity_id}`."},
		{"dlt_template_id", "text", "none", "The template's registration in India, for channels with `{dlt_template_id}`."},
		{"retention_days", "1–3650", "", "How long the history is kept."},
		{"templates", "JSON object of texts by name", "none", "Templates that the JSON API may name."},
		{"cors_allowed_origins", "JSON list", "none", "Web pages that may call the JSON API with the account's keys."},
		{"cors_allowed_methods", "JSON list", "those the API has", "Methods that these pages may use."},
		{"cors_allowed_headers", "JSON list", "those the API reads", "Headers that these pages may send."},
		{"cost_guards", "`enforce`, `record`", "`OTPBRIDGE_COST_GUARDS`",
			"Whether spend caps and stopped prefixes refuse sends or are only noted."},
		{"spend_cap_per_day", "0–1000000000000", "no cap",
			"Millionths of the currency of `prices` that SMS may cost in a day (UTC)."},
		{"prices", "JSON object of millionths by country, `*` for all others", "none", "What an SMS costs."},
		{"safe_list", "JSON list of numbers and beginnings of numbers, each with its plus", "none",
			"Numbers to which sends are never stopped because others like them are not verified; the cap still holds."},
		{"require_https", "0, 1", "",
			"With 1 the servlets refuse requests that came over plain HTTP from another machine."},
		{"jwt_issuers", "JSON list of objects, see [v1.md](v1.md#tokens-of-your-own)", "none",
			"Issuers whose JSON Web Tokens the JSON API takes in place of keys."},
		{"upstream_url", "a URL, see [migrating.md](migrating.md)", "none", "The servlets that calls can be passed on to."},
		{"bridge_mode", "`local`, `forward`, `shadow`", "",
			"Whether this server answers the servlets' calls or the upstream does. Set it with `otpbridge account cut-over`."},
		{"bridge_before", "`local`, `forward`, `shadow`", "as `bridge_mode`", "The mode until `cut_over_at`."},
		{"cut_over_at", "milliseconds since 1970", "long ago", "When `bridge_mode` began or begins to hold."},
		{"servlets_deprecated_at", "milliseconds since 1970", "not",
			"Since when the servlets are deprecated; with it their answers say so in the headers Deprecation, Sunset and Link."},
		{"servlets_sunset_at", "milliseconds since 1970", "never",
			"When the servlets end: from then on they answer `The feature is not enabled`."},
		{"servlets_grace", "0, 1", "", "With 1 they go on after that."},
		{"servlets_brown_outs", "JSON list of spans such as `2026-12-01T06:00:00Z/2026-12-01T06:15:00Z`", "none",
			"When the servlets answer as if they had ended, to rehearse it."},
		{"created_at", "milliseconds since 1970", "", "Set by the server."},
		{"updated_at", "milliseconds since 1970", "", "Set by the server."},
	}
}
