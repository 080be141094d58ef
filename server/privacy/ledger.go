package privacy

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"otpbridge/crypto"
	"otpbridge/server/files"
	"otpbridge/server/otp"
	"otpbridge/sql"
)

// LedgerFile returns the path of the ledger beside a file of checkpoints; it is empty if checkpoints is.
func LedgerFile(checkpoints string) string {
	if checkpoints == "" {
		return ""
	}
	return checkpoints + ".erasures"
}

const ledgerPage = 500

// eachLine visits the whole ledger, oldest first.
func (p *Privacy) eachLine(ctx context.Context, after otp.ID, visit func(sql.Erasure) error) error {
	for {
		page, err := p.Store.Privacy.Ledger(ctx, "", after, ledgerPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := visit(e); err != nil {
				return err
			}
			after = e.ID
		}
		if len(page) < ledgerPage {
			return nil
		}
	}
}

// stillLate is how long an erasure may take: Push looks for missing certificates of erasures that began so long ago.
const stillLate = otp.Hour

// Push appends missing certificates to the ledger's file, one a line. It is called after each checkpoint.
func (p *Privacy) Push(ctx context.Context) error {
	if p.LedgerFile == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pushed == nil {
		lines, err := readLedger(p.LedgerFile)
		if err != nil {
			return err
		}
		p.pushed = map[otp.ID]bool{}
		for _, line := range lines {
			p.pushed[line.id] = true
		}
	}
	var text strings.Builder
	var fresh []otp.ID
	last, open, now := p.last, false, otp.At(time.Now())
	err := p.eachLine(ctx, p.last, func(e sql.Erasure) error {
		if open = open || e.DoneAt == 0; !open && e.At < now-stillLate {
			last = e.ID
		}
		if e.DoneAt != 0 && !p.pushed[e.ID] {
			text.WriteString(e.Certificate + "\n")
			fresh = append(fresh, e.ID)
		}
		return nil
	})
	if err != nil || len(fresh) == 0 {
		p.last = last
		return err
	}
	file, err := files.Append(p.LedgerFile)
	if err != nil {
		return fmt.Errorf("append to the ledger of erasures: %s %w", p.LedgerFile, err)
	}
	if err = errors.Join(files.WriteWhole(file, text.String()), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("append to the ledger of erasures: %w", err)
	}
	for _, id := range fresh {
		p.pushed[id] = true
	}
	p.last = last
	return nil
}

type ledgerLine struct {
	id   otp.ID
	text string
}

// readLedger reads a file of certificates without verifying them; a missing file has none.
func readLedger(path string) (lines []ledgerLine, err error) {
	file, err := files.Open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the ledger of erasures %s %w", path, err)
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		text := strings.TrimSpace(scanner.Text())
		if text == "" {
			continue
		}
		id, err := claimedID(text)
		if err != nil {
			return nil, fmt.Errorf("line %d of %s is no certificate", len(lines)+1, path)
		}
		lines = append(lines, ledgerLine{id, text})
	}
	return lines, scanner.Err()
}

// claimedID returns the id in a certificate that is not verified.
func claimedID(text string) (id otp.ID, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return id, crypto.ErrCertificate
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return id, err
	}
	var claims crypto.Certificate
	if err := json.Unmarshal(body, &claims); err != nil {
		return id, err
	}
	id, ok := otp.ParseID(ErasurePrefix, claims.ID)
	if !ok {
		return id, crypto.ErrCertificate
	}
	return id, nil
}

// Behind counts the erasures in a ledger's file that the database does not have. If there are any, the database was
// restored from an older backup.
func Behind(ctx context.Context, store *sql.Store, file string) (n int, err error) {
	lines, err := readLedger(file)
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		_, err := store.Privacy.Erasure(ctx, line.id)
		if errors.Is(err, sql.ErrNotFound) {
			n++
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Reapplied is the result of Reapply.
type Reapplied struct {
	Erasures int        `json:"erasures"` // in the ledger
	Missing  int        `json:"missing"`  // that the database did not have
	Erased   sql.Erased `json:"erased"`
}

// Reapply repeats the erasures of the ledger, which is in the database and in a file ("" for none): it erases all data
// of their subjects from before each erasure. It is for restored databases, and may be repeated. If this installation
// has not signed a line of the file, Reapply erases nothing.
func (p *Privacy) Reapply(ctx context.Context, by otp.Actor, file string) (r Reapplied, err error) {
	missing, err := p.missing(ctx, file)
	if err != nil {
		return r, err
	}
	r.Missing = len(missing)
	for _, e := range missing {
		err := p.Store.Change(ctx, func(tx *sql.Tx) error {
			s := e.Subject()
			if err := p.Store.Privacy.Begin(tx, e); err != nil {
				return err
			}
			return note(tx, otp.PrivacyErasing, by, &s, otp.At(time.Now()), map[string]string{
				"erasure": e.ID.Text(ErasurePrefix), "reason": "a backup from before it was restored"})
		})
		if err != nil && !errors.Is(err, sql.ErrTaken) {
			return r, err
		}
	}
	erasures, err := p.eraseAgain(ctx, &r)
	if err != nil {
		return r, err
	}
	err = p.Store.Change(ctx, func(tx *sql.Tx) error {
		for _, e := range erasures {
			s := e.Subject()
			rest, err := p.Store.Privacy.Unname(tx, s, endOf(e))
			if err == nil {
				rest.SafeList, err = p.unlist(tx, &s, otp.At(time.Now()))
			}
			if err != nil {
				return err
			}
			r.Erased.Add(rest)
		}
		return tx.Record(otp.Change{ID: sql.NewID(), At: otp.At(time.Now()), Kind: otp.PrivacyReapplied, Actor: by,
			Details: map[string]string{"erasures": strconv.Itoa(r.Erasures), "missing": strconv.Itoa(r.Missing),
				"events": strconv.FormatInt(r.Erased.Events, 10)}})
	})
	if err != nil {
		return r, err
	}
	return r, p.Store.Privacy.Forget(ctx)
}

// missing returns the lines of a file that the database does not have.
func (p *Privacy) missing(ctx context.Context, file string) (all []sql.Erasure, err error) {
	if file == "" {
		return nil, nil
	}
	lines, err := readLedger(file)
	if err != nil {
		return nil, err
	}
	for i, line := range lines {
		c, err := p.Verify(line.text)
		if err != nil {
			return nil, fmt.Errorf("line %d of %s is not a certificate of this installation, or was changed", i+1, file)
		}
		if _, err := p.Store.Privacy.Erasure(ctx, line.id); !errors.Is(err, sql.ErrNotFound) {
			if err != nil {
				return nil, err
			}
			continue
		}
		e := sql.Erasure{ID: line.id, Account: c.Audience, Environment: c.Environment, Certificate: line.text,
			At: otp.At(time.Unix(c.AskedAt, 0)), DoneAt: otp.At(time.Unix(c.ErasedAt, 0))}
		e.User, _ = otp.ParseID(Pseudonym, c.Subject)
		e.Recipient, _ = otp.ParseID(Pseudonym, c.Recipient)
		all = append(all, e)
	}
	return all, nil
}

// endOf returns the time before which an erasure destroys data. It adds a second, because a certificate's times are
// whole seconds.
func endOf(e sql.Erasure) otp.Millis { return max(e.DoneAt, e.At) + otp.Second }

func (p *Privacy) eraseAgain(ctx context.Context, r *Reapplied) (all []sql.Erasure, err error) {
	erase := func(page sql.Page) error {
		step, err := p.Store.Privacy.Erase(ctx, page)
		r.Erased.Add(step)
		return err
	}
	var subjects []sql.Subject
	err = p.eachLine(ctx, otp.ID{}, func(e sql.Erasure) error {
		r.Erasures++
		all, subjects = append(all, e), append(subjects, e.Subject())
		return p.Store.Privacy.Each(ctx, e.Subject(), endOf(e), erase)
	})
	if err != nil {
		return nil, err
	}
	return all, p.eachUnhashed(ctx, subjects, erase)
}
