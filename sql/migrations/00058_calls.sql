-- How often each call was made, by the hour, by whose key and from where. Every server writes rows of its own, so
-- that none waits for another. passed is the class of what an upstream answered, empty where no upstream was asked.

-- +goose Up
CREATE TABLE calls (
    hour BIGINT NOT NULL,
    server BINARY(16) NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    door VARCHAR(8) NOT NULL,
    name VARCHAR(64) NOT NULL,
    credential_id BINARY(16) NOT NULL,
    address VARCHAR(45) NOT NULL,
    passed VARCHAR(16) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    calls BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (hour, server, esme_address, door, name, credential_id, address, passed, kind)
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE calls;
