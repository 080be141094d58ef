package audit

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
	"otpbridge/sql/sqltest"
	"otpbridge/sql/sqltest/migrated"
)

// heap is a context that measures the memory in use whenever a query checks whether it has ended.
type heap struct {
	context.Context
	asked int
	most  uint64
}

// Done implements context.Context.
func (h *heap) Done() <-chan struct{} {
	if h.asked++; h.asked%50 == 1 {
		h.most = max(h.most, sqltest.LiveHeap())
	}
	return h.Context.Done()
}

// Reading a whole log needs the memory of a few pages, however long the log is. With FULL=1 it has a million entries.
func TestVerify_StreamsInFlatMemory(t *testing.T) {
	const pageEntries, entrySize, most = 1000, 1 << 10, 8 << 20
	entries := 20_000
	if os.Getenv("FULL") == "1" {
		entries = 1_000_000
	}
	l := open(t, migrated.SQLite(t))
	long := strings.Repeat("a", entrySize)
	for i := range entries {
		one := call(now+otp.Millis(i), "4711")
		one.Action = long
		l.Record(one, nil)
		if i%pageEntries == pageEntries-1 {
			seal(t, l)
		}
	}
	change(t, l, now, "the last")
	seal(t, l)
	measured := &heap{Context: ctx}
	before := sqltest.LiveHeap()
	report, err := l.Verify(measured, nil, now)
	require.NoError(t, err)
	require.EqualValues(t, entries+1, report.Entries)
	require.Greater(t, measured.asked, entries/tileWidth)
	require.Less(t, int64(measured.most)-int64(before), int64(most), fmt.Sprint(measured.asked, " queries"))
	t.Logf("%d entries of %d bytes: %d KiB more in use", entries, entrySize, (int64(measured.most)-int64(before))>>10)
}
