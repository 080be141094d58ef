package conform

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"

	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say which cases to run against which server.
type Options struct {
	Target *Target
	Cases  []Case
	// Profile is documented or live; empty means to find out. For a sandbox, empty means both.
	Profile Profile
	Level   Level // the highest level to test; zero is May
	// Patterns select cases by the beginning of their id or as a glob; none selects all.
	Patterns []string

	// The account to use if the target creates no throwaway accounts.
	AccessKey     string
	CipherKey     string
	CipherIV      string
	APIKey        string   // for /v1
	SigningSecret string   // of APIKey, if it can sign requests
	OtherAPIKey   string   // of the same account in the other environment
	Mobiles       []string // numbers that may be sent to
	Codes         CodeSource
	Slow          bool // wait for real if there is no clock to move

	Parallel int // zero is 8; without a sandbox it is always 1
	// CaseTimeout is how long one case may take; zero is a minute. Real waiting is added.
	CaseTimeout time.Duration
	// Progress is called with each result, one at a time.
	Progress func(r Result, done, total int)
}

// Report is the result of a run.
type Report struct {
	Target    string
	Sandbox   bool
	Detection Detection
	Results   []Result // in the order of the cases, profile by profile
	Started   time.Time
	Took      time.Duration
}

// Count returns how many results have a status.
func (r *Report) Count(status Status) int {
	n := 0
	for _, result := range r.Results {
		if result.Status == status {
			n++
		}
	}
	return n
}

// Exit codes of a run.
const (
	ExitPass     = 0
	ExitFail     = 1 // the server is wrong
	ExitCouldNot = 2 // the test could not run
)

// ExitCode returns 1 if the server is wrong anywhere, else 2 if a case could not run or none did.
func (r *Report) ExitCode() int {
	switch {
	case r.Count(Fail) > 0:
		return ExitFail
	case r.Count(Error) > 0, r.Count(Pass) == 0:
		return ExitCouldNot
	}
	return ExitPass
}

// job is one case to play with an account of one profile.
type job struct {
	test    *Case
	profile Profile
	index   int
}

// shown returns the profile that a report names.
func (j job) shown() Profile {
	if j.test.Profile == None {
		return None
	}
	return j.profile
}

// runner plays jobs.
type runner struct {
	Options
	detection Detection
	numbers   atomic.Int64
	troubles  atomic.Int32 // cases in a row that could not reach the target
}

// Run plays the cases. An error means that there was nothing to play them against; the results of single cases are in
// the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	if o.CaseTimeout <= 0 {
		o.CaseTimeout = time.Minute
	}
	picked, err := Selected(o.Cases, o.Patterns, o.Level, o.Profile)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	detection, err := Detect(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &runner{Options: o, detection: detection}
	r.numbers.Store(mathrand.Int64N(900_000_000))
	if r.APIKey == "" {
		r.APIKey = o.Target.demoAPIKey(r.AccessKey)
	}
	if o.Target.sandbox && r.AccessKey == "" {
		r.Codes = sandboxCodes{o.Target}
	} else {
		r.Parallel = 1
	}
	if err := r.ready(); err != nil {
		return nil, err
	}

	var jobs []job
	for i, profile := range detection.Profiles {
		for _, test := range picked {
			if test.Profile == Any || test.Profile == profile || test.Profile == None && i == 0 {
				jobs = append(jobs, job{test, profile, len(jobs)})
			}
		}
	}
	report := &Report{Target: o.Target.Root + o.Target.Context, Sandbox: o.Target.sandbox, Detection: detection,
		Started: began}
	report.Results = r.playAll(ctx, jobs)
	report.Took = time.Since(began)
	return report, nil
}

// ready refuses options that cannot lead to a run.
func (r *runner) ready() error {
	if r.throwaway() {
		return nil
	}
	if r.AccessKey == "" || r.CipherKey == "" {
		return &Trouble{Tried: "the target is no sandbox, so the account to test with has to be named",
			Remedy: "Give --access-key, --cipher-key and --cipher-iv (or set the environment variables that --help names), " +
				"--mobile, and --codes."}
	}
	if len(r.Mobiles) == 0 && !r.Target.sandbox {
		return &Trouble{Tried: "the target would send to real phones, and no number is named that it may send to",
			Remedy: "Give --mobile with numbers of your own: one, several with commas, or a range such as " +
				"919876543000-919876543099."}
	}
	if r.Codes == nil {
		if !r.Target.sandbox {
			return &Trouble{Tried: "nobody says which code the target has sent",
				Remedy: "Give --codes inbox=ADDR, --codes command=CMD or --codes ask."}
		}
		r.Codes = sandboxCodes{r.Target}
	}
	return nil
}

// throwaway reports whether each case gets an account of its own.
func (r *runner) throwaway() bool { return r.Target.sandbox && r.AccessKey == "" }

func (r *runner) playAll(ctx context.Context, jobs []job) []Result {
	results := make([]Result, len(jobs))
	// Cases that wait for the one table of faults would each block a worker, so they have a separate queue.
	var side, rest []job
	for _, j := range jobs {
		if j.test.Needs&NeedsFaults != 0 {
			side = append(side, j)
		} else {
			rest = append(rest, j)
		}
	}
	var mu sync.Mutex
	done := 0
	finish := func(j job) {
		result := r.play(ctx, j)
		mu.Lock()
		defer mu.Unlock()
		results[j.index] = result
		done++
		if r.Progress != nil {
			r.Progress(result, done, len(jobs))
		}
	}

	queue := make(chan job)
	var workers sync.WaitGroup
	if r.Parallel > 1 {
		workers.Go(func() {
			for _, j := range side {
				finish(j)
			}
		})
	} else {
		rest = jobs
	}
	for range max(1, r.Parallel-1) {
		workers.Go(func() {
			for j := range queue {
				finish(j)
			}
		})
	}
	for _, j := range rest {
		queue <- j
	}
	close(queue)
	workers.Wait()
	return results
}

// enough is the number of cases in a row that could not reach the target after which the rest is not tried.
const enough = 10

// play plays one case and returns its result.
func (r *runner) play(ctx context.Context, j job) (result Result) {
	began := time.Now()
	result = Result{Case: j.test, Profile: j.shown(), Status: Pass}
	defer func() { result.Took = time.Since(began) }()
	if reason := r.cannot(j.test); reason != "" {
		result.Status, result.Reason = Skip, reason
		return result
	}
	if ctx.Err() != nil {
		result.Status, result.Reason = Error, "The run was stopped before this case."
		return result
	}
	if r.troubles.Load() >= enough {
		result.Status, result.Reason = Error, "Not tried: the target could not be reached by the cases before this one."
		return result
	}
	if !r.Slow || r.Target.sandbox {
		limit := r.CaseTimeout
		if r.Slow {
			limit += warnedWithin // for what no sandbox clock moves
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if j.test.Needs&NeedsFaults != 0 {
		r.Target.faults.Lock()
		defer r.Target.faults.Unlock()
	}

	story := &Story{}
	defer func() {
		if early := recover(); early != nil {
			r.judge(&result, story, early)
		}
	}()
	*story = *r.story(ctx, j)
	story.bind()
	defer func() {
		for _, u := range []*upstream{story.upstream, story.told} {
			if u != nil {
				_ = u.server.Close()
			}
		}
	}()
	if j.test.Needs&NeedsFaults != 0 {
		defer func() {
			// Whatever the result: the next case starts without faults.
			_ = r.Target.clearFaults(context.WithoutCancel(ctx))
		}()
	}
	j.test.Run(story)
	r.troubles.Store(0)
	return result
}

// judge turns what ended a case early into its result.
func (r *runner) judge(result *Result, story *Story, early any) {
	redact := story.redactor()
	switch early := early.(type) {
	case failed:
		r.troubles.Store(0)
		result.Status = Fail
		result.Expected, result.Actual = redact.text(early.expected), redact.foreign(early.actual)
		result.Exchange = redact.exchanges(early.steps)
	case skipped:
		result.Status, result.Reason = Skip, early.reason
	case broken:
		if _, unreachable := errors.AsType[*Trouble](early.err); unreachable {
			r.troubles.Add(1)
		}
		result.Status, result.Reason = Error, redact.text(early.err.Error())
		if errors.Is(early.err, context.DeadlineExceeded) {
			result.Reason = fmt.Sprintf("The case took longer than %s.", r.CaseTimeout)
		}
		result.Exchange = redact.exchanges(0)
	default:
		result.Status, result.Reason = Error, "The case itself broke, which is a fault of this "+
			"client: "+redact.text(fmt.Sprint(early))
		result.Exchange = redact.exchanges(0)
	}
}

// cannot returns why a case cannot be tested with this target, empty if it can.
func (r *runner) cannot(test *Case) string {
	if test.Needs&NeedsV1 != 0 && r.detection.NoV1 != "" {
		return r.detection.NoV1
	}
	if r.throwaway() {
		return ""
	}
	var lacks []string
	if test.Needs&NeedsV1 != 0 && r.APIKey == "" {
		lacks = append(lacks, "an API key of the account (--api-key)")
	}
	if len(test.Settings) > 0 {
		lacks = append(lacks, "an account with settings of its own")
	}
	if test.Needs&NeedsClock != 0 && !r.Slow && !r.Target.sandbox {
		lacks = append(lacks, "time to pass (--slow really waits)")
	}
	if test.Needs&NeedsClock != 0 && r.Target.sandbox {
		lacks = append(lacks, "a clock of its own, and this account is not to throw away")
	}
	if test.Needs&NeedsSecond != 0 {
		lacks = append(lacks, "a second account")
	}
	if test.Needs&NeedsInbox != 0 {
		lacks = append(lacks, "an inbox that shows every message of an account and no other")
	}
	if test.Needs&NeedsFaults != 0 {
		lacks = append(lacks, "faults on demand")
	}
	if test.Needs&NeedsUpstream != 0 {
		lacks = append(lacks, "an account whose calls are passed on to this client")
	}
	if len(lacks) == 0 {
		return ""
	}
	return "It needs " + strings.Join(lacks, " and ") + "."
}
