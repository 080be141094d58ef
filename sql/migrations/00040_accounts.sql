-- Numbers that whoever reviews an app logs in with: they get no message, and their code is always the same. Number
-- and code are sealed. And what an account says about ranges that are never stopped, and about plain HTTP.

-- +goose Up
CREATE TABLE test_recipients (
    id BINARY(16) NOT NULL PRIMARY KEY,
    esme_address VARCHAR(15) NOT NULL,
    recipient_hash BINARY(16) NOT NULL,
    number VARBINARY(1024) NOT NULL,
    code VARBINARY(1024) NOT NULL,
    mask VARCHAR(330) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) /*mysql CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
CREATE UNIQUE INDEX test_recipients_hash ON test_recipients (recipient_hash);
CREATE INDEX test_recipients_account ON test_recipients (esme_address);

ALTER TABLE otp_auth_config ADD COLUMN safe_list TEXT;
ALTER TABLE otp_auth_config ADD COLUMN require_https SMALLINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN require_https;
ALTER TABLE otp_auth_config DROP COLUMN safe_list;
DROP TABLE test_recipients;
