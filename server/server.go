package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"otpbridge/config"
	"otpbridge/crypto"
	"otpbridge/server/audit"
	"otpbridge/server/bridge"
	"otpbridge/server/deliver"
	"otpbridge/server/engine"
	"otpbridge/server/insight"
	"otpbridge/server/manage"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/privacy"
	"otpbridge/server/web"
	"otpbridge/server/webhook"
	"otpbridge/sql"
)

// maxHeader is the size of a request's head at most, in bytes. The longest legitimate one, a servlet call
// with all its parameters in the query, is well under 2 KiB.
const maxHeader = 32 << 10

// sweepEvery is the pause between removals of rows that no rule needs any more.
const sweepEvery = time.Minute

// tendOutbox is the pause between two searches for deliveries whose server is gone.
const tendOutbox = time.Second

// Server is one running server. Make it with New; Start it once, Shutdown it once.
type Server struct {
	settings config.Settings
	log      *slog.Logger

	listener net.Listener
	store    *sql.Store
	manage   *manage.Manager
	engine   *engine.Engine
	upstream *bridge.Upstreams
	tally    *bridge.Tally
	people   *people.People
	mails    *post
	out      outlets
	audit    *audit.Log
	privacy  *privacy.Privacy
	webhooks *webhook.Webhooks
	insight  *insight.Insight
	counts   *insight.Tally
	http     *http.Server
	health   health

	certificate *certificate // nil without TLS
	plain       *web.Plain
	metrics     *metrics
	observers   *observers // nil without an address for metrics

	strangers strangers

	stopping chan struct{} // closed first: not ready any more, still serving
	draining chan struct{} // closed next: requests that wait for a message are answered
	broken   chan struct{} // closed if serving ended without Shutdown
	served   sync.WaitGroup
}

// New returns a server with these settings. It opens nothing.
func New(settings config.Settings, log *slog.Logger) *Server {
	return &Server{
		settings: settings,
		log:      log,
		metrics:  newMetrics(),
		counts:   insight.NewTally(),
		stopping: make(chan struct{}),
		draining: make(chan struct{}),
		broken:   make(chan struct{}),
	}
}

// Start opens everything and serves. It returns when requests are accepted; ctx limits the opening, not
// the serving. An error names its remedy; Start has then closed what it opened.
//
// It takes the addresses first: if another program uses one, it fails before it touches keyring or
// database. Early connections wait until the rest is open.
func (s *Server) Start(ctx context.Context) (err error) {
	var opened []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, close := range slices.Backward(opened) {
			err = errors.Join(err, close())
		}
	}()
	if s.listener, err = listen(ctx, s.settings.Addr, config.Prefix+"ADDR"); err != nil {
		return err
	}
	opened = append(opened, s.listener.Close)
	if err = s.observe(ctx); err != nil {
		return err
	}
	opened = append(opened, func() error { return s.observers.close() })
	if s.settings.TLSCertFile != "" {
		if s.certificate, err = openCertificate(s.settings.TLSCertFile, s.settings.TLSKeyFile, s.log); err != nil {
			return err
		}
	}
	keyring, err := openKeyring(s.settings, s.log)
	if err != nil {
		return err
	}
	inbox, faults := deliver.NewInbox(), new(deliver.Faults)
	if s.out, err = openOutlets(s.settings, deliver.Faulty{Channel: inbox, Faults: faults}); err != nil {
		return err
	}
	if err = s.openStore(ctx); err != nil {
		return err
	}
	opened = append(opened, func() error { return s.store.Close() })
	if err = s.openParts(ctx, keyring, inbox, faults); err != nil {
		return err
	}
	s.insight.Start()
	s.openWebhooks()
	s.audit.Start()
	s.serve()
	s.warn()
	return nil
}

// openParts opens what works on the store.
func (s *Server) openParts(ctx context.Context, keyring *crypto.Keyring, inbox *deliver.Inbox,
	faults *deliver.Faults) (err error) {
	if err := refuseMissing(ctx, s.store); err != nil {
		return err
	}
	s.tellRestored()
	s.openInsight(s.out)
	if err := s.openManager(ctx, keyring, s.out); err != nil {
		return err
	}
	guard := openGuard(s.settings)
	if s.engine, err = engine.New(ctx, s.engineOptions(keyring, s.out, inbox, faults, guard)); err != nil {
		return fmt.Errorf("start the engine: %w", keyringRemedy(err, s.settings))
	}
	s.openPeople()
	if s.audit, err = openAudit(s.settings, s.store, s.manage.Vault(), s.log); err != nil {
		return err
	}
	if err := s.openPrivacy(); err != nil {
		return err
	}
	s.plain = web.NewPlain(s.settings.HTTPS == config.RequireHTTPS, s.settings.HTTPS != config.IgnoreHTTPS, s.log)
	s.tally = bridge.NewTally(s.store, s.log)
	s.upstream = bridge.New(guard, otp.UpstreamDeadline.Duration())
	s.metrics.registry.MustRegister(s.plain.Collector())
	s.metrics.registry.MustRegister(slices.Concat(s.upstream.Collectors(), s.store.Collectors(), s.engine.Collectors(),
		s.insight.Collectors())...)
	return nil
}

// openStore opens the database. Its error names the setting to change.
func (s *Server) openStore(ctx context.Context) error {
	state, err := stateFolder(s.settings, s.log)
	if err != nil {
		return err
	}
	s.store, err = sql.Open(ctx, s.settings.DatabaseURL.Reveal(),
		sql.Options{Sandbox: s.settings.Sandbox(), SweepEvery: sweepEvery, State: state, Committed: s.countEvents})
	if err == nil {
		return nil
	}
	err = databaseRemedy(fmt.Errorf("open database %v: %w", s.settings.DatabaseURL, err), s.settings)
	if errors.Is(err, sql.ErrMayNotMigrate) {
		return unusable{err}
	}
	return err
}

// openInsight opens s.insight and s.mails, with which it mails alerts.
func (s *Server) openInsight(out outlets) {
	s.mails = newPost(out, s.log)
	s.insight = insight.Open(insight.Options{Store: s.store, Tally: s.counts, Log: s.log, Acting: s.settings.AlertActions,
		Settings: insight.Settings{HTTPS: s.settings.HTTPS == config.RequireHTTPS, Sandbox: s.settings.Sandbox(),
			AuditsCalls: s.settings.AuditCalls != config.AuditNoCalls},
		Mail: s.mails.toOperators(), Unsealed: func() time.Duration { return s.audit.Behind() },
		Circuits: out.paused})
}

func (s *Server) engineOptions(keyring *crypto.Keyring, out outlets, inbox *deliver.Inbox, faults *deliver.Faults,
	guard *deliver.Guard) engine.Options {
	options := engine.Options{
		Store: s.store, Keyring: keyring, Files: out.files, DeliveryWait: s.settings.DeliveryWait, Log: s.log,
		Guard: guard, Vault: s.manage.Vault(),
		Blocked:  func(peer netip.Addr) time.Duration { return s.insight.Block(peer, otp.At(time.Now())) },
		RedisURL: s.settings.RedisURL.Reveal(), AuthFailuresPerMinute: s.settings.AuthFailuresPerMinute,
		Sandbox: s.settings.Sandbox(), SMS: out.sms, Email: out.email, TestRecipients: out.recipients, TendOutbox: tendOutbox,
		Cost: engine.Cost{RecordOnly: s.settings.CostGuards == config.RecordGuards,
			PrefixUnverified: s.settings.PrefixUnverified},
	}
	if s.settings.Sandbox() {
		options.Inbox, options.Faults, options.RelayRecipients = inbox, faults, out.relay
		options.FixedCode = s.settings.SandboxFixedCode.Reveal()
	}
	return options
}

// wsaAddressInUse is EADDRINUSE of Windows (winsock2.h). No other system uses this number.
const wsaAddressInUse = syscall.Errno(10048)

// listen listens on an address. setting is the name of its setting, for the error.
func listen(ctx context.Context, address, setting string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, wsaAddressInUse):
		return nil, fmt.Errorf("listen on %s: another program has this address; stop it, or choose another address, for "+
			"example %s=127.0.0.1:8081",
			address, setting)
	case err != nil:
		return nil, fmt.Errorf("listen on %s, which %s sets: %w", address, setting, err)
	}
	return listener, nil
}

// openManager opens s.manage. A sandbox gets its demo accounts; production refuses to serve those, because their keys
// are published.
func (s *Server) openManager(ctx context.Context, keyring *crypto.Keyring, out outlets) (err error) {
	s.manage, err = manage.Open(ctx, manage.Options{
		Store: s.store, Keyring: keyring, SMS: out.sms, Email: out.email, Files: out.files,
		Guard: openGuard(s.settings), Sandbox: s.settings.Sandbox(),
		Changed: func() { s.engine.Forget() },
	})
	if err != nil {
		return keyringRemedy(err, s.settings)
	}
	if s.settings.Sandbox() {
		if err := s.manage.Sandbox.SeedDemo(ctx); err != nil {
			return fmt.Errorf("make the demo accounts: %w", err)
		}
		return nil
	}
	if err := s.manage.RefuseSandboxRemains(ctx); err != nil {
		return unusable{fmt.Errorf("production does not start on what a sandbox left: %w", err)}
	}
	return nil
}

// openPeople opens s.people, with which people and service accounts log in. In a sandbox that listens only on loopback
// anybody may become the owner.
func (s *Server) openPeople() {
	issuer := cmp.Or(s.settings.PublicURL, s.URL())
	s.people = people.New(people.Options{
		Store: s.store, Vault: s.manage.Vault(), Issuer: issuer, Sandbox: s.settings.Sandbox() && s.onLoopback(),
		Mail: s.mails.toPeople(), Passwords: crypto.NewPasswords(crypto.DefaultPasswordCost, runtime.GOMAXPROCS(0)),
	})
}

func (s *Server) onLoopback() bool {
	address, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && address.IP.IsLoopback()
}

func (s *Server) serve() {
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: s.settings.ReadTimeout,
		ReadTimeout:       s.settings.ReadTimeout,
		WriteTimeout:      s.settings.WriteTimeout,
		IdleTimeout:       s.settings.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         newConnections(maxConnections).watch,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	serve := s.http.Serve
	if s.certificate != nil {
		s.http.TLSConfig = s.certificate.config()
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	s.log.Info("listening", "addr", s.listener.Addr().String(), "tls", s.certificate != nil, "mode", s.settings.Mode,
		"database", s.settings.DatabaseURL)
	s.served.Go(func() {
		if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving ended", "error", err)
			close(s.broken)
		}
	})
}

// warn logs possible mistakes: a server without channels, and a sandbox that other machines can reach. The latter is no
// error: a team may share a sandbox, and a container's port may be published on loopback only.
func (s *Server) warn() {
	if s.settings.SMSChannels.Empty() && s.settings.EmailChannels.Empty() {
		s.log.Warn("no channel is set, so that no code can be sent", "set",
			config.Prefix+"SMS_CHANNELS or "+config.Prefix+"EMAIL_CHANNELS")
	}
	if s.settings.Sandbox() && !s.onLoopback() {
		s.log.Warn("this sandbox shows every code to whoever can reach it, and listens beyond this machine", "addr", s.Addr())
	}
}

// Addr returns the address that the server listens on, with the actual port if the settings say 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the URL of the server on this machine, without a slash at its end.
func (s *Server) URL() string {
	scheme := "http://"
	if s.certificate != nil {
		scheme = "https://"
	}
	address := s.listener.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("%s127.0.0.1:%d", scheme, address.Port)
	}
	return scheme + address.String()
}

// Broken is closed if the server stops serving without Shutdown.
func (s *Server) Broken() <-chan struct{} { return s.broken }

// Outdated is closed if a backup of the database was restored while the server ran. The server must be restarted.
func (s *Server) Outdated() <-chan struct{} { return s.store.Outdated() }

// Terminate stops without failing a request. First the server says that it is not ready, and goes on
// serving for a fifth of the shutdown timeout, so that a balancer notices and sends no more requests.
// Then it accepts none, and finishes those in flight. All of it takes the shutdown timeout at most; the
// error says that requests were cut off then.
func (s *Server) Terminate(ctx context.Context) error {
	return s.stop(ctx, s.settings.ShutdownTimeout/5)
}

// Shutdown is Terminate in production. A sandbox stops accepting requests at once, because its user waits
// at a terminal.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.settings.Sandbox() {
		return s.stop(ctx, 0)
	}
	return s.Terminate(ctx)
}

func (s *Server) stop(ctx context.Context, grace time.Duration) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.settings.ShutdownTimeout)
	defer cancel()
	s.log.Info("stopping", "timeout", s.settings.ShutdownTimeout)
	close(s.stopping)
	select {
	case <-time.After(grace):
	case <-s.broken:
	case <-ctx.Done():
	}
	close(s.draining)
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests in flight were cut off after %v: %w", time.Since(began).Round(time.Millisecond),
			errors.Join(err, s.http.Close()))
	}
	s.served.Wait()
	s.upstream.Close()
	s.webhooks.Close()
	s.tally.Close()
	s.engine.Close()
	s.insight.Close()
	s.mails.close(ctx)
	s.audit.Close()
	err = errors.Join(err, s.store.Close(), s.observers.close())
	select {
	case <-s.broken:
		err = errors.Join(err, errors.New("serving ended unexpectedly; the log has the reason"))
	default:
	}
	select {
	case <-s.store.Outdated():
		err = errors.Join(err, sql.ErrRestored)
	default:
	}
	if err == nil {
		s.log.Info("stopped", "took", time.Since(began))
	}
	return err
}
