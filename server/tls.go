package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
	"otpbridge/server/files"
)

// certificateChecked is how often the certificate's files are checked. New connections get a renewed
// certificate after this time at most.
const certificateChecked = 10 * time.Second

// certificateEndsSoon is how long before its end the log and doctor warn that a certificate has to be renewed.
const certificateEndsSoon = 14 * 24 * time.Hour

// certificate is the server's TLS certificate. Its files are read again when they change, so that a renewed
// certificate needs no restart. If they cannot be read, or do not match because only one has been written so
// far, the former certificate stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	written [2]time.Time // when the files of current were written
	failed  [2]time.Time // when files that could not be used were written, so that they are logged once
	checked time.Time
}

// openCertificate reads the files for the first time. Unlike later, a fault is an error.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	written, err := c.modified()
	if err == nil {
		err = c.read(written)
	}
	if err != nil {
		return nil, unusable{fmt.Errorf("read the TLS certificate from %s and %s: %w", certFile, keyFile, err)}
	}
	c.checked = time.Now()
	return c, nil
}

// config returns the TLS configuration of the listener, with Go's default ciphers.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateChecked {
		c.checked = now
		c.refresh()
	}
	return c.current, nil
}

func (c *certificate) refresh() {
	written, err := c.modified()
	if err == nil && (written == c.written || written == c.failed) {
		return
	}
	if err == nil {
		err = c.read(written)
	}
	if err != nil {
		c.failed = written
		c.log.Error("the TLS certificate changed and cannot be used; the former one stays", "file", c.certFile, "error", err)
	}
}

func (c *certificate) modified() (written [2]time.Time, err error) {
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return written, err
		}
		written[i] = info.ModTime()
	}
	return written, nil
}

func (c *certificate) read(written [2]time.Time) error {
	pair, err := files.KeyPair(config.Prefix+"TLS_CERT_FILE", c.certFile, config.Prefix+"TLS_KEY_FILE", c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.written = &pair, written
	c.log.Info("TLS certificate", "file", c.certFile, "subject", pair.Leaf.Subject.String(), "not_after",
		pair.Leaf.NotAfter)
	if left := time.Until(pair.Leaf.NotAfter); left < certificateEndsSoon {
		c.log.Warn("the TLS certificate ends soon", "file", c.certFile, "not_after", pair.Leaf.NotAfter)
	}
	return nil
}

// strictTransport tells browsers to use only TLS for a year (RFC 6797).
func strictTransport(c *gin.Context) {
	c.Header("Strict-Transport-Security", "max-age=31536000")
}
