-- How keys are used, what was said about their end, and which version of a key a change is about.

-- +goose Up
ALTER TABLE credentials ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE credentials ADD COLUMN used_at BIGINT;
ALTER TABLE credentials ADD COLUMN used_address VARCHAR(45) NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN noticed INTEGER NOT NULL DEFAULT 0;

-- One row for each key and day of use, in days since 1970: permissions are a bit each, the network is * for several.
CREATE TABLE key_days (
    credential_id BINARY(16) NOT NULL,
    day INTEGER NOT NULL,
    calls BIGINT NOT NULL,
    permissions BIGINT NOT NULL,
    network VARCHAR(49) NOT NULL,
    PRIMARY KEY (credential_id, day)
) /*sqlite WITHOUT ROWID */;
CREATE INDEX key_days_day ON key_days (day);

-- +goose Down
DROP TABLE key_days;
ALTER TABLE credentials DROP COLUMN noticed;
ALTER TABLE credentials DROP COLUMN used_address;
ALTER TABLE credentials DROP COLUMN used_at;
ALTER TABLE credentials DROP COLUMN version;
