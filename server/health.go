package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
)

// health remembers which checks failed last, so that the log has a line for a change and not for every
// probe of a balancer.
type health struct {
	mu     sync.Mutex
	failed string
}

// live answers that the process is up. It checks nothing else: a supervisor must not restart servers
// because their database is down.
func live(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

// ready answers whether this server can take requests. It names the failed checks only: their errors can
// contain a path or a host, and go into the log.
func (s *Server) ready(c *gin.Context) {
	checks := s.engine.Ready(c.Request.Context())
	var stopping error
	if s.isStopping() {
		stopping = errors.New("the server is stopping")
	}
	checks = append(checks, engine.Check{Name: "shutdown", Err: stopping})

	var report strings.Builder
	var failed []string
	for _, check := range checks {
		state := "ok"
		switch {
		case check.Err != nil:
			state = "failed"
			failed = append(failed, check.Name)
		case check.Note != "":
			state = check.Note
		}
		fmt.Fprintf(&report, "%s %s\n", check.Name, state)
	}
	s.logHealth(checks, strings.Join(failed, ", "))

	status, verdict := http.StatusOK, "ready\n"
	if len(failed) > 0 {
		status, verdict = http.StatusServiceUnavailable, "not ready: "+strings.Join(failed, ", ")+"\n"
	}
	c.Header("Cache-Control", "no-store")
	if !c.Request.URL.Query().Has("verbose") {
		report.Reset()
	}
	c.String(status, "%s%s", report.String(), verdict)
}

func (s *Server) logHealth(checks []engine.Check, failed string) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if failed == s.health.failed {
		return
	}
	s.health.failed = failed
	if failed == "" {
		s.log.Info("ready again")
	}
	for _, check := range checks {
		if check.Err != nil {
			s.log.Warn("not ready", "check", check.Name, "error", check.Err)
		}
	}
}
