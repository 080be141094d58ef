package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
)

// accountTable is the table of doc/accounts.md: names, values and meanings as otp.Columns has them, defaults as
// otp.DefaultAccount has them.
func accountTable(t *testing.T) string {
	t.Helper()
	defaults := accountMembers(t, otp.DefaultAccount(""))
	var table strings.Builder
	table.WriteString("| column | values | default | meaning |\n|---|---|---|---|\n")
	for _, column := range otp.Columns() {
		shown := "–"
		switch value := defaults[column.Name].(type) {
		case nil:
			if column.Absent != "" {
				shown = "NULL: " + column.Absent
			}
		case bool:
			shown = map[bool]string{false: "0", true: "1"}[value]
		case float64:
			if value != 0 || !strings.HasPrefix(column.Values, "milliseconds") {
				shown = strconv.FormatFloat(value, 'f', -1, 64)
			}
		case string:
			if value != "" {
				shown = "`" + value + "`"
			}
		case []any:
			var entries []string
			for _, entry := range value {
				entries = append(entries, fmt.Sprint(entry))
			}
			shown = "`" + strings.Join(entries, ",") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", column.Name, column.Values, shown, column.Meaning)
	}
	return table.String()
}

func accountMembers(t *testing.T, account otp.Account) map[string]any {
	t.Helper()
	encoded, err := json.Marshal(account)
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(encoded, &members))
	return members
}

// UPDATE=1 writes the table anew.
func TestAccounts_ThePageIsTheColumns(t *testing.T) {
	const path, begin, end = "doc/accounts.md", "<!-- columns:begin -->\n", "<!-- columns:end -->"
	text := page(t, path)
	before, rest, found := strings.Cut(text, begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if os.Getenv("UPDATE") == "1" {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+accountTable(t)+end+after), 0o600))
		return
	}
	require.Equal(t, accountTable(t), table, "run UPDATE=1 go test -run TestAccounts_ThePage ./server")
	require.Contains(t, page(t, "../README.md"), "(server/doc/accounts.md)")
}

// Every column is described, and only existing columns are.
func TestAccounts_EveryColumnIsDescribed(t *testing.T) {
	s := boot(t, variables(t)...)
	a := s.do("POST", "/sandbox/accounts", "")
	made := decoded(t, a)
	for _, beside := range []string{"access_key", "api_key"} {
		delete(made, beside)
	}
	described := map[string]bool{}
	for _, column := range otp.Columns() {
		require.False(t, described[column.Name], "%s is described twice", column.Name)
		described[column.Name] = true
		require.Contains(t, made, column.Name)
		require.NotEmpty(t, column.Values, column.Name)
		require.Regexp(t, `\.$`, column.Meaning, column.Name)
	}
	require.Len(t, described, len(made), "a column has no description in otp.Columns")

	var columns []string
	db := sqltest.Connect(t, s.settings.DatabaseURL.Reveal())
	require.NoError(t, db.Select(&columns, `SELECT name FROM pragma_table_info('otp_auth_config')`))
	for _, column := range columns {
		require.True(t, described[column], column)
	}
	require.Len(t, columns, len(described))
}

// The ranges on the page are those that an account is checked against.
func TestAccounts_TheRangesAreTrue(t *testing.T) {
	judged := 0
	for _, column := range otp.Columns() {
		bounds := regexp.MustCompile(`^([0-9]+)–([0-9]+)$`).FindStringSubmatch(column.Values)
		if bounds == nil {
			continue
		}
		judged++
		from, _ := strconv.Atoi(bounds[1])
		to, _ := strconv.Atoi(bounds[2])
		for value, fits := range map[int]bool{from: true, to: true, from - 1: false, to + 1: false} {
			account := otp.DefaultAccount("4711")
			account.Prices = map[string]int64{"*": 1}
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{%q:%d}`, column.Name, value), &account))
			err := account.Validate()
			if fits {
				require.NoError(t, err, "%s %d", column.Name, value)
			} else {
				require.ErrorContains(t, err, column.Name, "%d", value)
			}
		}
	}
	require.GreaterOrEqual(t, judged, 11)
}
