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

// Request is what is known of a request beside what it says, for the log of requests, the metrics
// and the sandbox's recorder. The door that answers fills it in. It is one value and not a key of
// gin's for each fact, because every request has one.
type Request struct {
	ID      string    // names the request in answers
	LogID   string    // names it in logs: ID, without what may be somebody's number or key
	Call    string    // the name that a door gives a call whose route has a parameter for it
	Account string    // the esme_address, once the key is accepted
	Kind    string    // ok, fault or the name of the refusal's kind
	Reason  string    // what exactly was wrong, where the answer does not say it; holds nothing of the request's values
	Key     otp.ID    // of the credential, once it is accepted
	Actor   otp.Actor // who, if that is no key: a person or a service account
	Passed  string    // the class of what the account's upstream answered; empty where it was not asked
	Differs string    // what the rules here decide where the account's upstream decided differently
	Plain   bool      // it came over plain HTTP from another machine, see Plain

	idHeader [1]string // what the answer's header holds, in the memory that is here anyway
}

// requestKey is the gin key of the Request.
type requestKey struct{}

// Identify gives c's request its id, which the answer shows and the log in the form of LogID.
func Identify(c *gin.Context, id string) {
	r := RequestOf(c)
	r.ID, r.LogID, r.idHeader[0] = id, loggedID(id), id
	c.Writer.Header()["X-Request-Id"] = r.idHeader[:]
}

// RequestOf is what is known of c's request.
func RequestOf(c *gin.Context) *Request {
	if known, found := c.Get(requestKey{}); found {
		return known.(*Request)
	}
	r := new(Request)
	c.Set(requestKey{}, r)
	return r
}

var (
	// longNumber is as long as nearly all phone numbers with a country code.
	longNumber = regexp.MustCompile(`[0-9](?:[-.:_]?[0-9]){8,}`)
	// machineID is a UUID or a trace id (W3C Trace Context): random, and often with long runs of digits.
	machineID = regexp.MustCompile(`^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-f]{32}|[0-9a-f]{16})$`)
	letter    = regexp.MustCompile(`[a-fA-F]`)
)

// loggedID is a caller's id as a log may hold it. A caller can name a request after a person, by a phone
// number, or by mistake after a key; the log is read by people who must see neither. Ids of machines stay as
// they are, so that one can be found by the id that its caller knows.
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

// Peer is the client's address, which the server's middleware has resolved behind trusted proxies. One that
// cannot be read is no address, and no network contains it.
func Peer(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}
