package sandbox

import (
	"net/http"

	"github.com/gin-gonic/gin"

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
	if web.ArrivedOnLoopback(r) && !web.HostIsAddress(r.Host) {
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
