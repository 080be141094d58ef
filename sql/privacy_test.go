package sql

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/server/otp"
)

// No statement of an export or an erasure reads a whole table of a long history.
func TestPrivacy_SearchesByIndex(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := openTest(t, url, Options{})
		op, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(op))
		sqlite := strings.HasPrefix(url, "sqlite:")
		random := map[bool]string{true: "randomblob(16)", false: "UNHEX(REPLACE(UUID(), '-', ''))"}[sqlite]
		statements := slices.Repeat([]string{strings.ReplaceAll(`
			INSERT INTO events (id, at, esme_address, environment, kind, door, recipient_hash, challenge_id, send, channels,
				remaining, user_hash, mailbox_hash)
			SELECT ?, at, esme_address, environment, kind, door, ?, ?, send, channels, remaining, ?, ?
			FROM events`, "?", random)}, 12)
		statements = append(statements, strings.ReplaceAll(`
			INSERT INTO webhook_deliveries (endpoint_id, id, event_id, esme_address, environment, type, challenge_id,
				recipient_hash, at, state, attempts, status, reason)
			SELECT ?, id, id, esme_address, environment, 'otp.sent', challenge_id, recipient_hash, at, 'pending', 0, 0, ''
			FROM events`, "?", random))
		if sqlite {
			statements = append(statements, `ANALYZE`)
		}
		for _, statement := range statements {
			require.NoError(t, s.write(ctx, func(w *session) error { return w.exec(ctx, statement) }))
		}
		if !sqlite {
			_, err := s.reads.Exec(`ANALYZE TABLE events, webhook_deliveries`)
			require.NoError(t, err)
		}
		var end otp.ID
		copy(end[:], strings.Repeat("\xff", len(end)))
		ids := []otp.ID{nextID(), nextID(), nextID()}
		for _, f := range (&Subject{Account: "1", Environment: otp.Live, User: nextID(), Recipient: nextID()}).finders() {
			text, args := f.next(nextID(), end, privacyChunk)
			requireSearch(t, s, sqlite, text, args)
			text, args = f.next(otp.ID{}, end, privacyChunk) // the first page is not bounded by what was read
			requireSearch(t, s, sqlite, text, args)
		}
		text, args := Page{Challenges: ids}.told()
		requireSearch(t, s, sqlite, text, args)
		for _, part := range (Page{Challenges: ids, Loose: ids}).parts() {
			text, args := part.traces()
			requireSearch(t, s, sqlite, text, args)
			list, args := in(ids, idArg)
			requireSearch(t, s, sqlite, `DELETE FROM events WHERE `+part.column+` IN `+list, args)
		}
		hash := ids[0][:]
		requireSearch(t, s, sqlite, unnaming, []any{hash, hash, hash})
		requireSearch(t, s, sqlite, `DELETE FROM idempotency_keys WHERE challenge_id = ?`, []any{hash})
		requireSearch(t, s, sqlite, `DELETE FROM shadows WHERE id = ?`, []any{hash})
		requireSearch(t, s, sqlite, `DELETE FROM test_recipients WHERE recipient_hash = ? AND created_at < ?`, []any{hash, 5})
	})
}
