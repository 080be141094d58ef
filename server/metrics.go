package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"otpbridge/config"
	"otpbridge/server/admin"
	"otpbridge/server/bridge"
	"otpbridge/server/insight"
	"otpbridge/server/otp"
	"otpbridge/server/sandbox"
	"otpbridge/server/web"
	"otpbridge/sql"
)

// metrics are those of the whole process. Labels never contain what a caller sent: no recipient, key,
// account or path. So their number is bounded, and a reader learns nothing about anybody.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "otpbridge", Name: "requests_total",
			Help: "Requests answered: by route, or the servlet's name; by status; and by kind, which is ok, fault or the " +
				"kind of the refusal.",
		}, []string{"door", "route", "method", "status", "kind"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "otpbridge", Name: "request_seconds", Help: "Time from the end of a request's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"door", "route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "otpbridge", Name: "requests_in_flight", Help: "Requests being served.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "otpbridge", Name: "build_info", Help: "Always 1; the version is a label.",
		ConstLabels: prometheus.Labels{"version": version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count is the middleware that counts requests.
func (m *metrics) count(c *gin.Context) {
	began := time.Now()
	m.inFlight.Inc()
	defer m.inFlight.Dec()

	c.Next()

	kind := web.RequestOf(c).Kind
	door, route := callOf(c)
	method := c.Request.Method
	if !slices.Contains(knownMethods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(door, route, method, statusText(c.Writer.Status()), kind).Inc()
	m.duration.WithLabelValues(door, route).Observe(time.Since(began).Seconds())
}

// countEvents counts committed events for the statistics.
func (s *Server) countEvents(events []otp.Event) { s.counts.Events(events, otp.At(time.Now())) }

// tallyCall is the middleware that counts calls for the statistics and for the migration report.
func (s *Server) tallyCall(c *gin.Context) {
	began := time.Now()
	c.Next()
	request := web.RequestOf(c)
	door, name := callOf(c)
	now := time.Now()
	if door != "server" && door != "sandbox" {
		s.counts.Call(insight.Call{Door: door, Kind: request.Kind, Account: request.Account, Key: request.Key,
			Environment: request.Environment, Peer: web.Peer(c.Request), Country: countryOf(c),
			Took: now.Sub(began),
			// Browsers send these headers, and programs do not.
			Page: c.GetHeader("Referer") != "" || c.GetHeader("Origin") != ""}, otp.At(now))
	}
	if request.Account == "" || door != "servlet" && door != "v1" {
		return
	}
	call := sql.CallKey{Account: request.Account, Door: door, Name: name, Credential: request.Key, Passed: request.Passed,
		Kind: request.Kind}
	s.tally.Note(call, web.Peer(c.Request), now, now.Sub(began), max(c.Writer.Size(), 0))
	if request.Differs != "" {
		call.Door, call.Kind = bridge.ShadowDoor, request.Differs
		s.tally.Note(call, web.Peer(c.Request), now, now.Sub(began), 0)
	}
}

// callOf returns the door that a request came through, and the pattern of its route or the servlet's name.
func callOf(c *gin.Context) (door, route string) {
	if call := web.RequestOf(c).Call; call != "" {
		return "servlet", call
	}
	route = c.FullPath()
	switch {
	case route == "":
		return "server", "unmatched"
	case strings.HasPrefix(route, "/v1/"):
		return "v1", route
	case admin.Owns(route):
		return "api", route
	case sandbox.Owns(route):
		return "sandbox", route
	}
	return "server", route
}

// statusText returns a status as text, without an allocation for 200.
func statusText(status int) string {
	if status == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(status)
}

// observers serve metrics and profiles to the people who run the server. They listen on a separate address,
// by default on loopback.
type observers struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{}
}

// observe starts the listener of metrics and profiles, if the settings have one.
func (s *Server) observe(ctx context.Context) (err error) {
	if s.settings.MetricsAddr == "" {
		return nil
	}
	listener, err := listen(ctx, s.settings.MetricsAddr, config.Prefix+"METRICS_ADDR")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	o := &observers{
		listener: listener,
		http:     &http.Server{Handler: localOnly(mux), ReadHeaderTimeout: s.settings.ReadTimeout, MaxHeaderBytes: maxHeader},
		done:     make(chan struct{}),
	}
	s.observers = o
	s.log.Info("metrics", "addr", listener.Addr().String())
	go func() {
		defer close(o.done)
		if err := o.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving metrics ended", "error", err)
		}
	}()
	return nil
}

// localOnly serves a request only if its Host is a loopback name or address, or the address that it
// arrived at. This stops DNS rebinding: a web page whose own name resolves to this machine sends that
// name as Host, and could otherwise read the answer.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !web.HostIsLocal(r, r.Host) {
			http.Error(w, "metrics are served to localhost or this listener's IP address as Host; call it by one of them",
				http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// close ends the listener. stop calls it last, so that metrics can be scraped while the server stops.
func (o *observers) close() error {
	if o == nil {
		return nil
	}
	err := o.http.Close()
	<-o.done
	if err != nil {
		return fmt.Errorf("close the metrics: %w", err)
	}
	return nil
}
