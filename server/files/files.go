// Package files opens the files that settings and commands name, and holds what differs between operating systems.
//
// Only regular files are opened, and opening never waits. A pipe would hold the server for ever, a device without an
// end would fill its memory, and what is appended to a pipe is kept nowhere. Links are followed, because orchestrators
// mount secrets by them.
//
// Unless a comment says otherwise, the errors complete a sentence that begins with the name of the setting, quote no
// path, because it may be a secret in the wrong variable, and wrap what the system says. [Named] makes the sentence.
package files

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrIrregular is the error for a pipe, a device, a socket or a folder.
var ErrIrregular = errors.New("names something that is not a regular file")

// Named returns the error for whoever wrote the setting.
func Named(setting string, err error) error {
	return fmt.Errorf("%s %w; write the path of a regular file that this user may use", setting, err)
}

// Read returns the content of a file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) { return read(system{}, path, limit) }

// ReadIn is Read for a file within root.
func ReadIn(root *os.Root, path string, limit int64) ([]byte, error) { return read(root, path, limit) }

// Open opens a file with the flags of [os.OpenFile]. A new file is its owner's alone.
func Open(path string, flag int) (*os.File, error) { return open(system{}, path, flag) }

// OpenIn is Open for a file within root.
func OpenIn(root *os.Root, path string, flag int) (*os.File, error) { return open(root, path, flag) }

// Append opens a file for writing at its end, and makes it if it is not there.
func Append(path string) (*os.File, error) { return Open(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY) }

// WriteWhole writes text at the end of a file that [Append] opened. If only a part fits, as on a full disk, it takes
// that part back: whoever reads the file later could not tell it from the text that is written next.
func WriteWhole(file *os.File, text string) error {
	about, err := file.Stat()
	if err != nil {
		return err
	}
	n, err := file.WriteString(text)
	if err == nil || n == 0 {
		return err
	}
	if now, statErr := file.Stat(); statErr == nil && now.Size() == about.Size()+int64(n) { // nobody else wrote
		err = errors.Join(err, file.Truncate(about.Size()))
	}
	return err
}

// maxPEM is the size of a file of certificates or of a key at most, in bytes: all authorities of a system and more.
const maxPEM = 1 << 20

// ReadPEM returns the content of a file of certificates or of a key.
func ReadPEM(path string) ([]byte, error) { return Read(path, maxPEM) }

// KeyPair returns a certificate with the key that belongs to it. certSetting and keySetting name the two files.
func KeyPair(certSetting, certFile, keySetting, keyFile string) (tls.Certificate, error) {
	cert, err := ReadPEM(certFile)
	if err != nil {
		return tls.Certificate{}, Named(certSetting, err)
	}
	key, err := ReadPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, Named(keySetting, err)
	}
	return tls.X509KeyPair(cert, key)
}

// opener is the whole file system or an [os.Root].
type opener interface {
	Stat(name string) (fs.FileInfo, error)
	OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error)
}

type system struct{}

func (system) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (system) OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, mode)
}

func read(from opener, path string, limit int64) ([]byte, error) {
	file, err := open(from, path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, refused(err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("names a file of more than %d KiB", limit>>10)
	}
	return content, nil
}

// open looks before it opens, because opening some devices does something, and afterwards, because a pipe may have
// taken the file's place.
func open(from opener, path string, flag int) (*os.File, error) {
	if about, err := from.Stat(path); err == nil && !about.Mode().IsRegular() {
		return nil, ErrIrregular
	}
	file, err := from.OpenFile(path, flag|noWait, 0o600)
	if err != nil {
		return nil, refused(err)
	}
	about, err := file.Stat()
	if err == nil && about.Mode().IsRegular() {
		return file, nil
	}
	return nil, errors.Join(ErrIrregular, err, file.Close())
}

// refused returns what the system says without the path.
func refused(err error) error {
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	return fmt.Errorf("names a file that cannot be opened: %w", err)
}
