-- Webhooks: where accounts want to be told of events, and what is to be told there. A row to deliver is
-- inserted in the transaction of its event.

-- +goose Up
CREATE TABLE webhook_endpoints (
    id BINARY(16) NOT NULL PRIMARY KEY,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    url VARCHAR(2048) NOT NULL,
    events TEXT NOT NULL,
    description VARCHAR(1000) NOT NULL,
    format VARCHAR(16) NOT NULL,
    signature_header VARCHAR(64) NOT NULL,
    recipients VARCHAR(8) NOT NULL,
    secret VARBINARY(512) NOT NULL,
    old_secret VARBINARY(512),
    old_until BIGINT,
    off VARCHAR(16) NOT NULL,
    off_at BIGINT,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    failing_since BIGINT,
    owner BINARY(16),
    leased_until BIGINT
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX webhook_endpoints_account ON webhook_endpoints (esme_address);

-- One row. Whoever makes, changes or removes an endpoint counts it up in the same transaction. Every batch
-- reads it, so that a server sees by one small number whether the endpoints that it remembers are those that
-- there are.
CREATE TABLE webhook_version (
    id INTEGER NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO webhook_version (id, version) VALUES (1, 0);

CREATE TABLE webhook_deliveries (
    endpoint_id BINARY(16) NOT NULL,
    id BINARY(16) NOT NULL,
    event_id BINARY(16) NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    type VARCHAR(32) NOT NULL,
    challenge_id BINARY(16),
    recipient_hash BINARY(16),
    at BIGINT NOT NULL,
    due_at BIGINT,
    state VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason VARCHAR(200) NOT NULL,
    tried_at BIGINT,
    request MEDIUMBLOB,
    answer MEDIUMBLOB,
    PRIMARY KEY (endpoint_id, id)
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE webhook_deliveries;
DROP TABLE webhook_version;
DROP TABLE webhook_endpoints;
