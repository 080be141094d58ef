package sandbox

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"otpbridge/server/engine"
	"otpbridge/server/otp"
	"otpbridge/server/web"
)

// fault is an injected failure as JSON. PUT accepts what GET answers.
type fault struct {
	Target      string   `json:"target"`
	Kind        string   `json:"kind"`
	Account     string   `json:"account"`
	Probability *float64 `json:"probability"`
	Count       int      `json:"count"`
	Delay       string   `json:"delay,omitempty"`
}

// faultTable is the body of GET and PUT: the whole table.
type faultTable struct {
	Faults []fault `json:"faults"`
}

// kindsOf has the possible failures of each target.
var kindsOf = map[string][]string{
	"inbox":   {"not_sent", "unknown", "delay"},
	"servlet": {"error", "panic"},
	"v1":      {"error", "panic"},
}

const (
	maxRules     = 100
	maxCount     = 1_000_000
	maxFaultTime = time.Minute
)

// setFaults replaces the whole table, so that a test does not start with the faults of the test before.
func (d *door) setFaults(c *gin.Context) error {
	asked := faultTable{}
	if err := web.ReadJSON(c, &asked); err != nil {
		return err
	}
	if asked.Faults == nil {
		return web.Invalid(web.Fault{Pointer: "/faults",
			Detail: `must be a list such as [{"target":"inbox","kind":"not_sent"}]`})
	}
	if len(asked.Faults) > maxRules {
		return web.Invalid(web.Fault{Pointer: "/faults", Detail: "must be at most " + strconv.Itoa(maxRules)})
	}
	var wrong []web.Fault
	for i, f := range asked.Faults {
		wrong = append(wrong, f.check("/faults/"+strconv.Itoa(i))...)
	}
	if len(wrong) > 0 {
		return web.Invalid(wrong...)
	}

	rules := make([]engine.Fault, 0, len(asked.Faults))
	for _, f := range asked.Faults {
		rules = append(rules, engine.Fault{
			Target: f.Target, Kind: f.Kind, Account: f.Account,
			Probability: otp.ValueOr(f.Probability, 1), Count: f.Count, Delay: f.delay(),
		})
	}
	d.Engine.Faults.Set(rules)
	return d.faults(c)
}

func (d *door) clearFaults(c *gin.Context) error {
	d.Engine.Faults.Set(nil)
	c.Status(http.StatusNoContent)
	return nil
}

// faults answers with the current table, which has the remaining counts.
func (d *door) faults(c *gin.Context) error {
	table := faultTable{Faults: []fault{}}
	for _, rule := range d.Engine.Faults.List() {
		shown := fault{
			Target: rule.Target, Kind: rule.Kind, Account: rule.Account,
			Probability: &rule.Probability, Count: rule.Count,
		}
		if rule.Delay > 0 {
			shown.Delay = rule.Delay.String()
		}
		table.Faults = append(table.Faults, shown)
	}
	c.PureJSON(http.StatusOK, table)
	return nil
}

// check returns the faults of f, which is at pointer.
func (f fault) check(pointer string) []web.Fault {
	var wrong []web.Fault
	expect := func(holds bool, field, detail string) {
		if !holds {
			wrong = append(wrong, web.Fault{Pointer: pointer + "/" + field, Detail: detail})
		}
	}
	kinds, known := kindsOf[f.Target]
	expect(known, "target", "must be inbox, servlet or v1")
	expect(!known || slices.Contains(kinds, f.Kind), "kind", "must be one of "+strings.Join(kinds, ", "))
	expect(f.Account == "" || otp.ValidAddress(f.Account), "account", "must be an esme_address, or empty for all accounts")
	probability := otp.ValueOr(f.Probability, 1)
	expect(probability > 0 && probability <= 1, "probability", "must be above 0 and at most 1")
	expect(f.Count >= 0 && f.Count <= maxCount, "count", "must be 0, for until deleted, to "+strconv.Itoa(maxCount))
	if f.Kind == "delay" {
		expect(f.delay() > 0 && f.delay() <= maxFaultTime, "delay", "must be a duration above 0 and up to 1m, such as 3s")
	} else {
		expect(f.Delay == "", "delay", "belongs to the kind delay only")
	}
	return wrong
}

// delay returns the delay, 0 if there is none or it cannot be parsed; check distinguishes the two.
func (f fault) delay() time.Duration {
	d, err := time.ParseDuration(f.Delay)
	if err != nil {
		return 0
	}
	return d
}
