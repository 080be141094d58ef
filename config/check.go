package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// check returns what is wrong with text as the setting's value, nil for nothing. The error quotes the value only if
// the setting is not secret.
func (f field) check(text string) error {
	if text == "" && f.empty != "" {
		return nil
	}
	if text == "" {
		return errors.New("is set to nothing")
	}
	switch f.key {
	case "ADDR", "METRICS_ADDR":
		return checkAddr(text)
	case "TLS_CERT_FILE", "TLS_KEY_FILE":
		return checkPath(text)
	case "STATE_DIR", "FILES_DIR", "AUDIT_CHECKPOINT_FILE":
		return checkFolder(text)
	case "DATABASE_URL":
		return checkDatabaseURL(text)
	case "KEYRING":
		return checkKeyring(text)
	case "KEYRING_FILE":
		return checkKeyringFile(text)
	case "CONTEXT_PATH":
		return checkContextPath(text)
	case "SERVLET_CONTENT_TYPE":
		return checkContentType(text)
	case "TRUSTED_PROXIES":
		_, err := networks(text)
		return err
	case "OUTBOUND_NETWORKS":
		return checkOutbound(text)
	case "DOORS":
		return checkDoors(text)
	case "ALERT_ACTIONS":
		return checkAlertActions(text)
	case "PUBLIC_URL":
		return checkPublicURL(text)
	case "SMS_CHANNELS", "EMAIL_CHANNELS", "ALERT_MAILBOXES", "AUDIT_CHECKPOINT_MAILBOXES", "SANDBOX_TEST_RECIPIENTS",
		"SANDBOX_RELAY_RECIPIENTS":
		return checkChannels(text)
	case "SANDBOX_FIXED_CODE":
		return checkFixedCode(text)
	case "REDIS_URL":
		return checkRedisURL(text)
	}
	switch {
	case f.kind == reflect.TypeFor[int]():
		return f.checkNumber(text)
	case f.list != nil:
		return f.checkListed(text)
	case f.kind == reflect.TypeFor[time.Duration]():
		return f.checkDuration(text)
	}
	panic("config: nothing checks " + f.name())
}

// canonical rewrites accepted texts that have several spellings into the one that go-envconfig reads and that readers
// of [Settings] rely on.
func canonical(accepted map[string]string) map[string]string {
	texts := maps.Clone(accepted)
	if texts["CONTEXT_PATH"] == "/" {
		texts["CONTEXT_PATH"] = ""
	}
	for _, name := range []string{"DOORS", "ALERT_ACTIONS"} {
		if list, given := texts[name]; given {
			texts[name] = strings.Join(listed(list), ",")
		}
	}
	texts["PUBLIC_URL"] = strings.TrimSuffix(texts["PUBLIC_URL"], "/")
	for _, name := range []string{"TRUSTED_PROXIES", "OUTBOUND_NETWORKS"} {
		if texts[name] == "" {
			continue
		}
		prefixes, _ := networks(texts[name])
		var list []string
		for _, prefix := range prefixes {
			list = append(list, prefix.String())
		}
		texts[name] = strings.Join(list, ",")
	}
	return texts
}

func (f field) checkListed(text string) error {
	if !slices.Contains(f.list, text) {
		return fmt.Errorf("%s is not on the list", quoted(text))
	}
	return nil
}

func (f field) checkDuration(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		if _, err := strconv.Atoi(text); err == nil {
			return fmt.Errorf("%s has no unit", quoted(text))
		}
		return fmt.Errorf("%s is not a duration", quoted(text))
	}
	if least, most := f.bounds(); d < least || d > most {
		return fmt.Errorf("%s is out of range", quoted(text))
	}
	return nil
}

// number matches digits only: strconv would accept a sign.
var number = regexp.MustCompile(`^[0-9]{1,9}$`)

func (f field) checkNumber(text string) error {
	if !number.MatchString(text) {
		return fmt.Errorf("%s is not a whole number", quoted(text))
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%s is not a whole number", quoted(text))
	}
	if least, most := f.extremes(); n < least || n > most {
		return fmt.Errorf("%s is out of range", quoted(text))
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$`)

func checkAddr(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%s is not a host and a port", quoted(text))
	}
	if !isPort(port) {
		return fmt.Errorf("%s has no port from 0 to 65535", quoted(text))
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !hostName.MatchString(host) {
		return fmt.Errorf("%s has no host that could be listened on", quoted(text))
	}
	return nil
}

// isPort accepts decimal digits only: ParseUint accepts no sign, blank or name.
func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// checkKeyring leaves the lines to the package that reads keyrings.
func checkKeyring(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("holds nothing but blanks")
	}
	return nil
}

// checkKeyringFile refuses a keyring pasted in place of its path: opening it would put the key into an error, and so
// into the log.
func checkKeyringFile(text string) error {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if words := strings.Fields(first); len(words) == 2 {
		key, err := base64.StdEncoding.DecodeString(words[1])
		if err == nil && len(key) >= 16 {
			return errors.New("holds a keyring instead of its path")
		}
	}
	return checkPath(text)
}

func checkFolder(text string) error {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("has a line break or another control character in the path")
	}
	return nil
}

func checkPath(text string) error {
	if strings.HasPrefix(text, "-----BEGIN") {
		return errors.New("holds a certificate or key instead of its path")
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("has a line break or another control character in the path")
	}
	if strings.HasSuffix(text, "/") {
		return fmt.Errorf("%s is a folder, not a file", quoted(text))
	}
	return nil
}

// contextPath allows characters that need no escaping in a URL and have no meaning to the router, as ':' and '*' have.
var contextPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

func checkContextPath(text string) error {
	switch {
	case text == "/":
		return nil
	case !strings.HasPrefix(text, "/"):
		return fmt.Errorf("%s does not start with a slash", quoted(text))
	case strings.HasSuffix(text, "/"):
		return fmt.Errorf("%s ends with a slash", quoted(text))
	case strings.Contains(text, "..") || slices.Contains(strings.Split(text, "/"), "."):
		return fmt.Errorf("%s has dots that clients and proxies resolve away", quoted(text))
	case !contextPath.MatchString(text):
		return fmt.Errorf("%s has characters other than letters, digits and . _ ~ -", quoted(text))
	}
	return nil
}

// checkContentType is stricter than mime.ParseMediaType, which accepts line breaks as blanks and a single word as a
// type. The value becomes a header unchanged.
func checkContentType(text string) error {
	visible := func(r rune) bool { return r >= ' ' && r <= '~' }
	kind, _, err := mime.ParseMediaType(text)
	if err != nil || !strings.Contains(kind, "/") || strings.ContainsFunc(text, func(r rune) bool { return !visible(r) }) {
		return fmt.Errorf("%s is not a media type", quoted(text))
	}
	return nil
}

// networks reads a list of addresses and networks. It refuses entries that could trust more than was meant: a network
// with host bits set (10.0.0.1/8 can mean the address or all of 10), and a network of all addresses: with such a proxy
// every client could choose its own address, and no limit per address would work. IPv4 written as IPv6 becomes IPv4,
// because netip does not match one with the other.
func networks(text string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, fmt.Errorf("%s has an empty place in the list", quoted(text))
		}
		if addr, err := netip.ParseAddr(item); err == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(item)
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s is neither an address nor a network", quoted(item))
		case prefix.Masked() != prefix:
			return nil, fmt.Errorf("%s is an address with the size of a network: the network is %v, the address alone %v",
				quoted(item), prefix.Masked(), prefix.Addr())
		case prefix.Bits() == 0:
			return nil, fmt.Errorf("%s is every address; name the networks that are meant", quoted(item))
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

// checkOutbound refuses networks that would open nothing, or more than can be meant.
func checkOutbound(text string) error {
	prefixes, err := networks(text)
	for _, prefix := range prefixes {
		switch address := prefix.Addr(); {
		case address.IsLinkLocalUnicast(), address.IsMulticast(), address.IsUnspecified() && prefix.IsSingleIP():
			return fmt.Errorf("%s is never opened", quoted(prefix.String()))
		case address.IsLoopback() && !prefix.IsSingleIP():
			return fmt.Errorf("%s is this machine, whose addresses are opened one by one", quoted(prefix.String()))
		}
	}
	return err
}

// listed returns the elements of a list, without blanks around them.
func listed(text string) []string {
	elements := strings.Split(text, ",")
	for i, element := range elements {
		elements[i] = strings.TrimSpace(element)
	}
	return elements
}

func checkDoors(text string) error {
	doors := listed(text)
	for i, door := range doors {
		switch {
		case door == "":
			return fmt.Errorf("%s has an empty place in the list", quoted(text))
		case !slices.Contains([]Door{ServletDoor, V1Door, APIDoor, ConsoleDoor}, Door(door)):
			return fmt.Errorf("%s is no door", quoted(door))
		case slices.Contains(doors[:i], door):
			return fmt.Errorf("%s stands twice in the list", quoted(door))
		}
	}
	if slices.Contains(doors, string(ConsoleDoor)) && !slices.Contains(doors, string(APIDoor)) {
		return errors.New("has the console without the api that it works through")
	}
	return nil
}

// AlertActions lists the alerts that can act.
func AlertActions() []string {
	return []string{"key_usage", "key_country", "address_failures", "address_keys", "address_recipients"}
}

func checkAlertActions(text string) error {
	rules := listed(text)
	for i, rule := range rules {
		switch {
		case text == "":
		case !slices.Contains(AlertActions(), rule):
			return fmt.Errorf("%s is no alert that can act", quoted(rule))
		case slices.Contains(rules[:i], rule):
			return fmt.Errorf("%s stands twice in the list", quoted(rule))
		}
	}
	return nil
}

// checkPublicURL accepts an origin: scheme and host, without user, path, query or fragment. Browsers compare origins
// byte by byte, so the host must be in lower case and the scheme's default port left out.
func checkPublicURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"):
		return errors.New("has an @: it may hold no user and no password, since everybody sees it")
	case err != nil || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s begins neither with https:// nor with http://", quoted(text))
	case !hostName.MatchString(u.Hostname()) && !isIPv6(u.Hostname()):
		return fmt.Errorf("%s names no host", quoted(text))
	case u.Host != strings.ToLower(u.Host):
		return fmt.Errorf("%s has a host in capitals; write it in lower case, as browsers do", quoted(text))
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (!isPort(u.Port()) || u.Port() == "0"):
		return fmt.Errorf("%s has a port that is not one from 1 to 65535", quoted(text))
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("%s has the port that %s means anyway; leave it out, as browsers do", quoted(text), u.Scheme)
	case u.Path != "" && u.Path != "/" || strings.ContainsAny(text, "?#"):
		return fmt.Errorf("%s has more than scheme, host and port", quoted(text))
	}
	return nil
}

// checkChannels leaves the URLs to the package that opens them.
func checkChannels(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("holds nothing but blanks")
	case strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("has a line break or another control character in it")
	}
	return nil
}

var fixedCode = regexp.MustCompile(`^[0-9]{4,10}$`)

// checkFixedCode does not quote the value: it is, or nearly is, a code.
func checkFixedCode(text string) error {
	if !fixedCode.MatchString(text) {
		return errors.New("is not 4 to 10 digits")
	}
	return nil
}
