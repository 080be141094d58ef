package sql

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"otpbridge/server/otp"
)

// storedDetails is the JSON in challenges.details. Its names are part of the schema.
type storedDetails struct {
	Type     string `json:"type,omitempty"`
	Template string `json:"template,omitempty"`
	Locale   string `json:"locale,omitempty"`
	Binding  []byte `json:"binding,omitempty"`
	Fallback []int  `json:"fallback,omitempty"`
	Metadata []byte `json:"metadata,omitempty"`
}

// storedSummary is the JSON in events.summary.
type storedSummary struct {
	Mask        string     `json:"mask,omitempty"`
	Type        string     `json:"type,omitempty"`
	MaxAttempts int        `json:"max_attempts,omitempty"`
	ExpiresAt   otp.Millis `json:"expires_at,omitempty"`
	Metadata    []byte     `json:"metadata,omitempty"`
	Taken       bool       `json:"taken,omitempty"`

	ProviderError string `json:"provider_error,omitempty"`
}

// encodeDetails returns NULL for nil.
func encodeDetails(d *otp.Details) driver.Value {
	if d == nil {
		return nil
	}
	stored := storedDetails{Type: d.Type, Template: d.Template, Locale: d.Locale, Metadata: d.Metadata}
	if !d.Binding.IsZero() {
		stored.Binding = d.Binding[:]
	}
	for _, channels := range d.Fallback {
		stored.Fallback = append(stored.Fallback, int(channels))
	}
	return encoded(stored)
}

// encodeSummary returns NULL for nil.
func encodeSummary(s *otp.Summary) driver.Value {
	if s == nil {
		return nil
	}
	return encoded(storedSummary(*s))
}

func encoded(value any) driver.Value {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("sql: encode %T: %v", value, err)) // it holds nothing that JSON cannot
	}
	return string(text)
}

func decodeDetails(text []byte) (*otp.Details, error) {
	if text == nil {
		return nil, nil
	}
	var stored storedDetails
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("details: %w", err)
	}
	d := &otp.Details{Type: stored.Type, Template: stored.Template, Locale: stored.Locale, Metadata: stored.Metadata}
	for _, channels := range stored.Fallback {
		d.Fallback = append(d.Fallback, otp.Channels(channels))
	}
	// An unreadable binding must not become no binding.
	if stored.Binding != nil && len(stored.Binding) != len(d.Binding) {
		return nil, fmt.Errorf("details: binding has %d bytes", len(stored.Binding))
	}
	copy(d.Binding[:], stored.Binding)
	return d, nil
}

func decodeSummary(text []byte) (*otp.Summary, error) {
	if text == nil {
		return nil, nil
	}
	var stored storedSummary
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	summary := otp.Summary(stored)
	return &summary, nil
}

func (r *reader) details() *otp.Details { return decoded(r, decodeDetails) }

func (r *reader) summary() *otp.Summary { return decoded(r, decodeSummary) }

// detailsScan reads a details column through database/sql.
type detailsScan struct{ details **otp.Details }

// Scan implements sql.Scanner.
func (s detailsScan) Scan(value any) (err error) {
	r := reader{row: row{value}}
	*s.details = r.details()
	return r.err
}

// encodeWindow stores a window as its first moment and the differences between its moments, each as a varint: a day's
// forty sends take about 150 bytes. An empty window is NULL.

func encodeWindow(w otp.Window) []byte {
	if len(w) == 0 {
		return nil
	}
	encoded := make([]byte, 0, 8+4*len(w))
	last := otp.Millis(0)
	for _, at := range w {
		encoded = binary.AppendVarint(encoded, int64(at-last))
		last = at
	}
	return encoded
}

func decodeWindow(encoded []byte) (otp.Window, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	var w otp.Window
	last := otp.Millis(0)
	for len(encoded) > 0 {
		distance, n := binary.Varint(encoded)
		if n <= 0 {
			return nil, fmt.Errorf("window is damaged after %d entries", len(w))
		}
		last += otp.Millis(distance)
		w, encoded = append(w, last), encoded[n:]
	}
	return w, nil
}
