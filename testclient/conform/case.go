// Package conform answers one question for someone who owns an integration or a server: does
// this server speak the protocol? It holds the requirements as data, one value a case, the small
// vocabulary in which a case tells its story, and the judgement of what came back.
//
// It shares no code with the server, because a tester that shares code shares its bugs: the
// texts, the cipher and the arithmetic here were written from the protocol and nothing else. It
// promises that a failure names the requirement, what was expected, what came, and how to see it
// again with curl; that a server that is wrong (fail) and a test that could not run (error) are
// never confused; and that no secret reaches a report. Where the target comes from and where
// reports go is left to the command.
package conform

import "time"

// Level says how firmly a requirement stands.
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
	Client   Source = "client"   // what public clients compare against
	Choice   Source = "choice"   // chosen where the sources are silent
)

// Profile names which texts a server answers with.
type Profile string

// The profiles. Any is for requirements in which they do not differ but for their texts; such a
// case is played with each. None is for requirements that are not about texts of the servlets, as
// those of /v1; such a case is played once.
const (
	Any        Profile = ""
	Documented Profile = "documented"
	Live       Profile = "live"
	None       Profile = "none"
)

// Settings are columns of the account that a case needs, by column name, as JSON has them. A
// target that cannot be told to make accounts skips the cases that need any.
type Settings map[string]any

// Needs is what a case asks of a target beside an account.
type Needs int

// The needs, to be combined.
const (
	NeedsClock    Needs = 1 << iota // time must pass: the sandbox clock, or really with --slow
	NeedsSecond                     // a second account
	NeedsInbox                      // to see each message, not only the newest code
	NeedsFaults                     // faults on demand
	NeedsV1                         // the JSON API, and an API key for it
	NeedsUpstream                   // an account whose calls are passed on to this client
)

// Case is one requirement. Its file's name is its section: servlet_2_generate.go holds
// servlet/generate/….
type Case struct {
	ID          string // servlet/validate/3
	Requirement string // one sentence
	Source      Source
	Level       Level
	Profile     Profile
	Settings    Settings
	Needs       Needs
	// Run tells the story. It ends early, by a panic that the runner knows, at the first
	// expectation that is not met.
	Run func(s *Story)
}

// Status is how a case ended.
type Status string

// The statuses.
const (
	Pass  Status = "pass"
	Fail  Status = "fail"  // the server is wrong
	Skip  Status = "skip"  // the target cannot be asked; Reason says why
	Error Status = "error" // the test could not run
)

// Result is what became of one case with one account profile.
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
