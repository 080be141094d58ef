package deliver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"otpbridge/server/otp"
)

// Options is what [Parse] needs besides the settings.
type Options struct {
	Medium  string  // sms or email
	Sandbox bool    // allows the inbox, discard:, and http:// to other machines
	Inbox   Channel // the channel for inbox:
	// Files are the files that a URL may name. Account is true for an account's URLs, which name them without a path.
	Files   Files
	Account bool
	// Roots are the trusted certificate authorities; nil means the system's.
	Roots *x509.CertPool
	// Breaker is used for each channel that leaves this process; zero means the default.
	Breaker BreakerOptions
}

// scheme is one kind of channel in a list of URLs.
type scheme struct {
	name  string
	media []string
	form  string // the expected form, for error texts
	open  func(u *url.URL, o Options) (Channel, error)
}

// schemes has a row for each kind of channel. Each kind has its own file.
func schemes() []scheme {
	return []scheme{
		{"inbox", []string{"sms", "email"}, "inbox:", openInbox},
		{"https", []string{"sms", "email"}, "https://user:password@host/path?to={to_digits}&text={text}#sender=NAME",
			openGateway},
		{"http", []string{"sms", "email"}, "http://127.0.0.1:8080/path?to={to_digits}&text={text}", openGateway},
		{"smtp", []string{"email"}, "smtp://user:password@host:587?from=name@domain", openMailer},
		{"smtps", []string{"email"}, "smtps://user:password@host:465?from=name@domain", openMailer},
		{"discard", []string{"sms", "email"}, "discard:", openDiscard},
	}
}

// Parse opens the channels in urls, separated by commas, in order of preference. Each channel that may wait has its
// own circuit breaker in front. No connection is made yet.
//
// The error lists every wrong entry by its place and host, and says what to write instead. It never repeats a user, a
// password, a path or a query, since some gateways have their secret in each of these.
func Parse(urls string, o Options) ([]Channel, error) {
	var channels []Channel
	var faults []error
	names := make(map[string]bool)
	entries := strings.Split(urls, ",")
	// A comma in a password makes two entries, the second of which has no known scheme. Then what looks like a host in
	// any entry may be part of a password.
	showsHosts := !slices.ContainsFunc(entries, func(text string) bool { return kindOf(text, o.Medium) < 0 })
	for i, text := range entries {
		channel, label, err := open(strings.TrimSpace(text), o)
		if !showsHosts {
			label = ""
		}
		if err == nil && names[channel.Name()] {
			err = fmt.Errorf("has the name %s as another entry has; tell them apart in the log, with #name=backup behind a "+
				"gateway or &name=backup behind a mail server", channel.Name())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("entry %d%s: %w", i+1, label, err))
			continue
		}
		names[channel.Name()] = true
		channels = append(channels, channel)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return channels, nil
}

// kindOf returns the row of an entry's scheme, below 0 if there is none for the medium.
func kindOf(text, medium string) int {
	name, _, _ := strings.Cut(strings.TrimSpace(text), ":")
	return slices.IndexFunc(schemes(), func(s scheme) bool {
		return otp.SameName(s.name, name) && slices.Contains(s.media, medium)
	})
}

// open opens one entry; label identifies it in errors.
func open(text string, o Options) (channel Channel, label string, err error) {
	kind := kindOf(text, o.Medium)
	switch {
	case text == "":
		return nil, "", errors.New("is empty; a comma that belongs to a URL is written %2C")
	case kind < 0 || !strings.Contains(text, ":"):
		return nil, "", fmt.Errorf("starts with none of the channels for %s; write one of %s", o.Medium, forms(o.Medium))
	}
	row := schemes()[kind]
	u, err := url.Parse(text)
	if err != nil || strayAt(text) {
		return nil, "", fmt.Errorf("is not a URL, or has an @ behind its host; a / # ? @ : , or %% in a user or password "+
			"is percent-encoded, and an @ elsewhere %%40, as in %s", row.form)
	}
	if u.Host != "" {
		label = fmt.Sprintf(" (%s://%s)", row.name, u.Hostname())
	}
	channel, err = row.open(u, o)
	if err != nil {
		return nil, label, fmt.Errorf("%w; the form is %s", err, row.form)
	}
	if channel.Waits() {
		channel = NewBreaker(channel, o.Breaker)
	}
	return channel, label, nil
}

// strayAt reports whether there is an @ after the host, except in from=. That happens if a password has a / ? or #
// that is not encoded, and then what looks like the host is part of the password.
func strayAt(text string) bool {
	_, rest, _ := strings.Cut(text, "//")
	i := strings.IndexAny(rest, "/?#")
	if i < 0 {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(rest[i:], func(r rune) bool { return r == '?' || r == '&' }),
		func(part string) bool {
			return strings.Contains(part, "@") && !strings.HasPrefix(part, "from=")
		})
}

func forms(medium string) string {
	var list []string
	for _, row := range schemes() {
		if slices.Contains(row.media, medium) {
			list = append(list, row.form)
		}
	}
	return strings.Join(list, ", ")
}

func openInbox(u *url.URL, o Options) (Channel, error) {
	switch {
	case !o.Sandbox:
		return nil, errors.New("the inbox shows every code and belongs to the sandbox: in production name the gateway " +
			"that really sends")
	case u.Opaque+u.Host+u.Path+u.RawQuery+u.Fragment != "":
		return nil, errors.New("the inbox has nothing to be told")
	case o.Inbox == nil:
		return nil, errors.New("there is no inbox here")
	}
	return o.Inbox, nil
}

// host checks the host of a URL. A password with a character that should have been encoded can end up here, so an
// invalid host is not repeated in the error.
func host(u *url.URL) error {
	name := u.Hostname()
	addr, err := netip.ParseAddr(name)
	plain := !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
	switch {
	case u.Opaque != "" || name == "":
		return errors.New("names no host")
	case err != nil && !plain:
		return errors.New("has a host that is none")
	case err == nil && addr.Zone() != "":
		return errors.New("has an address with a zone")
	case strings.HasSuffix(u.Host, ":"):
		return errors.New("has a colon and no port behind its host")
	}
	return nil
}

// Local reports whether every channel in urls leads nowhere or to this machine.
func Local(urls string) bool {
	for text := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Scheme != "inbox" && u.Scheme != "discard" && !loopback(u) {
			return false
		}
	}
	return true
}

// loopback reports whether the host can only be this machine.
func loopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// words reads the options in a URL (a fragment, or a query with our options) and refuses repeated and unknown names.
func words(text, where string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, fmt.Errorf("has a %s that cannot be read: special characters are percent-encoded", where)
	}
	said := make(map[string]string)
	for name, given := range values {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("has something in its %s that is none of %s", where, strings.Join(known, ", "))
		}
		if len(given) > 1 || given[0] == "" {
			return nil, fmt.Errorf("says %s in its %s twice, or nothing behind it", name, where)
		}
		said[name] = given[0]
	}
	return said, nil
}

// span reads a duration from 100ms to a minute; empty means the default.
func span(name, text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 100*time.Millisecond || d > time.Minute {
		return 0, fmt.Errorf("has a %s that is no duration from 100ms to 60s", name)
	}
	return d, nil
}

// logName checks a channel's name for logs and receipts.
func logName(text, otherwise string) (string, error) {
	if text == "" {
		return otherwise, nil
	}
	for _, r := range text {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return "", errors.New("has a name with other characters than letters, digits and . _ -")
		}
	}
	if len(text) > 40 {
		return "", errors.New("has a name of more than 40 characters")
	}
	return text, nil
}

// visible reports whether a text has no control character, so that it can be a header or a line.
func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == 0xfffd || r == 0x2028 ||
			r == 0x2029
	})
}
