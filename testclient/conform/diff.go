package conform

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// said is a line of the built-in conversation, with the right key and the usual parameters unless the line sets
// others.
func said(title, servlet, parameters string) Line {
	return Line{
		Title: title, Method: "GET", Servlet: servlet, Query: "ipaddress={ip}&" + parameters,
		Headers: []HeaderLine{{"access_key", "{access_key}"}},
	}
}

func (l Line) with(header, value string) Line {
	l.Headers = append(l.Headers[:len(l.Headers):len(l.Headers)], HeaderLine{header, value})
	return l
}

// Conversation returns what diff plays: all answers of an account without special settings that need no waiting. Each
// part uses another number.
func Conversation() *Transcript {
	form := said("a POST with the parameters in a form", genServlet, "")
	form.Method, form.Query, form.Body = "POST", "", "ipaddress={ip}&mobile={mobile4}"
	refused := said("a key that does not exist", genServlet, "mobile={mobile}")
	refused.Headers = []HeaderLine{{"access_key", "{wrong_access_key}"}}
	keyless := said("no key", genServlet, "mobile={mobile}")
	keyless.Headers = nil
	put := said("a method that is none of the protocol's", genServlet, "mobile={mobile}")
	put.Method = "PUT"
	return &Transcript{Lines: []Line{
		refused, keyless, put,
		said("generate without a number", genServlet, ""),
		said("generate with a number that is none", genServlet, "mobile=12"),
		said("validate without otp", validateServlet, "mobile={mobile}"),
		said("validate where no code was sent", validateServlet, "mobile={mobile}&otp={wrong}"),
		said("regenerate where no code was sent", regenServlet, "mobile={mobile}"),

		said("generate", genServlet, "mobile={mobile2}"),
		said("a first wrong code", validateServlet, "mobile={mobile2}&otp={wrong}"),
		said("a second wrong code, in hex", validateServlet, "mobile={mobile2}&otp={wrong:hex}"),
		said("a parameter that is no code", validateServlet, "mobile={mobile2}&otp=nonsense"),
		said("the right code after the last attempt", validateServlet, "mobile={mobile2}&otp={right}"),

		said("generate for another number", genServlet, "mobile={mobile3}"),
		said("regenerate", regenServlet, "mobile={mobile3}"),
		said("regenerate again", regenServlet, "mobile={mobile3}"),
		said("regenerate a third time", regenServlet, "mobile={mobile3}"),
		said("regenerate a fourth time", regenServlet, "mobile={mobile3}"),
		said("the right code", validateServlet, "mobile={mobile3}&otp={right}"),
		said("the right code again", validateServlet, "mobile={mobile3}&otp={right}"),
		said("a wrong code after the right one", validateServlet, "mobile={mobile3}&otp={wrong}"),
		said("regenerate after the right code", regenServlet, "mobile={mobile3}"),

		form,
		said("the right code in hex", validateServlet, "mobile={mobile4}&otp={right:hex}"),
		said("generate with a department and an e-mail address", genServlet,
			"mobile={mobile5}&email={email}").with("department-id", "sales"),
		said("the right code with a department", validateServlet, "mobile={mobile5}&otp={right:HEX}").with("department-id",
			"sales"),
		said("generate for the plain servlet", genServlet, "mobile={mobile6}"),
		said("the right code at the plain servlet", plainServlet, "mobile={mobile6}&otp={right}"),
	}}
}

// Difference is one way in which two answers differ, and the lines where.
type Difference struct {
	A, B  string // answers
	Lines []int  // from 0
}

// Diff plays a conversation against two sides, line by line, and returns the differences, each once.
func Diff(ctx context.Context, a, b Side, t *Transcript) ([]Difference, error) {
	storyA, err := a.story(ctx)
	if err != nil {
		return nil, err
	}
	storyB, err := b.story(ctx)
	if err != nil {
		return nil, err
	}
	var found []Difference
	err = guarded(func() {
		first, second := newPlayer(storyA), newPlayer(storyB)
		for i, line := range t.Lines {
			found = note(found, i, first.say(line).answer(), second.say(line).answer())
		}
	})
	return found, err
}

func note(found []Difference, line int, a, b string) []Difference {
	if a == b {
		return found
	}
	for i := range found {
		if found[i].A == a && found[i].B == b {
			found[i].Lines = append(found[i].Lines, line)
			return found
		}
	}
	return append(found, Difference{A: a, B: b, Lines: []int{line}})
}

// WriteDiff prints differences, with the given names for the sides.
func WriteDiff(w io.Writer, nameA, nameB string, t *Transcript, found []Difference) error {
	var b strings.Builder
	lines := 0
	for _, d := range found {
		lines += len(d.Lines)
		for _, i := range d.Lines {
			line := t.Lines[i]
			title := line.Title
			if title == "" {
				title = line.Method + " /" + line.Servlet
			}
			fmt.Fprintf(&b, "%3d %s\n", i+1, title)
		}
		first := t.Lines[d.Lines[0]]
		fmt.Fprintf(&b, "%s\n    %s\n      %s\n    %s\n      %s\n\n", indent(first.request(), "    | "), nameA, d.A, nameB,
			d.B)
	}
	if lines == 0 {
		fmt.Fprintf(&b, "No difference in %d answers.\n", len(t.Lines))
	} else {
		fmt.Fprintf(&b, "%d of %d answers differ, in %d ways.\n", lines, len(t.Lines), len(found))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Replay plays a recorded conversation against a side and returns where its answers differ from the recorded ones.
func Replay(ctx context.Context, side Side, t *Transcript) ([]Difference, error) {
	if side.AccessKey == "" && side.Address == "" {
		side.Settings = t.settings(side.Settings)
	}
	story, err := side.story(ctx)
	if err != nil {
		return nil, err
	}
	var found []Difference
	err = guarded(func() {
		player := newPlayer(story)
		for i, line := range t.Lines {
			found = note(found, i, line.answer(), player.say(line).answer())
		}
	})
	return found, err
}

// settings returns the settings with which an account is like the recorded one, as far as the answers show. Settings
// in set stay.
func (t *Transcript) settings(set Settings) Settings {
	out := Settings{"message_profile": string(Documented)}
	for _, line := range t.Lines {
		if strings.HasSuffix(line.Answer, "\r\n") {
			out["message_profile"] = string(Live)
		}
		if strings.EqualFold(line.Servlet, plainServlet) && strings.TrimSpace(line.Answer) != FeatureOff.In(Live) {
			out["plain_validation_enabled"] = true
		}
	}
	for name, value := range set {
		out[name] = value
	}
	return out
}
