-- What the JSON API needs beside the servlets: credentials that may do less, what an application
-- asks of a challenge, and the memory that makes a request count once.

-- +goose Up
ALTER TABLE otp_auth_config ADD COLUMN templates TEXT;
ALTER TABLE otp_auth_config ADD COLUMN cors_allowed_origins TEXT;
ALTER TABLE otp_auth_config ADD COLUMN cors_allowed_methods TEXT;
ALTER TABLE otp_auth_config ADD COLUMN cors_allowed_headers TEXT;

ALTER TABLE credentials ADD COLUMN name VARCHAR(200) NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN permissions TEXT;
ALTER TABLE credentials ADD COLUMN allowed_origins TEXT;
ALTER TABLE credentials ADD COLUMN requests_per_minute INTEGER;
ALTER TABLE credentials ADD COLUMN burst INTEGER;
ALTER TABLE credentials ADD COLUMN signing VARCHAR(16) NOT NULL DEFAULT 'off';
ALTER TABLE credentials ADD COLUMN signing_secret VARCHAR(1024);
ALTER TABLE credentials ADD COLUMN revoked_at BIGINT;
ALTER TABLE credentials ADD COLUMN successor BINARY(16);

-- JSON, NULL for challenges of the servlets: type, template, locale, binding, fallback and the
-- sealed metadata that the application gave.
ALTER TABLE challenges ADD COLUMN details TEXT;

-- JSON, NULL but for sends that the application asked for: what is told of a challenge once its
-- row is swept.
ALTER TABLE events ADD COLUMN summary TEXT;

CREATE TABLE nonces (
    credential_id BINARY(16) NOT NULL,
    nonce BINARY(16) NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (credential_id, nonce)
) /*sqlite WITHOUT ROWID */;
CREATE INDEX nonces_expiry ON nonces (expires_at);

-- A claim is taken before the work and names the challenge that the work would make, so that
-- whoever takes over from a server that died can see whether it was done.
CREATE TABLE idempotency_keys (
    credential_id BINARY(16) NOT NULL,
    key_hash BINARY(16) NOT NULL,
    request_hash BINARY(32) NOT NULL,
    challenge_id BINARY(16) NOT NULL,
    claimed_until BIGINT NOT NULL,
    status INTEGER,
    answer MEDIUMBLOB,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (credential_id, key_hash)
) /*sqlite WITHOUT ROWID */;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Receipts are signed with the key of the highest number; of two servers that make one at once
-- only one gets the number.
CREATE TABLE signing_keys (
    number INTEGER NOT NULL PRIMARY KEY,
    id VARCHAR(64) NOT NULL,
    public_key VARBINARY(64) NOT NULL,
    sealed VARBINARY(512) NOT NULL,
    created_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE idempotency_keys;
DROP TABLE nonces;
ALTER TABLE events DROP COLUMN summary;
ALTER TABLE challenges DROP COLUMN details;
ALTER TABLE credentials DROP COLUMN successor;
ALTER TABLE credentials DROP COLUMN revoked_at;
ALTER TABLE credentials DROP COLUMN signing_secret;
ALTER TABLE credentials DROP COLUMN signing;
ALTER TABLE credentials DROP COLUMN burst;
ALTER TABLE credentials DROP COLUMN requests_per_minute;
ALTER TABLE credentials DROP COLUMN allowed_origins;
ALTER TABLE credentials DROP COLUMN permissions;
ALTER TABLE credentials DROP COLUMN name;
ALTER TABLE otp_auth_config DROP COLUMN cors_allowed_headers;
ALTER TABLE otp_auth_config DROP COLUMN cors_allowed_methods;
ALTER TABLE otp_auth_config DROP COLUMN cors_allowed_origins;
ALTER TABLE otp_auth_config DROP COLUMN templates;
