-- Most deliveries begin with the transaction that makes their send and end as sent, one after the
-- other. So their server need not write a row for each, and say in it that it has ended. It has one
-- row, which says up to where they have, and the send's event says whose that is.

-- +goose Up
CREATE TABLE outbox_watermarks (
    owner BINARY(16) NOT NULL PRIMARY KEY,
    ended_before BINARY(16) NOT NULL,
    leased_until BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;
ALTER TABLE events ADD COLUMN watched_by BINARY(16);

-- +goose Down
ALTER TABLE events DROP COLUMN watched_by;
DROP TABLE outbox_watermarks;
