package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/config"
)

// gatewayStandIn is a provider that answers with one status and keeps its requests.
type gatewayStandIn struct {
	*httptest.Server
	mu   sync.Mutex
	sent []map[string]string
}

func newGateway(t *testing.T, status int) *gatewayStandIn {
	t.Helper()
	g := new(gatewayStandIn)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		query := r.URL.Query()
		g.sent = append(g.sent, map[string]string{"to": query.Get("to"), "text": query.Get("text"), "key": query.Get("key")})
		w.WriteHeader(status)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gatewayStandIn) all() []map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent
}

func (g *gatewayStandIn) url(name string) string {
	return g.URL + "/send?key=gateway-s3cret&to={to}&text={text}#name=" + name
}

// A code that production sends through a gateway can be verified. The log contains neither the code nor the gateway's
// credentials.
func TestDelivery_ProductionSendsThroughItsGateways(t *testing.T) {
	t.Parallel()
	first, second := newGateway(t, http.StatusForbidden), newGateway(t, http.StatusOK)
	environ := productionFrom(t, variables(t, "OTPBRIDGE_SHUTDOWN_TIMEOUT=1s", "OTPBRIDGE_LOG_LEVEL=debug"))
	edit(t, environ, `UPDATE otp_auth_config SET plain_validation_enabled = 1`)
	s := boot(t, append(environ, "OTPBRIDGE_SMS_CHANNELS="+first.url("first")+","+second.url("second"))...)
	require.Equal(t, "OTP Generated Successfully", s.servlet("otpgenservlet", productionKey, person("919551492394")))
	require.Len(t, first.all(), 1)
	require.Len(t, second.all(), 1, "what the first refused the second gets")
	require.Equal(t, "+919551492394", second.all()[0]["to"])
	require.Equal(t, "gateway-s3cret", second.all()[0]["key"])
	code := regexp.MustCompile(`^[0-9]{6}`).FindString(second.all()[0]["text"])
	require.Equal(t, "Verified successfully", s.servlet("plainotpvalidationservlet", productionKey,
		person("919551492394", "otp", code)))

	second.Close()
	require.Equal(t, "SMSEMAILFAIL", s.servlet("otpgenservlet", productionKey, person("919551492395")),
		"nobody listens there any more")
	require.NoError(t, s.Shutdown(context.Background()))
	log := s.log.String()
	require.Contains(t, log, "channel=first")
	require.Contains(t, log, "refused with status 403")
	require.Contains(t, log, "the connection was refused")
	for _, secret := range []string{"gateway-s3cret", "9551492394", "9551492395", code + " is your"} {
		require.NotContains(t, log, secret)
	}
}

func TestDelivery_ChannelsThatCannotBeAreRefused(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		says    []string
	}{
		{[]string{"OTPBRIDGE_MODE=production", "OTPBRIDGE_SMS_CHANNELS=inbox:"},
			[]string{"OTPBRIDGE_SMS_CHANNELS: entry 1: the inbox shows every code"}},
		{[]string{"OTPBRIDGE_MODE=production", "OTPBRIDGE_SMS_CHANNELS=http://user:hunter2@gw.example/?to={to}&text={text}",
			"OTPBRIDGE_EMAIL_CHANNELS=smtp://user:hunter2@mail.example"},
			[]string{"OTPBRIDGE_SMS_CHANNELS: entry 1 (http://gw.example): would send codes in clear",
				"OTPBRIDGE_EMAIL_CHANNELS: entry 1 (smtp://mail.example): has no from"}},
		{[]string{"OTPBRIDGE_EMAIL_CHANNELS=inbox:,sendmail"},
			[]string{"OTPBRIDGE_EMAIL_CHANNELS: entry 2: starts with none of the channels for email"}},
	} {
		settings, err := config.Load(variables(t, tt.environ...))
		require.NoError(t, err)
		err = New(settings, slog.New(slog.DiscardHandler)).Start(t.Context())
		require.ErrorAs(t, err, new(unusable))
		for _, says := range tt.says {
			require.ErrorContains(t, err, says)
		}
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// The server accepts every setting on the page on delivery, with every profile.
func TestDelivery_TheExamplesOfThePageAreTaken(t *testing.T) {
	text, err := os.ReadFile("doc/delivery.md")
	require.NoError(t, err)
	settings := regexp.MustCompile(`(?m)^OTPBRIDGE_(?:SMS|EMAIL)_CHANNELS='([^']*)'$`).FindAllStringSubmatch(string(text), -1)
	require.GreaterOrEqual(t, len(settings), 5)
	profiles := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, profiles)
	for _, profile := range profiles {
		path := filepath.Join(t.TempDir(), "sms.json")
		require.NoError(t, os.WriteFile(path, []byte(profile[1]), 0o600))
		for _, found := range settings {
			assignment := strings.ReplaceAll(found[0], "'", "")
			settings, err := config.Load(variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_FILES_DIR="+filepath.Dir(path),
				assignment))
			require.NoError(t, err, assignment)
			_, err = openOutlets(settings, nil)
			require.NoError(t, err, assignment)
		}
	}
}
