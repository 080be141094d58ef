package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"otpbridge/server/audit"
	"otpbridge/server/otp"
	"otpbridge/server/people"
	"otpbridge/sql"
)

type auditCommand struct {
	Verify     auditVerifyCommand     `cmd:"" help:"Prove that nothing was changed, removed or reordered in the audit log."`
	Prove      auditProveCommand      `cmd:"" help:"Print the proof that one entry is in the log."`
	Export     auditExportCommand     `cmd:"" help:"Print the whole log."`
	Checkpoint auditCheckpointCommand `cmd:"" help:"Seal what waits, and print a signed checkpoint."`
}

// withAudit calls do with the audit log of the database that the settings name.
func withAudit(p process, do func(ctx context.Context, log *audit.Log) error) error {
	return work(p, func(ctx context.Context, at *workplace) error {
		log, err := openAudit(at.settings, at.store, at.Vault(), nil)
		if err != nil {
			return err
		}
		return do(ctx, log)
	})
}

type auditVerifyCommand struct {
	asJSON
	Since string   `placeholder:"FILE" help:"Compare with the checkpoints in this file too."`
	Files []string `arg:"" optional:"" help:"Two exports, the earlier one first: compare them, and ask no database."`
}

// Help implements kong.HelpProvider.
func (auditVerifyCommand) Help() string {
	return `Without files it reads the log in the database. Exit code 1: an entry was changed, removed or moved; the output names the first.

Someone with the database and the keyring can write another log that verifies. Only an earlier checkpoint or export shows that, so keep them elsewhere:

    otpbridge audit verify --since /mnt/elsewhere/checkpoints
    otpbridge audit verify november.jsonl december.jsonl`
}

// verified is what verify prints of a log without a fault.
type verified struct {
	Entries     int64  `json:"entries"`
	Removed     int64  `json:"removed"`
	Checkpoints int    `json:"checkpoints"`
	Checkpoint  string `json:"checkpoint"`
}

// Run verifies.
func (v auditVerifyCommand) Run(p process) error {
	switch {
	case len(v.Files) == 2 && v.Since == "":
		return v.compare(p)
	case len(v.Files) > 0:
		return unusable{errors.New("name two exports, the earlier one first, and no checkpoints; or no file at all")}
	}
	var since io.Reader
	if v.Since != "" {
		file, err := p.openInput(v.Since) // it grows by 40 MB a day, so it is not read as a whole
		if err != nil {
			return err
		}
		defer file.Close()
		since = file
	}
	return withAudit(p, func(ctx context.Context, log *audit.Log) error {
		report, err := log.Verify(ctx, since, otp.At(time.Now()))
		if err == nil && since != nil && report.Checkpoints == 0 {
			err = unusable{fmt.Errorf("%s has no checkpoint, so nothing was compared with it", v.Since)}
		}
		if err != nil {
			return err
		}
		return v.tell(p, verified{report.Entries, report.Removed, report.Checkpoints, report.Now.Note})
	})
}

func (v auditVerifyCommand) compare(p process) error {
	var files [2]*os.File
	for i, name := range v.Files {
		file, err := os.Open(name)
		if err != nil {
			return unusable{err}
		}
		defer file.Close()
		files[i] = file
	}
	compared, err := audit.Compare(files[0], files[1])
	if _, fault := errors.AsType[*audit.Fault](err); err != nil && !fault {
		err = unusable{err} // says nothing about the log
	}
	if err != nil {
		return err
	}
	return v.tell(p, verified{compared.After.Size, compared.Removed, 2, compared.After.Note})
}

func (v auditVerifyCommand) tell(p process, found verified) error {
	return v.print(p.stdout, found, func(w io.Writer) {
		fmt.Fprintf(w, "All %d entries fit, and so do %d checkpoints.\n", found.Entries, found.Checkpoints)
		if found.Removed > 0 {
			fmt.Fprintf(w, "%d of them have no content any more, since their time is over.\n", found.Removed)
		}
	})
}

type auditProveCommand struct {
	Place int64 `arg:"" help:"The entry's place."`
}

// Run prints the proof as JSON.
func (a auditProveCommand) Run(p process) error {
	return withAudit(p, func(ctx context.Context, log *audit.Log) error {
		proof, err := log.Prove(ctx, people.Operator().Actor(), a.Place, otp.At(time.Now()))
		if errors.Is(err, sql.ErrNotFound) {
			return unusable{fmt.Errorf("there is no entry %d", a.Place)}
		}
		if err != nil {
			return err
		}
		return printJSON(p.stdout, proof)
	})
}

type auditExportCommand struct {
	Format string `enum:"json,csv" default:"json" help:"json: one object a line, which verify can compare; csv: for a spreadsheet."`
}

// Run prints the log.
func (a auditExportCommand) Run(p process) error {
	return withAudit(p, func(ctx context.Context, log *audit.Log) error {
		file, err := log.Export(ctx, people.Operator().Actor(), a.Format, otp.At(time.Now()))
		if err != nil {
			return err
		}
		return file.Write(ctx, p.stdout)
	})
}

type auditCheckpointCommand struct{}

// Run seals and prints.
func (auditCheckpointCommand) Run(p process) error {
	return withAudit(p, func(ctx context.Context, log *audit.Log) error {
		checkpoint, err := log.Seal(ctx)
		if err != nil {
			return err
		}
		_, err = io.WriteString(p.stdout, checkpoint.Note)
		return err
	})
}
