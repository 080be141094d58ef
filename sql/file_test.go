package sql

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// copied reads a file and writes another one.
func copied(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o600))
}

// Nothing is acknowledged that a restart would not find. Each case begins with a database at folder/data/otp.db,
// reached by the symbolic link folder/link.
func TestDo_AcknowledgesNothingOnceTheFileIsNotInItsPlace(t *testing.T) {
	cases := map[string]struct {
		harm func(t *testing.T, folder, path string)
		mend func(t *testing.T, folder, path string) // nil if only a restart helps
	}{
		"deleted": {harm: func(t *testing.T, _, path string) { require.NoError(t, os.Remove(path)) }},
		"deleted with all beside it": {harm: func(t *testing.T, _, path string) {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				require.NoError(t, os.Remove(path+suffix))
			}
		}},
		"renamed and back": {
			harm: func(t *testing.T, _, path string) { require.NoError(t, os.Rename(path, path+".old")) },
			mend: func(t *testing.T, _, path string) { require.NoError(t, os.Rename(path+".old", path)) },
		},
		"a copy renamed over it": {harm: func(t *testing.T, _, path string) {
			copied(t, path, path+".backup")
			require.NoError(t, os.Rename(path+".backup", path))
		}},
		"deleted and made anew, empty": {harm: func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}},
		"emptied": {harm: func(t *testing.T, _, path string) { require.NoError(t, os.Truncate(path, 0)) }},
		"a folder in its place": {harm: func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		}},
		"its folder renamed and back": {
			harm: func(t *testing.T, folder, _ string) {
				require.NoError(t, os.Rename(filepath.Join(folder, "data"), filepath.Join(folder, "other")))
			},
			mend: func(t *testing.T, folder, _ string) {
				require.NoError(t, os.Rename(filepath.Join(folder, "other"), filepath.Join(folder, "data")))
			},
		},
		"its folder renamed and a copy put there": {harm: func(t *testing.T, folder, path string) {
			require.NoError(t, os.Rename(filepath.Join(folder, "data"), filepath.Join(folder, "other")))
			require.NoError(t, os.Mkdir(filepath.Join(folder, "data"), 0o700))
			for _, suffix := range []string{"", "-wal", "-shm"} {
				copied(t, filepath.Join(folder, "other", "otp.db"+suffix), path+suffix)
			}
		}},
		"its folder deleted": {harm: func(t *testing.T, folder, _ string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "data")))
		}},
		"the log deleted": {harm: func(t *testing.T, _, path string) { require.NoError(t, os.Remove(path+"-wal")) }},
		"the log's copy renamed over it": {harm: func(t *testing.T, _, path string) {
			copied(t, path+"-wal", path+"-wal2")
			require.NoError(t, os.Rename(path+"-wal2", path+"-wal"))
		}},
		"the log's index deleted": {harm: func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path+"-shm"))
		}},
		"the link re-pointed and back": {
			harm: func(t *testing.T, folder, path string) {
				copied(t, path, filepath.Join(folder, "copy.db"))
				require.NoError(t, os.Remove(filepath.Join(folder, "link")))
				require.NoError(t, os.Symlink("copy.db", filepath.Join(folder, "link")))
			},
			mend: func(t *testing.T, folder, path string) {
				require.NoError(t, os.Remove(filepath.Join(folder, "link")))
				require.NoError(t, os.Symlink(path, filepath.Join(folder, "link")))
			},
		},
		"the link deleted": {harm: func(t *testing.T, folder, _ string) {
			require.NoError(t, os.Remove(filepath.Join(folder, "link")))
		}},
	}
	for name, c := range cases {
		for _, reading := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reading %v", strings.ReplaceAll(name, ",", ""), reading), func(t *testing.T) {
				folder := t.TempDir()
				path := filepath.Join(folder, "data", "otp.db")
				require.NoError(t, os.Mkdir(filepath.Join(folder, "data"), 0o700))
				require.NoError(t, os.WriteFile(path, nil, 0o600))
				require.NoError(t, os.Symlink(filepath.Join("data", "otp.db"), filepath.Join(folder, "link")))
				s := openTest(t, "sqlite:"+filepath.Join(folder, "link"), Options{})
				op, _ := generate(nextID(), nextID(), policy, noon)
				require.NoError(t, s.Do(op))
				require.NoError(t, s.Ready(ctx))
				if reading {
					require.Equal(t, 1, count(t, s, `SELECT COUNT(*) FROM challenges`))
				}

				c.harm(t, folder, path)
				for range 2 { // the error stays
					op, _ = generate(nextID(), nextID(), policy, noon)
					require.ErrorIs(t, s.Do(op), ErrMoved)
					require.ErrorIs(t, s.Ready(ctx), ErrMoved, "not ready")
				}
				for range 2 { // with a new connection too
					s.writer.forget()
					op, _ = generate(nextID(), nextID(), policy, noon)
					require.ErrorIs(t, s.Do(op), ErrMoved)
				}
				if c.mend == nil {
					return
				}
				c.mend(t, folder, path)
				op, _ = generate(nextID(), nextID(), policy, noon)
				require.NoError(t, s.Do(op))
				require.NoError(t, s.Ready(ctx))
			})
		}
	}
}

// A new connection finds the file in its place.
func TestDo_ANewConnectionFindsTheSameFile(t *testing.T) {
	s := fresh(t)
	for range 5 {
		op, _ := generate(nextID(), nextID(), policy, noon)
		require.NoError(t, s.Do(op))
		s.writer.forget()
	}
	require.Equal(t, 5, count(t, s, `SELECT COUNT(*) FROM challenges`))
}

func BenchmarkInPlace(b *testing.B) {
	s := fresh(b)
	for b.Loop() {
		if err := s.writer.file.inPlace(); err != nil {
			b.Fatal(err)
		}
	}
}
