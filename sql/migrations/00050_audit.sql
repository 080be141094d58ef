-- The audit log is tamper-evident: every entry has a place in a Merkle tree (RFC 6962). Entries that were sealed
-- together are a page. A change has its row in changes, and no place until it is sealed; the content of calls
-- stands in their page. A page keeps what the tree hashes of each entry when its content is removed.

-- +goose Up
ALTER TABLE changes ADD COLUMN place BIGINT;
ALTER TABLE changes ADD COLUMN credential_id BINARY(16);
CREATE UNIQUE INDEX changes_place ON changes (place);
CREATE INDEX changes_kind ON changes (kind, place);
CREATE INDEX changes_actor ON changes (actor_id, place);
CREATE INDEX changes_credential ON changes (credential_id, place);
CREATE INDEX changes_account ON changes (esme_address, place);
CREATE INDEX changes_address ON changes (address, place);

-- One row. Whoever seals writes it, so that two who do so at once are in each other's way.
CREATE TABLE audit_tree (
    id INTEGER NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    root BINARY(32) NOT NULL,
    sealed_at BIGINT NOT NULL,
    lag BIGINT NOT NULL
);
INSERT INTO audit_tree (id, size, root, sealed_at, lag)
VALUES (1, 0, X'E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855', 0, 0);

CREATE TABLE audit_pages (
    place BIGINT NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL,
    sealed_at BIGINT NOT NULL,
    stubs MEDIUMBLOB NOT NULL,
    calls MEDIUMBLOB
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE INDEX audit_pages_sealed ON audit_pages (sealed_at, place);

-- The tree's hashes, 256 to a row.
CREATE TABLE audit_tiles (
    level INTEGER NOT NULL,
    number BIGINT NOT NULL,
    hashes MEDIUMBLOB NOT NULL,
    PRIMARY KEY (level, number)
);

-- Which pages hold calls with which action, account, key, address or result, by the hash of it.
CREATE TABLE audit_terms (
    term BINARY(16) NOT NULL,
    page BIGINT NOT NULL,
    PRIMARY KEY (term, page)
) /*sqlite WITHOUT ROWID */;

-- +goose Down
DROP TABLE audit_terms;
DROP TABLE audit_tiles;
DROP TABLE audit_pages;
DROP TABLE audit_tree;
DROP INDEX changes_address /*mysql ON changes */;
DROP INDEX changes_account /*mysql ON changes */;
DROP INDEX changes_credential /*mysql ON changes */;
DROP INDEX changes_actor /*mysql ON changes */;
DROP INDEX changes_kind /*mysql ON changes */;
DROP INDEX changes_place /*mysql ON changes */;
ALTER TABLE changes DROP COLUMN credential_id;
ALTER TABLE changes DROP COLUMN place;
