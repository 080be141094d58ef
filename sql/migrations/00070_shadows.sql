-- What the rules here would know of a recipient whose account's upstream answers, so that settings can be compared
-- before a cut-over. id is the recipient's hash; state is JSON without number, code or key. It decides nothing.

-- +goose Up
CREATE TABLE shadows (
    id BINARY(16) NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    state MEDIUMBLOB NOT NULL,
    updated_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE shadows;
