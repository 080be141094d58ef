-- The last moment before cut_over_at at which calls went from one side to the other: its codes may still be on their
-- way when the next change is set.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN cut_over_before BIGINT;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN cut_over_before;
