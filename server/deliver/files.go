package deliver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The limits of the folder of files.
const (
	maxFile  = 64 << 10 // bytes of one file; a profile or a key has a few
	maxFiles = 1000
)

// Files are what channels may name a file of: profiles of gateways and keys of DKIM. They are the regular
// files below one folder that the operator configures, read once, when the server or a command starts. So
// nothing that an account or a request says makes the server open a file: a path of somebody else's choice
// would tell whether a file exists, end the process by a device that has no end (/dev/zero), or hold whoever
// reads a named pipe for ever. The zero value has none.
type Files struct {
	folder  string
	content map[string][]byte // by path below the folder, with slashes
	unfit   map[string]error  // why one that is there cannot be used
}

// OpenFiles reads the files of a folder; empty is no folder. Symbolic links are followed where they lead to
// a place within it. What is not a regular file of at most 64 KiB is left out until a channel names it.
func OpenFiles(folder string) (Files, error) {
	if folder == "" {
		return Files{}, nil
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return Files{}, err
	}
	about, err := os.Stat(absolute)
	if err == nil && !about.IsDir() { // opened, a pipe would be waited for
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return Files{}, fmt.Errorf("open the folder of files: %w", err)
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return Files{}, fmt.Errorf("open the folder of files: %w", err)
	}
	defer root.Close()
	f := Files{folder: absolute, content: map[string][]byte{}, unfit: map[string]error{}}
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == ".":
			return fmt.Errorf("read the folder of files: %w", err)
		case err != nil:
			f.unfit[path] = errUnreadable
			return nil
		case entry.IsDir():
			return nil
		case len(f.content)+len(f.unfit) >= maxFiles:
			return fmt.Errorf("the folder of files has more than %d; give it a folder of its own", maxFiles)
		}
		text, err := readRegular(root, path)
		if err != nil {
			f.unfit[path] = err
			return nil
		}
		f.content[path] = text
		return nil
	})
	return f, err
}

var (
	errUnreadable = errors.New("names a file that this user may not read")
	errIrregular  = errors.New("names something that is not a regular file")
	errLarge      = fmt.Errorf("names a file of more than %d KiB", maxFile>>10)
	errNoFile     = errors.New("names a file that was not in OTPBRIDGE_FILES_DIR at the start")
	errNoFolder   = errors.New("names a file, and OTPBRIDGE_FILES_DIR names no folder of files")
	errPath       = errors.New("names a path; an account names a file of OTPBRIDGE_FILES_DIR by its name alone")
)

// readRegular reads a file within root without ever waiting for it: what is not regular is not opened, and a
// pipe that takes its place in between does not block.
func readRegular(root *os.Root, path string) ([]byte, error) {
	if about, err := root.Stat(path); err != nil {
		return nil, errUnreadable
	} else if !about.Mode().IsRegular() {
		return nil, errIrregular
	}
	file, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errUnreadable
	}
	defer file.Close()
	if about, err := file.Stat(); err != nil || !about.Mode().IsRegular() {
		return nil, errIrregular
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, errUnreadable
	case len(text) > maxFile:
		return nil, errLarge
	}
	return text, nil
}

// read returns the content of a file that a setting names, by its path in the folder or by one that lies in
// it. The error says nothing of what is outside.
func (f Files) read(path string) ([]byte, error) {
	if f.folder == "" {
		return nil, errNoFolder
	}
	if filepath.IsAbs(path) {
		below, err := filepath.Rel(f.folder, path)
		if err != nil || !filepath.IsLocal(below) {
			return nil, errNoFile
		}
		path = below
	}
	return f.at(filepath.ToSlash(filepath.Clean(path)))
}

// readNamed returns the content of a file that an account names: by a name without a path.
func (f Files) readNamed(name string) ([]byte, error) {
	if strings.ContainsAny(name, `/\`) || name == "." || name == ".." {
		return nil, errPath
	}
	if f.folder == "" {
		return nil, errNoFolder
	}
	return f.at(name)
}

func (f Files) at(path string) ([]byte, error) {
	if err := f.unfit[path]; err != nil {
		return nil, err
	}
	text, found := f.content[path]
	if !found {
		return nil, errNoFile
	}
	return text, nil
}

// file returns the content of a file that a channel's URL names.
func (o Options) file(name string) ([]byte, error) {
	if o.Account {
		return o.Files.readNamed(name)
	}
	return o.Files.read(name)
}
