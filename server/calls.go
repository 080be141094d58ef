package main

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
	"otpbridge/server/audit"
	"otpbridge/server/insight"
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
	if country := countryOf(c); country != insight.Unlocated {
		call.Country = country
	}
	if call.Action == "" {
		call.Action = call.Method + " " + route
	}
	var room [maxNames * (maxName + 1)]byte
	said := names(room[:0])
	said.addForm(c.Request.URL.RawQuery)
	switch body := bytes.TrimSpace(request.Body); {
	case bytes.HasPrefix(body, []byte("{")):
		said.addMembers(body)
	case c.ContentType() == "application/x-www-form-urlencoded":
		said.addForm(string(body))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Request.PostForm)) { // of a page
		said.add(name)
	}
	s.audit.Record(call, said)
}

// countryOf returns the country of a request's peer, which is looked up once for the audit log and the statistics.
func countryOf(c *gin.Context) string {
	request := web.RequestOf(c)
	if request.Country == "" {
		request.Country = insight.Country(web.Peer(c.Request))
	}
	return request.Country
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

// How many parameters and members of a call are named, and how long a name may be. /v1/send has 13 members.
const (
	maxNames = 32
	maxName  = 24
)

// names is a list of names, separated by blanks. It has each name once.
type names []byte

// add appends a name. One with anything but letters and underscores is written as "other": a client may have put a
// value in its place.
func (n *names) add(name string) {
	if !isName(name) {
		name = "other"
	}
	known := 0
	for one := range bytes.SplitSeq(*n, []byte(" ")) {
		if known++; string(one) == name || known == maxNames {
			return
		}
	}
	if len(*n) > 0 {
		*n = append(*n, ' ')
	}
	*n = append(*n, name...)
}

func isName(text string) bool {
	for _, b := range []byte(text) {
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && b != '_' {
			return false
		}
	}
	return 0 < len(text) && len(text) <= maxName
}

// addForm adds the names in a query or form.
func (n *names) addForm(form string) {
	for range maxNames {
		if form == "" {
			return
		}
		var pair string
		pair, form, _ = strings.Cut(form, "&")
		name, _, _ := strings.Cut(pair, "=")
		n.add(name)
	}
}

// addMembers adds the names of a JSON object's own members, not of those inside them. Of a text that is not JSON it may
// add anything that looks like a name.
func (n *names) addMembers(text []byte) {
	depth, found := 0, 0
	for i := 0; i < len(text) && found < maxNames; i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			begin := i + 1
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if i >= len(text) || depth != 1 {
				continue
			}
			if rest := bytes.TrimLeft(text[i+1:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				n.add(string(text[begin:min(i, begin+maxName+1)]))
				found++
			}
		}
	}
}
