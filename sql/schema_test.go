package sql

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"otpbridge/sql/sqltest"
)

func TestOpen_RequiringASchemaMakesNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "folder", "otp.db")
	for _, policy := range []SchemaPolicy{RequireSchema, AnySchema} {
		_, err := Open(ctx, "sqlite:"+missing, Options{Schema: policy})
		require.ErrorIs(t, err, ErrNoDatabase)
		require.NoDirExists(t, filepath.Dir(missing))
	}
	onEmpty(t, func(t *testing.T, databaseURL string) {
		if path, isFile := strings.CutPrefix(databaseURL, "sqlite:"); isFile {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		_, err := Open(ctx, databaseURL, Options{Schema: RequireSchema})
		require.ErrorAs(t, err, new(SchemaError))
		require.ErrorContains(t, err, "otpbridge migrate up")
		looking := openTest(t, databaseURL, Options{Schema: AnySchema})
		schema, err := looking.Schema(ctx)
		require.NoError(t, err)
		require.Zero(t, schema.Version)
		for _, migration := range schema.Migrations {
			require.Nil(t, migration.AppliedAt, migration.Name)
		}
		require.Zero(t, count(t, looking, looking.dialect.tables+` <> ''`), "looking made a table")

		openTest(t, databaseURL, Options{})
		schema, err = looking.Schema(ctx)
		require.NoError(t, err)
		require.Equal(t, schema.Latest, schema.Version)
		for _, migration := range schema.Migrations {
			require.False(t, migration.AppliedAt.IsZero(), migration.Name)
		}
		openTest(t, databaseURL, Options{Schema: RequireSchema})
	})
}

func TestOpen_RefusesASchemaThatIsNewer(t *testing.T) {
	onFresh(t, func(t *testing.T, s *Store) {
		require.NoError(t, s.write(ctx, func(w *session) error {
			return w.exec(ctx, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
		}))
		schema, err := s.Schema(ctx)
		require.NoError(t, err)
		require.ErrorContains(t, SchemaError{schema}, "version 99, made by a newer program")
	})
}

func TestJudgeGrants_TellsTooLittleFromTooMuch(t *testing.T) {
	const usage = "GRANT USAGE ON *.* TO `otp`@`%` IDENTIFIED BY PASSWORD '*X'"
	serving := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	for _, tt := range []struct {
		name                        string
		grants                      []string
		missing, excess, unchanging []string
	}{
		{"what the page grants", []string{usage, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, ALTER ON " +
			"`otpauthapi`.* TO `otp`@`%`"}, nil, nil, nil},
		{"serving alone", []string{usage, "GRANT SELECT, INSERT, UPDATE, DELETE ON `otpauthapi`.* TO `otp`@`%`"}, nil, nil,
			[]string{"CREATE", "ALTER", "INDEX"}},
		{"nothing", []string{usage}, serving, nil, []string{"CREATE", "ALTER", "INDEX"}},
		{"another schema", []string{usage, "GRANT SELECT, INSERT, UPDATE, DELETE ON `other`.* TO `otp`@`%`"}, serving,
			[]string{"SELECT on other.*", "INSERT on other.*", "UPDATE on other.*", "DELETE on other.*"}, []string{"CREATE",
				"ALTER", "INDEX"}},
		{"all of the schema", []string{usage, "GRANT ALL PRIVILEGES ON `otpauthapi`.* TO `otp`@`%`"}, nil,
			[]string{"ALL PRIVILEGES on otpauthapi.*"}, nil},
		{"root", []string{"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"}, nil,
			[]string{"ALL PRIVILEGES on *.*", "GRANT OPTION on *.*"}, nil},
		{"an escaped name", []string{usage, "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, ALTER ON " +
			"`otpauth\\api`.* TO `otp`@`%`"}, nil, nil, nil},
		{"a role", []string{usage, "GRANT `servers` TO `otp`@`%`"}, nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Condition
			c.judgeGrants(tt.grants, "otpauthapi")
			require.Equal(t, tt.missing, c.Missing)
			require.Equal(t, tt.excess, c.Excess)
			require.Equal(t, tt.unchanging, c.Unchanging)
		})
	}
}

// Servers of the previous version keep running during a migration, and the schema's user has no DROP: so a migration
// removes nothing. The first five made the schema before its first release.
func TestMigrations_OnlyAdd(t *testing.T) {
	files, err := migrationFiles.ReadDir("migrations")
	require.NoError(t, err)
	judged := 0
	for _, file := range files {
		if file.Name() < "00006" {
			continue
		}
		text, err := migrationFiles.ReadFile("migrations/" + file.Name())
		require.NoError(t, err)
		_, up, found := strings.Cut(string(text), "-- +goose Up\n")
		require.True(t, found, file.Name())
		up, _, _ = strings.Cut(up, "-- +goose Down\n")
		require.NotRegexp(t, `(?i)\b(DROP|RENAME|MODIFY|CHANGE|TRUNCATE)\b`, up, file.Name())
		judged++
	}
	require.Positive(t, judged)
}

// A schema that was made with another character set holds the same text as every other. goose's own tables hold none.
func TestMigrations_TextIsUTF8WhateverTheSchemaIs(t *testing.T) {
	databaseURL := sqltest.Shared(t).Schema(t)
	db := sqltest.Connect(t, databaseURL)
	_, err := db.Exec(`ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_swedish_ci`)
	require.NoError(t, err)
	openTest(t, databaseURL, Options{})
	rows, err := db.Query(`
		SELECT CONCAT(table_name, '.', column_name, ' ', collation_name)
		FROM information_schema.columns
		WHERE table_schema = DATABASE() AND collation_name <> 'utf8mb4_bin' AND table_name NOT LIKE 'goose%'`)
	require.NoError(t, err)
	defer rows.Close()
	others := []string{}
	for rows.Next() {
		var column string
		require.NoError(t, rows.Scan(&column))
		others = append(others, column)
	}
	require.NoError(t, rows.Err())
	require.Empty(t, others)
}

// An older database, with a server's deliveries in progress, is brought up to date and keeps its history.
func TestMigrate_ADatabaseWithWatermarksKeepsItsHistory(t *testing.T) {
	onEmpty(t, func(t *testing.T, databaseURL string) {
		s, err := Open(ctx, databaseURL, Options{})
		require.NoError(t, err)
		recipient, slot := nextID(), nextID()
		op, made := generate(recipient, slot, policy, noon)
		require.NoError(t, s.Do(op))
		require.NoError(t, s.write(ctx, func(w *session) error {
			for _, statement := range []string{
				`UPDATE events SET watched_by = recipient_hash`,
				`INSERT INTO outbox_watermarks SELECT recipient_hash, id, 1 FROM events`,
			} {
				if err := w.exec(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		}))
		require.NoError(t, s.Close())
		rewind(t, databaseURL, 13)

		s = openTest(t, databaseURL, Options{})
		schema, err := s.Schema(ctx)
		require.NoError(t, err)
		require.Equal(t, schema.Latest, schema.Version)
		require.Equal(t, 1, count(t, s, s.dialect.tables+` = 'outbox_watermarks'`),
			"a server of the version before still writes it")
		history, err := s.Challenges.History(ctx, made.ID)
		require.NoError(t, err)
		require.Len(t, history, 1)
		require.NoError(t, s.Do(verify(recipient, slot, true, noon)), "the code is good still")
	})
}

// rewind takes a database's schema back to a version.
func rewind(t *testing.T, databaseURL string, version int64) {
	t.Helper()
	dialect := sqliteDialect
	path, isFile := strings.CutPrefix(databaseURL, "sqlite:")
	db, err := sqliteWriter(path)
	if !isFile {
		dialect = mysqlDialect
		config, broken := mysqlConfig(databaseURL)
		require.NoError(t, broken)
		config.ParseTime = true
		db, err = sql.Open("mysql", config.FormatDSN())
	}
	require.NoError(t, err)
	defer db.Close()
	files, err := dialect.migrations()
	require.NoError(t, err)
	provider, err := goose.NewProvider(dialect.goose, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	require.NoError(t, err)
	_, err = provider.DownTo(ctx, version)
	require.NoError(t, err)
}
