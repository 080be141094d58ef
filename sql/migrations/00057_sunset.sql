-- An account's way from the servlets to the JSON API: when the servlets are said to be deprecated, when they end, and
-- rehearsals of their end.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN servlets_deprecated_at BIGINT;
ALTER TABLE otp_auth_config ADD COLUMN servlets_sunset_at BIGINT;
ALTER TABLE otp_auth_config ADD COLUMN servlets_grace SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE otp_auth_config ADD COLUMN servlets_brown_outs TEXT;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN servlets_deprecated_at;
ALTER TABLE otp_auth_config DROP COLUMN servlets_sunset_at;
ALTER TABLE otp_auth_config DROP COLUMN servlets_grace;
ALTER TABLE otp_auth_config DROP COLUMN servlets_brown_outs;
