package admin

import "slices"

// route is one call.
type route struct {
	method, path string // the path is gin's pattern; the caller must see the account in :account
	who          asked
	needs        string   // the permission, one of people's; empty for calls about the caller
	live         bool     // affects the sending of real codes: in production a person needs a second factor for it
	parameters   []string // of the query, which the call reads with web.ReadQuery; others are refused
	once         bool     // takes an Idempotency-Key: it makes or sends something
	call         func(*exchange) (answer, error)
}

// reads returns a call whose argument is the body.
func reads[T any](call func(*exchange, T) (answer, error)) func(*exchange) (answer, error) {
	return func(x *exchange) (answer, error) {
		var asked T
		if err := x.read(&asked); err != nil {
			return answer{}, err
		}
		return call(x, asked)
	}
}

// readsNothing returns a call whose body has no members.
func readsNothing(call func(*exchange) (answer, error)) func(*exchange) (answer, error) {
	return reads(func(x *exchange, _ struct{}) (answer, error) { return call(x) })
}

// asked is who may make a call.
type asked int

const (
	anybody  asked = iota // the body has the credential, if the call needs one
	person                // a person who is logged in; with a permission also service accounts, and keys that read
	caller                // any valid credential
	stranger              // any credential, valid or not
)

// routes are all calls of the door.
var routes = slices.Concat(authRoutes, passkeyRoutes, keyRoutes, accountRoutes, recipientRoutes, staffRoutes,
	serviceRoutes,
	migrationRoutes, webhookRoutes, auditRoutes, insightRoutes, privacyRoutes)
