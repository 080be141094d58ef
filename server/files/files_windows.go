package files

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const noWait = 0

// See files_unix.go for what these functions do.

func Lock(file *os.File) error { return lock(file, 0) }

func TryLock(file *os.File) (bool, error) {
	err := lock(file, windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// lock locks one byte far behind the end of the file. Windows keeps other processes from reading what is locked, and
// they may read the whole file.
func lock(file *os.File, flags uint32) error {
	place := &windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|flags, 0, 1, 0, place)
}

func OpenToOthers(fs.FileInfo) bool { return false }

func KeepOwner(_, _ *os.File) error { return nil }

func SyncFolder(string) error { return nil }

func OpenLimit() (uint64, error) { return 0, nil }
