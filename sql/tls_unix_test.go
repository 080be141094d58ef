//go:build unix

package sql

import (
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// No file that the database's URL names makes the start wait or read without end.
func TestMySQLConfig_ReadsRegularFilesOnly(t *testing.T) {
	folder := t.TempDir()
	pipe, link, large := filepath.Join(folder, "pipe"), filepath.Join(folder, "link"), filepath.Join(folder, "large")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink(pipe, link))
	require.NoError(t, os.WriteFile(large, nil, 0o600))
	require.NoError(t, os.Truncate(large, 2<<20))
	plain := filepath.Join(folder, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("nothing"), 0o600))
	for _, path := range []string{pipe, link, large, folder, "/dev/zero", os.DevNull, filepath.Join(folder, "nothing")} {
		for _, option := range []string{"tls-ca", "tls-cert", "tls-key"} {
			query := url.Values{"tls-cert": {plain}, "tls-key": {plain}, option: {path}}
			_, err := mysqlConfig("mysql://a:b@db/otp?" + query.Encode())
			require.ErrorContains(t, err, option+" names", path)
			require.ErrorContains(t, err, "regular file that this user may use")
		}
	}
}
