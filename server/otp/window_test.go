package otp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWindow_AddNeverChangesAnEarlierSnapshot(t *testing.T) {
	w := Window{1, 2, 3}
	snapshot := w
	_ = w[:2].Add(9, Day, 10)
	w = w.Add(4, Day, 10)
	require.Equal(t, Window{1, 2, 3}, snapshot)
	require.Equal(t, Window{1, 2, 3, 4}, w)
	require.Equal(t, Window{1, 3, 4}, w.Remove(2))
	require.Equal(t, Window{1, 2, 3, 4}, w)
}

func TestWindow_KeepsTheNewest(t *testing.T) {
	require.Equal(t, Window{3, 4}, Window{1, 2, 3}.Add(4, Day, 2))
	require.Nil(t, Window{1, 2, 3}.Add(4, Day, 0))
	require.Equal(t, Window{Day + 5}, Window{1, 2, 3}.Add(Day+5, Day, 10), "older than the span")
}

// Whatever the sends and however the window was trimmed, no span holds more than the limit, and a send is refused only
// while the span is full.
func FuzzWindow_HoldsItsLimitInEveryInterval(f *testing.F) {
	f.Add([]byte{0, 0, 0, 10, 200, 3, 90, 0, 0, 0}, uint8(3))
	f.Add([]byte{59, 1, 59, 1, 60, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, gaps []byte, limit uint8) {
		max := int(limit%10) + 1
		r := Recipient{}
		limits := []Limit{{Minute, max}}
		now, accepted := Millis(1_000_000), []Millis(nil)
		for _, gap := range gaps {
			now += Millis(gap) * Second
			inSpan := 0
			for _, at := range accepted {
				if at > now-Minute {
					inSpan++
				}
			}
			waits := func(at Millis) time.Duration {
				wait, _ := r.overLimit(limits, at)
				return wait
			}
			wait := waits(now)
			if (wait > 0) != (inSpan >= max) {
				t.Fatalf("%d of %d in the minute, and the wait is %v", inSpan, max, wait)
			}
			if wait > 0 {
				if waits(now+Span(wait)) != 0 || waits(now+Span(wait)-1) == 0 {
					t.Fatalf("the wait of %v is not exact", wait)
				}
				continue
			}
			r.send(limits, now)
			accepted = append(accepted, now)
		}
	})
}

func TestID_TextIsReadBackAndNothingElseIs(t *testing.T) {
	id := ID{0x01, 0x9a, 0xff, 15: 0x7f}
	text := id.Text("otp")
	back, ok := ParseID("otp", text)
	require.True(t, ok)
	require.Equal(t, id, back)
	for _, wrong := range []string{"", "otp_", text[4:], "evt" + text[3:], text + "0", text[:len(text)-1],
		text[:len(text)-1] + "v", "otp_" + "!" + text[5:], "otp_" + strings.Repeat("0", 26)} {
		_, ok := ParseID("otp", wrong)
		require.False(t, ok, wrong)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("otp_04tfvvvvvvvvvvvvvvvvvvvvvs")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := ParseID("otp", text); ok && !equalFold(id.Text("otp"), text) {
			t.Fatalf("%q was read as %q", text, id.Text("otp"))
		}
	})
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i]|0x20 != b[i]|0x20 {
			return false
		}
	}
	return true
}

// A refusal names the limit with the longest wait.
func TestRefusals_NameTheLimitThatRefused(t *testing.T) {
	refusal := func(err error) *Error {
		refused, ok := errors.AsType[*Error](err)
		require.True(t, ok, "%v", err)
		return refused
	}
	limits := []Limit{{Minute, 2}, {Hour, 3}}
	r := &Recipient{Sends: Window{0, 0}}
	refused := refusal(charge(r, nil, limits, 10*Second))
	require.Equal(t, []any{2, time.Minute, 50 * time.Second}, []any{refused.Limit, refused.Window, refused.RetryAfter})
	r.Sends = Window{0, 50 * Second, 50 * Second}
	refused = refusal(charge(r, nil, limits, 55*Second))
	require.Equal(t, []any{3, time.Hour}, []any{refused.Limit, refused.Window})
	mailbox := &Recipient{Sends: Window{0, 0, 0}}
	refused = refusal(charge(&Recipient{Sends: Window{0, 0}}, mailbox, limits, 10*Second))
	require.Equal(t, []any{3, time.Hour}, []any{refused.Limit, refused.Window}, "the mailbox's")

	locked := &Recipient{}
	require.NoError(t, locked.locked(0))
	for range FailuresPerHour {
		locked.charge(0)
	}
	refused = refusal(locked.locked(0))
	require.Equal(t, []any{FailuresPerHour, time.Hour, time.Hour},
		[]any{refused.Limit, refused.Window, refused.RetryAfter})
	locked.LockedUntil = RunLock
	refused = refusal(locked.locked(0))
	require.Equal(t, []any{FailuresInRun, 24 * time.Hour, 24 * time.Hour},
		[]any{refused.Limit, refused.Window, refused.RetryAfter})
}
