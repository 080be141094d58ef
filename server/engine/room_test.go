package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// When the map is full, each new entry costs a few looks, not a walk through all entries.
func TestMakeRoom_LooksAtAFew(t *testing.T) {
	const most = 10_000
	entries := map[int]time.Time{}
	for i := range most {
		entries[i] = time.Now().Add(time.Hour)
	}
	looked := 0
	for i := range 100 {
		makeRoom(entries, most, func(until time.Time) time.Time { looked++; return until })
		require.Less(t, len(entries), most)
		entries[most+i] = time.Now().Add(time.Hour)
	}
	require.LessOrEqual(t, looked, 100*looks)

	for i := range entries {
		entries[i] = time.Time{}
	}
	makeRoom(entries, most, func(until time.Time) time.Time { return until })
	require.LessOrEqual(t, len(entries), most-looks, "what is over goes first")
}
