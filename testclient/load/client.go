package load

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// bufferSize bounds an answer including its header. Real ones have a few hundred bytes.
const bufferSize = 16 << 10

// reconnectPause is how long a client waits after a refused connection.
const reconnectPause = 100 * time.Millisecond

// client is one of the run's clients, with one connection.
type client struct {
	run    *run
	steps  []preparedStep
	conn   net.Conn // nil while there is none
	buffer []byte

	// deadline is when the connection's deadline ends. Setting it for every request would cost more than parsing the
	// answer, so it is set when half of it has passed.
	deadline time.Duration
}

func (r *run) newClient() *client {
	c := &client{run: r, buffer: make([]byte, bufferSize)}
	for _, step := range r.steps {
		c.steps = append(c.steps, step.own())
	}
	return c
}

// connect opens the connection. The first exchange sets its deadline.
func (c *client) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: c.run.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", c.run.address)
	if err != nil {
		return err
	}
	c.conn, c.deadline = conn, 0
	c.run.connections.Add(1)
	return nil
}

func (c *client) close() {
	if c == nil || c.conn == nil {
		return
	}
	// The connection is not used any more, so an error here does not matter.
	_ = c.conn.Close()
	c.conn = nil
}

// work runs cycles until the run is over.
func (c *client) work() {
	for {
		if c.conn == nil && !c.reconnect() {
			return
		}
		place, ok := c.run.nextRecipient()
		if !ok {
			return
		}
		if c.cycle(place) {
			c.run.cycles.Add(1)
		}
	}
}

// reconnect tries until there is a connection, and counts each refusal; false if the run is over.
func (c *client) reconnect() bool {
	for !c.run.over.Load() {
		err := c.connect(c.run.ctx)
		if err == nil {
			return true
		}
		if c.run.ctx.Err() != nil {
			return false
		}
		c.run.failures.add("connect", Connection, cause(err))
		select {
		case <-c.run.ctx.Done():
		case <-time.After(reconnectPause):
		}
	}
	return false
}

// cycle runs the steps for one recipient and reports whether all answers were right. The first wrong one ends it,
// because the later steps depend on it.
func (c *client) cycle(place int) bool {
	began := c.run.now()
	for i := range c.steps {
		step := &c.steps[i]
		step.address(place)
		if c.conn == nil {
			// A cycle that has begun is finished even if the run ends meanwhile.
			if err := c.connect(context.Background()); err != nil {
				c.run.failures.add("connect", Connection, cause(err))
				return false
			}
		}
		a, err := c.exchange(step.request, began)
		answered := c.run.now()
		switch {
		case err != nil:
			c.close()
			c.run.failures.add(step.name, Connection, cause(err))
			return false
		case a.status != step.status:
			c.run.failures.addText(step.name, Status, a.status, a.body)
			c.closeIfTold(a)
			return false
		case !step.answeredBy(a.body), i+1 < len(c.steps) && !c.steps[i+1].identify(a.body):
			c.run.failures.addText(step.name, Text, a.status, a.body)
			c.closeIfTold(a)
			return false
		}
		c.run.latency.Record(answered - began)
		c.run.stepLatency[i].Record(answered - began)
		c.closeIfTold(a)
		began = answered
	}
	return true
}

func (c *client) closeIfTold(a answer) {
	if a.closes {
		c.close()
	}
}

var (
	errTooLong = errors.New("the answer is longer than 16 KiB")
	errUnasked = errors.New("more was answered than was asked")
)

// exchange sends a request and reads its answer, whose body is valid until the next exchange.
func (c *client) exchange(request []byte, now time.Duration) (answer, error) {
	if now+c.run.timeout > c.deadline {
		c.deadline = now + 2*c.run.timeout
		if err := c.conn.SetDeadline(c.run.started.Add(c.deadline)); err != nil {
			return answer{}, err
		}
	}
	c.run.requests.Add(1)
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, err
	}
	for read := 0; ; {
		if read == len(c.buffer) {
			return answer{}, errTooLong
		}
		n, err := c.conn.Read(c.buffer[read:])
		read += n
		if n > 0 {
			a, size, malformed := parseAnswer(c.buffer[:read])
			switch {
			case malformed != nil:
				return answer{}, malformed
			case size != 0 && size < read:
				return answer{}, errUnasked
			case size != 0:
				return a, nil
			}
		}
		if err == io.EOF {
			return answer{}, errors.New("the connection was closed before the answer was whole")
		}
		if err != nil {
			return answer{}, err
		}
	}
}

// cause returns an error's text without the addresses of its connection, which would make every failure a different
// one.
func cause(err error) string {
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}
