package sql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite writes its log a frame at a time, and a frame as a header of 24 bytes and then a page:
// two system calls for each page of a transaction, some eighty for a batch, which took a twelfth
// of the server's time. Through the VFS of this file, SQLite's interface to the operating system,
// frames are gathered and written together.
//
// Nobody can tell, because of what SQLite promises about its log: only the holder of the write
// lock writes to it, and nobody looks for a frame before the wal-index speaks of it, which is
// after the frame that commits was written. So that frame ends the gathering. All of it is
// written before the call returns that wrote this frame, and SQLite syncs the file after that.
// What is gathered is also written before anything else is done with the file, such as reading
// it, and when it grows too long. So writes keep their order, and an error is reported to the
// transaction that it belongs to.
//
// What is left when the write lock is given back was never committed. It is forgotten, since
// its place in the log is now the next writer's, who may be another process.
//
// All else is done by SQLite's own VFS: it opens the files, and of their methods only those
// below are replaced.

// gatheringVFS is the name by which the connection that writes asks for it.
const gatheringVFS = "otpbridge"

// maxGathered bounds what is gathered, in bytes: SQLite's own xWrite passes on only the lower 17
// bits of a length.
const maxGathered = 1<<17 - 1

// openFile is a database that SQLite has open through this VFS, or its log.
type openFile struct {
	methods uintptr                 // that SQLite calls
	own     lib.Tsqlite3_io_methods // that it would call without us
	frames  *frames                 // of the log; a database and its log share them
}

// frames are what was written to a log and is not in the file yet.
type frames struct {
	bytes   []byte
	offset  int64 // of the first of them in the file
	end     int64 // of what was written last, whether it was gathered or not
	commits bool  // the page that comes next completes a transaction
}

// openFiles has each by its address, which is all that SQLite passes on. What is done with one
// file is serialised by the mutex of its connection.
var openFiles = struct {
	sync.RWMutex
	at map[uintptr]*openFile
}{at: map[uintptr]*openFile{}}

// ordinary is the address of SQLite's own VFS.
var ordinary uintptr

// registerVFS makes the VFS known to SQLite, once, and returns its name.
var registerVFS = sync.OnceValues(func() (string, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	if ordinary = lib.Xsqlite3_vfs_find(tls, 0); ordinary == 0 {
		return "", errors.New("no VFS of SQLite is registered")
	}
	name, err := libc.CString(gatheringVFS) // stays allocated, as the VFS stays registered
	if err != nil {
		return "", fmt.Errorf("name the VFS: %w", err)
	}
	gathering := *at[lib.Tsqlite3_vfs](ordinary)
	gathering.FpNext, gathering.FzName, gathering.FxOpen = 0, name, pointer(xOpen)
	address := allocated(tls, gathering)
	if address == 0 {
		return "", errors.New("no memory for the VFS")
	}
	if code := lib.Xsqlite3_vfs_register(tls, address, 0); code != lib.SQLITE_OK {
		return "", fmt.Errorf("register the VFS: code %d", code)
	}
	return gatheringVFS, nil
})

// at is the value at an address in SQLite's memory, which is none of Go's.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// allocated copies a value into such memory; 0 is that there is none. What SQLite points to must
// not be Go's, which with the race detector refuses pointers that were numbers.
func allocated[T any](tls *libc.TLS, value T) uintptr {
	address := libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(value)))
	if address != 0 {
		*at[T](address) = value
	}
	return address
}

// pointer is a declared function, as SQLite keeps it after its translation from C to Go.
func pointer[F any](function F) uintptr { return *(*uintptr)(unsafe.Pointer(&function)) }

// function is what pointer was made of.
func function[F any](pointer uintptr) F { return *(*F)(unsafe.Pointer(&pointer)) }

type (
	openMethod   = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	dataMethod   = func(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32
	sizeMethod   = func(tls *libc.TLS, file uintptr, size int64) int32
	flagsMethod  = func(tls *libc.TLS, file uintptr, flags int32) int32
	resultMethod = func(tls *libc.TLS, file, result uintptr) int32
	lockMethod   = func(tls *libc.TLS, file uintptr, offset, n, flags int32) int32
	closeMethod  = func(tls *libc.TLS, file uintptr) int32
)

func xOpen(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	code := function[openMethod](at[lib.Tsqlite3_vfs](ordinary).FxOpen)(tls, ordinary, name, file, flags, outFlags)
	if code != lib.SQLITE_OK || flags&(lib.SQLITE_OPEN_MAIN_DB|lib.SQLITE_OPEN_WAL) == 0 {
		return code
	}
	f := &openFile{own: *at[lib.Tsqlite3_io_methods](at[lib.Tsqlite3_file](file).FpMethods)}
	methods := f.own
	methods.FxClose = pointer(xClose)
	if flags&lib.SQLITE_OPEN_MAIN_DB != 0 {
		f.frames = new(frames)
		methods.FxShmLock = pointer(xShmLock)
	} else {
		f.frames = opened(lib.Xsqlite3_database_file_object(tls, name)).frames
		methods.FxWrite, methods.FxSync = pointer(xWrite), pointer(xSync)
		methods.FxRead, methods.FxTruncate, methods.FxFileSize = pointer(xRead), pointer(xTruncate), pointer(xFileSize)
	}
	if f.methods = allocated(tls, methods); f.methods == 0 {
		function[closeMethod](f.own.FxClose)(tls, file)
		at[lib.Tsqlite3_file](file).FpMethods = 0
		return lib.SQLITE_NOMEM
	}
	openFiles.Lock()
	openFiles.at[file] = f
	openFiles.Unlock()
	at[lib.Tsqlite3_file](file).FpMethods = f.methods
	return lib.SQLITE_OK
}

func opened(file uintptr) *openFile {
	openFiles.RLock()
	defer openFiles.RUnlock()
	return openFiles.at[file]
}

func xClose(tls *libc.TLS, file uintptr) int32 {
	f := opened(file)
	f.frames.forget()
	openFiles.Lock()
	delete(openFiles.at, file)
	openFiles.Unlock()
	code := function[closeMethod](f.own.FxClose)(tls, file)
	libc.Xfree(tls, f.methods)
	return code
}

// xShmLock is a method of the database, whose file stands for the log's where locks are concerned.
func xShmLock(tls *libc.TLS, file uintptr, offset, n, flags int32) int32 {
	const writeLock = 0
	f := opened(file)
	if flags&lib.SQLITE_SHM_UNLOCK != 0 && offset == writeLock {
		f.frames.forget()
	}
	return function[lockMethod](f.own.FxShmLock)(tls, file, offset, n, flags)
}

// xWrite gathers what continues the last write, and makes any other write at once: SQLite
// overwrites pages of a transaction that was too large for its cache, and then their checksums.
func xWrite(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	const header = 24 // bytes; nothing else that is written to a log is as short
	f := opened(file)
	g := f.frames
	bytes := unsafe.Slice(at[byte](data), n)
	continues := offset == g.end
	committed := g.commits && n != header
	g.commits = n == header && binary.BigEndian.Uint32(bytes[4:]) != 0 // the database's size after the commit
	if !continues || len(g.bytes)+len(bytes) > maxGathered {
		if code := f.flush(tls, file); code != lib.SQLITE_OK {
			return code
		}
	}
	g.end = offset + int64(n)
	if !continues {
		return function[dataMethod](f.own.FxWrite)(tls, file, data, n, offset)
	}
	if len(g.bytes) == 0 {
		g.offset = offset
	}
	g.bytes = append(g.bytes, bytes...)
	if committed {
		return f.flush(tls, file)
	}
	return lib.SQLITE_OK
}

// flush writes what was gathered. After an error it is kept: nothing may be missing from the file
// for as long as the transaction can still be committed.
func (f *openFile) flush(tls *libc.TLS, file uintptr) int32 {
	g := f.frames
	if len(g.bytes) == 0 {
		return lib.SQLITE_OK
	}
	code := function[dataMethod](f.own.FxWrite)(tls, file, uintptr(unsafe.Pointer(&g.bytes[0])), int32(len(g.bytes)), g.offset)
	runtime.KeepAlive(g.bytes)
	if code == lib.SQLITE_OK {
		g.bytes = g.bytes[:0]
	}
	return code
}

func (g *frames) forget() { g.bytes, g.commits = g.bytes[:0], false }

func xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := opened(file)
	if code := f.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return function[flagsMethod](f.own.FxSync)(tls, file, flags)
}

func xRead(tls *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	f := opened(file)
	if code := f.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return function[dataMethod](f.own.FxRead)(tls, file, data, n, offset)
}

func xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := opened(file)
	if code := f.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return function[sizeMethod](f.own.FxTruncate)(tls, file, size)
}

func xFileSize(tls *libc.TLS, file, size uintptr) int32 {
	f := opened(file)
	if code := f.flush(tls, file); code != lib.SQLITE_OK {
		return code
	}
	return function[resultMethod](f.own.FxFileSize)(tls, file, size)
}
