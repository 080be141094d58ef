package otp

import (
	"fmt"
	"net/url"
	"strings"
)

// maxOrigin is the length of a scheme, the longest host name and a port, in bytes.
const maxOrigin = len("https://") + 253 + len(":65535")

// ParseOrigin reads the origin of a web page and returns it as browsers write it (RFC 6454, section 6.1): scheme and
// host in lower case, no slash at the end, no port if it is the scheme's default.
func ParseOrigin(text string) (string, error) {
	wrong := fmt.Errorf("%q is no origin; write one like https://www.example.com, without a path", Cut(text, 80))
	if len(text) > maxOrigin || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`*"<>\,;`, r)
	}) {
		return "", wrong
	}
	u, err := url.Parse(Lower(text))
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Path != "" && u.Path != "/" || u.Scheme != "https" && u.Scheme != "http" || strings.HasSuffix(u.Host, ":") {
		return "", wrong
	}
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host, nil
}
