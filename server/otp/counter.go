package otp

// Counter counts what may not be exceeded across recipients: money, or sends that nobody
// verifies. It is decided like everything else, by the write that carries it.
type Counter struct {
	ID           ID // keyed hash of what is counted
	Version      int64
	Total        int64
	Converted    int64 // of the sends counted, those that were verified
	Since        Millis
	StoppedUntil Millis
	UpdatedAt    Millis
}

// CounterMemory is how long a counter is kept that nothing is counted with any more: longer than
// any window.
const CounterMemory = 2 * Day

// Spend adds a price to what the day has cost, unless that would exceed cap. With record it is
// added all the same. It reports whether the cap holds.
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

// Release takes back what a send that surely did not happen had counted.
func (c *Counter) Release(amount int64, now Millis) {
	if c != nil && c.Version != 0 {
		c.Total, c.UpdatedAt = max(0, c.Total-amount), now
	}
}

// Conversion says when sends to a range of numbers stop: once Unverified of them were not verified and
// less than Percent of all were.
//
// What that can cost is bounded, whoever verifies what: within one Window at most
// max(Unverified, 1 + Verified × (100 − Percent) / Percent) sends stay unverified, where Verified is the
// number of recipients that verified at least one, and one more for each Pause in the rest of the Window.
// A recipient counts once a window however often it verifies, or one number of the attacker's own would
// keep a range open for ever. Windows do not slide: any span as long as a Window touches at most two.
type Conversion struct {
	Unverified int64  // sends; 0 never stops any
	Percent    int64  // of sends verified below which they stop, 1–100
	Window     Millis // after which counting begins anew
	Pause      Millis // for which they stay stopped; then one is let through to try, for each Pause
}

// Stopped is for how long sends are still stopped, 0 if they are not.
func (c *Counter) Stopped(now Millis) Millis { return max(0, c.StoppedUntil-now) }

// Send counts one more and reports whether sends stop after it. A pause that has ended does not make
// counting begin anew: each send stops the range again until enough of them were verified or the window ends.
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

// Verified counts a recipient as one that verified a send. The recipient's own counter says when it was
// last counted, so that it counts once in a window.
func (c *Counter) Verified(recipient *Counter, now Millis) {
	if c.Version == 0 || c.Converted >= c.Total || recipient.Since != 0 && recipient.Since >= c.Since {
		return
	}
	c.Converted, c.UpdatedAt = c.Converted+1, now
	recipient.Since, recipient.UpdatedAt = now, now
}
