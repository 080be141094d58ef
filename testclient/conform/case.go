// Package conform tests whether a server speaks the protocol. It holds the requirements as data, one value per case,
// the small vocabulary in which a case tells its story, and the evaluation of the answers.
//
// It shares no code with the server, because a tester with shared code shares its bugs: the texts, the cipher and the
// arithmetic here were written from the protocol only. A failure names the requirement, the expected and the actual
// answer, and curl commands that reproduce it. A server that is wrong (fail) and a test that could not run (error) are
// never confused, and no secret reaches a report. The command supplies the target and writes the reports.
package conform

import "time"

// Level says how binding a requirement is.
type Level int

// The levels.
const (
	Must   Level = iota + 1 // from the vendor's article
	Should                  // from evidence: captured bytes, public clients
	May                     // this project's choice where the sources are silent
)

// Source is where a requirement comes from.
type Source string

// The sources.
const (
	Article  Source = "article"  // the vendor's published article
	Captured Source = "captured" // bytes logged from the vendor's service
	Client   Source = "client"   // what public clients compare with
	Choice   Source = "choice"   // chosen where the sources are silent
)

// level returns how binding a requirement from this source is.
func (s Source) level() Level {
	switch s {
	case Article:
		return Must
	case Captured, Client:
		return Should
	default:
		return May
	}
}

// Profile names the texts that a server answers with.
type Profile string

// The profiles. Any is for requirements in which they differ only in their texts; such a case is played with each.
// None is for requirements that are not about texts of the servlets, such as those of /v1; such a case is played once.
const (
	Any        Profile = ""
	Documented Profile = "documented"
	Live       Profile = "live"
	None       Profile = "none"
)

// Settings are the columns of the account that a case needs, by column name, with values as in JSON. A target that
// cannot create accounts skips the cases that need any.
type Settings map[string]any

// Needs is what a case requires of a target besides an account.
type Needs int

// The needs, to be combined.
const (
	NeedsClock    Needs = 1 << iota // time must pass: by the sandbox clock, or really with --slow
	NeedsSecond                     // a second account
	NeedsInbox                      // to see each message, not only the newest code
	NeedsFaults                     // faults on demand
	NeedsV1                         // the JSON API, and an API key for it
	NeedsUpstream                   // an account whose calls are forwarded to this client
)

// Case is one requirement. The name of its file is its section: servlet_2_generate.go holds servlet/generate/….
type Case struct {
	ID          string // servlet/validate/3
	Requirement string // one sentence
	Source      Source // a section's list leaves it out for Choice
	Level       Level  // follows from Source
	Profile     Profile
	Settings    Settings
	Needs       Needs
	// Run tells the story. It ends early, by a panic that the runner recognises, at the first expectation that is not
	// met.
	Run func(s *Story)
}

// Status is the result of a case.
type Status string

// The statuses.
const (
	Pass  Status = "pass"
	Fail  Status = "fail"  // the server is wrong
	Skip  Status = "skip"  // the target cannot be tested; Reason says why
	Error Status = "error" // the test could not run
)

// Result is the result of one case with one account profile.
type Result struct {
	Case     *Case
	Profile  Profile
	Status   Status
	Reason   string     // of a skip or error, in a sentence
	Expected string     // of a fail
	Actual   string     // of a fail
	Exchange []Exchange // the last exchanges of a fail or error, secrets redacted
	Took     time.Duration
}

// Exchange is one request and its answer, secrets redacted.
type Exchange struct {
	Request string // method, target, headers, body
	Answer  string // status line, headers, body with \r and \n visible
	Curl    string // reproduces the request, with $ACCESS_KEY, $OTP and the like for secrets
}
