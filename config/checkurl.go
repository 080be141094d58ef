package config

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// databaseName matches names that MySQL accepts without quotes, and the dash, which is common.
var databaseName = regexp.MustCompile(`^/[A-Za-z0-9_$-]{1,64}$`)

// checkDatabaseURL never quotes any part of the value. A password with an unescaped '/', '#' or '?' shifts the borders
// between the parts, so a piece of it may be where the host or port is expected. For the same reason user and database
// are required: a URL cut in the wrong place lacks one of them.
func checkDatabaseURL(text string) error {
	if path, ok := strings.CutPrefix(text, filePrefix); ok {
		return checkDatabasePath(path)
	}
	if !strings.HasPrefix(text, "mysql://") {
		return errors.New("starts neither with sqlite: nor with mysql://")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is not a URL; a / # ? @ : or % in the password must be percent-encoded")
	case u.User.Username() == "":
		return errors.New("names no user, or has a / # or ? in the password that is not percent-encoded")
	case !hostName.MatchString(u.Hostname()) && !isIPv6(u.Hostname()):
		return errors.New("names no host")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (!isPort(u.Port()) || u.Port() == "0"):
		return errors.New("has a port that is not one from 1 to 65535")
	case !databaseName.MatchString(u.Path):
		return errors.New("names no database")
	case strings.Contains(text, "#"):
		return errors.New("has a # that is not percent-encoded")
	}
	return nil
}

// redisDatabase matches the number of a database, or nothing.
var redisDatabase = regexp.MustCompile(`^(/[0-9]{0,5})?$`)

// checkRedisURL never quotes any part of the value, for the reasons of checkDatabaseURL.
func checkRedisURL(text string) error {
	if !strings.HasPrefix(text, "redis://") && !strings.HasPrefix(text, "rediss://") {
		return errors.New("starts neither with redis:// nor with rediss://")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is not a URL; a / # ? @ : or % in the password must be percent-encoded")
	case !hostName.MatchString(u.Hostname()) && !isIPv6(u.Hostname()):
		return errors.New("names no host, or has a / # or ? in the password that is not percent-encoded")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (!isPort(u.Port()) || u.Port() == "0"):
		return errors.New("has a port that is not one from 1 to 65535")
	case !redisDatabase.MatchString(u.Path):
		return errors.New("names a database that is not a number")
	case strings.ContainsAny(text, "#?"):
		return errors.New("has something behind the database, or a # or ? that is not percent-encoded")
	}
	return nil
}

func isIPv6(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is6()
}

func checkDatabasePath(path string) error {
	switch {
	case path == "":
		return errors.New("names no file")
	case strings.HasPrefix(path, "//"):
		// Programs read sqlite://a/b as a/b, as /a/b, or with a as a host.
		return errors.New("has slashes behind sqlite: that different programs read differently, and a path needs none")
	case strings.HasSuffix(path, "/"):
		return errors.New("names a folder, not a file")
	case strings.ContainsAny(path, "?#"):
		return errors.New("has options behind the path, and SQLite takes none here")
	case strings.ContainsFunc(path, unicode.IsControl):
		return errors.New("has a line break or another control character in the path")
	}
	return nil
}
