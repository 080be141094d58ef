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
// added all the same. It tells whether the cap holds.
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

// Conversion says when sends to a range of numbers stop: at so many that nobody verified, if less
// than a share of all was.
type Conversion struct {
	Unverified int64  // sends; 0 never stops any
	Percent    int64  // of sends verified below which it stops
	Window     Millis // after which counting begins anew
	Pause      Millis // for which it stays stopped
}

// Stopped tells for how long sends are stopped still, 0 if they are not.
func (c *Counter) Stopped(now Millis) Millis { return max(0, c.StoppedUntil-now) }

// Send counts one more, and tells whether that was the one after which sends stop.
func (c *Counter) Send(rule Conversion, now Millis) (stops bool) {
	if c.Since == 0 || now-c.Since >= rule.Window || c.StoppedUntil != 0 && now >= c.StoppedUntil {
		c.Total, c.Converted, c.Since, c.StoppedUntil = 0, 0, now, 0
	}
	c.Total, c.UpdatedAt = c.Total+1, now
	if rule.Unverified == 0 || c.StoppedUntil != 0 || c.Total-c.Converted < rule.Unverified || c.Converted*100 >= c.Total*rule.Percent {
		return false
	}
	c.StoppedUntil = now + rule.Pause
	return true
}

// Verified counts one of the sends as verified.
func (c *Counter) Verified(now Millis) {
	if c.Version != 0 && c.Converted < c.Total {
		c.Converted, c.UpdatedAt = c.Converted+1, now
	}
}
