package load

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// answer is a parsed response.
type answer struct {
	status int
	body   []byte // a part of the parsed bytes
	closes bool   // the server closes the connection after it
}

var headEnd = []byte("\r\n\r\n")

// parseAnswer reads the response at the start of b. size is its length in b, 0 while b is incomplete. It allocates
// nothing unless it returns an error.
//
// It accepts a small part of HTTP/1.1 (RFC 9112): a status line, header lines that end with CR LF, and a body with one
// Content-Length. It refuses every other way to end a body, and everything that two readers could understand
// differently: a load generator that lost its position would report a healthy server as wrong.
func parseAnswer(b []byte) (a answer, size int, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return answer{}, 0, nil
	}
	line, rest := cutLine(b[:end+2])
	if a.status, err = parseStatus(line); err != nil {
		return answer{}, 0, err
	}
	length := -1
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if err := a.header(line, &length); err != nil {
			return answer{}, 0, err
		}
	}
	if length < 0 {
		return answer{}, 0, errors.New("the answer has no Content-Length")
	}
	size = end + len(headEnd) + length
	if len(b) < size {
		return answer{}, 0, nil
	}
	a.body = b[size-length : size]
	return a, size, nil
}

// cutLine splits the first line off lines, which end with CR LF.
func cutLine(lines []byte) (line, rest []byte) {
	end := bytes.Index(lines, headEnd[:2])
	return lines[:end], lines[end+2:]
}

// parseStatus reads the status line of a response that may have a body.
func parseStatus(line []byte) (int, error) {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version || !fieldContent(line) {
		return 0, malformed("a status line", line)
	}
	code, reason := line[len(version):len(version)+3], line[len(version)+3:]
	status := 0
	for _, c := range code {
		if c < '0' || c > '9' {
			return 0, malformed("a status line", line)
		}
		status = 10*status + int(c-'0')
	}
	if len(reason) > 0 && reason[0] != ' ' {
		return 0, malformed("a status line", line)
	}
	if status < 200 || status == 204 || status == 304 {
		return 0, fmt.Errorf("status %d, which comes without a text", status)
	}
	return status, nil
}

// header reads one header line and stores what is needed. length is -1 until a length is stated.
func (a *answer) header(line []byte, length *int) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !token(line[:colon]) || !fieldContent(line) {
		return malformed("a header line", line)
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch {
	case is(name, "content-length"):
		if *length >= 0 {
			return errors.New("the answer has two Content-Lengths")
		}
		n, ok := parseLength(value)
		if !ok {
			return malformed("a Content-Length up to 16 KiB", value)
		}
		*length = n
	case is(name, "transfer-encoding"):
		return errors.New("the answer has a Transfer-Encoding; only a Content-Length is understood here")
	case is(name, "connection"):
		a.closes = a.closes || listed(value, "close")
	}
	return nil
}

func parseLength(value []byte) (int, bool) {
	if len(value) == 0 || len(value) > 5 {
		return 0, false
	}
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n <= bufferSize
}

// is reports whether a name equals lower, which is in lower case, in any letter case.
func is(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// listed reports whether a comma-separated list contains a member, given in lower case.
func listed(list []byte, lower string) bool {
	for len(list) > 0 {
		var member []byte
		member, list, _ = bytes.Cut(list, []byte(","))
		if is(bytes.Trim(member, " \t"), lower) {
			return true
		}
	}
	return false
}

// token reports whether a name has only the characters allowed in header names (RFC 9110, section 5.6.2).
func token(name []byte) bool {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_':
		case strings.IndexByte("!#$%&'*+.^`|~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// fieldContent reports whether a line has no control characters except tabs. Some readers treat a lone CR or LF as a
// line end.
func fieldContent(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func malformed(what string, found []byte) error {
	return fmt.Errorf("%s was expected, not %q", what, found[:min(len(found), 80)])
}
