package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
	"otpbridge/sql"
	"otpbridge/sql/sqltest/migrated"
)

func exported(t testing.TB, l *Log) []string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, l.ExportJSON(ctx, &out))
	return strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func compare(before, after []string) error {
	_, err := Compare(strings.NewReader(strings.Join(before, "")), strings.NewReader(strings.Join(after, "")))
	return err
}

// Line n+1 of an export is entry n.
func TestCompare_NamesTheFirstEntryThatDoesNotFit(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	fill(t, l, 6)
	before := exported(t, l)
	fill(t, l, 6)
	after := exported(t, l)
	require.Len(t, after, 13)
	require.NoError(t, compare(before, after))
	require.NoError(t, compare(after, after))

	for name, tt := range map[string]struct {
		edit  func(lines []string) []string
		place int64
	}{
		"edited":       {replaced(5, "name 4", "name 5"), 4},
		"time edited":  {replaced(3, "12:00:00", "12:00:01"), 2},
		"removed":      {func(l []string) []string { return slices.Delete(l, 5, 6) }, 4},
		"reordered":    {func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, 2},
		"inserted":     {func(l []string) []string { return slices.Insert(l, 4, l[4]) }, 4},
		"tail cut":     {func(l []string) []string { return l[:11] }, 10},
		"cut within":   {func(l []string) []string { l[12] = l[12][:40]; return l }, 11},
		"added at end": {func(l []string) []string { return append(l, "\n"+l[12]) }, 12},
		"no content":   {replaced(4, `"entry"`, `"x"`), 3},
		"other content": {func(l []string) []string {
			l[2] = strings.Replace(l[1], `"place":0`, `"place":1`, 1)
			return l
		}, 1},
		"edited later": {replaced(11, "name ", "nome "), 0}, // the first file does not have it: the checkpoint alone tells
		"type edited":  {replaced(3, `"type":"call","at"`, `"type":"change","at"`), 2},
		"head alone":   {func(l []string) []string { return l[:1] }, 0},
	} {
		fault, is := errors.AsType[*Fault](compare(before, tt.edit(slices.Clone(after))))
		require.True(t, is, name)
		require.Equal(t, tt.place, fault.Place, "%s: %s", name, fault.Error())
	}
	fault, is := errors.AsType[*Fault](compare(after, before))
	require.True(t, is)
	require.Equal(t, int64(6), fault.Place, "the second file is the older one: %s", fault.Error())
}

func replaced(line int, old, with string) func([]string) []string {
	return func(lines []string) []string {
		if !strings.Contains(lines[line], old) {
			panic("line has no " + old + ": " + lines[line])
		}
		lines[line] = strings.Replace(lines[line], old, with, 1)
		return lines
	}
}

func TestCompare_RefusesWhatIsNoExportOrOfAnotherLog(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	other := open(t, migrated.SQLite(t))
	fill(t, l, 3)
	fill(t, other, 3)
	ours := exported(t, l)
	for name, lines := range map[string][]string{
		"empty": {""}, "text": {"hello\n"}, "csv": {"place,type\n"}, "no head": ours[1:], "another log": exported(t, other),
		"format of later": replaced(0, `audit":1`, `audit":2`)(slices.Clone(ours)),
		"edited size":     replaced(0, `\n3\n`, `\n2\n`)(slices.Clone(ours)),
		"edited origin":   replaced(0, `"checkpoint":"otpbridge-`, `"checkpoint":"other-`)(slices.Clone(ours)),
		"no key":          replaced(0, `"key":"`, `"key":"x`)(slices.Clone(ours)),
		"no checkpoint":   {`{"otpbridge_audit":1}` + "\n"},
	} {
		err := compare(ours, lines)
		require.Error(t, err, name)
		_, is := errors.AsType[*Fault](err)
		require.False(t, is, "%s: %v", name, err)
	}
}

// A cell that a spreadsheet takes for a formula gets an apostrophe in front.
func TestExportCSV_HoldsNoFormula(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	formulas := []string{
		"=1+1", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  @x",
		"＝1", "＋1", "－1", "＠x",
		"\u00a0=1", "\u3000=1", "\ufeff=1", "\u200b=1", `"=1`, "'=1", "|x", "%0A=1", "=HYPERLINK(\"http://x\")",
	}
	for _, text := range formulas {
		require.True(t, strings.HasPrefix(inert(text), "'"), "%q", text)
		require.Equal(t, text, inert(text)[1:], "nothing else changes")
		l.Record(Call{Began: now.Time(), Action: text, Result: "ok"}, nil)
	}
	for _, text := range []string{"", "a", "919551492394", "POST /v1/verify", "a=1", "ok", `{"name":"=1"}`,
		"é", "chg_1"} {
		require.Equal(t, text, inert(text))
	}
	seal(t, l)
	var out bytes.Buffer
	require.NoError(t, l.ExportCSV(ctx, &out))
	rows, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, len(formulas)+1)
	require.Equal(t, "place", rows[0][0])
	for i, row := range rows[1:] {
		require.Equal(t, strings.ReplaceAll("'"+formulas[i], "\r\n", "\n"), row[3], "%q", formulas[i])
	}
}

// tlog and note alone verify a proof.
func TestProve_IsCheckedWithoutTheServer(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	fill(t, l, 10)
	for place := range int64(10) {
		proof, err := l.Prove(ctx, otp.Actor{Kind: "operator"}, place, now)
		require.NoError(t, err)
		verifier, err := note.NewVerifier(proof.Key)
		require.NoError(t, err)
		opened, err := note.Open([]byte(proof.Checkpoint), note.VerifierList(verifier))
		require.NoError(t, err)
		root, err := tlog.ParseHash(strings.Split(opened.Text, "\n")[2])
		require.NoError(t, err)
		raw, err := hex.DecodeString(proof.Stub)
		require.NoError(t, err)
		require.NoError(t, tlog.CheckRecord(proof.Hashes, 10, root, place, tlog.RecordHash(raw)))
		require.True(t, stub(raw).fits(proof.Entry))
		require.Error(t, tlog.CheckRecord(proof.Hashes, 10, root, (place+1)%10, tlog.RecordHash(raw)))
	}
	for _, place := range []int64{-1, 10, 1 << 40} {
		_, err := l.Prove(ctx, otp.Actor{Kind: "operator"}, place, now)
		require.ErrorIs(t, err, sql.ErrNotFound)
	}
	seal(t, l)
	found, err := l.Read(ctx, otp.Actor{Kind: "operator"}, Query{Action: string(otp.AuditRead), Limit: 100}, now)
	require.NoError(t, err)
	require.Len(t, found.Entries, 13, "each proof shows an entry, so it is recorded")
	require.Equal(t, map[string]string{"place": "9"}, found.Entries[3].Details)
}

// A call's entry has the call and its result, but no values of the request.
func TestRecord_WritesWhatACallWas(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	id := otp.ID{1}
	l.Record(Call{Began: now.Time(), Took: 1500 * 1000, Action: "otpgenservlet", Method: "GET", Status: 200, Result: "ok",
		Request: "req_1", Address: netip.MustParseAddr("8.8.8.8"), Country: "US", Account: "919551492394",
		Key: id}, []byte("mobile type"))
	l.Record(Call{Began: now.Time(), Action: "GET /api/staff", Method: "GET", Status: 403, Result: "forbidden",
		Actor: otp.Actor{Kind: "person", ID: id, Session: id}}, nil)
	seal(t, l)
	var first, second line
	lines := exported(t, l)
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &first))
	require.NoError(t, json.Unmarshal([]byte(lines[2]), &second))
	require.JSONEq(t, `{"type":"call","at":"2026-11-29T12:00:00Z","action":"otpgenservlet","actor_kind":"key",
		"actor":"key_04000000000000000000000000","credential":"key_04000000000000000000000000","address":"8.8.8.8","country":"US",
		"request_id":"req_1","account":"919551492394","result":"ok","method":"GET","status":200,"duration_us":1500,
		"parameters":["mobile","type"]}`, string(first.Entry))
	require.JSONEq(t, `{"type":"call","at":"2026-11-29T12:00:00Z","action":"GET /api/staff","actor_kind":"person",
		"actor":"per_04000000000000000000000000","session":"ses_04000000000000000000000000","result":"forbidden",
		"method":"GET","status":403}`, string(second.Entry))
}

// Calls that come faster than they are written are dropped and counted, so that memory stays bounded.
func TestRecord_DropsAndCountsWhatIsTooMuch(t *testing.T) {
	l := open(t, migrated.SQLite(t))
	for range maxGathered + 7 {
		l.Record(call(now, "919551492394"), nil)
	}
	require.Equal(t, int64(maxGathered), seal(t, l).Size)
	_, content, err := l.at(ctx, sql.AuditTree{Size: maxGathered}, 0)
	require.NoError(t, err)
	require.Contains(t, string(content), `"details":{"calls_dropped":"7"}`)
	_, err = l.Verify(ctx, nil, now)
	require.NoError(t, err)
}
