package web

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// Plain decides about credentials that came over plain HTTP from another machine, where anybody on the way could
// read them. It is told by the server's middleware which requests did, in Request.Plain, and counts them by door.
// A nil Plain lets everything pass.
type Plain struct {
	refuse, warn bool
	log          *slog.Logger

	counter *prometheus.CounterVec
	mu      sync.Mutex
	told    map[string]time.Time // by door, when it was logged last
}

// plainTold is the least time between two lines about one door: a client that sends in clear does so each time.
const plainTold = time.Minute

// NewPlain returns a Plain that refuses such requests at the JSON doors, or not, and logs them, or not. The servlets
// have no answer for it: there the account decides.
func NewPlain(refuse, warn bool, log *slog.Logger) *Plain {
	return &Plain{
		refuse: refuse, warn: warn, log: log, told: map[string]time.Time{},
		counter: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "otpbridge", Name: "plain_http_total",
			Help: "Requests with a credential that came over plain HTTP from another machine, by door.",
		}, []string{"door"}),
	}
}

// Collector is the counter, for a registry.
func (p *Plain) Collector() prometheus.Collector { return p.counter }

// Admit refuses a request at a JSON door whose credential came over plain HTTP, with 403 HTTPS_REQUIRED, if that
// is the setting. Call it for requests that carry a credential, before the credential is looked at: whether it is
// right is not said to whoever listens.
func (p *Plain) Admit(c *gin.Context, door string) error {
	if !p.Note(c, door) || !p.refuse {
		return nil
	}
	return &Problem{
		Status: http.StatusForbidden, Code: "HTTPS_REQUIRED",
		Detail: "a credential may come over HTTPS only; it was readable on its way, so replace it. " +
			"Where a proxy ends HTTPS, it has to be one of OTPBRIDGE_TRUSTED_PROXIES and to send X-Forwarded-Proto: https",
	}
}

// Note counts and logs a request whose credential came over plain HTTP, and reports whether it did.
func (p *Plain) Note(c *gin.Context, door string) bool {
	if p == nil || !RequestOf(c).Plain {
		return false
	}
	p.counter.WithLabelValues(door).Inc()
	if p.warn && p.mayTell(door, time.Now()) {
		p.log.WarnContext(c.Request.Context(), "a credential came over plain HTTP", "door", door,
			"refused", p.refuse && door != "servlet", "peer", Peer(c.Request).String(), "request_id", RequestOf(c).LogID)
	}
	return true
}

// mayTell reports whether a line about the door is due, and notes that it is written.
func (p *Plain) mayTell(door string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, told := p.told[door]; told && now.Sub(last) < plainTold {
		return false
	}
	p.told[door] = now
	return true
}
