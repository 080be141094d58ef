package conform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Wanted says which code is requested.
type Wanted struct {
	Account string
	Mobile  string
	Email   string
	// After is when the request that made the target send was sent; zero if there was none.
	After time.Time
}

// CodeSource supplies the codes of challenges: what an end user would read on a phone.
type CodeSource interface {
	// Code waits for the code most recently sent to w's recipient.
	Code(ctx context.Context, w Wanted) (string, error)
}

// codeWait is how long a message may take from the target to us.
const codeWait = 30 * time.Second

// sandboxCodes reads the inbox of a sandbox.
type sandboxCodes struct{ target *Target }

// Code looks first and then waits: a sandbox shows a message before it answers. The wait only returns messages that
// come during it, so a last look finds a message that came just before.
func (c sandboxCodes) Code(ctx context.Context, w Wanted) (string, error) {
	for _, more := range []string{"", "&wait=3s", ""} {
		messages, err := c.target.messages(ctx, w.Account, more)
		if err != nil {
			return "", err
		}
		for _, m := range messages {
			if reaches(m, w) && m.Code != "" {
				return m.Code, nil
			}
		}
	}
	return "", &Trouble{Tried: "wait for a code to " + w.Mobile + " in the inbox of the sandbox: none came",
		Remedy: "Look at GET /sandbox/messages and GET /sandbox/requests of the target."}
}

func reaches(m Message, w Wanted) bool {
	if strings.Contains(m.To, "@") {
		return strings.EqualFold(m.To, w.Email)
	}
	return digitsOf(m.To) == digitsOf(w.Mobile)
}

// digitsOf returns a number's digits.
func digitsOf(number string) string {
	return strings.TrimPrefix(onlyDigits(number), "00")
}

func onlyDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
}

// remembered stores an answer until the target has sent again, for sources that cost something.
type remembered struct {
	mu    sync.Mutex
	key   Wanted
	value string
}

func (r *remembered) code(w Wanted, find func() (string, error)) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.value != "" && r.key == w {
		return r.value, nil
	}
	code, err := find()
	if err != nil {
		return "", err
	}
	r.key, r.value = w, code
	return code, nil
}

// AskedCodes returns a source whose codes a person types, asked on out.
func AskedCodes(in io.Reader, out io.Writer) CodeSource {
	return &askedCodes{in: bufio.NewReader(in), out: out}
}

type askedCodes struct {
	remembered
	in  *bufio.Reader
	out io.Writer
}

func (c *askedCodes) Code(_ context.Context, w Wanted) (string, error) {
	return c.code(w, func() (string, error) {
		for {
			fmt.Fprintf(c.out, "\nThe code that was sent to %s: ", w.Mobile)
			line, err := c.in.ReadString('\n')
			if code := strings.TrimSpace(line); isCode(code) {
				return code, nil
			}
			if err != nil {
				return "", &Trouble{Tried: "ask for the code sent to " + w.Mobile + ": nobody types",
					Remedy: "With --codes ask somebody has to sit at the terminal; see the other sources of --codes."}
			}
			fmt.Fprintln(c.out, "A code is 4 to 10 digits.")
		}
	})
}

func isCode(text string) bool {
	return len(text) >= 4 && len(text) <= 10 && onlyDigits(text) == text
}

// CommandCodes returns a source that runs a shell command with the number as its argument, repeatedly until it prints
// a code.
func CommandCodes(command string) CodeSource { return &commandCodes{command: command} }

type commandCodes struct {
	remembered
	command string
}

func (c *commandCodes) Code(ctx context.Context, w Wanted) (string, error) {
	return c.code(w, func() (string, error) {
		for deadline := time.Now().Add(codeWait); ; {
			run := exec.CommandContext(ctx, "sh", "-c", c.command+` "$@"`, "sh", w.Mobile)
			run.WaitDelay = time.Second
			var said bytes.Buffer
			run.Stderr = &said
			out, err := run.Output()
			if code := strings.TrimSpace(string(out)); err == nil && isCode(code) {
				return code, nil
			}
			if _, ended := errors.AsType[*exec.ExitError](err); ended || time.Now().After(deadline) {
				return "", &Trouble{Tried: "run the command of --codes for the code", Err: err,
					Remedy: "It gets the number as its last argument and has to print the code, nothing else, and end with 0. It " +
						"said: " + quoted(strings.TrimSpace(said.String()))}
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
	})
}
