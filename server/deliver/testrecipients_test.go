package deliver

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTestRecipients_EndAsTheirRowsSayAndReachNobody(t *testing.T) {
	recipients, err := ParseTestRecipients("+919000000001=not_sent, " +
		"+919000000002=unknown,+919000000003=sent,User@example.com=not_sent")
	require.NoError(t, err)
	list := recipients.Before([]Channel{NewInbox()})
	require.Len(t, list, 1)
	require.True(t, Simulated(list[0]))
	for to, outcome := range map[string]Outcome{
		"+919000000001": NotSent, "+919000000002": Unknown, "+919000000003": Sent, "user@Example.com": NotSent,
		"+919000000004": Sent,
	} {
		require.Equal(t, outcome, list[0].Send(context.Background(), Message{To: to}).Outcome, to)
	}
	for _, text := range []string{"+919000000001", "+919000000001=delayed", "919000000001=sent", "nobody=sent",
		"+919000000001=sent,+919000000001=unknown", ",",
		"+919000000001=sent:", "+919000000001=sent:123", "+919000000001=sent:12345678901", "+919000000001=sent:12a4",
		"+919000000001=:123456", "+919000000001=123456"} {
		_, err := ParseTestRecipients(text)
		require.Error(t, err, text)
	}
}

func TestTestRecipients_HaveCodesOfTheRightLengthAlone(t *testing.T) {
	recipients, err := ParseTestRecipients("+919000000001=not_sent:123456,User@example.com=sent:0000,+919000000003=sent")
	require.NoError(t, err)
	require.Equal(t, "123456", recipients.Code("+919000000001", 6))
	require.Empty(t, recipients.Code("+919000000001", 4))
	require.Equal(t, "0000", recipients.Code("user@Example.com", 4))
	require.Empty(t, recipients.Code("+919000000003", 6))
	require.Empty(t, recipients.Code("+919000000004", 6))
}

// Every parsed test recipient can be sent to and has an outcome.
func FuzzParseTestRecipients(f *testing.F) {
	f.Add("+919000000001=sent,a@b.example=unknown")
	f.Add("=,=sent")
	f.Add("+919000000001=sent:123456,=unknown:")
	f.Fuzz(func(t *testing.T, text string) {
		recipients, err := ParseTestRecipients(text)
		if err != nil {
			return
		}
		for to, row := range recipients {
			require.NotEmpty(t, to)
			require.NotEqual(t, "invalid", row.Outcome.String())
			require.Regexp(t, `^([0-9]{4,10})?$`, row.Code)
		}
	})
}
