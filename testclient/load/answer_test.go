package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAnswer(t *testing.T) {
	tests := []struct {
		name   string
		bytes  string
		status int
		body   string
		closes bool
	}{
		{name: "as this project's server answers", status: 200, body: "OTP Generated Successfully",
			bytes: "HTTP/1.1 200 OK\r\n" +
				"Cache-Control: no-store\r\nContent-Length: 26\r\nContent-Type: text/plain; charset=utf-8\r\nX-Request-Id: " +
				"req_ABC\r\n" +
				"Date: Mon, 02 Mar 2026 12:00:00 GMT\r\n\r\nOTP Generated Successfully"},
		{name: "no reason, no blank after colons", status: 503, bytes: "HTTP/1.1 503\r\nCONTENT-length:0\r\n\r\n"},
		{name: "blanks around values", status: 401, body: "no", bytes: "HTTP/1.1 401 Who\r\nContent-Length: \t2 \r\n\r\nno"},
		{name: "closes", status: 200, body: "x", closes: true,
			bytes: "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx"},
		{name: "does not close", status: 200, body: "x",
			bytes: "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"},
		{name: "a body like a head", status: 200, body: "\r\n\r\n",
			bytes: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\n\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, size, err := parseAnswer([]byte(test.bytes))
			require.NoError(t, err)
			require.Equal(t, len(test.bytes), size)
			require.Equal(t, test.status, a.status)
			require.Equal(t, test.body, string(a.body))
			require.Equal(t, test.closes, a.closes)
			for cut := range len(test.bytes) {
				_, size, err := parseAnswer([]byte(test.bytes[:cut]))
				require.NoError(t, err, "%d bytes are a beginning", cut)
				require.Zero(t, size)
			}
		})
	}
}

func TestParseAnswer_RefusesWhatCouldBeReadInTwoWays(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	for name, test := range map[string]struct{ bytes, says string }{
		"another protocol":  {"SSH-2.0-OpenSSH\r\n\r\n", "status line"},
		"HTTP/1.0":          {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "status line"},
		"no number":         {"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "status line"},
		"a long number":     {"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "status line"},
		"no content":        {"HTTP/1.1 204 No Content\r\n\r\n", "status 204"},
		"a provisional one": {"HTTP/1.1 100 Continue\r\n\r\n", "status 100"},
		"no length":         {head + "Content-Type: text/plain\r\n\r\n", "no Content-Length"},
		"two lengths":       {head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "two Content-Lengths"},
		"a length of signs": {head + "Content-Length: +1\r\n\r\nx", "Content-Length"},
		"an empty length":   {head + "Content-Length:\r\n\r\nx", "Content-Length"},
		"a list of lengths": {head + "Content-Length: 1, 1\r\n\r\nx", "Content-Length"},
		"a huge length":     {head + "Content-Length: 16385\r\n\r\nx", "Content-Length"},
		"an overflow":       {head + "Content-Length: 18446744073709551617\r\n\r\nx", "Content-Length"},
		"chunks":            {head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"},
		"chunks and length": {head + "Content-Length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
			"Transfer-Encoding"},
		"a folded header":    {head + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "header line"},
		"no colon":           {head + "Content-Length 0\r\n\r\n", "header line"},
		"a blank before it":  {head + "Content-Length : 0\r\n\r\n", "header line"},
		"no name":            {head + ": 0\r\n\r\n", "header line"},
		"a lone line feed":   {head + "X: a\nContent-Length: 0\r\n\r\n", "header line"},
		"a lone return":      {head + "X: a\rContent-Length: 0\r\n\r\n", "header line"},
		"a zero byte":        {head + "X: \x00\r\nContent-Length: 0\r\n\r\n", "header line"},
		"lines of feed only": {"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n", "status line"},
	} {
		t.Run(name, func(t *testing.T) {
			_, size, err := parseAnswer([]byte(test.bytes))
			require.ErrorContains(t, err, test.says)
			require.Zero(t, size)
		})
	}
}

// Every accepted answer is one for net/http too, with the same status, text and end. A complete answer stays the same
// whatever follows it, and no part of it is complete or refused.
func FuzzParseAnswer_AgreesWithNetHTTP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 503 \r\nX-A: b, c\r\ncontent-length: 0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nConnection: a,, close ,b\r\nContent-Length: 16384\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, size, err := parseAnswer(b)
		if size == 0 || err != nil {
			if size != 0 {
				t.Fatalf("refused with a size of %d", size)
			}
			return
		}
		reader := bufio.NewReader(bytes.NewReader(b))
		theirs, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", b, err)
		}
		defer theirs.Body.Close()
		body, err := io.ReadAll(theirs.Body)
		rest, _ := io.ReadAll(reader)
		if err != nil || theirs.StatusCode != a.status || !bytes.Equal(body, a.body) || theirs.Close != a.closes ||
			len(rest) != len(b)-size {
			t.Fatalf("%q: %+v of %d bytes, to net/http %d %q closes %v and %d bytes are left", b, a, size, theirs.StatusCode,
				body, theirs.Close, len(rest))
		}
		longer, longerSize, err := parseAnswer(append(bytes.Clone(b), "HTTP/1.1"...))
		if err != nil || longerSize != size || !bytes.Equal(longer.body, a.body) {
			t.Fatalf("%q is another answer when something follows", b)
		}
		for cut := range size {
			if _, part, err := parseAnswer(b[:cut]); part != 0 || err != nil {
				t.Fatalf("%q after %d bytes: %d %v", b, cut, part, err)
			}
		}
	})
}
