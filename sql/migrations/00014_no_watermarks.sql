-- Every delivery has a row of its own again, and nothing reads outbox_watermarks and events.watched_by any
-- more. Both stay: a server of the version before writes them while it runs beside new ones, and the schema's
-- user has no DROP.

-- +goose Up
UPDATE outbox_watermarks SET leased_until = 0 WHERE leased_until < 0;

-- +goose Down
UPDATE outbox_watermarks SET leased_until = 0 WHERE leased_until < 0;
