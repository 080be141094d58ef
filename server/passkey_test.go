package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"otpbridge/server/console"
	"otpbridge/server/people"
)

// authenticator adds a virtual authenticator to the browser. It verifies its user unless it is set otherwise.
func (b *browser) authenticator() webauthn.AuthenticatorID {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{})
	require.NoError(b.t, err)
	made, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		},
	})
	require.NoError(b.t, err)
	return made.AuthenticatorID
}

// productionAtLocalhost boots a server with TLS at the name localhost. The browser has to be told to accept its
// certificate.
func productionAtLocalhost(t *testing.T) (s *booted, url string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	cert, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key, "localhost")
	url = fmt.Sprintf("https://localhost:%d", port)
	return boot(t, variables(t, "OTPBRIDGE_MODE=production", "OTPBRIDGE_METRICS_ADDR=127.0.0.1:0",
		fmt.Sprintf("OTPBRIDGE_ADDR=127.0.0.1:%d", port), "OTPBRIDGE_PUBLIC_URL="+url, "OTPBRIDGE_TLS_CERT_FILE="+cert,
		"OTPBRIDGE_TLS_KEY_FILE="+key)...), url
}

// In production a login with a password may not change live settings. A login with the passkey that it added may.
func TestConsole_APasskeyLogsInAndChangesWhatIsLive(t *testing.T) {
	s, url := productionAtLocalhost(t)
	issued, err := s.people.Staff.Setup(t.Context(), people.Operator())
	require.NoError(t, err)
	b := newBrowser(t, url)
	b.bringAxe()
	_, err = chromedp.Call(b.ctx, security.SetIgnoreCertificateErrors,
		security.SetIgnoreCertificateErrorsParams{Ignore: true})
	require.NoError(t, err)
	device := b.authenticator()
	look := func(page string) {
		folder := os.Getenv("SCREENSHOTS")
		if folder == "" {
			b.look(360, "light")
			checkPage(b, page)
			return
		}
		for _, screen := range screens(0) {
			b.look(screen.width, screen.theme)
			checkPage(b, page)
			b.picture(fmt.Sprintf("%s/%s-%d-%s.png", folder, page, screen.width, screen.theme))
		}
	}
	change := func() {
		b.open(console.Path + "new-account")
		b.fill("Address", "4711")
		b.fill("Name", "Shop")
		b.press("Make the account")
	}

	b.open(console.Path + "register")
	eval[chromedp.Void](b, `location.hash = "setup_token=`+issued.Token+`"`) // the link, opened in a tab with this page
	b.fill("E-mail", "owner@shop.example")
	b.fill("Your name", "Ada Owner")
	b.fill("Password", "correct-horse-97-battery")
	b.press("Make my login")
	b.sees("You have a login")
	b.allow("status of 403") // what follows is refused
	change()
	b.sees("second factor")
	eval[chromedp.Void](b, `document.querySelector("main a.button").click()`)
	b.sees("go back and send the form again")
	b.press("Add a passkey")
	b.sees("Your backup codes")
	b.sees("passkey")
	look("security-passkey")
	b.press("Log out")
	b.sees("You are logged out")

	verifies := func(is bool) {
		_, err := chromedp.Call(b.ctx, webauthn.SetUserVerified,
			webauthn.SetUserVerifiedParams{AuthenticatorID: device, IsUserVerified: is})
		require.NoError(t, err)
	}
	verifies(false)
	b.press("Log in with a passkey")
	b.sees("Your device gave no passkey")
	look("login-passkey")
	verifies(true)
	b.press("Try again")
	b.sees("owner@shop.example")
	change()
	b.sees("Shown this once")

	b.open(console.Path + "security")
	b.press("Add a passkey") // this device has one
	b.sees("it has one of yours already")
}
