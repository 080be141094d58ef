package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
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

// healthCommand is for supervisors that check a server by running a command. A container image without a
// shell has no other program to ask with.
type healthCommand struct {
	URL string `name:"url" placeholder:"URL" help:"The server's URL, such as http://127.0.0.1:8080; without it, OTPBRIDGE_ADDR's."`
}

// healthTimeout is more than the three seconds of the server's own checks, so that the server can answer
// which one failed, and less than the five of a container's healthcheck.
const healthTimeout = 4 * time.Second

// maxHealth is how many bytes of the answer are shown at most; another program may use the address.
const maxHealth = 4 << 10

// Help implements kong.HelpProvider.
func (healthCommand) Help() string {
	return "Prints the answer of /readyz?verbose. In a Dockerfile:\n\n" +
		"    HEALTHCHECK CMD [\"/otpbridge\", \"health\"]\n\n" +
		"Run it with the server's settings; with --url it reads none."
}

// Run asks once. Every status but 200 is an error, also a redirect: this server never redirects that path.
func (h healthCommand) Run(p process) error {
	address, err := h.address(p.environ)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz?verbose", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	// The default transport would use the proxy that the environment names.
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: ownCertificate(h.URL)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer response.Body.Close()
	report, err := io.ReadAll(io.LimitReader(response.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("read what %s answers: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s/readyz answered %s\n%s", address, response.Status, strings.TrimSpace(string(report)))
	}
	_, err = p.stdout.Write(report)
	return err
}

// address returns the server's base URL, without a slash at its end.
func (h healthCommand) address(environ []string) (string, error) {
	if h.URL != "" {
		parsed, err := url.Parse(h.URL)
		if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil ||
			parsed.RawQuery != "" || parsed.Fragment != "" {
			return "", unusable{errors.New("--url is no address of a server; give one such as http://127.0.0.1:8080")}
		}
		return strings.TrimSuffix(h.URL, "/"), nil
	}
	settings, err := config.Load(environ)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(settings.Addr)
	if err != nil {
		return "", fmt.Errorf("read %sADDR: %w", config.Prefix, err)
	}
	if port == "0" {
		return "", unusable{fmt.Errorf("%sADDR leaves the port to the system, so nobody here knows it: give --url",
			config.Prefix)}
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1" // the server listens on all addresses
	}
	scheme := "http://"
	if settings.TLSCertFile != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port), nil
}

// ownCertificate accepts any certificate of this machine's server: the certificate is for the server's public
// name. With --url it is verified.
func ownCertificate(url string) *tls.Config {
	if url != "" {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true}
}
