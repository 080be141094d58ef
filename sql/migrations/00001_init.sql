-- Types are in the intersection of SQLite, MariaDB, MySQL 8 and TiDB. Ids and hashes are bytes,
-- times are UTC milliseconds, a NULL time has not happened. What stands in /*sqlite … */ is for
-- SQLite alone: rows that lie in the order of their time-ordered ids need no second tree there.

-- +goose Up
CREATE TABLE otp_auth_config (
    esme_address VARCHAR(15) NOT NULL PRIMARY KEY,
    name VARCHAR(200) NOT NULL DEFAULT '',
    enabled SMALLINT NOT NULL DEFAULT 1,
    otp_enabled SMALLINT NOT NULL DEFAULT 1,
    message_profile VARCHAR(16),
    message_overrides TEXT,
    strict_http SMALLINT NOT NULL DEFAULT 0,
    otp_length INTEGER NOT NULL DEFAULT 6,
    otp_ttl_seconds INTEGER NOT NULL DEFAULT 300,
    max_attempts INTEGER,
    max_regenerations INTEGER NOT NULL DEFAULT 3,
    key_on_ip SMALLINT NOT NULL DEFAULT 1,
    countries VARCHAR(1000) NOT NULL DEFAULT 'IN,AE',
    sms_enabled SMALLINT NOT NULL DEFAULT 1,
    email_enabled SMALLINT NOT NULL DEFAULT 0,
    plain_validation_enabled SMALLINT NOT NULL DEFAULT 0,
    otp_cipher VARCHAR(16) NOT NULL DEFAULT 'aes-cbc',
    otp_encoding VARCHAR(16) NOT NULL DEFAULT 'auto',
    cipher_key VARBINARY(512),
    cipher_iv VARBINARY(512),
    department_mode VARCHAR(32) NOT NULL DEFAULT 'ignore',
    departments TEXT,
    sends_per_minute INTEGER NOT NULL DEFAULT 10,
    sends_per_hour INTEGER NOT NULL DEFAULT 20,
    sends_per_day INTEGER NOT NULL DEFAULT 40,
    requests_per_minute INTEGER,
    burst INTEGER,
    sms_channels TEXT,
    email_channels TEXT,
    sms_sender VARCHAR(200),
    email_sender VARCHAR(320),
    sms_template TEXT,
    email_template TEXT,
    dlt_entity_id VARCHAR(64),
    dlt_template_id VARCHAR(64),
    retention_days INTEGER NOT NULL DEFAULT 30,
    created_at BIGINT NOT NULL DEFAULT 0,
    updated_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE credentials (
    id BINARY(16) NOT NULL PRIMARY KEY,
    esme_address VARCHAR(15) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    environment VARCHAR(8) NOT NULL DEFAULT 'live',
    hash BINARY(32) NOT NULL,
    last_four VARCHAR(8) NOT NULL DEFAULT '',
    allowed_ips TEXT,
    denied_ips TEXT,
    enabled SMALLINT NOT NULL DEFAULT 1,
    expires_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX credentials_hash ON credentials (hash);
CREATE INDEX credentials_account ON credentials (esme_address);

CREATE TABLE recipients (
    id BINARY(16) NOT NULL PRIMARY KEY,
    hash BINARY(16) NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    sealed VARBINARY(1024) NOT NULL,
    mask VARCHAR(330) NOT NULL,
    version BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    sends BLOB,
    failures BLOB,
    run INTEGER NOT NULL,
    run_at BIGINT,
    locked_until BIGINT,
    updated_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;
CREATE UNIQUE INDEX recipients_hash ON recipients (hash);

CREATE TABLE challenges (
    id BINARY(16) NOT NULL PRIMARY KEY,
    recipient_id BINARY(16) NOT NULL,
    seq BIGINT NOT NULL,
    slot BINARY(16) NOT NULL,
    version BIGINT NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    nonce BINARY(16) NOT NULL,
    code_length INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    mailbox VARBINARY(1024),
    max_attempts INTEGER NOT NULL,
    wrong INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    regenerations INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    used_at BIGINT,
    canceled_at BIGINT,
    replaced_at BIGINT
) /*sqlite WITHOUT ROWID */;
CREATE UNIQUE INDEX challenges_recipient ON challenges (recipient_id, seq);

CREATE TABLE events (
    id BINARY(16) NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    door VARCHAR(16) NOT NULL,
    recipient_hash BINARY(16) NOT NULL,
    challenge_id BINARY(16) NOT NULL,
    send INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    mailbox VARBINARY(1024),
    remaining INTEGER NOT NULL
) /*sqlite WITHOUT ROWID */;
CREATE INDEX events_challenge ON events (challenge_id);

CREATE TABLE keyring_keys (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    check_value BINARY(16) NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE index_key (
    id INTEGER NOT NULL PRIMARY KEY,
    sealed VARBINARY(512) NOT NULL
);

CREATE TABLE sandbox_accounts (
    esme_address VARCHAR(15) NOT NULL PRIMARY KEY,
    throwaway SMALLINT NOT NULL,
    clock_offset BIGINT NOT NULL,
    inbox_after BINARY(16)
);

-- +goose Down
DROP TABLE sandbox_accounts;
DROP TABLE index_key;
DROP TABLE keyring_keys;
DROP TABLE events;
DROP TABLE challenges;
DROP TABLE recipients;
DROP TABLE credentials;
DROP TABLE otp_auth_config;
