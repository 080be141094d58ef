-- An account may take JSON Web Tokens of its own identity provider on the JSON API. The column holds, as JSON,
-- whose they are and what they may do.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN jwt_issuers TEXT;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN jwt_issuers;
