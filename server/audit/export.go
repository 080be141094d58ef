package audit

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// header is the first line of an export, and line each of the others. Entry is the content exactly as it was sealed;
// if it was removed, the line has SHA256 instead.
type header struct {
	Format     int    `json:"otpbridge_audit"`
	Key        string `json:"key"` // verifies the checkpoint's signature
	Checkpoint string `json:"checkpoint"`
}

type line struct {
	Place  int64           `json:"place"`
	Type   string          `json:"type"`
	At     time.Time       `json:"at"`
	SHA256 string          `json:"sha256,omitempty"`
	Entry  json.RawMessage `json:"entry,omitempty"`
}

// exportFormat is the version of the format.
const exportFormat = 1

// ExportJSON writes the whole log as lines of JSON, with a checkpoint of its end. Compare compares two such files
// without a server.
func (l *Log) ExportJSON(ctx context.Context, w io.Writer) error {
	tree, err := l.store.Audit.Tree(ctx)
	if err != nil {
		return err
	}
	checkpoint, err := l.key.sign(tree)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(header{exportFormat, l.key.public, checkpoint.Note}); err != nil {
		return err
	}
	err = l.walk(ctx, tree.Size, func(place int64, s stub, content []byte) error {
		row := line{Place: place, Type: s.kind(), At: s.at().Time(), Entry: content}
		if content == nil {
			row.SHA256 = hex.EncodeToString(s[9:])
		}
		return encoder.Encode(row)
	})
	return errors.Join(err, out.Flush())
}

// columns are the columns of the CSV, with the function that returns an entry's value.
var columns = []struct {
	name string
	of   func(Entry) string
}{
	{"type", func(e Entry) string { return e.Type }},
	{"at", func(e Entry) string { return e.At.Format(time.RFC3339Nano) }},
	{"action", func(e Entry) string { return e.Action }},
	{"result", func(e Entry) string { return e.Result }},
	{"actor_kind", func(e Entry) string { return e.ActorKind }},
	{"actor", func(e Entry) string { return e.Actor }},
	{"address", func(e Entry) string { return e.Address }},
	{"country", func(e Entry) string { return e.Country }},
	{"account", func(e Entry) string { return e.Account }},
	{"credential", func(e Entry) string { return e.Credential }},
	{"person", func(e Entry) string { return e.Person }},
	{"session", func(e Entry) string { return e.Session }},
	{"method", func(e Entry) string { return e.Method }},
	{"status", func(e Entry) string { return nonZero(int64(e.Status)) }},
	{"duration_us", func(e Entry) string { return nonZero(e.Micros) }},
	{"parameters", func(e Entry) string { return strings.Join(e.Parameters, " ") }},
	{"request_id", func(e Entry) string { return e.Request }},
	{"details", func(e Entry) string {
		if e.Details == nil {
			return ""
		}
		text, _ := json.Marshal(e.Details) // texts always have JSON
		return string(text)
	}},
}

func nonZero(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// ExportCSV writes the entries that have their content, for a spreadsheet. The file proves nothing.
func (l *Log) ExportCSV(ctx context.Context, w io.Writer) error {
	tree, err := l.store.Audit.Tree(ctx)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	names := []string{"place"}
	for _, c := range columns {
		names = append(names, c.name)
	}
	if err := out.Write(names); err != nil {
		return err
	}
	err = l.walk(ctx, tree.Size, func(place int64, _ stub, content []byte) error {
		if content == nil {
			return nil
		}
		var e Entry
		if err := json.Unmarshal(content, &e); err != nil {
			return &Fault{place, "cannot be read: " + err.Error()}
		}
		cells := []string{strconv.FormatInt(place, 10)}
		for _, c := range columns {
			cells = append(cells, inert(c.of(e)))
		}
		return out.Write(cells)
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// File is an export: its media type, its name, and the function that writes it.
type File struct {
	ContentType, Name string
	Write             func(ctx context.Context, w io.Writer) error
}

// Export returns the whole log as a file in a format, json or csv. It first records the export in the log. Refusal:
// Invalid for another format.
func (l *Log) Export(ctx context.Context, by otp.Actor, format string, now otp.Millis) (File, error) {
	file := File{"application/jsonl", "audit.jsonl", l.ExportJSON}
	switch format {
	case "json":
	case "csv":
		file = File{"text/csv; charset=utf-8", "audit.csv", l.ExportCSV}
	default:
		return file, otp.RefuseField("format", "must be json or csv")
	}
	return file, l.NoteReading(ctx, otp.AuditExported, by, map[string]string{"format": format}, "", now)
}

// formulas are the characters that begin a formula in a spreadsheet, some also in their full-width forms.
const formulas = "=+-@|%\t\r\n＝＋－＠｜％"

// inert returns a cell that no spreadsheet takes for a formula: an apostrophe in front marks it as text. Spreadsheets
// skip blanks and quotes before a formula, so inert does too.
func inert(cell string) string {
	begin := strings.TrimLeft(cell, " \u00a0\u200b\u3000\ufeff\x00'\"")
	if strings.ContainsAny(firstRune(cell), formulas) || strings.ContainsAny(firstRune(begin), formulas) {
		return "'" + cell
	}
	return cell
}

func firstRune(text string) string {
	for i := range text {
		if i > 0 {
			return text[:i]
		}
	}
	return text
}
