//go:build unix

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// noWait is the flag with which opening a pipe does not wait for its other end.
const noWait = syscall.O_NONBLOCK

// Lock waits until no other process has locked the file. Closing the file releases the lock.
func Lock(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }

// TryLock locks the file and reports whether it could. Another process may have locked it.
func TryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// OpenToOthers reports whether others than its owner may read or write a file. On Windows it is always false, because
// the mode does not tell.
func OpenToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// KeepOwner gives a file the owner of another one. On Windows it does nothing.
func KeepOwner(from, to *os.File) error {
	was, err := from.Stat()
	if err != nil {
		return err
	}
	is, err := to.Stat()
	if err != nil {
		return err
	}
	owner, now := was.Sys().(*syscall.Stat_t), is.Sys().(*syscall.Stat_t)
	if owner.Uid == now.Uid && owner.Gid == now.Gid {
		return nil
	}
	if err := to.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("keep its owner: %w; run this as root or as the owner", err)
	}
	return nil
}

// SyncFolder makes new names in a folder survive a power cut. On Windows it does nothing: NTFS writes names to its
// journal, and a folder cannot be synced.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// OpenLimit returns how many files this process may have open. On Windows it is 0, because there is no limit.
func OpenLimit() (uint64, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err
}
