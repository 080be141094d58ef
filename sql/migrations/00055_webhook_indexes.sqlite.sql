-- A delivery of a webhook is looked for when it is due, and before another of its challenge. Most rows are
-- done, and need not be in either index.

-- +goose Up
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_challenge ON webhook_deliveries (challenge_id) WHERE due_at IS NOT NULL;

-- +goose Down
DROP INDEX webhook_deliveries_due;
DROP INDEX webhook_deliveries_challenge;
