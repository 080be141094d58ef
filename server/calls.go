package main

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
	"otpbridge/server/audit"
	"otpbridge/server/vault"
	"otpbridge/server/web"
	"otpbridge/sql"
)

// openAudit opens the audit log that the settings describe.
func openAudit(settings config.Settings, store *sql.Store, v *vault.Vault, log *slog.Logger) (*audit.Log, error) {
	return audit.Open(audit.Options{
		Store: store, Vault: v, Log: log, CallDays: settings.AuditCallDays, ChangeDays: settings.AuditChangeDays,
		CheckpointFile: settings.AuditCheckpointFile,
	})
}

// recordCall adds a request that a door has answered to the audit log. Health, documents and paths that nothing serves
// are no calls.
func (s *Server) recordCall(c *gin.Context, began time.Time) {
	request, route, result := web.RequestOf(c), c.FullPath(), ""
	switch {
	case request.Kind != "":
		result = request.Kind
	case c.Writer.Status() >= http.StatusBadRequest && route != "/readyz":
		result = audit.Refused // before it was understood
	}
	if result == "" || route == "" || !s.audits(c.Request.Method, request.Call) {
		return
	}
	call := audit.Call{
		Began: began, Took: time.Since(began), Action: request.Call, Method: c.Request.Method, Status: c.Writer.Status(),
		Result: result, Request: request.LogID, Account: request.Account, Key: request.Key, Actor: request.Actor,
		Parameters: names(c.Request.URL.RawQuery),
	}
	if call.Action == "" {
		call.Action = call.Method + " " + route
	}
	if peer := web.Peer(c.Request); peer.IsValid() {
		call.Address = peer.WithZone("").String()
	}
	s.audit.Record(call)
}

// audits reports whether the settings want a call in the audit log. The servlets change something by any method.
func (s *Server) audits(method, servlet string) bool {
	switch s.settings.AuditCalls {
	case config.AuditNoCalls:
		return false
	case config.AuditWrites:
		return servlet != "" || method != http.MethodGet && method != http.MethodHead
	}
	return true
}

// maxNames is how many parameters of a call are named.
const maxNames = 16

// names lists the parameters of a query, without their values. A name that is more than letters may be a value that
// stands in the wrong place.
func names(query string) []string {
	if query == "" {
		return nil
	}
	all := make([]string, 0, 8)
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if len(all) == maxNames {
			break
		}
		if !isName(name) {
			name = "other"
		}
		all = append(all, strings.Clone(name)) // without the query, which holds recipients and codes
	}
	return all
}

func isName(text string) bool {
	for _, b := range []byte(text) {
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && b != '_' {
			return false
		}
	}
	return 0 < len(text) && len(text) <= 24
}
