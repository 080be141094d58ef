package web

import (
	"strings"

	"otpbridge/server/otp"
)

// Reading says what a door read one part of a request as. Its value may be a number, a mailbox or a code.
type Reading struct {
	Name  string // of a parameter, a member or a header, as the client writes it
	State ReadingState
	Value string // what it was read as; empty where the note says it all
	Note  string // how it is used; for the other states where the value comes from, or why
}

// ReadingState is what became of one part of a request.
type ReadingState string

// The states of readings.
const (
	ReadAs       ReadingState = "read"
	TakenDefault ReadingState = "default" // it was not given
	NotUsed      ReadingState = "not used"
	NotRead      ReadingState = "not read" // the call was refused before it was looked at
	ReadRefused  ReadingState = "refused"
)

// Readings collects what a door reads, for the sandbox's list of requests. A nil one collects nothing: only a sandbox
// has others, because the values are secrets.
type Readings struct{ all []Reading }

// All returns the readings, in order.
func (r *Readings) All() []Reading {
	if r == nil {
		return nil
	}
	return r.all
}

// Reset empties r for another request.
func (r *Readings) Reset() { r.all = r.all[:0] }

// Note adds a reading. It replaces an earlier one of the same name, because a call can be read twice.
func (r *Readings) Note(name string, state ReadingState, value, note string) {
	if r == nil {
		return
	}
	made := Reading{name, state, value, note}
	for i := range r.all {
		if r.all[i].Name == name {
			r.all[i] = made
			return
		}
	}
	r.all = append(r.all, made)
}

// refused notes a problem's faults.
func (r *Readings) refused(faults []Fault) {
	if r == nil {
		return
	}
	for _, f := range faults {
		name := strings.TrimPrefix(f.Pointer, "/") + f.Parameter + f.Header
		r.Note(otp.Cut(name, 64), ReadRefused, "", f.Detail)
	}
}
