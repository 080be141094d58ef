package otp

// Window remembers the moments at which something happened, oldest first. It counts exactly:
// "ten in any sixty seconds" holds for every sixty-second interval, which neither a fixed
// bucket nor a leaky one with a burst can promise. A Window is never changed in place, so a
// copy of the struct that holds it is a snapshot.
type Window []Millis

// Within counts the entries of the last span. An entry made at t leaves at t+span exactly.
func (w Window) Within(span, now Millis) int {
	n := 0
	for i := len(w) - 1; i >= 0 && w[i] > now-span; i-- {
		n++
	}
	return n
}

// Oldest is the first of the newest n entries: the one that must leave before there are fewer
// than n. It panics when there are fewer, which is the caller's bug.
func (w Window) Oldest(n int) Millis { return w[len(w)-n] }

// Add appends now, and forgets entries that have left span or exceed the newest keep.
func (w Window) Add(now, span Millis, keep int) Window {
	from := len(w) - w.Within(span, now)
	if excess := len(w) - from + 1 - keep; excess > 0 {
		from += excess
	}
	if from > len(w) {
		return nil
	}
	added := make(Window, 0, len(w)-from+1)
	return append(append(added, w[from:]...), now)
}

// Remove takes one entry made at t back; without one w is unchanged.
func (w Window) Remove(t Millis) Window {
	for i := len(w) - 1; i >= 0; i-- {
		if w[i] == t {
			removed := make(Window, 0, len(w)-1)
			return append(append(removed, w[:i]...), w[i+1:]...)
		}
	}
	return w
}
