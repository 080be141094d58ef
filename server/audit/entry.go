package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
)

// The kinds of entries.
const (
	ChangeEntry = "change"
	CallEntry   = "call"
)

// Entry is an entry of the log, as exports and the API show it. The tree hashes its JSON: a new member must be omitted
// when it is empty, and no member may change its name, form or order.
type Entry struct {
	Type       string            `json:"type"`
	ID         string            `json:"id,omitempty"` // of a change
	At         time.Time         `json:"at"`
	Action     string            `json:"action"`               // the kind of change, or the door's name for the call
	Actor      string            `json:"actor,omitempty"`      // the id of a person, service account or key
	ActorKind  string            `json:"actor_kind,omitempty"` // person, service, key or operator
	Session    string            `json:"session,omitempty"`
	Address    string            `json:"address,omitempty"` // of the peer
	Country    string            `json:"country,omitempty"` // of a call's address, two letters, if it is known
	Request    string            `json:"request_id,omitempty"`
	Person     string            `json:"person,omitempty"` // the person that a change is about
	Account    string            `json:"account,omitempty"`
	Credential string            `json:"credential,omitempty"` // the key of a call, or the key that a change is about
	Result     string            `json:"result"`               // ok, fault, or the kind of the refusal
	Method     string            `json:"method,omitempty"`
	Status     int               `json:"status,omitempty"`
	Micros     int64             `json:"duration_us,omitempty"`
	Parameters []string          `json:"parameters,omitempty"` // names in the query and the body, never values
	Details    map[string]string `json:"details,omitempty"`
}

// Refused is the result of a change that records a failed attempt, and of a call that could not be read.
const Refused = "refused"

// refusals are the kinds of changes that record a failed attempt.
var refusals = []otp.ChangeKind{otp.SessionRefused, otp.FactorGuessed, otp.RefreshTokenReused, otp.RegistrationRefused}

// prefixes are the prefixes of actors' ids, by the actors' kinds.
var prefixes = map[string]string{"person": "per", "service": "svc", "key": "key"}

func textOf(prefix string, id otp.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.Text(prefix)
}

func ofChange(c otp.Change) Entry {
	prefix, known := prefixes[c.Actor.Kind]
	if !known {
		prefix = "id"
	}
	e := Entry{
		Type: ChangeEntry, ID: c.ID.Text("chg"), At: c.At.Time(), Action: string(c.Kind), ActorKind: c.Actor.Kind,
		Actor: textOf(prefix, c.Actor.ID), Session: textOf("ses", c.Actor.Session), Address: c.Actor.Address,
		Request: c.Actor.Request, Person: textOf("per", c.Person), Account: c.Account,
		Credential: textOf("key", c.Credential), Result: "ok", Details: c.Details,
	}
	for _, kind := range refusals {
		if c.Kind == kind {
			e.Result = Refused
		}
	}
	return e
}

// encode returns the content of an entry.
func (e Entry) encode() []byte {
	content, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("audit: encode an entry: %v", err)) // texts, numbers and times always have JSON
	}
	return content
}

// stubSize is one byte for the entry's kind, eight for its time and 32 for the hash of its content.
const stubSize = 1 + 8 + sha256.Size

// stub is the part of an entry that the tree hashes.
type stub [stubSize]byte

// stubKinds are the kinds of entries by their byte.
var stubKinds = map[byte]string{1: ChangeEntry, 2: CallEntry}

func stubOf(kind string, at otp.Millis, content []byte) (s stub) {
	for b, name := range stubKinds {
		if name == kind {
			s[0] = b
		}
	}
	binary.BigEndian.PutUint64(s[1:], uint64(at))
	sum := sha256.Sum256(content)
	copy(s[9:], sum[:])
	return s
}

func (s stub) kind() string   { return stubKinds[s[0]] }
func (s stub) at() otp.Millis { return otp.Millis(binary.BigEndian.Uint64(s[1:])) }

// hash is the entry's leaf in the tree.
func (s stub) hash() tlog.Hash { return tlog.RecordHash(s[:]) }

// fits reports whether content has the stub's hash.
func (s stub) fits(content []byte) bool {
	sum := sha256.Sum256(content)
	return string(s[9:]) == string(sum[:])
}
