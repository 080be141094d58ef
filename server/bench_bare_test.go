package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"
)

// The benchmark compares servers with a process that uses the same HTTP stack but does nothing: this test binary as a
// server, with a gin route that answers a constant.

// bareVariable in the environment makes this binary serve instead of running tests.
const bareVariable = "OTPBRIDGE_TEST_BARE"

const bareText = "Answered successfully"

func bareHandler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/otpauthapi/:servlet", func(c *gin.Context) { c.String(http.StatusOK, bareText) })
	return router
}

// serveBare prints its URL and serves until stdin ends, which happens when its parent ends.
func serveBare() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(listener, bareHandler())
}
