-- A delivery of a webhook is looked for when it is due, and before another of its challenge.

-- +goose Up
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at);
CREATE INDEX webhook_deliveries_challenge ON webhook_deliveries (challenge_id);

-- +goose Down
DROP INDEX webhook_deliveries_due ON webhook_deliveries;
DROP INDEX webhook_deliveries_challenge ON webhook_deliveries;
