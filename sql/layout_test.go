package sql

import (
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInsert_LeavesOutColumnsThatAreNullInEveryRow(t *testing.T) {
	l := newLayout("INSERT INTO", "t", "a, b, c,\n\td")
	var writes script
	writes.insert(l, []driver.Value{
		int64(1), nil, nil, "x",
		int64(2), nil, "y", nil,
	})
	writes.insert(l, []driver.Value{int64(3), nil, nil, nil})
	writes.insert(l, nil)
	require.Equal(t, []write{
		{text: "INSERT INTO t (a, c, d) VALUES ", args: []driver.Value{int64(1), nil, "x", int64(2), "y", nil}, width: 3},
		{text: "INSERT INTO t (a) VALUES ", args: []driver.Value{int64(3)}, width: 1},
	}, writes.writes)
}
