package conform

import (
	"context"
	"strings"
	"time"
)

// Wanted says which code is asked for.
type Wanted struct {
	Account string
	Mobile  string
	Email   string
	// After is when the request went out that made the target send it; zero if none did.
	After time.Time
}

// CodeSource is where the code of a challenge comes from: what an end user would read on a phone.
type CodeSource interface {
	// Code waits for the code most recently sent to whom w says.
	Code(ctx context.Context, w Wanted) (string, error)
}

// sandboxCodes reads the inbox of a sandbox.
type sandboxCodes struct{ target *Target }

// Code looks first and waits only then: a sandbox shows a message before it answers.
func (c sandboxCodes) Code(ctx context.Context, w Wanted) (string, error) {
	for _, more := range []string{"", "&wait=3s"} {
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

func digitsOf(number string) string {
	number = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, number)
	return strings.TrimPrefix(number, "00")
}
