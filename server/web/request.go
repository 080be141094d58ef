package web

import (
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
)

// Request has facts about a request for the request log, the metrics and the sandbox's recorder. The door that answers
// fills it in. It is one value, not one gin key for each fact, because every request has one.
type Request struct {
	ID      string // identifies the request in answers
	LogID   string // identifies it in logs: ID without what may be a phone number or a key
	Call    string // the call's name, if the route has a parameter for it
	Account string // the esme_address, set when the key is accepted
	Kind    string // ok, fault or the name of the refusal's kind
	Reason  string // the exact fault, if the answer does not say it; contains no values of the request
	Key     otp.ID // of the credential, set when it is accepted
	// Environment is the key's, set with it.
	Environment otp.Environment
	Actor       otp.Actor // the person or service account; zero for a key
	Passed      string    // the class of the upstream's answer; empty if it was not called
	Differs     string    // this server's decision, if it differs from the upstream's
	Plain       bool      // it came over plain HTTP from another machine, see Plain
	Body        []byte    // as ReadBody read it
	Country     string    // of the peer, two letters; empty before it was looked up
	// Readings collects what the door reads; nil outside of a sandbox.
	Readings *Readings

	idHeader [1]string // the value of the answer's header, without an allocation
}

// About notes which account the request is about, by what the caller says. What cannot be one stays out of the log, the
// counts and the audit log.
func (r *Request) About(account string) {
	if otp.ValidAddress(account) {
		r.Account = account
	}
}

// requestKey is the gin key of a Request.
type requestKey struct{}

// Identify sets the id of c's request. The answer shows id; logs show the form of LogID.
func Identify(c *gin.Context, id string) {
	r := RequestOf(c)
	r.ID, r.LogID, r.idHeader[0] = id, loggedID(id), id
	c.Writer.Header()["X-Request-Id"] = r.idHeader[:]
}

// RequestOf returns the Request of c.
func RequestOf(c *gin.Context) *Request {
	if known, found := c.Get(requestKey{}); found {
		return known.(*Request)
	}
	r := new(Request)
	c.Set(requestKey{}, r)
	return r
}

var (
	// longNumber matches nine or more digits: nearly all phone numbers with a country code.
	longNumber = regexp.MustCompile(`[0-9](?:[-.:_]?[0-9]){8,}`)
	// machineID matches a UUID or a trace id (W3C Trace Context). They are random and often have long runs of digits.
	machineID = regexp.MustCompile(`^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-f]{32}|[0-9a-f]{16})$`)
	letter    = regexp.MustCompile(`[a-fA-F]`)
)

// loggedID returns a caller's id in the form that may be logged. A caller may use a phone number or, by mistake, a key
// as id, which readers of the log must not see. UUIDs and trace ids stay unchanged, so that a request can be found by
// its caller's id.
func loggedID(id string) string {
	switch {
	case machineID.MatchString(id) && letter.MatchString(id):
		return id
	case strings.Contains(id, "otpb_"):
		return "[redacted]"
	}
	return longNumber.ReplaceAllStringFunc(id, func(number string) string {
		return "[" + strconv.Itoa(len(number)) +
			" digits]"
	})
}

// Peer returns the client's address, which the server's middleware has resolved behind trusted proxies. It returns the
// zero address, which no network contains, if the address cannot be read.
func Peer(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}
