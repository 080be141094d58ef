package web

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// Plain counts, logs and refuses credentials that came over plain HTTP from another machine, where others on the
// network could read them. The server's middleware marks such requests in Request.Plain. A nil Plain lets everything
// pass.
type Plain struct {
	refuse, warn bool
	log          *slog.Logger

	counter *prometheus.CounterVec
	mu      sync.Mutex
	told    map[string]time.Time // by door: when it was logged last
}

// plainTold is the least time between two log lines about one door, because such a client does it with every request.
const plainTold = time.Minute

// NewPlain returns a Plain. refuse says whether it refuses such requests at the JSON doors, and warn whether it logs
// them. The servlets have no answer for this refusal: there the account's settings decide.
func NewPlain(refuse, warn bool, log *slog.Logger) *Plain {
	return &Plain{
		refuse: refuse, warn: warn, log: log, told: map[string]time.Time{},
		counter: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "otpbridge", Name: "plain_http_total",
			Help: "Requests with a credential that came over plain HTTP from another machine, by door.",
		}, []string{"door"}),
	}
}

// Collector returns the counter, for a registry.
func (p *Plain) Collector() prometheus.Collector { return p.counter }

// Admit refuses a request at a JSON door whose credential came over plain HTTP, with 403 HTTPS_REQUIRED, if the
// settings say so. Call it for requests with a credential before checking the credential, so that an eavesdropper does
// not learn whether it is right.
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

// mayTell reports whether a log line about the door is due, and records its time.
func (p *Plain) mayTell(door string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, told := p.told[door]; told && now.Sub(last) < plainTold {
		return false
	}
	p.told[door] = now
	return true
}
