package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"
)

// The measure of the benchmark is what the same HTTP stack costs that does nothing: a process
// of its own, which is this test binary once more, with a gin route that answers a constant.

// bareVariable makes this binary that server instead of a run of tests.
const bareVariable = "OTPBRIDGE_TEST_BARE"

const bareText = "Answered successfully"

func bareHandler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/otpauthapi/:servlet", func(c *gin.Context) { c.String(http.StatusOK, bareText) })
	return router
}

// serveBare tells its URL on stdout and serves until stdin ends, which it does with its parent.
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
