package audit

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"

	"otpbridge/server/otp"
)

// Compared is the result for two exports that match.
type Compared struct {
	Before, After Checkpoint
	Removed       int64 // entries without content in the later one
}

// Compare reads an export and a later one of the same log, line by line. The error is a *Fault if the later one does
// not begin with the entries of the earlier one, or if either does not match its own checkpoint.
func Compare(before, after io.Reader) (Compared, error) {
	a, err := newExport("the first file", before, "")
	if err != nil {
		return Compared{}, err
	}
	b, err := newExport("the second file", after, a.header.Key)
	if err != nil {
		return Compared{}, err
	}
	if b.checkpoint.Size < a.checkpoint.Size {
		return Compared{}, &Fault{b.checkpoint.Size,
			fmt.Sprintf("and all after it are missing in the second file; the first has %d entries", a.checkpoint.Size)}
	}
	for b.peaks.size < b.checkpoint.Size {
		place := b.peaks.size
		older := place < a.checkpoint.Size
		var was, is stub
		if older {
			if was, err = a.next(); err != nil {
				return Compared{}, err
			}
		}
		if is, err = b.next(); err != nil {
			return Compared{}, err
		}
		if older && was != is {
			return Compared{}, &Fault{place, "is not the same in both files"}
		}
	}
	return Compared{a.checkpoint, b.checkpoint, b.removed}, errors.Join(a.end(), b.end())
}

// export is one that is being read.
type export struct {
	name       string
	lines      *bufio.Scanner
	header     header
	checkpoint Checkpoint
	peaks      peaks
	removed    int64
}

// maxLine is the length of an export's line at most, in bytes.
const maxLine = 1 << 20

// newExport reads the head of an export. key is the key of the file it is compared with, empty for the first.
func newExport(name string, r io.Reader, key string) (*export, error) {
	e := &export{name: name, lines: bufio.NewScanner(r)}
	e.lines.Buffer(nil, maxLine)
	if !e.lines.Scan() || json.Unmarshal(e.lines.Bytes(), &e.header) != nil || e.header.Format != exportFormat {
		return nil, fmt.Errorf("%s is no audit export: make one with otpbridge audit export --format json", name)
	}
	if key != "" && e.header.Key != key {
		return nil, fmt.Errorf("%s is of another log: its key is %.60s and the first file's %.60s", name, e.header.Key, key)
	}
	verifier, err := note.NewVerifier(e.header.Key)
	if err != nil {
		return nil, fmt.Errorf("the key of %s cannot be read: %w", name, err)
	}
	if e.checkpoint, err = readCheckpoint(e.header.Checkpoint, verifier); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// next reads the next line's entry.
func (e *export) next() (stub, error) {
	place := e.peaks.size
	if !e.lines.Scan() {
		if err := e.lines.Err(); err != nil {
			return stub{}, fmt.Errorf("read %s: %w", e.name, err)
		}
		return stub{}, &Fault{place, "and all after it are missing in " + e.name}
	}
	var row line
	if err := json.Unmarshal(e.lines.Bytes(), &row); err != nil {
		return stub{}, &Fault{place, "cannot be read in " + e.name}
	}
	if row.Place != place {
		return stub{}, &Fault{place, fmt.Sprintf("is missing in %s; %d stands there", e.name, row.Place)}
	}
	s := stubOf(row.Type, otp.At(row.At), bytes.TrimSpace(row.Entry))
	if row.Entry == nil {
		sum, err := hex.DecodeString(row.SHA256)
		if err != nil || copy(s[9:], sum) != len(s)-9 {
			return stub{}, &Fault{place, "has neither content nor hash in " + e.name}
		}
		e.removed++
	}
	e.peaks.add(s.hash())
	return s, nil
}

func (e *export) end() error {
	if e.lines.Scan() {
		return &Fault{e.peaks.size, "is beyond the checkpoint of " + e.name}
	}
	if e.peaks.size != e.checkpoint.Size || e.peaks.root() != e.checkpoint.Root {
		return &Fault{0, "or one after it does not fit the checkpoint of " + e.name}
	}
	return nil
}
