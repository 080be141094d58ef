package sql

import (
	"context"
	"fmt"

	"otpbridge/server/otp"
)

// Newest reads a slot's newest challenge outside any operation, nil for none. Nothing may be
// decided on it: by the time it is returned it can have been replaced.
func (s *Store) Newest(ctx context.Context, recipient, slot otp.ID) (*otp.Challenge, error) {
	rows, err := s.reads.QueryContext(ctx, `
		SELECT `+challengeColumns+`
		FROM challenges
		WHERE recipient_id = (SELECT id FROM recipients WHERE hash = ?) AND slot = ? AND replaced_at IS NULL`, recipient[:], slot[:])
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	challenge, err := scanChallenge(rows)
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", err)
	}
	return challenge, nil
}
