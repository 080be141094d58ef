package admin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/manage"
	"otpbridge/server/people"
)

// mayCall has the roles that may make each call: owner, admin, developer, support, auditor. Every person may make
// calls about their own login; everybody may make calls whose body has the credential.
var mayCall = map[string]string{
	"POST /api/auth/register": "everybody", "POST /api/auth/login": "everybody", "POST /api/auth/refresh": "everybody",
	"POST /api/auth/recover": "everybody", "GET /api/auth/explain": "everybody",
	"POST /api/auth/logout": "oneself", "POST /api/auth/password": "oneself", "POST /api/auth/reauthenticate": "oneself",
	"GET /api/auth/me": "oneself", "GET /api/csrf-token": "oneself", "GET /api/auth/sessions": "oneself",
	"DELETE /api/auth/sessions": "oneself", "GET /api/auth/sessions/:id": "oneself",
	"DELETE /api/auth/sessions/:id": "oneself", "GET /api/auth/mfa": "oneself", "POST /api/auth/mfa/enable": "oneself",
	"POST /api/auth/mfa/confirm": "oneself", "POST /api/auth/mfa/backup-codes": "oneself",
	"DELETE /api/auth/mfa/:id": "oneself",
	"POST /api/auth/passkeys":  "oneself", "POST /api/auth/passkeys/confirm": "oneself",
	"POST /api/auth/passkeys/begin": "everybody", "POST /api/auth/passkeys/login": "everybody",

	"GET /api/accounts": "OADSU", "POST /api/accounts": "OA", "GET /api/accounts/:account": "OADSU",
	"PATCH /api/accounts/:account": "OA", "DELETE /api/accounts/:account": "OA",
	"POST /api/accounts/:account/cut-over":       "OA",
	"GET /api/accounts/:account/test-recipients": "OAS", "POST /api/accounts/:account/test-recipients": "OA",
	"DELETE /api/accounts/:account/test-recipients/:id":      "OA",
	"GET /api/accounts/:account/stopped-prefixes":            "OADSU",
	"DELETE /api/accounts/:account/stopped-prefixes/:prefix": "OA",
	"POST /api/recipients/lookup":                            "OAS", "POST /api/recipients/why": "OAS",
	"POST /api/recipients/unlock":                   "OAS",
	"POST /api/accounts/:account/templates/preview": "OADSU", "GET /api/accounts/:account/channels": "OADSU",
	"POST /api/accounts/:account/send-test": "OA", "GET /api/migration": "OADSU",
	"GET /api/audit": "OAU", "POST /api/audit/verify": "OAU", "GET /api/audit/export": "OAU",
	"POST /api/privacy/count": "OA", "POST /api/privacy/export": "OA", "POST /api/privacy/erase": "OA",
	"POST /api/privacy/verify": "OAU", "GET /api/privacy/erasures": "OAU", "GET /api/privacy/report": "OAU",
	"GET /api/statistics": "OADSU",
	"GET /api/alerts":     "OADSU", "POST /api/alerts/:id/acknowledge": "OAS",
	"GET /api/checklist": "OADSU", "POST /api/checklist/:id/review": "OAS",

	"POST /api/keys": "OAD", "GET /api/keys": "OADU", "GET /api/keys/:id": "OADU", "PATCH /api/keys/:id": "OAD",
	"DELETE /api/keys/:id": "OAD", "POST /api/keys/:id/rotate": "OAD", "POST /api/keys/:id/compromised": "OAD",

	"POST /api/people": "OA", "GET /api/people": "OAU", "GET /api/people/invitations": "OAU",
	"DELETE /api/people/invitations/:id": "OA", "GET /api/people/:id": "OAU", "PATCH /api/people/:id": "OA",
	"DELETE /api/people/:id": "OA", "DELETE /api/people/:id/sessions": "OA", "DELETE /api/people/:id/mfa": "OA",
	"POST /api/people/:id/recovery": "OA",
	"POST /api/service-accounts":    "OA", "GET /api/service-accounts": "OADU", "DELETE /api/service-accounts/:id": "OA",

	"GET /api/webhooks": "OADU", "POST /api/webhooks": "OAD", "GET /api/webhooks/:webhook": "OADU",
	"PATCH /api/webhooks/:webhook": "OAD", "DELETE /api/webhooks/:webhook": "OAD",
	"POST /api/webhooks/:webhook/rotate": "OAD", "POST /api/webhooks/:webhook/test": "OAD",
	"GET /api/webhooks/:webhook/deliveries": "OADU", "GET /api/webhooks/:webhook/deliveries/:delivery": "OADU",
	"GET /api/webhooks/:webhook/replay": "OADU", "POST /api/webhooks/:webhook/replay": "OAD",
}

// Every role makes every call: with all accounts, with another account than the call's, and without a credential.
func TestRoles_EveryCallIsForWhomTheTableSays(t *testing.T) {
	d := fresh(t)
	d.accounts(t, "4711", "4712")
	key, _ := d.apiKey(t, manage.NewKey{})
	service, _ := d.serviceAccount(t, people.Grant{Role: people.Auditor, Accounts: []string{"4711"}})
	ids := map[string]string{"/api/keys/": key.Text("key"), "/api/service-accounts/": service,
		"/api/people/": d.id(t, d.member(t, people.Support, "4711")), "/api/people/invitations/": "inv_x"}
	path := func(pattern string) string {
		before, _, _ := strings.Cut(pattern, ":id")
		id := ids[before]
		if id == "" {
			id = "x"
		}
		return strings.NewReplacer(":account", "4711", ":id", id, ":prefix", "+9191", ":webhook", "x", ":delivery", "x").
			Replace(pattern)
	}
	all, elsewhere := map[people.Role][]string{people.Owner: bearer(d.owner(t))}, map[people.Role][]string{}
	for _, role := range people.Roles()[1:] {
		all[role], elsewhere[role] = d.member(t, role), d.member(t, role, "4712")
	}
	unserved := map[string]bool{}
	for call := range mayCall {
		unserved[call] = true
	}
	for _, r := range routes {
		call := r.method + " " + r.path
		allowed, known := mayCall[call]
		require.True(t, known, "%s has no row in the table: who may make it?", call)
		delete(unserved, call)
		if allowed == "everybody" {
			require.NotEqual(t, 401, d.raw(r.method, path(r.path), "").Code, call)
			continue
		}
		require.Equal(t, 401, d.raw(r.method, path(r.path), "").Code, "%s by nobody", call)
		if allowed == "oneself" {
			require.Empty(t, r.needs, call)
			continue
		}
		// First come the roles that may not: then nothing that they try to remove is missing.
		for i, role := range people.Roles() {
			may := strings.Contains(allowed, "OADSU"[i:i+1])
			if other := elsewhere[role]; other != nil && strings.Contains(r.path, "/:") {
				got := d.ask(t, r.method, path(r.path), "", other...)
				want := "PERMISSION_DENIED"
				switch {
				case may && r.live && !strings.Contains(r.path, ":account"):
					want = "REAUTHENTICATION_REQUIRED" // asked first, whatever the id names
				case may && got.status == 400:
					want = "INVALID_REQUEST" // says nothing of the id either
				case may:
					want = "NOT_FOUND"
				}
				require.Equal(t, want, got.member("code"), "%s by %s of another account: %s", call, role, got.text)
			}
		}
		for i, role := range people.Roles() {
			may := strings.Contains(allowed, "OADSU"[i:i+1])
			got := d.ask(t, r.method, path(r.path), "", all[role]...)
			require.Equal(t, !may, got.member("code") == "PERMISSION_DENIED", "%s by %s: %s", call, role, got.text)
			require.NotEqual(t, 401, got.status, "%s by %s: %s", call, role, got.text)
		}
	}
	require.Empty(t, unserved, "rows of the table that are no calls")
}
