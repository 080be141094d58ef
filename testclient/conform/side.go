package conform

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// HeaderLine is one header of a transcript.
type HeaderLine struct{ Name, Value string }

// Side is one side of a comparison: a server, and the account to use there.
type Side struct {
	Target *Target
	// Address selects one of a sandbox's accounts. Without it, and without an access key, a sandbox creates a
	// throwaway account with Settings.
	Address   string
	Settings  Settings
	AccessKey string
	CipherKey string
	CipherIV  string
	Mobiles   []string
	Codes     CodeSource
	Slow      bool
}

// Name returns the side's name for output.
func (s Side) Name() string {
	name := s.Target.Root + s.Target.Context
	if s.Address != "" {
		name += "#" + s.Address
	}
	return name
}

// story prepares a story for a side.
func (s Side) story(ctx context.Context) (*Story, error) {
	t := s.Target
	if err := t.findSandbox(ctx); err != nil {
		return nil, err
	}
	if err := t.findHouse(ctx); err != nil {
		return nil, err
	}
	n := mathrand.Int64N(900_000_000)
	story := &Story{
		ctx: ctx, target: t, settings: s.Settings, codes: s.Codes, slow: s.Slow,
		id: "c" + randomHex(8), mobile: fmt.Sprintf("917%09d", n), ip: fmt.Sprintf("198.18.%d.%d", n>>8&255, n&255),
		log: &journal{}, mu: new(sync.Mutex), given: s.Mobiles,
	}
	story.bind()
	if len(s.Mobiles) > 0 {
		story.mobile = s.Mobiles[0]
	}
	if err := s.cast(ctx, story); err != nil {
		return nil, err
	}
	if story.codes == nil {
		if !t.sandbox {
			return nil, &Trouble{Tried: "nobody says which code " + s.Name() + " has sent",
				Remedy: "Give --codes inbox=ADDR, --codes command=CMD or --codes ask."}
		}
		story.codes = sandboxCodes{t}
	}
	return story, nil
}

// cast gives the story its account.
func (s Side) cast(ctx context.Context, story *Story) error {
	t := s.Target
	switch {
	case s.AccessKey != "":
		if len(s.Mobiles) == 0 && !t.sandbox {
			return &Trouble{Tried: s.Name() + " would send to real phones, and no number is named that it may send to",
				Remedy: "Give --mobile with numbers of your own."}
		}
		story.account = &account{AccessKey: s.AccessKey, CipherKey: s.CipherKey, CipherIV: s.CipherIV}
		if err := story.account.prepare(""); err != nil {
			return &Trouble{Tried: "read the keys given for " + s.Name(), Err: err,
				Remedy: "Look at the cipher key and IV: base64 or hex."}
		}
		return nil
	case !t.sandbox:
		return &Trouble{Tried: s.Name() + " is no sandbox, so the account to call with has to be named",
			Remedy: "Give its access key, cipher key and cipher IV; --help names the options."}
	case s.Address == "":
		asked := s.Settings
		if asked == nil {
			asked = Settings{}
		}
		made, err := t.makeAccount(ctx, asked)
		if err != nil {
			return err
		}
		story.account = made
		return nil
	}
	var known []string
	for _, a := range t.demo {
		if a.Address == s.Address {
			story.account = a
			return nil
		}
		known = append(known, a.Address)
	}
	return &Trouble{Tried: "the sandbox " + t.Root + " shows no account " + s.Address,
		Remedy: "After the # stands one of " + strings.Join(known, ", ") + "."}
}

// number returns the n-th number of a story: from the given ones, repeated, or the following ones.
func (s *Story) number(n int) string {
	if len(s.given) > 0 {
		return s.given[(n-1)%len(s.given)]
	}
	first, err := strconv.ParseInt(s.mobile, 10, 64)
	if err != nil {
		return s.mobile
	}
	return strconv.FormatInt(first+int64(n-1), 10)
}

// guarded runs play and turns what ends a story early into an error.
func guarded(play func()) (err error) {
	defer func() {
		switch early := recover().(type) {
		case nil:
		case broken:
			err = early.err
		case skipped:
			err = &Trouble{Tried: "play the conversation: " + early.reason, Remedy: "See --help for what can be given."}
		case failed:
			err = fmt.Errorf("expected %s, came %s", early.expected, early.actual)
		default:
			panic(early)
		}
	}()
	play()
	return nil
}
