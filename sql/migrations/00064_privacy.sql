-- What is kept of a person is found by keyed hashes, within an index: of the recipient, of the mailbox that a message
-- went to besides, and of the user_id in an application's metadata. Rows of servers before this one have neither of the
-- last two, and are looked through once for each erasure until they are too old to be kept.

-- +goose Up
ALTER TABLE events ADD COLUMN user_hash BINARY(16);
ALTER TABLE events ADD COLUMN mailbox_hash BINARY(16);
CREATE INDEX events_recipient ON events (recipient_hash) /*sqlite WHERE kind IN ('sent', 'unlocked') */;
CREATE INDEX events_user ON events (user_hash) /*sqlite WHERE user_hash IS NOT NULL */;
CREATE INDEX events_mailbox ON events (mailbox_hash) /*sqlite WHERE mailbox_hash IS NOT NULL */;
CREATE INDEX idempotency_keys_challenge ON idempotency_keys (challenge_id);

-- The ledger of erasures: whom by hash alone, and the signed certificate once everything is gone.
CREATE TABLE erasures (
    id BINARY(16) NOT NULL PRIMARY KEY,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    user_hash BINARY(16) NOT NULL,
    recipient_hash BINARY(16),
    at BIGINT NOT NULL,
    done_at BIGINT,
    certificate TEXT
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX erasures_account ON erasures (esme_address, id);

-- +goose Down
DROP TABLE erasures;
DROP INDEX idempotency_keys_challenge /*mysql ON idempotency_keys */;
DROP INDEX events_mailbox /*mysql ON events */;
DROP INDEX events_user /*mysql ON events */;
DROP INDEX events_recipient /*mysql ON events */;
ALTER TABLE events DROP COLUMN mailbox_hash;
ALTER TABLE events DROP COLUMN user_hash;
