-- The key that signs receipts can be replaced. A new one is published before it signs, so that whoever
-- checks a receipt finds its key on every server.

-- +goose Up
ALTER TABLE signing_keys ADD COLUMN signs_from BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE signing_keys DROP COLUMN signs_from;
