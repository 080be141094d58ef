package sql

import "context"

// database is a kind of database that the store works with.
type database struct {
	scheme string // of its URLs, up to the colon
	form   string // of its URLs, for people
	open   func(ctx context.Context, databaseURL string, options Options) (*Store, error)
}

// databases returns every kind that is supported.
func databases() []database {
	return []database{
		{"sqlite", "sqlite:path/to/file.db", openSQLite},
		{"mysql", "mysql://user:password@host:3306/otpauthapi", openMySQL},
	}
}
