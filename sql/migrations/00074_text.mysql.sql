-- These tables were made with the schema's own character set. One of latin1 holds no name in another script, and
-- compares without letter case.

-- +goose Up
ALTER TABLE signing_keys CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE deliveries CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE service_accounts CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
ALTER TABLE key_days CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- +goose Down
SELECT 1;
