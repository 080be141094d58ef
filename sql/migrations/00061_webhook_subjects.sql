-- What was told of a recipient is found by their hash, so that it can be erased.

-- +goose Up
CREATE INDEX webhook_deliveries_recipient ON webhook_deliveries (recipient_hash)
    /*sqlite WHERE recipient_hash IS NOT NULL */;

-- +goose Down
DROP INDEX webhook_deliveries_recipient /*mysql ON webhook_deliveries */;
