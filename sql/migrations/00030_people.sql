-- People who look after accounts and keys: how they log in, what they may do, and what they did.

-- +goose Up
CREATE TABLE persons (
    id BINARY(16) NOT NULL PRIMARY KEY,
    email VARCHAR(254) NOT NULL,
    name VARCHAR(200) NOT NULL,
    password_hash VARCHAR(200) NOT NULL,
    role VARCHAR(16) NOT NULL,
    accounts TEXT,
    permissions TEXT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    disabled_at BIGINT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX persons_email ON persons (email);

-- One row, written whenever somebody stops owning the server, or the first begins to: two who do so at once,
-- on any nodes of a cluster, are in each other's way.
CREATE TABLE owners (
    id INTEGER NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO owners (id, version) VALUES (1, 0);

CREATE TABLE sessions (
    id BINARY(16) NOT NULL PRIMARY KEY,
    person_id BINARY(16) NOT NULL,
    factor VARCHAR(16) NOT NULL,
    address VARCHAR(45) NOT NULL,
    network VARCHAR(49) NOT NULL,
    agent VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX sessions_person ON sessions (person_id);

-- A token that was used has a nonce, from which and from itself its successor is made.
CREATE TABLE refresh_tokens (
    hash BINARY(32) NOT NULL PRIMARY KEY,
    session_id BINARY(16) NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    nonce BINARY(16)
) /*sqlite WITHOUT ROWID */;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);

-- Links that are good once: for the first owner, for who is invited, for who is recovered.
CREATE TABLE tickets (
    id BINARY(16) NOT NULL PRIMARY KEY,
    hash BINARY(32) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    person_id BINARY(16),
    email VARCHAR(254) NOT NULL,
    role VARCHAR(16) NOT NULL,
    accounts TEXT,
    permissions TEXT,
    created_by BINARY(16),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX tickets_hash ON tickets (hash);

-- The secret of a one-time-password app is sealed. A passkey has a credential, which is public, and the hash
-- of its id.
CREATE TABLE factors (
    id BINARY(16) NOT NULL PRIMARY KEY,
    person_id BINARY(16) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(200) NOT NULL,
    secret VARBINARY(512),
    last_step BIGINT NOT NULL,
    credential_hash BINARY(32),
    credential MEDIUMBLOB,
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    used_at BIGINT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX factors_person ON factors (person_id);
CREATE UNIQUE INDEX factors_credential ON factors (credential_hash);

-- What a passkey is asked to sign, until it answers.
CREATE TABLE ceremonies (
    id BINARY(16) NOT NULL PRIMARY KEY,
    person_id BINARY(16),
    data MEDIUMBLOB NOT NULL,
    expires_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;

CREATE TABLE backup_codes (
    person_id BINARY(16) NOT NULL,
    hash BINARY(32) NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (person_id, hash)
) /*sqlite WITHOUT ROWID */;

CREATE TABLE guesses (
    id BINARY(16) NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    blocked_until BIGINT,
    updated_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;

CREATE TABLE changes (
    id BINARY(16) NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    kind VARCHAR(40) NOT NULL,
    actor_kind VARCHAR(16) NOT NULL,
    actor_id BINARY(16),
    session_id BINARY(16),
    address VARCHAR(45) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    person_id BINARY(16),
    esme_address VARCHAR(15) NOT NULL,
    details TEXT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE changes;
DROP TABLE guesses;
DROP TABLE backup_codes;
DROP TABLE ceremonies;
DROP TABLE factors;
DROP TABLE tickets;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE owners;
DROP TABLE persons;
