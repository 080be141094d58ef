package sandbox

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"otpbridge/server/web"
)

// guard refuses requests of web pages. The developer's browser runs on this machine, and every page in it can send
// requests to loopback.
//
// A page of another origin can send a POST but cannot read the answer, so calls from another origin that change
// something are refused. A page whose own name resolves to 127.0.0.1 (DNS rebinding) is of the same origin for the
// browser and could read every code. Its requests have the page's name as Host, so on loopback only hosts that do not
// depend on DNS are served. Clients that are not browsers pass, because they send no Origin.
func (d *door) guard(c *gin.Context) {
	if err := d.refusePage(c.Request); err != nil {
		d.errors.Refuse(c, err)
		c.Abort()
	}
}

func (d *door) refusePage(r *http.Request) error {
	if web.ArrivedOnLoopback(r) && !web.HostIsAddress(r.Host) {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_HOST",
			Detail: "the sandbox answers on loopback only to localhost or an IP address as host; call it by one of them",
		}
	}
	if err := web.CheckOrigin(d.crossOrigin, r); err != nil {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "FORBIDDEN_ORIGIN",
			Detail: "a page of another origin may not change the sandbox; call it from a test or a command line",
		}
	}
	return nil
}
