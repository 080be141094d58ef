-- What lists are sorted and filtered by: accounts by name, the calls of some accounts, an endpoint's deliveries by
-- state.

-- +goose Up
CREATE INDEX otp_auth_config_name ON otp_auth_config (name, esme_address);
CREATE INDEX calls_account ON calls (esme_address, hour);
CREATE INDEX webhook_deliveries_state ON webhook_deliveries (endpoint_id, state, id);

-- +goose Down
DROP INDEX otp_auth_config_name /*mysql ON otp_auth_config */;
DROP INDEX calls_account /*mysql ON calls */;
DROP INDEX webhook_deliveries_state /*mysql ON webhook_deliveries */;
