package sql

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrMoved says that the file of a SQLite database, or one of the files that SQLite keeps beside it, was deleted,
// replaced, moved or emptied after it was opened. The open file would still accept commits, and a restart would find
// none of them.
var ErrMoved = errors.New("the database is no longer the one that was opened; put its files back or restore a " +
	"backup, and then restart the server")

// databaseFile compares an open SQLite database with the file at its path. A nil databaseFile, for a database that is
// not a file, is always in its place.
//
// The writer opens a new connection before it closes the old one, so SQLite never removes the log while the store is
// open. So if another log is at its path, somebody else put it there.
type databaseFile struct {
	path   string
	opened os.FileInfo
	filled bool // it has had content
	beside []besideFile
}

// besideFile is the log or its index. SQLite creates both with the first connection and removes them with the last.
type besideFile struct {
	path   string
	opened os.FileInfo // nil if SQLite has not created it yet
}

// watchFile returns the databaseFile of a file that was just opened. SQLite follows symbolic links and keeps its other
// files beside the target.
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

// found returns the size of the file at the path, or ErrMoved if it is not the opened one.
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

// connecting is called before a connection is opened; before the first one the file may be empty.
func (d *databaseFile) connecting() error {
	if d == nil || d.filled {
		return d.inPlace()
	}
	_, err := d.found()
	return err
}

// inPlace returns ErrMoved if another file, or none, is at one of the paths. It is called after every COMMIT, before
// the answer, and costs three calls of stat, some microseconds.
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
