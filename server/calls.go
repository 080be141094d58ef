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

// recordCall adds a request that a door has answered to the audit log. Requests for health, for documents and to
// unknown paths are not calls.
func (s *Server) recordCall(c *gin.Context, began time.Time) {
	request, route, result := web.RequestOf(c), c.FullPath(), ""
	switch {
	case request.Kind != "":
		result = request.Kind
	case c.Writer.Status() >= http.StatusBadRequest && route != "/readyz":
		result = audit.Refused // before a door set its kind
	}
	if result == "" || route == "" || !s.audits(c.Request.Method, request.Call) {
		return
	}
	call := audit.Call{
		Began: began, Took: time.Since(began), Action: request.Call, Method: c.Request.Method, Status: c.Writer.Status(),
		Result: result, Request: request.LogID, Account: request.Account, Key: request.Key, Actor: request.Actor,
		Address: web.Peer(c.Request).WithZone(""),
	}
	if call.Action == "" {
		call.Action = call.Method + " " + route
	}
	var room [256]byte
	s.audit.Record(call, appendNames(room[:0], c.Request.URL.RawQuery))
}

// audits reports whether the settings want a call in the audit log. A servlet call counts as a write, whatever its
// method.
func (s *Server) audits(method, servlet string) bool {
	switch s.settings.AuditCalls {
	case config.AuditNoCalls:
		return false
	case config.AuditWrites:
		return servlet != "" || method != http.MethodGet && method != http.MethodHead
	}
	return true
}

// maxNames is how many parameters of a call are named. With at most 24 bytes each they fit recordCall's array.
const maxNames = 10

// appendNames appends the names of a query's parameters to list, separated by blanks. A name with anything but letters
// and underscores is written as "other": a client may have put a value in its place.
func appendNames(list []byte, query string) []byte {
	for n := 0; query != "" && n < maxNames; n++ {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(pair, "=")
		if !isName(name) {
			name = "other"
		}
		if n > 0 {
			list = append(list, ' ')
		}
		list = append(list, name...)
	}
	return list
}

func isName(text string) bool {
	for _, b := range []byte(text) {
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && b != '_' {
			return false
		}
	}
	return 0 < len(text) && len(text) <= 24
}
