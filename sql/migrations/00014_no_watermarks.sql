-- Every delivery has a row of its own again. What a server of the version before had under way when it
-- died is told by its send's event alone; how it ended is not known.

-- +goose Up
ALTER TABLE events DROP COLUMN watched_by;
DROP TABLE outbox_watermarks;

-- +goose Down
ALTER TABLE events ADD COLUMN watched_by BINARY(16);
CREATE TABLE outbox_watermarks (
    owner BINARY(16) NOT NULL PRIMARY KEY,
    ended_before BINARY(16) NOT NULL,
    leased_until BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;
