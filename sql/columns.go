package sql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// MissingColumns lists the tables and columns that the migrations make and the database lacks, as table or
// table.column. Additional ones are ignored.
func (s *Store) MissingColumns(ctx context.Context) (missing []string, err error) {
	wanted, err := wantedColumns()
	if err != nil {
		return nil, fmt.Errorf("make a schema to compare with: %w", err)
	}
	there, err := s.columns(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the tables' columns: %w", err)
	}
	lacking := ""
	for _, column := range wanted {
		table, _, _ := strings.Cut(column, ".")
		switch {
		case slices.Contains(there, column) || table == lacking:
		case !slices.ContainsFunc(there, func(have string) bool { return strings.HasPrefix(have, table+".") }):
			lacking = table
			missing = append(missing, table)
		default:
			missing = append(missing, column)
		}
	}
	return missing, nil
}

// wantedColumns returns the columns of a new database, made in memory once. They have the same names in every dialect.
var wantedColumns = sync.OnceValues(func() (columns []string, err error) {
	fresh, db, err := sqliteMemory()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := fresh.migrate(context.Background(), db); err != nil {
		return nil, err
	}
	return fresh.columns(context.Background())
})

// columns lists every table.column in lower case, sorted.
func (s *Store) columns(ctx context.Context) (columns []string, err error) {
	err = s.reads.SelectContext(ctx, &columns, s.dialect.columns)
	for i := range columns {
		columns[i] = strings.ToLower(columns[i])
	}
	slices.Sort(columns)
	return columns, err
}
