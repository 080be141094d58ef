package sql

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// What somebody did is recorded, however long what they chose to call their request is, and what they looked for.
func TestRecord_NothingThatACallerChoosesIsTooLong(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := openTest(t, url, Options{})
		for name, c := range map[string]otp.Change{
			"a request's id":    {Actor: otp.Actor{Kind: "person", Request: strings.Repeat("r", 128)}},
			"one in four bytes": {Actor: otp.Actor{Kind: "person", Request: strings.Repeat("\U0001f511", 128)}},
			"a detail":          {Details: map[string]string{"actor": strings.Repeat("x", 70_000)}},
			"escaped":           {Details: map[string]string{"actor": strings.Repeat("<", 12_000), "result": "ok"}},
			"in four bytes":     {Details: map[string]string{"actor": strings.Repeat("\U0001f511", 17_000)}},
			"several": {Details: map[string]string{"a": strings.Repeat("a", 33_000),
				"b": strings.Repeat("b", 33_000)}},
			"no text": {Details: map[string]string{"actor": strings.Repeat("\xff", 12_000)}},
		} {
			c.ID, c.At, c.Kind = nextID(), noon, otp.AuditRead
			require.NoError(t, s.Change(ctx, func(tx *Tx) error { return tx.Record(c) }), name)
			found, err := s.People.Changes(ctx, otp.ID{}, 1)
			require.NoError(t, err)
			require.Equal(t, c.ID, found[0].ID)
			require.Len(t, found[0].Details, len(c.Details), name)
		}
	})
}

// noted is an event as the history's statement needs it.
type noted struct {
	at                   otp.Millis
	account, kind        string
	recipient, challenge byte
}

// row returns the row of an event; its id follows from the moment and n.
func (e noted) row(n int) string {
	id := firstID(e.at)
	id[14], id[15] = byte(n>>8), byte(n)
	return fmt.Sprintf(`(X'%x', %d, '%s', 'live', '%s', 'v1', X'%032x', X'%032x', 1, 1, 0)`, id[:], e.at, e.account, e.kind,
		e.recipient, e.challenge)
}

// A recipient's history is found by its index, whatever else the history holds.
func TestRecipientHistory_IsFoundByAnIndex(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := openTest(t, url, Options{})
		since := counted - otp.Day
		rows := []noted{
			{since - otp.Day, "1", "sent", 1, 1}, // too old itself, with a receipt that is not
			{since - 1, "1", "wrong", 1, 1},
			{since + 1, "1", "delivered", 1, 1},
			{since + 2, "1", "sent", 1, 2},
			{since + 3, "1", "wrong", 1, 2},
			{since + 4, "1", "resent", 1, 2},
			{since + 5, "1", "verified", 1, 2},
			{since + 6, "1", "unlocked", 1, 0},
			{since + 7, "2", "sent", 1, 3}, // another account's
			{since + 8, "1", "sent", 2, 4}, // another recipient's
			{since + 9, "1", "unlocked", 2, 0},
			{since + 10, "1", "wrong", 2, 4},
			{since - 2, "1", "unlocked", 1, 0}, // too old
			{since + 11, "1", "prefix_stop", 1, 2},
		}
		for n := range 2000 { // others, so that an index is worth using
			rows = append(rows, noted{since + otp.Millis(n), "1", "sent", byte(100 + n%100), byte(10 + n%200)})
		}
		var live, whose []string // few challenges beside many events tempt MariaDB to begin with all of them
		for n := range 10 {
			live = append(live, fmt.Sprintf(`(X'%032x', X'%032x', 1, X'%032x', 1, 'k', X'%032x', 6, 1, 3, 0, 1, 0, %d, %d, %d)`,
				10+n, n, n, n, since, since+otp.Day, since))
			whose = append(whose, fmt.Sprintf(`(X'%032x', X'%032x', '1', 'live', '', '', 1, 1, 0, %d)`, n, n, since))
		}
		values := make([]string, len(rows))
		for n, e := range rows {
			values[n] = e.row(n)
		}
		sqlite := strings.HasPrefix(url, "sqlite:")
		require.NoError(t, s.write(ctx, func(w *session) error {
			return cmp.Or(w.exec(ctx, `INSERT INTO events (id, at, esme_address, environment, kind, door, recipient_hash,
				challenge_id, send, channels, remaining) VALUES `+strings.Join(values, ", ")),
				w.exec(ctx, `INSERT INTO challenges (id, recipient_id, seq, slot, version, key_id, nonce, code_length, channels,
					max_attempts, wrong, sends, regenerations, created_at, expires_at, updated_at) VALUES `+
					strings.Join(live, ", ")),
				w.exec(ctx, `INSERT INTO recipients (id, hash, esme_address, environment, sealed, mask, version, seq, run,
					updated_at) VALUES `+strings.Join(whose, ", ")))
		}))
		if !sqlite {
			_, err := s.reads.Exec(`ANALYZE TABLE events, challenges, recipients`)
			require.NoError(t, err)
		}

		var hash otp.ID
		hash[15] = 1
		found, err := s.Challenges.RecipientHistory(ctx, "1", hash, since, 100)
		require.NoError(t, err)
		var kinds []string
		for _, e := range found {
			kinds = append(kinds, string(e.Kind))
		}
		require.Equal(t, []string{"prefix_stop", "unlocked", "verified", "resent", "wrong", "sent", "delivered"}, kinds)
		found, err = s.Challenges.RecipientHistory(ctx, "1", hash, since, 2)
		require.NoError(t, err)
		require.Len(t, found, 2)

		from := firstID(since)
		indexes := requireSearch(t, s, sqlite, recipientHistory, []any{hash[:], from[:], from[:], "1", hash[:], from[:], "1",
			9})
		require.Contains(t, strings.Join(indexes, " "), "events_recipient")
		require.NotContains(t, strings.Join(indexes, " "), "PRIMARY")
		inbox := SendQuery{From: firstID(since + 1900), Limit: 100}
		for _, q := range []SendQuery{inbox, {Account: "1", From: inbox.From, Limit: 100},
			{Recipients: []otp.ID{hash}, From: inbox.From, Limit: 100}} {
			text, args := q.text(&s.dialect)
			indexes := requireSearch(t, s, sqlite, text, args)
			if !sqlite && q.Recipients == nil {
				require.Equal(t, "PRIMARY", indexes[0], "the newest events come first")
			}
		}
	})
}
