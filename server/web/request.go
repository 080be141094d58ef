package web

import (
	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
)

// Request is what is known of a request beside what it says, for the log of requests, the metrics
// and the sandbox's recorder. The door that answers fills it in. It is one value and not a key of
// gin's for each fact, because every request has one.
type Request struct {
	ID      string // names the request in answers and logs
	Call    string // the name that a door gives a call whose route has a parameter for it
	Account string // the esme_address, once the key is accepted
	Kind    string // ok, fault or the name of the refusal's kind
	Reason  string // what exactly was wrong, where the answer does not say it; holds nothing of the request's values
	Key     otp.ID // of the credential, once it is accepted

	idHeader [1]string // what the answer's header holds, in the memory that is here anyway
}

// requestKey is the gin key of the Request.
type requestKey struct{}

// Identify gives c's request its id, which the answer shows.
func Identify(c *gin.Context, id string) {
	r := RequestOf(c)
	r.ID, r.idHeader[0] = id, id
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
