package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
	"otpbridge/server/console"
	"otpbridge/server/people"
)

// welcome returns the text that a sandbox prints at its start: a call to paste, and where its message is. The number
// need not be a reserved one, because a sandbox delivers nothing. Without the demo owner's password the text omits the
// login.
func welcome(url, contextPath, password string) string {
	login := ""
	if password != "" {
		login = `The console needs no login on this machine. The calls under /api need one, as the demo owner for example:

  echo '{"email":"` + people.DemoOwner + `","password":"` + password + `"}' | curl -sS 'URL/api/auth/login' -H 'Content-Type: application/json' -d @-

`
	}
	return strings.NewReplacer("URL", url, "SERVLETS", url+contextPath).Replace(`
OTPBridge is running as a sandbox on URL/

Its console, for a browser:

  URL/console/

Generate a code for the demo account, which answers "OTP Generated Successfully":

  curl -sS -H 'access_key: ZGVtby1hY2Nlc3Mta2V5MQ==' 'SERVLETS/otpgenservlet?ipaddress=203.0.113.7&mobile=919876543210'

Unless you set channels, nothing leaves this machine. The message with the code is in the console's inbox, and here:

  curl -sS 'URL/sandbox/messages?limit=1'

` + login + `Stop with Ctrl-C.

`)
}

// openDemo returns the password of the demo owner, empty if there is none to show.
func (s *Server) openDemo() (string, error) {
	if !s.settings.Open(config.APIDoor) {
		return "", nil
	}
	password, err := s.people.OpenDemo(context.Background())
	if err != nil {
		err = fmt.Errorf("make the demo owner: %w", err)
	}
	return password, err
}

// frontPage redirects a browser to the console, and answers other clients of a sandbox with a short text.
func (s *Server) frontPage(c *gin.Context) {
	c.Header("Vary", "Accept")
	if s.settings.Open(config.ConsoleDoor) && strings.Contains(c.GetHeader("Accept"), "text/html") {
		c.Redirect(http.StatusSeeOther, console.Path)
		return
	}
	if !s.settings.Sandbox() {
		s.noRoute(c)
		return
	}
	page := strings.NewReplacer("URL", s.URL(), "SERVLETS", s.settings.ContextPath).Replace(`OTPBridge, a self-hosted OTP authenticator, running as a SANDBOX.
Every code that would be sent can be read here. No message leaves this machine unless you set channels.

The servlets, with the header access_key:

  GET or POST SERVLETS/otpgenservlet             ipaddress, mobile, optional email
  GET or POST SERVLETS/otpvalidationservlet      ipaddress, mobile, otp (encrypted)
  GET or POST SERVLETS/otpregenservlet           ipaddress, mobile, optional email
  GET or POST SERVLETS/plainotpvalidationservlet ipaddress, mobile, otp (digits; off by default)

The JSON API, with the header Authorization: Bearer, X-API-Key or access_key; /docs shows it:

  POST   /v1/send           {"to":"+919876543210","method":"sms","type":"verification"}
  POST   /v1/verify         {"id":"otp_...","code":"123456"}, or "to" for "id"
  POST   /v1/resend         {"id":"otp_..."}
  POST   /v1/cancel         {"id":"otp_..."}
  GET    /v1/status/otp_...

The sandbox:

  GET    /sandbox/credentials       keys of the demo accounts
  GET    /sandbox/messages          the inbox: ?account= &to= &after= &limit=50
                                    &wait=10s is for messages newer than the request, or than after
  DELETE /sandbox/messages          empty it
  GET    /sandbox/messages/stream   the inbox as server-sent events
  POST   /sandbox/messages/ID/relay {"to":"+919876543210"}, to a recipient that the settings allow
  GET    /sandbox/accounts          every account, without its secrets
  POST   /sandbox/accounts          make an account to throw away: any columns of otp_auth_config
  GET    /sandbox/clock             how far the clock is ahead: ?account=
  PUT    /sandbox/clock             {"advance":"6m"} on from what it shows, or {"offset":"6m"};
                                    for all accounts, with "account" for one
  GET    /sandbox/faults            what fails on purpose
  PUT    /sandbox/faults            {"faults":[{"target":"inbox","kind":"not_sent","count":1}]}
  DELETE /sandbox/faults            nothing fails on purpose any more
  GET    /sandbox/requests          the latest calls, secrets redacted: ?account= &limit=50
  POST   /sandbox/reset             {"account":"..."} forgets what it did; {} forgets everything;
                                    {"accounts":[{...}]} and makes these accounts anew

Health: /livez and /readyz?verbose

To begin with:

  curl -sS -H 'access_key: ZGVtby1hY2Nlc3Mta2V5MQ==' 'URLSERVLETS/otpgenservlet?ipaddress=203.0.113.7&mobile=919876543210'
  curl -sS 'URL/sandbox/messages?limit=1'
`)
	c.String(http.StatusOK, "%s", page)
}
