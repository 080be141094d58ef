package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// commitProxy sits between a store and its server. It knows just enough of MySQL's protocol, packet framing and the OK
// that ends a result, to recognise a COMMIT and its answer, and to cut the connection there: the one moment after which
// a client cannot know what happened.
type commitProxy struct {
	listener net.Listener
	server   string
	serving  sync.WaitGroup

	mu      sync.Mutex
	armed   *commitCut
	refused int // connections still to be refused
	open    map[net.Conn]struct{}
	closed  bool
}

// cutMoment says where around a COMMIT a connection is cut.
type cutMoment int

// The moments.
const (
	// cutBeforeCommit: the server never gets the COMMIT, and rolls back.
	cutBeforeCommit cutMoment = iota
	// cutAfterCommit: the server has run it, and its OK is dropped.
	cutAfterCommit
	// cutDuringCommit: the client loses its connection while the COMMIT is still on its way. A client that looks too
	// early finds nothing, although the transaction will commit.
	cutDuringCommit
)

// commitCut is one connection lost at a COMMIT.
type commitCut struct {
	moment cutMoment
	// meanwhile runs between the two halves of the cut: with cutBeforeCommit when the server has lost its connection and
	// the client has not; with cutAfterCommit when the COMMIT has run and the client has no answer; with cutDuringCommit
	// when the client has lost its connection and the server has not got the COMMIT yet. It may be nil.
	meanwhile func()
	// silent keeps the client's connection open, and before a COMMIT the server's too, as a network does that drops
	// packets, until the client gives up. It is not for cutDuringCommit.
	silent bool
	// refused is how many of the next connections are refused, as by a server that has too many.
	refused int
	// with is a text that the transaction must contain, to select one of a server's transactions. Empty for any.
	with string

	struck chan error
}

// made waits until the cut has been made. The error says if it did not go as planned.
func (c *commitCut) made() error { return <-c.struck }

// proxiedURL returns databaseURL, which must be from SchemaTCP, changed to go through a new proxy.
func proxiedURL(t testing.TB, databaseURL string) (*commitProxy, string) {
	t.Helper()
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &commitProxy{listener: listener, server: parsed.Host, open: map[net.Conn]struct{}{}}
	p.serving.Go(p.serve)
	t.Cleanup(p.close)
	parsed.Host = listener.Addr().String()
	return p, parsed.String()
}

// cut arms the proxy: the next COMMIT that matches c is cut.
func (p *commitProxy) cut(c *commitCut) {
	c.struck = make(chan error, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = c
}

func (p *commitProxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() { p.connect(client) })
	}
}

func (p *commitProxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// keep tracks conn until it is closed, so that close can end it.
func (p *commitProxy) keep(conn net.Conn) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
	}
	p.open[conn] = struct{}{}
	return func() {
		conn.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, conn)
	}
}

func (p *commitProxy) connect(client net.Conn) {
	defer p.keep(client)()
	if p.refuses() {
		// An error in place of the greeting: 1040, too many connections.
		_, _ = client.Write([]byte("\x17\x00\x00\x00\xff\x10\x04Too many connections"))
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer p.keep(server)()
	c := &proxiedConn{proxy: p, client: client, server: server, answers: make(chan []byte)}
	c.both.Go(c.downstream)
	c.upstream()
	client.Close()
	server.Close()
	for range c.answers { // discard what is left
	}
	c.both.Wait()
}

func (p *commitProxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == 0 {
		return false
	}
	p.refused--
	return true
}

// take returns the armed cut, once, if it matches the transaction that was sent.
func (p *commitProxy) take(sent []byte) *commitCut {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.armed
	if c == nil || !bytes.Contains(sent, []byte(c.with)) {
		return nil
	}
	p.armed = nil
	p.refused = c.refused
	return c
}

// proxiedConn is one connection through the proxy.
type proxiedConn struct {
	proxy          *commitProxy
	client, server net.Conn
	both           sync.WaitGroup

	mu      sync.Mutex
	muted   bool        // the client gets nothing more
	answers chan []byte // the server's packets from then on; closed with its connection
}

// upstream forwards what the client sends, up to the COMMIT to cut.
func (c *proxiedConn) upstream() {
	packets := bufio.NewReader(c.client)
	var sent []byte // since the COMMIT before
	for {
		packet, err := readPacket(packets)
		if err != nil {
			return
		}
		sent = append(sent, packet...)
		if isCommit(packet) {
			if cut := c.proxy.take(sent); cut != nil {
				cut.struck <- c.strike(cut, packet)
				return
			}
			sent = nil
		}
		if _, err := c.server.Write(packet); err != nil {
			return
		}
	}
}

func (c *proxiedConn) downstream() {
	defer close(c.answers)
	packets := bufio.NewReader(c.server)
	for {
		packet, err := readPacket(packets)
		if err != nil {
			c.client.Close()
			return
		}
		c.mu.Lock()
		muted := c.muted
		c.mu.Unlock()
		if muted {
			c.answers <- packet
		} else if _, err := c.client.Write(packet); err != nil {
			c.server.Close()
		}
	}
}

// strike makes the cut. The server sends nothing at this moment, because a client sends its COMMIT after it has read
// all earlier answers.
func (c *proxiedConn) strike(cut *commitCut, commit []byte) error {
	meanwhile := func() {
		if cut.meanwhile != nil {
			cut.meanwhile()
		}
	}
	c.mu.Lock()
	c.muted = true
	c.mu.Unlock()
	switch cut.moment {
	case cutBeforeCommit:
		if !cut.silent {
			c.server.Close()
		}
		meanwhile()
		c.wait(cut.silent)
		return nil
	case cutAfterCommit:
		err := c.committed(commit)
		meanwhile()
		c.wait(cut.silent)
		return err
	case cutDuringCommit:
		c.client.Close()
		meanwhile()
		return c.committed(commit)
	}
	return fmt.Errorf("no such moment: %d", cut.moment)
}

// wait returns when the client has closed its connection, if silent.
func (c *proxiedConn) wait(silent bool) {
	if silent {
		_, _ = io.Copy(io.Discard, c.client) // it ends with the connection
	}
}

// committed makes the server run commit and reads its answer.
func (c *proxiedConn) committed(commit []byte) error {
	if _, err := c.server.Write(commit); err != nil {
		return fmt.Errorf("pass the COMMIT on: %w", err)
	}
	for packet := range c.answers {
		last, err := readOK(packet)
		if last || err != nil {
			return err
		}
	}
	return errors.New("the server closed the connection without answering the COMMIT")
}

// readPacket reads one packet: three bytes of length, one of sequence, then that many bytes.
func readPacket(from *bufio.Reader) ([]byte, error) {
	head, err := from.Peek(4)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, 4+int(head[0])+int(head[1])<<8+int(head[2])<<16)
	_, err = io.ReadFull(from, packet)
	return packet, err
}

// isCommit reports whether the packet is a query that ends with COMMIT.
func isCommit(packet []byte) bool {
	const query = 3
	return len(packet) > 4 && packet[3] == 0 && packet[4] == query &&
		bytes.HasSuffix(bytes.ToUpper(bytes.TrimRight(packet[5:], "; \n")), []byte("COMMIT"))
}

// readOK reads the answer to a query without rows and reports whether it is the last one. With several statements in a
// query, only the answer to the last one is.
func readOK(packet []byte) (last bool, err error) {
	const moreResults = 8
	if len(packet) < 9 || packet[4] != 0 {
		return false, fmt.Errorf("the server refused the COMMIT: %q", packet)
	}
	rest := packet[5:]
	for range 2 { // the numbers of affected rows and of the last id
		size := 1
		switch rest[0] {
		case 0xfc:
			size = 3
		case 0xfd:
			size = 4
		case 0xfe:
			size = 9
		}
		if len(rest) < size+2 {
			return false, fmt.Errorf("no OK: %q", packet)
		}
		rest = rest[size:]
	}
	return binary.LittleEndian.Uint16(rest)&moreResults == 0, nil
}
