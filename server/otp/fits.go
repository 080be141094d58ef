package otp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDocument is the capacity of a TEXT column, in bytes.
const maxDocument = 1<<16 - 1

// MaxSafeList is the longest safe list as JSON, in bytes: sealed and in base64 it is a third longer.
const MaxSafeList = 48000

// Fits returns an error for the first column whose content cannot be written: texts that are too long for the column
// (SQLite would store them, MariaDB would fail), and names and texts with characters that mislead readers. Without
// columns it checks all. It is called before a row is written; a stored row stays usable. The error names the column
// and does not quote the text.
func (a *Account) Fits(columns ...string) error {
	for _, c := range []struct {
		column string
		check  func() error
	}{
		{"name", name(&a.Name, MaxName)},
		{"sms_sender", name(a.SMSSender, MaxName)},
		{"email_sender", name(a.EmailSender, 320)},
		{"dlt_entity_id", name(a.DLTEntityID, 64)},
		{"dlt_template_id", name(a.DLTTemplateID, 64)},
		{"sms_channels", words(a.SMSChannels)},
		{"email_channels", words(a.EmailChannels)},
		{"upstream_url", words(a.UpstreamURL)},
		{"sms_template", words(a.SMSTemplate)},
		{"email_template", words(a.EmailTemplate)},
		{"countries", joined(a.Countries, 1000)},
		{"servlet_types", joined(a.ServletTypes, 255)},
		{"message_overrides", texts(a.Overrides, CheckLine)},
		{"templates", texts(a.Templates, CheckText)},
		{"departments", list(a.Departments, CheckName)},
		{"cors_allowed_origins", list(a.CORSOrigins, checkOrigin)},
		{"cors_allowed_methods", list(a.CORSMethods, checkMethod)},
		{"cors_allowed_headers", list(a.CORSHeaders, checkToken)},
		{"safe_list", func() error { return fitsIn(a.SafeList, MaxSafeList) }},
		{"servlets_brown_outs", func() error { return FitsDocument(a.ServletsBrownOuts) }},
		{"prices", func() error { return FitsDocument(a.Prices) }},
		{"jwt_issuers", func() error { return FitsDocument(a.JWTIssuers) }},
	} {
		if len(columns) > 0 && !slices.Contains(columns, c.column) {
			continue
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("%s: %w", c.column, err)
		}
	}
	return nil
}

// name checks a column that holds a name of at most most characters.
func name(text *string, most int) func() error {
	return func() error { return checkName(ValueOr(text, ""), most) }
}

// words checks a column that holds text for people.
func words(text *string) func() error {
	return func() error {
		if text := ValueOr(text, ""); len(text) > maxDocument {
			return fmt.Errorf("must be at most %d bytes", maxDocument)
		}
		return CheckText(ValueOr(text, ""))
	}
}

// joined checks a column that holds a comma-separated list.
func joined(entries []string, most int) func() error {
	return func() error {
		if utf8.RuneCountInString(strings.Join(entries, ",")) > most {
			return fmt.Errorf("must be at most %d characters", most)
		}
		return nil
	}
}

// texts checks a column that holds texts by name.
func texts(byName map[string]string, check func(string) error) func() error {
	return func() error {
		for _, key := range slices.Sorted(maps.Keys(byName)) {
			if err := CheckName(key); err != nil {
				return fmt.Errorf("a name %w", err)
			}
			if err := check(byName[key]); err != nil {
				return fmt.Errorf("%q %w", key, err)
			}
		}
		return FitsDocument(byName)
	}
}

// list checks a column that holds a list as JSON.
func list(entries []string, check func(string) error) func() error {
	return func() error {
		for i, entry := range entries {
			if err := check(entry); err != nil {
				return fmt.Errorf("entry %d %w", i+1, err)
			}
		}
		return FitsDocument(entries)
	}
}

// FitsDocument returns an error if value as JSON is too long for a TEXT column.
func FitsDocument(value any) error { return fitsIn(value, maxDocument) }

func fitsIn(value any, most int) error {
	if text, err := json.Marshal(value); err != nil || len(text) > most {
		return fmt.Errorf("must be at most %d bytes as JSON", most)
	}
	return nil
}

func checkOrigin(text string) error {
	if own, err := ParseOrigin(text); err != nil {
		return err
	} else if own != text {
		return fmt.Errorf("must be written as browsers send it: %s", own)
	}
	return nil
}

func checkMethod(text string) error {
	if strings.ToUpper(text) != text {
		return errors.New("must be a method in capital letters, such as POST")
	}
	return checkToken(text)
}

// checkToken checks the name of a method or header (RFC 9110, section 5.6.2).
func checkToken(text string) error {
	if text == "" || len(text) > 100 || strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) {
		return errors.New("must be a name of letters, digits and hyphens")
	}
	return nil
}
