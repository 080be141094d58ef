package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

// The codes are those of https://sqlite.org/rescode.html, including every extended one.
func TestFate_OfEveryResultCodeOfSQLite(t *testing.T) {
	ioerr := []int{10} // IOERR and its 34 extended codes, IOERR_READ to IOERR_IN_PAGE
	for n := 1; n <= 34; n++ {
		ioerr = append(ioerr, n<<8|10)
	}
	for _, class := range []struct {
		name  string
		fate  fate
		codes []int
	}{
		{"ERROR, INTERNAL, INTERRUPT, NOTFOUND, EMPTY, TOOBIG, MISMATCH, RANGE", faulty,
			[]int{1, 257, 513, 769, 1025, 1281, 2, 9, 12, 16, 18, 20, 25}},
		{"CONSTRAINT", faulty, []int{19, 275, 531, 787, 1043, 1299, 1811, 2323, 2835, 3091}},
		{"CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID", again, []int{1555, 2067, 2579}},
		{"BUSY", again, []int{5, 261, 517, 773}},
		{"LOCKED", again, []int{6, 262, 518}},
		{"PROTOCOL, SCHEMA, ABORT", again, []int{15, 17, 4, 516}},
		{"IOERR", lost, ioerr},
		{"CANTOPEN", lost, []int{14, 270, 526, 782, 1038, 1294, 1550}},
		{"READONLY", refused, []int{8, 264, 520, 776, 1032, 1288, 1544}},
		{"CORRUPT", refused, []int{11, 267, 523, 779}},
		{"FULL, NOTADB, NOMEM, PERM, AUTH, NOLFS, FORMAT, MISUSE", refused, []int{13, 26, 7, 3, 23, 279, 22, 24, 21}},
	} {
		for _, code := range class.codes {
			require.Equal(t, class.fate, sqliteFate(code), "%s: %d", class.name, code)
		}
	}
}

func TestFate_OfErrorsOfMySQL(t *testing.T) {
	for fate, numbers := range map[fate][]uint16{
		again: {1062, 1586, 1205, 1213, 3101, 8022, 9007, 1020, 1180, 1317, 1412, 1615, 1637, 3572, 8002, 8028, 9003, 9004},
		lost: {1047, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 1969, 2006, 2013, 3024, 3168, 3169, 4031, 1026,
			1030, 9001, 9002, 9005},
		refused: {1290, 1792, 1836, 1021, 1114, 1041, 1040, 1203, 1226, 1044, 1045, 1142, 1143, 1227, 1194, 1712, 1932,
			1049, 1054, 1146},
		faulty: {1048, 1064, 1264, 1292, 1364, 1366, 1406, 1690, 1153, 4025, 3140, 3819},
	} {
		for _, number := range numbers {
			err := fmt.Errorf("write batch: %w", &mysql.MySQLError{Number: number})
			require.Equal(t, fate, mysqlFate(err), number)
		}
	}
	for _, err := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded,
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, &net.OpError{Op: "read", Err: syscall.ECONNRESET},
	} {
		require.Equal(t, lost, mysqlFate(fmt.Errorf("commit: %w", err)), err)
	}
	require.Equal(t, faulty, mysqlFate(errors.New("something else")))
}

// A full database refuses every operation alike, so they are not tried one by one; and the connection is not kept, so
// that it is noticed at once when there is room again.
func TestCommit_AFullDatabaseFailsTheBatchAtOnce(t *testing.T) {
	s := fresh(t)
	require.NoError(t, s.write(ctx, func(w *session) error {
		return w.exec(ctx, `INSERT INTO idempotency_keys (credential_id, key_hash, request_hash, challenge_id, claimed_until, created_at)
			VALUES (x'01', x'01', x'01', x'01', 0, 0)`)
	}))
	pages := count(t, s, `PRAGMA page_count`)
	require.NoError(t, s.writer.conn.Raw(func(conn any) error {
		_, err := conn.(driver.ExecerContext).ExecContext(ctx, fmt.Sprintf(`PRAGMA max_page_count(%d)`, pages), nil)
		return err
	}))
	runs := 0
	var operations []*Operation
	for range 200 {
		op, _ := generate(nextID(), nextID(), policy, noon)
		decide := op.Decide
		op.Decide = func(state *State) error { runs++; return decide(state) }
		operations = append(operations, op)
	}
	s.commit(operations)
	for _, op := range operations {
		require.ErrorContains(t, op.err, "full")
	}
	require.Equal(t, 200, runs, "each was decided once")
	require.Zero(t, count(t, s, `SELECT COUNT(*) FROM recipients`))
	op, _ := generate(nextID(), nextID(), policy, noon)
	require.NoError(t, s.Do(op), "the limit was the connection's")
}
