package main

import (
	"context"
	"fmt"
	"io"

	"otpbridge/config"
	"otpbridge/sql"
)

type migrateCommand struct {
	Up     migrateUpCommand     `cmd:"" help:"Bring the database's schema up to date; makes a SQLite file that is missing."`
	Status migrateStatusCommand `cmd:"" help:"Show which versions of the schema were applied."`
}

type migrateUpCommand struct{ asJSON }

type migrateStatusCommand struct{ asJSON }

// Help implements kong.HelpProvider.
func (migrateUpCommand) Help() string {
	return `A server does the same when it starts. Use the command if the server's database user may not change the schema:

    OTPBRIDGE_DATABASE_URL=mysql://admin:...@db/otpauthapi otpbridge migrate up

It may be repeated, and may run while servers of the former version run.`
}

// Help implements kong.HelpProvider.
func (migrateStatusCommand) Help() string {
	return `Changes nothing. The exit code is 1 if a migration has to be applied:

    otpbridge migrate status || otpbridge migrate up`
}

// schemaOf opens the database that the settings name, and reads its schema's version.
func schemaOf(p process, policy sql.SchemaPolicy) (schema sql.Schema, settings config.Settings, err error) {
	ctx := context.Background()
	if settings, err = config.Load(p.environ); err != nil {
		return schema, settings, err
	}
	store, err := openStore(ctx, settings, policy)
	if err != nil {
		return schema, settings, err
	}
	defer store.Close()
	schema, err = store.Schema(ctx)
	return schema, settings, err
}

// Run applies the missing migrations.
func (m migrateUpCommand) Run(p process) error {
	schema, settings, err := schemaOf(p, sql.UpdateSchema)
	if err != nil {
		return err
	}
	return m.print(p.stdout, schema, func(w io.Writer) {
		fmt.Fprintf(w, "The schema of %v is version %d, which is what this program needs.\n", settings.DatabaseURL,
			schema.Version)
	})
}

// Run shows the versions.
func (m migrateStatusCommand) Run(p process) error {
	schema, _, err := schemaOf(p, sql.AnySchema)
	if err != nil {
		return err
	}
	err = m.print(p.stdout, schema, func(w io.Writer) {
		rows := []string{"MIGRATION\tAPPLIED"}
		for _, migration := range schema.Migrations {
			rows = append(rows, migration.Name+"\t"+shownOr(migration.AppliedAt, "no"))
		}
		table(w, rows...)
	})
	if err != nil {
		return err
	}
	if schema.Version != schema.Latest {
		return sql.SchemaError{Schema: schema}
	}
	return nil
}
