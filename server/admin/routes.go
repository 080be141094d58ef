package admin

import "slices"

// route is one call.
type route struct {
	method, path string // the path is gin's pattern; :account names an account, and must be one of the caller's
	who          asked
	needs        string   // the permission, one of people's; empty for calls about oneself
	live         bool     // changes what codes in earnest go by: in production a person needs a second factor for it
	parameters   []string // of the query, which the call reads itself with web.ReadQuery; others are refused
	call         func(*exchange) (answer, error)
}

// asked is whom a call may be asked by.
type asked int

const (
	anybody  asked = iota // whoever proves something by the body
	person                // whoever is logged in; for calls that need a permission, service accounts and reading keys too
	caller                // whoever has a credential
	stranger              // whoever brings a credential, good or bad
)

// routes are all calls of the door, by what they are about.
var routes = slices.Concat(authRoutes, passkeyRoutes, keyRoutes, accountRoutes, recipientRoutes, staffRoutes,
	serviceRoutes,
	migrationRoutes, webhookRoutes, auditRoutes, insightRoutes, privacyRoutes)
