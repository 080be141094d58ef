package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"otpbridge/server/otp"
	"otpbridge/server/strict"
)

// Accounts are the rows of otp_auth_config.
type Accounts struct {
	store *Store
	seal  func(address string, text []byte) []byte
	open  func(address string, sealed []byte) ([]byte, error)
}

// ErrNotFound says that the requested row does not exist.
var ErrNotFound = errors.New("not found")

// ErrTaken says that a key that must be unique is in use.
var ErrTaken = errors.New("already taken")

// accountColumn reads one column of otp_auth_config into an account and back. Every column is fetched as text and
// parsed here. So a value of the wrong type breaks only its own account, with the column's name, and not the statement
// that fetched it.
type accountColumn struct {
	name  string
	read  func(*otp.Account, sql.NullString) error
	write func(*otp.Account) driver.Value
}

var accountColumns = []accountColumn{
	text("esme_address", func(a *otp.Account) *string { return &a.Address }),
	text("name", func(a *otp.Account) *string { return &a.Name }),
	flag("enabled", func(a *otp.Account) *bool { return &a.Enabled }),
	flag("otp_enabled", func(a *otp.Account) *bool { return &a.OTPEnabled }),
	optional("message_profile", func(a *otp.Account) **otp.Profile { return &a.Profile }),
	document("message_overrides", func(a *otp.Account) *map[string]string { return &a.Overrides }),
	flag("strict_http", func(a *otp.Account) *bool { return &a.StrictHTTP }),
	number("otp_length", func(a *otp.Account) *int { return &a.Length }),
	number("otp_ttl_seconds", func(a *otp.Account) *int { return &a.TTLSeconds }),
	optionalNumber("max_attempts", func(a *otp.Account) **int { return &a.MaxAttempts }),
	number("max_regenerations", func(a *otp.Account) *int { return &a.MaxRegenerations }),
	flag("key_on_ip", func(a *otp.Account) *bool { return &a.KeyOnIP }),
	list("countries", otp.Upper, func(a *otp.Account) *[]string { return &a.Countries }),
	flag("sms_enabled", func(a *otp.Account) *bool { return &a.SMSEnabled }),
	flag("email_enabled", func(a *otp.Account) *bool { return &a.EmailEnabled }),
	flag("plain_validation_enabled", func(a *otp.Account) *bool { return &a.PlainValidation }),
	list("servlet_types", otp.Lower, func(a *otp.Account) *[]string { return &a.ServletTypes }),
	text("otp_cipher", func(a *otp.Account) *string { return &a.Cipher }),
	text("otp_encoding", func(a *otp.Account) *string { return &a.Encoding }),
	sealed("cipher_key", func(a *otp.Account) *[]byte { return &a.SealedCipherKey }),
	sealed("cipher_iv", func(a *otp.Account) *[]byte { return &a.SealedCipherIV }),
	text("department_mode", func(a *otp.Account) *otp.DepartmentMode { return &a.DepartmentMode }),
	document("departments", func(a *otp.Account) *[]string { return &a.Departments }),
	number("sends_per_minute", func(a *otp.Account) *int { return &a.SendsPerMinute }),
	number("sends_per_hour", func(a *otp.Account) *int { return &a.SendsPerHour }),
	number("sends_per_day", func(a *otp.Account) *int { return &a.SendsPerDay }),
	optionalNumber("requests_per_minute", func(a *otp.Account) **int { return &a.RequestsPerMinute }),
	optionalNumber("burst", func(a *otp.Account) **int { return &a.Burst }),
	optional("sms_channels", func(a *otp.Account) **string { return &a.SMSChannels }),
	optional("email_channels", func(a *otp.Account) **string { return &a.EmailChannels }),
	optional("sms_sender", func(a *otp.Account) **string { return &a.SMSSender }),
	optional("email_sender", func(a *otp.Account) **string { return &a.EmailSender }),
	optional("sms_template", func(a *otp.Account) **string { return &a.SMSTemplate }),
	optional("email_template", func(a *otp.Account) **string { return &a.EmailTemplate }),
	optional("dlt_entity_id", func(a *otp.Account) **string { return &a.DLTEntityID }),
	optional("dlt_template_id", func(a *otp.Account) **string { return &a.DLTTemplateID }),
	number("retention_days", func(a *otp.Account) *int { return &a.RetentionDays }),
	document("templates", func(a *otp.Account) *map[string]string { return &a.Templates }),
	document("cors_allowed_origins", func(a *otp.Account) *[]string { return &a.CORSOrigins }),
	document("cors_allowed_methods", func(a *otp.Account) *[]string { return &a.CORSMethods }),
	document("cors_allowed_headers", func(a *otp.Account) *[]string { return &a.CORSHeaders }),
	optional("cost_guards", func(a *otp.Account) **otp.Guards { return &a.CostGuards }),
	optionalNumber("spend_cap_per_day", func(a *otp.Account) **int { return &a.SpendCapPerDay }),
	document("prices", func(a *otp.Account) *map[string]int64 { return &a.Prices }),
	safeList(),
	flag("require_https", func(a *otp.Account) *bool { return &a.RequireHTTPS }),
	document("jwt_issuers", func(a *otp.Account) *[]otp.JWTIssuer { return &a.JWTIssuers }),
	optional("upstream_url", func(a *otp.Account) **string { return &a.UpstreamURL }),
	text("bridge_mode", func(a *otp.Account) *otp.BridgeMode { return &a.Bridge }),
	optional("bridge_before", func(a *otp.Account) **otp.BridgeMode { return &a.BridgeBefore }),
	optionalNumber("cut_over_at", func(a *otp.Account) **otp.Millis { return &a.CutOverAt }),
	optionalNumber("cut_over_before", func(a *otp.Account) **otp.Millis { return &a.CutOverBefore }),
	optionalNumber("servlets_deprecated_at", func(a *otp.Account) **otp.Millis { return &a.ServletsDeprecatedAt }),
	optionalNumber("servlets_sunset_at", func(a *otp.Account) **otp.Millis { return &a.ServletsSunsetAt }),
	flag("servlets_grace", func(a *otp.Account) *bool { return &a.ServletsGrace }),
	document("servlets_brown_outs", func(a *otp.Account) *[]string { return &a.ServletsBrownOuts }),
	number("created_at", func(a *otp.Account) *otp.Millis { return &a.CreatedAt }),
	number("updated_at", func(a *otp.Account) *otp.Millis { return &a.UpdatedAt }),
}

func text[T ~string](name string, field func(*otp.Account) *T) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			if !v.Valid {
				return errors.New("must not be NULL")
			}
			*field(a) = T(v.String)
			return nil
		},
		func(a *otp.Account) driver.Value { return string(*field(a)) },
	}
}

func optional[T ~string](name string, field func(*otp.Account) **T) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			*field(a) = nil
			if v.Valid {
				value := T(v.String)
				*field(a) = &value
			}
			return nil
		},
		func(a *otp.Account) driver.Value {
			if p := *field(a); p != nil {
				return string(*p)
			}
			return nil
		},
	}
}

func flag(name string, field func(*otp.Account) *bool) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			if v.String != "0" && v.String != "1" {
				return errors.New("must be 0 or 1")
			}
			*field(a) = v.String == "1"
			return nil
		},
		func(a *otp.Account) driver.Value {
			return bit(*field(a))
		},
	}
}

func number[T ~int | ~int64](name string, field func(*otp.Account) *T) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			value, err := strconv.ParseInt(v.String, 10, 64)
			if err != nil {
				return errors.New("must be a whole number")
			}
			*field(a) = T(value)
			return nil
		},
		func(a *otp.Account) driver.Value { return int64(*field(a)) },
	}
}

func optionalNumber[T ~int | ~int64](name string, field func(*otp.Account) **T) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			*field(a) = nil
			if !v.Valid {
				return nil
			}
			read, err := strconv.ParseInt(v.String, 10, 64)
			if err != nil {
				return errors.New("must be a whole number or NULL")
			}
			value := T(read)
			*field(a) = &value
			return nil
		},
		func(a *otp.Account) driver.Value {
			if p := *field(a); p != nil {
				return int64(*p)
			}
			return nil
		},
	}
}

func document[T []string | []otp.JWTIssuer | map[string]string | map[string]int64](name string,
	field func(*otp.Account) *T) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			var value T
			if v.Valid && strings.TrimSpace(v.String) != "" {
				if err := strict.Decode([]byte(v.String), &value); err != nil {
					return fmt.Errorf("does not hold what it should: %w", err)
				}
			}
			*field(a) = value
			return nil
		},
		func(a *otp.Account) driver.Value {
			if len(*field(a)) == 0 {
				return nil
			}
			encoded, err := json.Marshal(*field(a))
			if err != nil {
				panic(err) // texts always have JSON
			}
			return string(encoded)
		},
	}
}

// sealed is a column of sealed bytes. It is stored as base64, because people read this table in a terminal, which
// could interpret raw bytes. A value that is not base64 is taken unchanged; opening it reports the fault.
func sealed(name string, field func(*otp.Account) *[]byte) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			*field(a) = nil
			if !v.Valid {
				return nil
			}
			value, err := base64.StdEncoding.DecodeString(v.String)
			if err != nil {
				value = []byte(v.String)
			}
			*field(a) = value
			return nil
		},
		func(a *otp.Account) driver.Value {
			if value := *field(a); value != nil {
				return base64.StdEncoding.EncodeToString(value)
			}
			return nil
		},
	}
}

// list is a column of entries separated by commas, which operators type more easily than JSON. Blanks around entries
// are removed, and normal sets their letter case.
func list(name string, normal func(string) string, field func(*otp.Account) *[]string) accountColumn {
	return accountColumn{name,
		func(a *otp.Account, v sql.NullString) error {
			*field(a) = nil
			for entry := range strings.SplitSeq(v.String, ",") {
				*field(a) = append(*field(a), normal(strings.TrimSpace(entry)))
			}
			return nil
		},
		func(a *otp.Account) driver.Value { return strings.Join(*field(a), ",") },
	}
}

// BrokenRow is an account whose row cannot be used. Err names the column and the values it may hold, and never quotes
// its text, which may be a key in the wrong column.
type BrokenRow struct {
	Address string
	Err     error
}

// Error implements error.
func (b *BrokenRow) Error() string {
	return fmt.Sprintf("otp_auth_config row %s: %v", b.Address, b.Err)
}

// Unwrap returns the cause, for errors.Is and errors.As.
func (b *BrokenRow) Unwrap() error { return b.Err }

// Find reads one row of otp_auth_config. With a *BrokenRow error the account holds the columns that could be read.
// Other columns of the table are ignored, and the order of columns does not matter.
func (a *Accounts) Find(ctx context.Context, address string) (otp.Account, error) {
	row := a.store.reads.QueryRowxContext(ctx,
		`SELECT `+accountColumnList()+` FROM otp_auth_config WHERE esme_address = ?`, address)
	account, err := a.scan(row)
	// MariaDB compares without the blanks at an end, and an account by another name is another account.
	if errors.Is(err, sql.ErrNoRows) || account.Address != "" && account.Address != address {
		return otp.Account{}, ErrNotFound
	}
	return account, err
}

// Each calls each for every row, with the error of broken ones.
func (a *Accounts) Each(ctx context.Context, each func(otp.Account, error) error) error {
	return a.each(ctx, `1 = 1 ORDER BY esme_address`, nil, each)
}

// each is Each for the rows that match a condition, which may end in ORDER BY and LIMIT.
func (a *Accounts) each(ctx context.Context, where string, args []any, each func(otp.Account, error) error) error {
	text := `SELECT ` + accountColumnList() + ` FROM otp_auth_config WHERE ` + where
	return a.store.each(ctx, "read accounts", text, args, func(rows *sql.Rows) error {
		account, err := a.scan(rows)
		if broken := (*BrokenRow)(nil); err != nil && !errors.As(err, &broken) {
			return err
		}
		return each(account, err)
	})
}

func (a *Accounts) scan(row interface{ Scan(...any) error }) (otp.Account, error) {
	values := make([]sql.NullString, len(accountColumns))
	targets := make([]any, len(values))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := row.Scan(targets...); err != nil {
		return otp.Account{}, fmt.Errorf("read account: %w", err)
	}
	return a.read(values)
}

// read parses the columns of a row.
func (a *Accounts) read(values []sql.NullString) (account otp.Account, _ error) {
	var broken error
	for i, column := range accountColumns {
		if err := column.read(&account, values[i]); err != nil && broken == nil {
			broken = fmt.Errorf("%s: %w", column.name, err)
		}
	}
	if broken == nil {
		broken = a.openSafeList(&account)
	}
	if broken == nil {
		broken = account.Validate()
	}
	if broken != nil {
		return account, &BrokenRow{account.Address, broken}
	}
	return account, nil
}

func accountColumnList() string {
	names := make([]string, len(accountColumns))
	for i, column := range accountColumns {
		names[i] = column.name
	}
	return strings.Join(names, ", ")
}

// Add adds an account with its credentials, and in a sandbox with its sandbox mark.
func (a *Accounts) Add(tx *Tx, s *Seeded, throwaway bool) error {
	if err := a.add(tx, &s.Account, s.Credentials); err != nil || !a.store.options.Sandbox {
		return err
	}
	return markSandboxAccount(tx.ctx, tx.session, s.Account.Address, throwaway)
}

// add adds the rows of an account and its credentials.
func (a *Accounts) add(tx *Tx, account *otp.Account, keys []Credential) error {
	a.sealSafeList(account)
	args := make([]driver.Value, len(accountColumns))
	for i, column := range accountColumns {
		args[i] = column.write(account)
	}
	if err := tx.exec(tx.ctx, insertText(`INSERT INTO otp_auth_config (`+accountColumnList()+`) VALUES `, len(args), 1),
		args...); err != nil {
		return err
	}
	for _, key := range keys {
		key.Address = account.Address
		if err := a.store.Credentials.Insert(tx, &key); err != nil {
			return err
		}
	}
	return nil
}

// bit returns a flag in its stored form.
func bit(set bool) driver.Value {
	if set {
		return int64(1)
	}
	return int64(0)
}

// Addresses lists the addresses of all accounts.
func (a *Accounts) Addresses(ctx context.Context) ([]string, error) {
	var addresses []string
	if err := a.store.reads.SelectContext(ctx, &addresses,
		`SELECT esme_address FROM otp_auth_config ORDER BY esme_address`); err != nil {
		return nil, fmt.Errorf("read account addresses: %w", err)
	}
	return addresses, nil
}
