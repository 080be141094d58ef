//go:build !race

// The race detector allocates too, so this is counted without it.

package load

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun_AllocatesNothingOnceItsConnectionsAreOpen(t *testing.T) {
	url := constantServer(t, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nsame")
	mallocs := func(cycles int) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		result, err := Run(t.Context(), Options{URL: url, Cycle: servlets.Bare("same"), Concurrency: 8, Cycles: cycles})
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		require.Equal(t, cycles, result.Cycles, result.Failures)
		return int(after.Mallocs - before.Mallocs)
	}
	mallocs(1000)
	few, many := mallocs(1000), mallocs(11_000)
	t.Logf("%d allocations with 2,000 requests, %d with 22,000", few, many)
	require.Less(t, many-few, 200, "for 20,000 requests more")
}

// constantServer answers every request with the same bytes and allocates nothing.
func constantServer(t *testing.T, answer string) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { answerAll(conn, []byte(answer)) })
		}
	})
	return "http://" + listener.Addr().String()
}

func answerAll(conn net.Conn, answer []byte) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil || !bytes.HasSuffix(buffer[:n], headEnd) {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}
