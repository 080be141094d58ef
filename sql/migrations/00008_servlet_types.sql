-- A code serves the purpose that it was sent for. The servlets cannot name one, so the account says
-- which types of codes they see.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN servlet_types VARCHAR(255) NOT NULL DEFAULT 'verification';

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN servlet_types;
