-- What operators are warned of: one row for each cause, which is raised again after it was resolved. The history of
-- changes has every time.

-- +goose Up
CREATE TABLE alerts (
    rule VARCHAR(32) NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    subject VARCHAR(64) NOT NULL,
    id BINARY(16) NOT NULL,
    state VARCHAR(16) NOT NULL,
    value BIGINT NOT NULL,
    says VARCHAR(500) NOT NULL,
    raised_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by VARCHAR(64) NOT NULL,
    resolved_at BIGINT,
    action VARCHAR(16) NOT NULL,
    acts_until BIGINT,
    PRIMARY KEY (rule, esme_address, subject)
) /*sqlite WITHOUT ROWID */ /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX alerts_id ON alerts (id);

-- When somebody last looked at an item of the checklist; before that there is no row.
CREATE TABLE checklist_reviews (
    item VARCHAR(32) NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    reviewer VARCHAR(64) NOT NULL,
    note VARCHAR(500) NOT NULL
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE checklist_reviews;
DROP TABLE alerts;
