-- Keys are compared byte by byte, whatever the schema's own collation is: a case-insensitive one
-- would take one key's name for another's.

-- +goose Up
ALTER TABLE otp_auth_config CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE credentials CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE recipients CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE challenges CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE events CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE keyring_keys CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE sandbox_accounts CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- +goose Down
SELECT 1;
