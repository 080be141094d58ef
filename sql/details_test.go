package sql

import (
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

func TestDetails_AreReadBackAsTheyWereWritten(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		for _, details := range []*otp.Details{
			nil,
			{},
			{Type: "two_factor", Template: `a "name"`, Locale: "pt-BR", Binding: otp.ID{0xff, 1},
				Fallback: []otp.Channels{otp.Email, otp.SMS}, Metadata: []byte{0, 0xff, '"'}},
		} {
			recipient := nextID()
			op, made := generate(recipient, nextID(), policy, noon)
			summary := &otp.Summary{Mask: "+91••••••2394", Type: "two_factor", MaxAttempts: 5, ExpiresAt: noon + otp.Minute,
				Metadata: []byte{0, 1}, Taken: true, ProviderError: "30003"}
			decide := op.Decide
			op.Decide = func(state *State) error {
				err := decide(state)
				made.Details, state.event.Summary = details, summary
				also := *state.event
				also.ID, also.Kind, also.Summary = nextID(), otp.EventReplaced, nil
				state.Also(also)
				return err
			}
			require.NoError(t, s.Do(op))
			read, _, err := s.Challenges.ByID(ctx, made.ID)
			require.NoError(t, err)
			require.Equal(t, details, read.Details)
			require.Equal(t, otp.WrongCode, otp.KindOf(s.Do(verify(recipient, made.Slot, false, noon))))
			read, _, err = s.Challenges.ByID(ctx, made.ID)
			require.NoError(t, err)
			require.Equal(t, details, read.Details, "a guess leaves them alone")
		}
	})
}

func TestHistory_IsThatOfOneChallengeOldestFirst(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		recipient := nextID()
		op, made := generate(recipient, nextID(), policy, noon)
		summary := otp.Summary{Mask: "+91••••••2394", ExpiresAt: noon + otp.Minute, Metadata: []byte{0, 1}, Taken: true,
			ProviderError: "EC 27"}
		decide := op.Decide
		op.Decide = func(state *State) error {
			err := decide(state)
			state.event.Summary = &summary
			return err
		}
		require.NoError(t, s.Do(op))
		require.Equal(t, otp.WrongCode, otp.KindOf(s.Do(verify(recipient, made.Slot, false, noon+1))))
		other, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(other))
		events, err := s.Challenges.History(ctx, made.ID)
		require.NoError(t, err)
		require.Len(t, events, 2)
		require.Equal(t, otp.EventSent, events[0].Kind)
		require.Equal(t, &summary, events[0].Summary)
		require.Equal(t, otp.EventWrong, events[1].Kind)
		require.Equal(t, noon+1, events[1].At)
		require.Nil(t, events[1].Summary)
		_, _, err = s.Challenges.ByID(ctx, nextID())
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// An unreadable binding must not become none: whatever is read is what was written.
func FuzzDetails_AreReadBackOrRefused(f *testing.F) {
	for _, seed := range []string{`{}`,
		`{"type":"x","binding":"AAAAAAAAAAAAAAAAAAAAAQ==","fallback":[1,2],"metadata":"AA=="}`, `{"binding":"AA=="}`,
		`{"binding":""}`, `null`, ``, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if summary, err := decodeSummary(text); err == nil && summary != nil {
			again, err := decodeSummary([]byte(encodeSummary(summary).(string)))
			require.NoError(t, err)
			require.Equal(t, summary.ExpiresAt, again.ExpiresAt)
		}
		details, err := decodeDetails(text)
		if err != nil || details == nil {
			return
		}
		again, err := decodeDetails([]byte(encodeDetails(details).(string)))
		require.NoError(t, err)
		require.Equal(t, details.Binding, again.Binding)
		require.Equal(t, len(details.Fallback), len(again.Fallback))
	})
}
