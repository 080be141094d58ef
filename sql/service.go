package sql

import (
	"context"

	"otpbridge/server/otp"
)

// ServiceAccounts are the accounts of automation.
type ServiceAccounts struct{ store *Store }

// ServiceAccount is one service account. It has a public key or the hash of a secret.
type ServiceAccount struct {
	ID          otp.ID
	Name        string
	Description string
	Role        string
	Accounts    []string // addresses; nil for all, including future ones
	Permissions []string // a subset; nil for those of the role
	PublicKey   string   // PEM; empty if it has a secret
	SecretHash  [32]byte // zero if it has a key
	CreatedBy   otp.ID   // zero for the command line
	CreatedAt   otp.Millis
	UsedAt      otp.Millis // time of the last token, to a minute; 0: never
	RevokedAt   otp.Millis // 0: not revoked
}

var serviceAccounts = table[ServiceAccount]{"service_accounts", func(s *ServiceAccount) []column {
	return []column{
		{"id", &s.ID}, {"name", &s.Name}, {"description", &s.Description}, {"role", &s.Role},
		{"accounts", &s.Accounts}, {"permissions", &s.Permissions}, {"public_key", &s.PublicKey},
		{"secret_hash", &s.SecretHash}, {"created_by", &s.CreatedBy}, {"created_at", &s.CreatedAt},
		{"used_at", &s.UsedAt}, {"revoked_at", &s.RevokedAt},
	}
}}

// ByID reads a service account, revoked or not; ErrNotFound if there is none.
func (a *ServiceAccounts) ByID(ctx context.Context, id otp.ID) (ServiceAccount, error) {
	return serviceAccounts.one(ctx, a.store, `id = ?`, id[:])
}

// List reads all service accounts, oldest first.
func (a *ServiceAccounts) List(ctx context.Context) ([]ServiceAccount, error) {
	return serviceAccounts.find(ctx, a.store, `1 = 1 ORDER BY id`)
}

// Insert adds a service account.
func (a *ServiceAccounts) Insert(tx *Tx, s ServiceAccount) error {
	return serviceAccounts.insert(tx.ctx, tx, &s)
}

// Revoke ends a service account for good. It reports false, and changes nothing, if it is unknown or already revoked.
func (a *ServiceAccounts) Revoke(tx *Tx, id otp.ID, now otp.Millis) (bool, error) {
	return tx.changed(`UPDATE service_accounts SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL`, int64(now), id[:])
}

// Used records that a service account got a token at now, if the last record is older than a minute.
func (a *ServiceAccounts) Used(ctx context.Context, id otp.ID, now otp.Millis) error {
	return a.store.exec(ctx, `UPDATE service_accounts SET used_at = ? WHERE id = ? AND (used_at IS NULL OR used_at < ?)`,
		int64(now), id[:], int64(now-otp.Minute))
}
