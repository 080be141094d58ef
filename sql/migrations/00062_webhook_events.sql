-- What webhooks are to be told is written once for an event, in its transaction, and given to the endpoints of the
-- account a moment later, with a text that all of them share.

-- +goose Up
-- version is that of webhook_version which the event's transaction saw: endpoints that are newer are not told.
CREATE TABLE webhook_events (
    due_at BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    event_id BINARY(16) NOT NULL,
    types VARCHAR(255) NOT NULL,
    version BIGINT NOT NULL,
    lapses_at BIGINT,
    PRIMARY KEY (due_at, id)
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE webhook_texts (
    id BINARY(16) NOT NULL PRIMARY KEY,
    esme_address VARCHAR(15) NOT NULL,
    recipient_hash BINARY(16) NOT NULL,
    challenge_id BINARY(16) NOT NULL,
    masked MEDIUMBLOB NOT NULL,
    whole MEDIUMBLOB
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX webhook_texts_recipient ON webhook_texts (recipient_hash);

ALTER TABLE webhook_endpoints ADD COLUMN since BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE webhook_endpoints DROP COLUMN since;
DROP TABLE webhook_texts;
DROP TABLE webhook_events;
