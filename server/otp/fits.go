package otp

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDocument is what a column of type TEXT holds, in bytes.
const maxDocument = 1<<16 - 1

// Fits reports the first of the account's texts that its column cannot hold: SQLite would store it and
// MariaDB would fail. It is asked before a row is written. The error names the column and no text.
func (a *Account) Fits() error {
	for _, c := range []struct {
		column string
		text   *string
		most   int // characters; 0 for a column that is bounded in bytes
	}{
		{"name", &a.Name, MaxName}, {"sms_sender", a.SMSSender, 200}, {"email_sender", a.EmailSender, 320},
		{"dlt_entity_id", a.DLTEntityID, 64}, {"dlt_template_id", a.DLTTemplateID, 64},
		{"sms_channels", a.SMSChannels, 0}, {"email_channels", a.EmailChannels, 0},
		{"sms_template", a.SMSTemplate, 0}, {"email_template", a.EmailTemplate, 0},
	} {
		text := valueOr(c.text, "")
		switch {
		case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
			return fmt.Errorf("%s: must be UTF-8 without NUL", c.column)
		case c.most > 0 && utf8.RuneCountInString(text) > c.most:
			return fmt.Errorf("%s: must be at most %d characters", c.column, c.most)
		case len(text) > maxDocument:
			return fmt.Errorf("%s: must be at most %d bytes", c.column, maxDocument)
		}
	}
	if len(strings.Join(a.Countries, ",")) > 1000 {
		return fmt.Errorf("countries: must be at most 1000 characters")
	}
	if len(strings.Join(a.ServletTypes, ",")) > 255 {
		return fmt.Errorf("servlet_types: must be at most 255 characters")
	}
	for _, c := range []struct {
		column string
		value  any
	}{
		{"message_overrides", a.Overrides}, {"departments", a.Departments}, {"templates", a.Templates}, {"prices", a.Prices},
		{"cors_allowed_origins", a.CORSOrigins}, {"cors_allowed_methods", a.CORSMethods}, {"cors_allowed_headers", a.CORSHeaders},
	} {
		if text, err := json.Marshal(c.value); err != nil || len(text) > maxDocument {
			return fmt.Errorf("%s: must be at most %d bytes as JSON", c.column, maxDocument)
		}
	}
	return nil
}
