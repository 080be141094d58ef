-- An account's servlet calls can be passed on to the service that it comes from. The mode holds from
-- cut_over_at on and the one before it until then, so that every server changes at the same moment.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN upstream_url TEXT;
ALTER TABLE otp_auth_config ADD COLUMN bridge_mode VARCHAR(16) NOT NULL DEFAULT 'local';
ALTER TABLE otp_auth_config ADD COLUMN bridge_before VARCHAR(16);
ALTER TABLE otp_auth_config ADD COLUMN cut_over_at BIGINT;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN upstream_url;
ALTER TABLE otp_auth_config DROP COLUMN bridge_mode;
ALTER TABLE otp_auth_config DROP COLUMN bridge_before;
ALTER TABLE otp_auth_config DROP COLUMN cut_over_at;
