package engine

import (
	"slices"

	"otpbridge/server/otp"
)

// May returns nil if the caller's key has a permission, one of otp.Permissions. Refusal: Forbidden.
func (c *Caller) May(permission string) error {
	if c.Key.Kind.May(c.Key.Permissions, permission) {
		c.Key.use.permit(permission)
		return nil
	}
	return otp.Refuse(otp.Forbidden, "this "+string(c.Key.Kind)+" key lacks the permission "+permission)
}

// FromOrigin returns nil if the caller's key may be used from a web page of origin, the request's Origin header, empty
// if there is none. A client key works only from the origins in its list; for other keys a list only keeps other pages
// out. A client that is not a browser can claim any origin: the check keeps a client key out of other sites' pages and
// does not protect it otherwise. Refusal: ForbiddenOrigin.
func (c *Caller) FromOrigin(origin string) error {
	if origin == "" && c.Key.Kind != otp.ClientKey || slices.Contains(c.Key.AllowedOrigins, origin) {
		return nil
	}
	if len(c.Key.AllowedOrigins) == 0 && c.Key.Kind != otp.ClientKey {
		return nil
	}
	return otp.Refuse(otp.ForbiddenOrigin, "the key may not be used from this origin; add it to the key's "+
		"allowed_origins, written like https://www.example.com")
}
