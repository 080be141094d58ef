package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConnections_CloseAnIdleOneBeforeTheyTurnSomebodyAway(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- struct{}{}
			<-release
		}
		io.WriteString(w, "ok")
	}))
	bounds := newConnections(3)
	server.Config.ConnState = bounds.watch
	server.Start()
	t.Cleanup(server.Close)
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		return conn, bufio.NewReader(conn)
	}
	ask := func(conn net.Conn, path string) {
		_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		require.NoError(t, err)
	}
	idleNow := func() int { bounds.mu.Lock(); defer bounds.mu.Unlock(); return len(bounds.idle) }

	idle, answers := dial()
	ask(idle, "/")
	_, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return idleNow() == 1 }, 10*time.Second, time.Millisecond)
	var busy []*bufio.Reader
	for range 3 { // the third takes the place of the idle one
		conn, answers := dial()
		ask(conn, "/wait")
		<-entered
		busy = append(busy, answers)
	}
	_, err = io.ReadAll(idle)
	require.NoError(t, err, "closed")

	_, answers = dial()
	refused, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.Equal(t, 503, refused.StatusCode)
	require.Equal(t, "1", refused.Header.Get("Retry-After"))
	text, err := io.ReadAll(refused.Body)
	require.NoError(t, err)
	require.Equal(t, "The server is busy; try again.\r\n", string(text))

	close(release)
	for _, answers := range busy {
		served, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.Equal(t, 200, served.StatusCode, "nobody else is disturbed")
	}
}
