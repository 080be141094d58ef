package otp

// Window holds the moments at which something happened, oldest first. It counts exactly: "ten in any sixty seconds"
// holds for every sixty-second interval, which a fixed bucket or a leaky one with a burst cannot guarantee. A Window
// is never changed in place, so a copy of the struct that holds it is a snapshot.
type Window []Millis

// Within returns the number of entries in the last span. An entry made at t leaves at t+span exactly.
func (w Window) Within(span, now Millis) int {
	n := 0
	for i := len(w) - 1; i >= 0 && w[i] > now-span; i-- {
		n++
	}
	return n
}

// Oldest returns the first of the newest n entries: fewer than n are left once it leaves. It panics if there are fewer
// than n, which is the caller's bug.
func (w Window) Oldest(n int) Millis { return w[len(w)-n] }

// Add returns w with now appended, without entries that are older than span or exceed the newest keep.
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

// Remove returns w without one entry made at t; w itself if there is none.
func (w Window) Remove(t Millis) Window {
	for i := len(w) - 1; i >= 0; i-- {
		if w[i] == t {
			removed := make(Window, 0, len(w)-1)
			return append(append(removed, w[:i]...), w[i+1:]...)
		}
	}
	return w
}
