-- A delivery is looked for by its lease while it is open and by its receipt if its provider gave one.
-- Most rows are neither, and need not be in either index.

-- +goose Up
DROP INDEX deliveries_lease;
DROP INDEX deliveries_receipt;
CREATE INDEX deliveries_lease ON deliveries (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX deliveries_receipt ON deliveries (receipt) WHERE receipt IS NOT NULL;

-- +goose Down
DROP INDEX deliveries_lease;
DROP INDEX deliveries_receipt;
CREATE INDEX deliveries_lease ON deliveries (leased_until);
CREATE INDEX deliveries_receipt ON deliveries (receipt);
