package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"otpbridge/server/files"
)

// The limits of the files folder.
const (
	maxFile  = 64 << 10 // bytes of one file; profiles and keys are far smaller
	maxFiles = 1000
)

// Files are the files that channels may refer to: gateway profiles and DKIM keys. They are the regular files below one
// folder that the operator configures, read once, when the server or a command starts. So no value in an account or
// request makes the server open a file. Otherwise a chosen path could reveal whether a file exists, exhaust the memory
// with an endless device (/dev/zero), or block forever on a named pipe. The zero value has no files.
type Files struct {
	folder  string
	content map[string][]byte // by path below the folder, with slashes
	unfit   map[string]error  // why a file that exists cannot be used
}

// OpenFiles reads the files of a folder; an empty name means no folder. Symbolic links are followed if they lead to a
// place within it. A file that is not regular or over 64 KiB causes an error only when a channel names it.
func OpenFiles(folder string) (Files, error) {
	if folder == "" {
		return Files{}, nil
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return Files{}, err
	}
	about, err := os.Stat(absolute)
	if err == nil && !about.IsDir() { // opening a pipe would block
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
		text, err := readIn(root, path)
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
	errNoFile     = errors.New("names a file that was not in OTPBRIDGE_FILES_DIR at the start")
	errNoFolder   = errors.New("names a file, and OTPBRIDGE_FILES_DIR names no folder of files")
	errPath       = errors.New("names a path; an account names a file of OTPBRIDGE_FILES_DIR by its name alone")
)

// readIn reads a file within root. Accounts see its error, which says nothing that the system says.
func readIn(root *os.Root, path string) ([]byte, error) {
	text, err := files.ReadIn(root, path, maxFile)
	if errors.Unwrap(err) != nil {
		err = errUnreadable
	}
	return text, err
}

// read returns the content of a file that a setting names: by a path relative to the folder, or an absolute one within
// it. The error reveals nothing about files outside.
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

// readNamed returns the content of a file that an account names: a name without a path.
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
