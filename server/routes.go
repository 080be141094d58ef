package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"otpbridge/config"
	"otpbridge/server/admin"
	"otpbridge/server/bridge"
	"otpbridge/server/callback"
	"otpbridge/server/console"
	"otpbridge/server/deliver"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/server/sandbox"
	"otpbridge/server/servlet"
	v1 "otpbridge/server/v1"
)

// routes returns the handler of the whole server.
func (s *Server) routes() http.Handler { return v1.KeepEscapes(s.router()) }

// router returns a router with every route. In production the routes of the sandbox do not exist.
func (s *Server) router() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	// A redirect would make a client send its key twice, or turn its POST into a GET.
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleMethodNotAllowed = true
	// gin must not resolve addresses: clientaddr.go does, and says why.
	router.ForwardedByClientIP = false
	if err := router.SetTrustedProxies(nil); err != nil {
		panic("an empty list of proxies cannot be wrong: " + err.Error())
	}
	router.Use(s.identify, s.metrics.count, s.tallyCall, s.logRequest, s.recoverPanic)
	if s.certificate != nil {
		router.Use(strictTransport)
	}
	router.NoRoute(s.noRoute)
	router.NoMethod(noMethod)
	router.GET("/livez", live)
	router.HEAD("/livez", live)
	// Every browser asks for it; 404s would be noise for people who watch them.
	router.GET("/favicon.ico", noIcon)
	router.HEAD("/favicon.ico", noIcon)
	router.GET("/readyz", s.ready)
	router.HEAD("/readyz", s.ready)

	callback.Mount(router, callback.Options{Engine: s.engine, Log: s.log})
	calls := router.Group("")
	var requests *sandbox.Recorder
	if s.settings.Sandbox() {
		requests = new(sandbox.Recorder)
		calls.Use(requests.Record)
		sandbox.Mount(router, sandbox.Options{Engine: s.engine, Manage: s.manage, Requests: requests, Stopping: s.draining,
			Log: s.log})
	}
	router.GET("/", s.frontPage)
	router.HEAD("/", s.frontPage)
	s.mountDoors(router, calls)
	s.mountConsole(router, requests)
	return router
}

// noRoute answers an unknown path in the form of the door that owns it.
func (s *Server) noRoute(c *gin.Context) {
	switch path := c.Request.URL.Path; {
	case v1.Owns(path):
		v1.NotFound(c)
	case admin.Owns(path), s.settings.Sandbox() && sandbox.Owns(path):
		admin.NotFound(c)
	default:
		c.String(http.StatusNotFound, "Not found.\n")
	}
}

// noMethod answers an unknown method of a known path in the form of the door that owns it.
func noMethod(c *gin.Context) {
	path := c.Request.URL.Path
	if v1.Owns(path) || admin.Owns(path) || sandbox.Owns(path) || path == people.TokenPath {
		v1.MethodNotAllowed(c)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.String(http.StatusMethodNotAllowed, "Method not allowed.\n")
}

// mountDoors adds the servlets, /v1 and /api as far as the settings open them. A sandbox records what comes to calls.
func (s *Server) mountDoors(router *gin.Engine, calls *gin.RouterGroup) {
	if s.settings.Open(config.ServletDoor) {
		servlet.Mount(calls, s.settings.ContextPath, s.servlets())
	}
	if s.settings.Open(config.V1Door) {
		api := v1.Options{Engine: s.engine, People: s.people, Webhooks: s.webhooks, Audit: s.audit,
			Privacy: s.privacy, Plain: s.plain, Log: s.log}
		if s.settings.Sandbox() {
			api.DemoKey = s.manage.Sandbox.DemoCredentials()[0].APIKey
		}
		v1.Mount(router, calls, api)
	}
	if s.settings.Open(config.APIDoor) {
		admin.MountOAuth(router, admin.OAuthOptions{Services: s.people.Services, Plain: s.plain, Log: s.log})
		admin.Mount(router, admin.Options{
			People: s.people, Manage: s.manage, Engine: s.engine, Audit: s.audit, Webhooks: s.webhooks, Privacy: s.privacy,
			Plain: s.plain, Log: s.log,
			PublicURL: s.settings.PublicURL, Sandbox: s.settings.Sandbox(), Reports: bridge.NewReports(s.store),
			Insight: s.insight,
		})
	}
}

// servlets returns the options of the servlets.
func (s *Server) servlets() servlet.Options {
	return servlet.Options{
		Engine:      s.engine,
		Profile:     otp.Profile(s.settings.MessageProfile),
		StrictHTTP:  s.settings.StrictHTTP,
		ContentType: s.settings.ServletContentType,
		Plain:       s.plain,
		Upstreams:   s.upstream,
		Log:         s.log,
	}
}

// noIcon answers that there is no icon; browsers keep that for a day.
func noIcon(c *gin.Context) {
	c.Header("Cache-Control", "max-age=86400")
	c.Status(http.StatusNoContent)
}

// mountConsole adds the pages for people.
func (s *Server) mountConsole(router *gin.Engine, requests *sandbox.Recorder) {
	if !s.settings.Open(config.ConsoleDoor) {
		return
	}
	console.Mount(router, console.Options{
		Engine: s.engine, Manage: s.manage, People: s.people, Webhooks: s.webhooks, Audit: s.audit, Insight: s.insight,
		Privacy: s.privacy,
		Plain:   s.plain, Log: s.log, PublicURL: s.settings.PublicURL, ContextPath: s.settings.ContextPath,
		Servlets: s.servlets(), Reports: bridge.NewReports(s.store),
		System: console.System{Version: versionLine(), Mode: string(s.settings.Mode),
			Database: s.settings.DatabaseURL.Scheme(), Doors: otp.Joined(s.settings.Doors),
			SMS: deliver.Breakers(s.out.sms...), Email: deliver.Breakers(s.out.email...)},
		Sandbox: s.settings.Sandbox(), Requests: requests, Server: router, Stopping: s.draining,
	})
}
