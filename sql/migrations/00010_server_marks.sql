-- A restored backup is older than what was answered since, and says nothing of it. So every server
-- counts its commits in a row of its own, and remembers the count outside the database as well. And
-- what was found restored is kept, with the time between the backup and the restore, of which
-- everything is lost.

-- +goose Up
CREATE TABLE server_marks (
    server BINARY(16) NOT NULL PRIMARY KEY,
    mark BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;
CREATE TABLE restores (
    id BINARY(16) NOT NULL PRIMARY KEY,
    found_at BIGINT NOT NULL,
    lost_from BIGINT,
    lost_until BIGINT,
    challenges_ended INTEGER NOT NULL
) /*sqlite WITHOUT ROWID */;

-- +goose Down
DROP TABLE restores;
DROP TABLE server_marks;
