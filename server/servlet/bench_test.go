package servlet_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/servlet"
)

// BenchmarkServlets measures a cycle for a new recipient through the router, without sockets: the door, the engine and
// SQLite, with 64 concurrent callers.
func BenchmarkServlets(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	h := newHouse(b, "123456")
	account := otp.DefaultAccount("")
	account.PlainValidation = true
	_, credentials, err := h.manage.Sandbox.CreateAccount(b.Context(), manage.NewAccount{Account: account})
	require.NoError(b, err)
	router := gin.New()
	servlet.Mount(router, "", servlet.Options{Engine: h.engine, Log: slog.New(slog.DiscardHandler)})
	header := http.Header{"Access_key": {credentials.AccessKey}}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			query := fmt.Sprintf("ipaddress=203.0.113.7&mobile=9190%08d", next.Add(1))
			generated := ask(router, header, "/otpgenservlet", query)
			validated := ask(router, header, "/plainotpvalidationservlet", query+"&otp=123456")
			if generated != "OTP Generated Successfully" || validated != "Verified successfully" {
				b.Errorf("answered %q and %q", generated, validated)
				return
			}
		}
	})
}

// ask calls a servlet with as little overhead as possible.
func ask(router http.Handler, header http.Header, path, query string) string {
	var w answerWriter
	router.ServeHTTP(&w, &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Header: header, RemoteAddr: "127.0.0.1:9",
	})
	return w.String()
}

// answerWriter stores the body.
type answerWriter struct {
	strings.Builder
	header http.Header
}

func (w *answerWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (*answerWriter) WriteHeader(int) {}
