-- The outbox: what is to be handed to a provider, and how it ended. And counters that decide what
-- may be spent, which are as exact as attempts are.

-- +goose Up
CREATE TABLE deliveries (
    id BINARY(16) NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    challenge_id BINARY(16) NOT NULL,
    recipient_hash BINARY(16) NOT NULL,
    esme_address VARCHAR(15) NOT NULL,
    environment VARCHAR(8) NOT NULL,
    door VARCHAR(16) NOT NULL,
    medium INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    send INTEGER NOT NULL,
    mailbox VARBINARY(1024),
    department VARCHAR(200) NOT NULL,
    price BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    owner BINARY(16) NOT NULL,
    leased_until BIGINT,
    started_at BIGINT,
    channel VARCHAR(255) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    receipt BINARY(16),
    created_at BIGINT NOT NULL,
    finished_at BIGINT
) /*sqlite WITHOUT ROWID */;
CREATE INDEX deliveries_lease ON deliveries (leased_until);
CREATE INDEX deliveries_receipt ON deliveries (receipt);

CREATE TABLE counters (
    id BINARY(16) NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    total BIGINT NOT NULL,
    converted BIGINT NOT NULL,
    since BIGINT NOT NULL,
    stopped_until BIGINT,
    updated_at BIGINT NOT NULL
) /*sqlite WITHOUT ROWID */;

ALTER TABLE otp_auth_config ADD COLUMN cost_guards VARCHAR(16);
ALTER TABLE otp_auth_config ADD COLUMN spend_cap_per_day BIGINT;
ALTER TABLE otp_auth_config ADD COLUMN prices TEXT;

-- +goose Down
ALTER TABLE otp_auth_config DROP COLUMN prices;
ALTER TABLE otp_auth_config DROP COLUMN spend_cap_per_day;
ALTER TABLE otp_auth_config DROP COLUMN cost_guards;
DROP TABLE counters;
DROP TABLE deliveries;
