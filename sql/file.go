package sql

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrMoved says that a SQLite database's file is no longer where it was opened: deleted, replaced,
// moved or emptied, itself or one of the files that SQLite keeps beside it. The open file would go on
// taking commits, and a restart would find none of them.
var ErrMoved = errors.New("the database is no longer the one that was opened; put its files back or restore a " +
	"backup, and then restart the server")

// databaseFile compares a SQLite database that is open with what its path leads to. A nil one, of a
// database that is no file, is always in its place.
//
// The writer opens a new connection before it closes the old one, so that SQLite never removes the
// log as long as the store is open. A new log in its place was therefore put there by somebody else.
type databaseFile struct {
	path   string
	opened os.FileInfo
	filled bool // it had content once
	beside []besideFile
}

// besideFile is the log or its index. SQLite makes them with the first connection and removes them
// with the last.
type besideFile struct {
	path   string
	opened os.FileInfo // nil if SQLite has not made it yet
}

// watchFile begins with the file as it is opened now. SQLite follows symbolic links and keeps its
// other files beside the target.
func watchFile(path string, file *os.File) (*databaseFile, error) {
	opened, err := file.Stat()
	if err != nil {
		return nil, err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return &databaseFile{
		path:   path,
		opened: opened,
		beside: []besideFile{{path: target + "-wal"}, {path: target + "-shm"}},
	}, nil
}

// found returns the size of the file if its path leads to the one that was opened.
func (d *databaseFile) found() (size int64, err error) {
	now, err := os.Stat(d.path)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrMoved, err)
	case !os.SameFile(now, d.opened):
		return 0, fmt.Errorf("%w: another file is at %s", ErrMoved, d.path)
	}
	return now.Size(), nil
}

// connecting is asked before a connection is opened. The file may be empty before the first one.
func (d *databaseFile) connecting() error {
	if d == nil || d.filled {
		return d.inPlace()
	}
	_, err := d.found()
	return err
}

// inPlace returns ErrMoved if a path leads elsewhere by now. It costs three calls of stat, some
// microseconds, and is asked after every COMMIT and before it is answered.
func (d *databaseFile) inPlace() error {
	if d == nil {
		return nil
	}
	size, err := d.found()
	if err != nil {
		return err
	}
	if size == 0 {
		return fmt.Errorf("%w: %s was emptied", ErrMoved, d.path)
	}
	d.filled = true
	for i := range d.beside {
		beside := &d.beside[i]
		now, err := os.Stat(beside.path)
		switch {
		case beside.opened == nil && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("%w: %w", ErrMoved, err)
		case beside.opened == nil:
			beside.opened = now
		case !os.SameFile(now, beside.opened):
			return fmt.Errorf("%w: another file is at %s", ErrMoved, beside.path)
		}
	}
	return nil
}
