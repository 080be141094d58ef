package sql

import (
	"cmp"
	"context"
	"errors"
)

// fate is what an error means for its batch. The dialects assign fates to the errors of databases.
type fate int

const (
	// faulty may be caused by one operation: the operations are run again one by one.
	faulty fate = iota
	// again is caused by another writer: the whole batch runs again.
	again
	// lost is a connection or a disk that failed: the batch fails at once. If its COMMIT failed, it may have happened.
	lost
	// refused is a database that would now refuse every batch: full, read-only, damaged or without the necessary
	// rights. The batch fails at once, and nothing of it happened.
	refused
)

// errGuard says that a guarded write did not find the version it was decided on.
var errGuard = errors.New("row changed between load and write")

// transact runs do in a transaction of the writer. It fails if the committed data is not in the file that the
// database's path names.
//
// After a failure the connection is opened again for the next transaction: a disk that was read-only when SQLite
// opened a file on it stays so for that connection. After a file was moved it is not, because a new connection would
// use the file in its place as the database.
func (s *Store) transact(ctx context.Context, do func(*session) error) error {
	err := s.writer.transaction(ctx, s.dialect.begin, func(w *session) error {
		if err := s.witness.settle(ctx, w); err != nil {
			return err
		}
		return do(w)
	})
	if err == nil {
		return cmp.Or(s.witness.committed(), s.writer.file.inPlace())
	}
	s.witness.failed()
	if errors.Is(err, ErrRestored) {
		s.outdate.Do(func() { close(s.outdated) })
	}
	if f := s.fate(err); (f == lost || f == refused) && !errors.Is(err, ErrMoved) {
		s.writer.forget()
	}
	return err
}

func (s *Store) fate(err error) fate {
	switch {
	case errors.Is(err, errGuard):
		return again
	case errors.Is(err, errConnect): // refused, full or gone, but not caused by an operation
		return lost
	case errors.Is(err, ErrMoved), errors.Is(err, ErrRestored):
		return refused
	}
	return s.dialect.fate(err)
}
