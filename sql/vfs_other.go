//go:build !linux

package sql

// registerVFS leaves SQLite to its own VFS: what is done on Linux was only tried there.
func registerVFS() (string, error) { return "", nil }
