package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/web"
)

// A stream that fails before its first part is refused; one that fails later does not look complete.
func TestStream_ThatFailsDoesNotLookWhole(t *testing.T) {
	var log strings.Builder
	router := gin.New()
	for path, write := range map[string]func(io.Writer) error{
		"/whole": func(w io.Writer) error { _, err := io.WriteString(w, "all of it"); return err },
		"/early": func(io.Writer) error { return errors.New("no") },
		"/late": func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("a part", 10_000))
			return errors.Join(err, errors.New("the disk is gone"))
		},
	} {
		router.GET(path, func(c *gin.Context) {
			web.Identify(c, "req_12345678")
			err := web.Stream(c, slog.New(slog.NewTextHandler(&log, nil)), "text/csv", "all.csv",
				func(_ context.Context, w io.Writer) error { return write(w) })
			if err != nil {
				c.String(http.StatusConflict, "refused")
			}
		})
	}
	server := httptest.NewServer(router)
	defer server.Close()
	get := func(path string) (*http.Response, string, error) {
		response, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response, string(body), err
	}
	whole, body, err := get("/whole")
	require.NoError(t, err)
	require.Equal(t, "all of it", body)
	require.Equal(t, `attachment; filename="all.csv"`, whole.Header.Get("Content-Disposition"))
	early, body, err := get("/early")
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, early.StatusCode)
	require.Equal(t, "refused", body)
	require.Empty(t, early.Header.Get("Content-Disposition"))
	_, _, err = get("/late")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 1, strings.Count(log.String(), "the disk is gone"))
}

// connections is a listener for one connection.
type connections chan net.Conn

func (c connections) Accept() (net.Conn, error) {
	conn, open := <-c
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (c connections) Close() error   { return nil }
func (c connections) Addr() net.Addr { return &net.TCPAddr{} }

// An answer may take longer than the server's timeout while the client reads; ten seconds after it stops reading, the
// answer ends.
func TestStream_CutsOffAClientThatStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := make(chan error, 1)
		router := gin.New()
		router.GET("/", func(c *gin.Context) {
			web.Identify(c, "req_12345678")
			_ = web.Stream(c, slog.New(slog.DiscardHandler), "text/csv", "all.csv", func(_ context.Context, w io.Writer) error {
				for {
					if _, err := io.WriteString(w, strings.Repeat("a", 1000)); err != nil {
						cut <- err
						return err
					}
				}
			})
		})
		client, peer := net.Pipe()
		one := make(connections, 1)
		one <- peer
		server := &http.Server{Handler: router, ReadTimeout: time.Second, WriteTimeout: time.Second}
		go server.Serve(one)
		_, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		for range 20 { // slow, and yet it reads
			time.Sleep(5 * time.Second)
			_, err := io.ReadFull(client, make([]byte, 4096))
			require.NoError(t, err)
		}
		stopped := time.Now()
		require.ErrorIs(t, <-cut, os.ErrDeadlineExceeded)
		require.LessOrEqual(t, time.Since(stopped), 10*time.Second)
		close(one)
		require.NoError(t, client.Close())
	})
}
