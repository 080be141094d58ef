package v1

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// keys answers the public keys of receipts. They are public, also for web pages of any origin.
func (d *door) keys(c *gin.Context) {
	keys, err := d.engine.JWKS(c.Request.Context())
	if err != nil {
		c.Header("Cache-Control", "no-store")
		d.errors.Refuse(c, err)
		return
	}
	c.Header("Cache-Control", "public, max-age=60")
	c.Header("Access-Control-Allow-Origin", "*")
	c.Data(http.StatusOK, "application/json; charset=utf-8", keys)
}
