package otp

// Counter counts what is limited across recipients: money, or sends that are not verified. Like every decision, it is
// made by a guarded write.
type Counter struct {
	ID           ID // keyed hash of what is counted
	Version      int64
	Total        int64
	Converted    int64 // sends counted that were verified
	Since        Millis
	StoppedUntil Millis
	UpdatedAt    Millis
}

// CounterMemory is how long a counter is kept after its last change: longer than any window.
const CounterMemory = 2 * Day

// Spend adds a price to the day's total unless the total would exceed cap. With record it is always added. Spend
// reports whether the total stays within cap.
func (c *Counter) Spend(price, cap int64, record bool, now Millis) bool {
	within := c.Total+price <= cap
	if within || record {
		c.Total, c.UpdatedAt = c.Total+price, now
	}
	if c.Since == 0 {
		c.Since = now
	}
	return within
}

// Release takes back the amount of a send that surely did not happen.
func (c *Counter) Release(amount int64, now Millis) {
	if c != nil && c.Version != 0 {
		c.Total, c.UpdatedAt = max(0, c.Total-amount), now
	}
}

// Conversion says when sends to a range of numbers stop: once at least Unverified of them were not verified and fewer
// than Percent of all were.
//
// The cost is bounded, whoever verifies what: within one Window at most max(Unverified, 1 + Verified × (100 − Percent)
// / Percent) sends stay unverified, where Verified is the number of recipients that verified at least once, plus one
// for each Pause in the rest of the Window. A recipient counts once per window however often it verifies; otherwise an
// attacker could keep a range open with one number. Windows do not slide: any span as long as a Window touches at most
// two.
type Conversion struct {
	Unverified int64  // unverified sends; 0 never stops the range
	Percent    int64  // share of verified sends below which sends stop, 1–100
	Window     Millis // after which counting starts again
	Pause      Millis // for which sends stay stopped; then one is tried per Pause
}

// Stopped returns how long sends are still stopped, 0 if they are not.
func (c *Counter) Stopped(now Millis) Millis { return max(0, c.StoppedUntil-now) }

// Send counts one send and reports whether sends stop after it. The end of a pause does not restart the count: each
// send stops the range again until enough sends are verified or the window ends.
func (c *Counter) Send(rule Conversion, now Millis) (stops bool) {
	if c.Since == 0 || now-c.Since >= rule.Window {
		c.Total, c.Converted, c.Since, c.StoppedUntil = 0, 0, now, 0
	}
	c.Total, c.UpdatedAt = c.Total+1, now
	enough := c.Total-c.Converted < rule.Unverified || c.Converted*100 >= c.Total*rule.Percent
	if rule.Unverified == 0 || enough || c.Stopped(now) > 0 {
		return false
	}
	c.StoppedUntil = now + rule.Pause
	return true
}

// Verified counts a recipient that verified a send. The recipient's own counter says when it was last counted, so it
// counts once per window.
func (c *Counter) Verified(recipient *Counter, now Millis) {
	if c.Version == 0 || c.Converted >= c.Total || recipient.Since != 0 && recipient.Since >= c.Since {
		return
	}
	c.Converted, c.UpdatedAt = c.Converted+1, now
	recipient.Since, recipient.UpdatedAt = now, now
}
