package sandbox

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"

	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// guard keeps web pages out. The developer's browser is inside the loopback fence, and every
// page it shows can send requests from there.
//
// A page of another origin can send a POST but not read the answer: changing calls from another
// origin are refused. A page whose own name was made to resolve to 127.0.0.1 (DNS rebinding)
// is of the same origin for the browser and could read every code: such a request names the
// page's host, so on loopback only hosts that no attacker's DNS answers for are served. A
// client that is no browser sends neither header and passes.
func (d *door) guard(c *gin.Context) {
	if err := d.refusePage(c.Request); err != nil {
		d.errors.Refuse(c, err)
		c.Abort()
	}
}

func (d *door) refusePage(r *http.Request) error {
	if arrivedOnLoopback(r) && !hostIsOurs(r.Host) {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "the sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := d.crossOrigin.Check(r); err != nil {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not change the sandbox; call it from a test or a command line",
		}
	}
	return nil
}

// arrivedOnLoopback looks at the connection, not at the address listened on: of a server that
// listens everywhere, the loopback side is open to rebinding all the same. What cannot be told
// counts as loopback.
func arrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.IP.IsLoopback()
}

// hostIsOurs tells whether host, a Host header, is one that DNS has no say in: an address, or
// a name that RFC 6761, section 6.3, reserves for loopback. HTTP/1.0 sends none; no browser
// speaks it.
func hostIsOurs(host string) bool {
	if host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	name := strings.TrimSuffix(otp.Lower(host), ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
