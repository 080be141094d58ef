// Package vaulttest opens databases with their vaults for tests.
package vaulttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"otpbridge/crypto"
	"otpbridge/server/vault"
	"otpbridge/sql"
)

// Open opens a database as a server in production does, and closes it when the test ends.
func Open(t testing.TB, databaseURL, keyringText string) (*sql.Store, *vault.Vault) {
	t.Helper()
	ctx := context.Background()
	store, err := sql.Open(ctx, databaseURL, sql.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	keyring, err := crypto.ParseKeyring(keyringText)
	require.NoError(t, err)
	opened, err := vault.Open(ctx, store, keyring, false)
	require.NoError(t, err)
	return store, opened
}
