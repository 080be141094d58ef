-- What happened, counted by the hour and account. Rows of strangers have no account, and counts that are not about
-- sends no environment. part is what is told apart: a key, a country, a reason, a range of numbers.

-- +goose Up
CREATE TABLE statistics (
    name VARCHAR(16) NOT NULL,
    hour BIGINT NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    part VARCHAR(64) NOT NULL,
    times BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (name, hour, esme_address, environment, part)
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX statistics_account ON statistics (esme_address, name, hour);
CREATE INDEX statistics_hour ON statistics (hour);

-- +goose Down
DROP TABLE statistics;
