-- Service accounts are what automation manages with. Each has a public key, whose private half signs its
-- requests for access tokens, or the hash of a secret.

-- +goose Up
CREATE TABLE service_accounts (
    id BINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    description VARCHAR(1000) NOT NULL,
    role VARCHAR(16) NOT NULL,
    accounts TEXT,
    permissions TEXT,
    public_key VARCHAR(1000) NOT NULL,
    secret_hash BINARY(32),
    created_by BINARY(16),
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
) /*sqlite WITHOUT ROWID */;

-- +goose Down
DROP TABLE service_accounts;
