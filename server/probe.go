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
	"time"

	"otpbridge/config"
)

// healthCommand is for supervisors that know a process only by what a command says about it. An
// image without a shell has nothing else to ask with.
type healthCommand struct {
	URL string `name:"url" placeholder:"URL" help:"Where the server is, such as http://127.0.0.1:8080; without it, where OTPBRIDGE_ADDR has it listen."`
}

// healthTimeout is above the three seconds that the server gives its own checks, so that it can
// say which one failed, and below the five that a container's healthcheck gives this command.
const healthTimeout = 4 * time.Second

// maxHealth bounds what is shown of an answer; another program may have the address.
const maxHealth = 4 << 10

// Help is shown below the flags.
func (healthCommand) Help() string {
	return "Prints what /readyz?verbose answers. In a Dockerfile:\n\n" +
		"    HEALTHCHECK CMD [\"/otpbridge\", \"health\"]\n\n" +
		"The settings are those of the server that is asked; with --url none are read."
}

// Run asks once. Everything but a 200 is an error, a redirect included: whoever redirects is not
// this server.
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
	// A transport of its own, because the default one would ask a proxy that the environment names.
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

// address is where to ask, without a slash at its end.
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
		host = "127.0.0.1" // one of the addresses that "all of them" means
	}
	scheme := "http://"
	if settings.TLSCertFile != "" {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port), nil
}

// ownCertificate believes any certificate of this machine's own server, which was made for the name
// that others reach it by. One that somebody names with --url has to be right.
func ownCertificate(url string) *tls.Config {
	if url != "" {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true}
}
