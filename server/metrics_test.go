package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// scrape reads a page of the metrics listener.
func scrape(t *testing.T, s *Server, path string) string {
	t.Helper()
	require.NotEmpty(t, s.MetricsAddr())
	response, err := http.Get("http://" + s.MetricsAddr() + path)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func TestMetrics_CountWhatHappenedAndNameNobody(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")...)
	const number = "919551492394"
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", documentedKey, person(number)))
	require.Equal(t, "Invalid Parameters", s.servlet("otpgenservlet", documentedKey, person("12")))
	require.Equal(t, "UNAUTHERISED USER", s.servlet("otpgenservlet", "nobody-has-this-key", person(number)))
	s.do("BREW", "/secret-path?mobile="+number, "")

	text := scrape(t, s.Server, "/metrics")
	for _, line := range []string{
		`otpbridge_requests_total{door="servlet",kind="ok",method="GET",route="otpgenservlet",status="200"} 1`,
		`otpbridge_requests_total{door="servlet",kind="invalid",method="GET",route="otpgenservlet",status="200"} 1`,
		`otpbridge_requests_total{door="servlet",kind="unknown_credential",method="GET",route="otpgenservlet",status="200"} 1`,
		`otpbridge_events_total{door="servlet",event="sent"} 1`,
		`otpbridge_batch_operations_count 1`,
		`otpbridge_queue_operations 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
	require.Contains(t, text, `method="other",route="unmatched"`, "a method or path is a caller's free text")
	for _, secret := range []string{number, documentedKey, "nobody-has-this-key", "secret-path", "BREW",
		"10000000000001"} {
		require.NotContains(t, text, secret)
	}
	require.Contains(t, scrape(t, s.Server, "/debug/pprof/goroutine?debug=1"), "goroutine profile")
	require.Equal(t, 404, s.do("GET", "/metrics", "").status, "metrics are not on the address that callers reach")
	require.Equal(t, 404, s.do("GET", "/debug/pprof/", "").status)
}

var metricName = regexp.MustCompile(`\botpbridge_[a-z_]+\b`)

// Every metric that documents and rules name exists, and every metric is in the document.
func TestMetrics_DocumentsAndAlertsNameWhatExists(t *testing.T) {
	s := boot(t, variables(t, "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0")...)
	families, err := s.metrics.registry.Gather()
	require.NoError(t, err)
	var exist []string
	for _, family := range families {
		exist = append(exist, family.GetName())
	}
	// A vector without children is not gathered, but it describes itself.
	descriptions := make(chan *prometheus.Desc, 200)
	for _, collector := range slices.Concat(s.store.Collectors(), s.engine.Collectors(), s.insight.Collectors(),
		s.upstream.Collectors(),
		[]prometheus.Collector{s.plain.Collector()}) {
		collector.Describe(descriptions)
	}
	close(descriptions)
	for description := range descriptions {
		exist = append(exist, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(description.String())[1])
	}
	exist = append(exist, "otpbridge_requests_total", "otpbridge_request_seconds")

	page, err := os.ReadFile("doc/metrics.md")
	require.NoError(t, err)
	for _, file := range []string{"doc/metrics.md", "doc/alerts.yml", "doc/operating.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if file == "doc/operating.md" { // which has users of databases too
			_, watched, found := strings.Cut(string(text), "\n## Watch\n")
			require.True(t, found)
			text = []byte(watched)
		}
		named := metricName.FindAllString(string(text), -1)
		require.NotEmpty(t, named, file)
		for _, name := range named {
			series := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			require.True(t, slices.Contains(exist, name) || slices.Contains(exist, series),
				"%s names %s, which does not exist", file, name)
		}
	}
	for _, name := range exist {
		if strings.HasPrefix(name, "otpbridge_") {
			require.Contains(t, string(page), "| `"+name+"` |", "doc/metrics.md has no row")
		}
	}
}

func TestTLS_ServesARenewedCertificateWithoutARestart(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile := folder+"/tls.crt", folder+"/tls.key"
	first := writeCertificate(t, certFile, keyFile, "first.example")
	s := boot(t, variables(t, "OTPBRIDGE_TLS_CERT_FILE="+certFile, "OTPBRIDGE_TLS_KEY_FILE="+keyFile)...)
	require.True(t, strings.HasPrefix(s.URL(), "https://127.0.0.1:"))

	shown := func(trusted []byte) (name string, hsts string) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(trusted)
		agent := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots},
		}}
		response, err := agent.Get(s.URL() + "/livez")
		require.NoError(t, err)
		defer response.Body.Close()
		return response.TLS.PeerCertificates[0].Subject.CommonName, response.Header.Get("Strict-Transport-Security")
	}
	name, hsts := shown(first)
	require.Equal(t, "first.example", name)
	require.Equal(t, "max-age=31536000", hsts)

	// A key that does not match, as between the two writes of a renewal, changes nothing.
	require.NoError(t, os.WriteFile(keyFile, []byte("half of it"), 0o600))
	s.certificate.checkAgain()
	name, _ = shown(first)
	require.Equal(t, "first.example", name)
	require.Contains(t, s.log.String(), "the former one stays")

	second := writeCertificate(t, certFile, keyFile, "second.example")
	s.certificate.checkAgain()
	name, _ = shown(second)
	require.Equal(t, "second.example", name)

	refused := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		MaxVersion: tls.VersionTLS11}}}
	_, err := refused.Get(s.URL() + "/livez")
	require.Error(t, err, "TLS 1.1 is refused")
}

// checkAgain makes the next handshake check the files.
func (c *certificate) checkAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked = c.checked.Add(-certificateChecked)
}

// MetricsAddr returns the address that metrics are served on, empty without one.
func (s *Server) MetricsAddr() string {
	if s.observers == nil {
		return ""
	}
	return s.observers.listener.Addr().String()
}
