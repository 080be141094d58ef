package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server that stops is first not ready while it still serves everything; then it finishes the requests in flight and
// accepts no new connection.
func TestShutdown_NotReadyFirstThenRequestsFinish(t *testing.T) {
	environ := variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=5s")
	s := boot(t, productionFrom(t, environ)...)
	require.Equal(t, "ready\n", s.do("GET", "/readyz", "").body)

	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- s.Shutdown(context.Background()) }()
	eventually(t, "not ready", func() bool { return s.do("GET", "/readyz", "").status == 503 })
	a := s.do("GET", "/readyz", "")
	require.Equal(t, "not ready: shutdown\n", a.body)
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", productionKey, person("919551492394")), "still serving")
	require.NoError(t, <-ended)
	require.GreaterOrEqual(t, time.Since(began), time.Second, "a fifth of the timeout, for balancers to notice")
	_, err := s.try("GET", "/livez", "")
	require.Error(t, err)
}

// A sandbox that a supervisor stops does the same, because a load balancer or a client's test may depend on readiness.
func TestShutdown_ASandboxThatIsTerminatedIsNotReadyFirst(t *testing.T) {
	t.Parallel()
	c := startChild(t, t.TempDir(), "OTPBRIDGE_SHUTDOWN_TIMEOUT=10s", "OTPBRIDGE_DELIVERY_WAIT=5s")
	require.Equal(t, "ready\n", c.do("GET", "/readyz", "").body)
	waited := make(chan answer, 1)
	go func() {
		a, _ := c.try("GET", "/sandbox/messages?wait=30s&to=%2B919551499999", "")
		waited <- a
	}()
	c.do("PUT", "/sandbox/faults", `{"faults":[{"target":"inbox","kind":"delay","delay":"3s","count":1}]}`)
	generated := make(chan string, 1)
	go func() { generated <- c.servlet("otpgenservlet", documentedKey, person("919551492394")) }()
	c.untilFaultsStruck()

	require.NoError(t, c.command.Process.Signal(syscall.SIGTERM))
	eventually(t, "not ready", func() bool { return c.do("GET", "/readyz", "").body == "not ready: shutdown\n" })
	for i := range 20 {
		text := c.servlet("otpgenservlet", documentedKey, person(fmt.Sprint(919551492400+i)))
		require.Equal(t, "OTP Generated Successfully", text, "served while balancers take notice")
	}
	require.Equal(t, "OTP Generated Successfully", <-generated, "a request in flight finishes")
	require.Equal(t, 200, (<-waited).status, "a wait is answered")
	require.Equal(t, exitOK, c.exitCode(), c.log)
	require.Contains(t, c.log.String(), "msg=stopped")
}

func TestShutdown_ARequestInFlightFinishes(t *testing.T) {
	s := boot(t, variables(t)...)
	a := s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"inbox","kind":"delay","delay":"700ms","count":1}]}`)
	require.Equal(t, 200, a.status, a.body)
	generated := make(chan string, 1)
	go func() {
		a, err := s.try("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "", "access_key", documentedKey)
		generated <- fmt.Sprint(a.body, err)
	}()
	s.untilFaultsStruck()
	require.NoError(t, s.Shutdown(t.Context()))
	require.Equal(t, "OTP Generated Successfully<nil>", <-generated)
	require.Contains(t, s.log.String(), "msg=stopped")
}

func TestShutdown_CutsOffWhatTakesTooLong(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_DELIVERY_WAIT=2s")...)
	s.do("PUT", "/sandbox/faults", `{"faults":[{"target":"inbox","kind":"delay","delay":"60s","count":1}]}`)
	generated := make(chan error, 1)
	go func() {
		_, err := s.try("GET", "/otpauthapi/otpgenservlet?"+person("919551492394").Encode(), "", "access_key", documentedKey)
		generated <- err
	}()
	s.untilFaultsStruck()
	require.ErrorContains(t, s.Shutdown(t.Context()), "cut off after 1")
	require.Error(t, <-generated)
}

func TestShutdown_EndsWaitsAndStreams(t *testing.T) {
	s := boot(t, variables(t)...)
	stream, err := s.agent.Get(s.url + "/sandbox/messages/stream")
	require.NoError(t, err)
	defer stream.Body.Close()
	waited := make(chan string, 1)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		a, err := s.try("GET", "/sandbox/messages?wait=30s", "")
		waited <- fmt.Sprint(a.body, err)
	}()
	<-waiting
	began := time.Now()
	require.NoError(t, s.Shutdown(t.Context()))
	require.Less(t, time.Since(began), 10*time.Second, "nobody waited for the end of the wait")
	_, err = io.ReadAll(stream.Body)
	require.NoError(t, err, "the stream ends properly")
	// The wait was answered, or had not arrived before the server stopped listening.
	if got := <-waited; !strings.Contains(got, "refused") && !strings.Contains(got, "EOF") &&
		!strings.Contains(got, "reset") {
		require.Equal(t, "{\"data\":[]}\n<nil>", got)
	}
}
