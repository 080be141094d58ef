package audit

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// Fault is the first entry that was changed, removed or moved. An error of reading the log is not a Fault.
type Fault struct {
	Place   int64
	Problem string
}

func (f *Fault) Error() string { return fmt.Sprintf("entry %d %s", f.Place, f.Problem) }

// VerifyTime is how long a door waits for Verify. The command line waits until all is read.
const VerifyTime = time.Minute

// Report is the result for a log without a fault.
type Report struct {
	Entries     int64 // that are sealed
	Removed     int64 // of these, without content because their time is over
	Checkpoints int   // that were compared
	Now         Checkpoint
}

// Verify reads the whole log, a page at a time, and compares it with its tree and with earlier checkpoints; since is
// a checkpoint file, or nil. The error is a *Fault for a log that was tampered with or is damaged.
// Refusal: Invalid for checkpoints that are damaged or of another log.
//
// If an entry was changed but not the tree, the fault names exactly that entry. If the tree was computed again as
// well, which takes the database and the keyring, only a checkpoint shows it; the fault then names the first entry
// after the last checkpoint that matches.
func (l *Log) Verify(ctx context.Context, since io.Reader, now otp.Millis) (Report, error) {
	checkpoints, err := readCheckpoints(since, l.key.verifier)
	if err != nil {
		return Report{}, otp.RefuseField("checkpoints", "cannot be used: "+err.Error())
	}
	tree, err := l.store.Audit.Tree(ctx)
	if err != nil {
		return Report{}, err
	}
	v := &verification{log: l, ctx: ctx, now: now, began: time.Now(), against: newAgainst(checkpoints)}
	for v.peaks.size < tree.Size {
		pages, err := l.store.Audit.Pages(ctx, v.peaks.size, pagesAtOnce)
		if err != nil {
			return Report{}, err
		}
		if len(pages) == 0 {
			return Report{}, &Fault{v.peaks.size, fmt.Sprintf("and all after it are missing; the tree has %d", tree.Size)}
		}
		for _, page := range pages {
			if page.Place >= tree.Size {
				break // sealed since Verify began
			}
			if err := v.page(page); err != nil {
				return Report{}, err
			}
		}
	}
	if err := v.end(tree); err != nil {
		return Report{}, err
	}
	v.report.Entries, v.report.Checkpoints = v.peaks.size, len(checkpoints)
	v.report.Now, err = l.key.sign(tree)
	return v.report, err
}

// pagesAtOnce is how many pages are read at once. A page has a few thousand entries at most.
const pagesAtOnce = 16

// verification is one walk through the log.
type verification struct {
	log     *Log
	ctx     context.Context
	now     otp.Millis // at began
	began   time.Time
	peaks   peaks
	against *against
	tile    []byte // the one that holds the entry at peaks.size
	report  Report
}

func (v *verification) page(page sql.AuditPage) error {
	place := v.peaks.size
	stubs := stubsOf(page)
	switch {
	case page.Place != place:
		return &Fault{place, fmt.Sprintf("is missing; the next that is there is %d", page.Place)}
	case len(stubs) == 0 || len(stubs) != page.Entries || len(page.Stubs)%stubSize != 0:
		return &Fault{place, "is in a page that is cut off"}
	}
	contents, err := v.log.contents(v.ctx, page, stubs)
	if err != nil {
		return err
	}
	for i, s := range stubs {
		if err := v.entry(s, contents[i]); err != nil {
			return err
		}
	}
	return nil
}

// expired reports whether an entry's content may be removed by now: servers go on removing during a long walk.
func (v *verification) expired(s stub) bool {
	return s.at() < v.log.keptFrom(s.kind(), v.now+otp.Span(time.Since(v.began)))+otp.Minute
}

func (v *verification) entry(s stub, content []byte) error {
	place := v.peaks.size
	switch {
	case s.kind() == "":
		return &Fault{place, "has a stub of no known kind"}
	case content != nil && !s.fits(content):
		return &Fault{place, "was changed: its content is not what was sealed"}
	case content == nil && !v.expired(s):
		days, setting := v.log.kept(s.kind())
		return &Fault{place, fmt.Sprintf("of %s was removed before its time, which is %d days; "+
			"if %s was less before, verify with that", shown(s.at().Time()), days, setting)}
	case content == nil:
		v.report.Removed++
	}
	leaf := s.hash()
	at := int(place % tileWidth)
	if at == 0 || v.tile == nil {
		tile, err := v.log.store.Audit.Tile(v.ctx, 0, place>>tileHeight)
		if err != nil {
			return err
		}
		v.tile = tile
	}
	if len(v.tile) < (at+1)*tlog.HashSize || string(v.tile[at*tlog.HashSize:(at+1)*tlog.HashSize]) != string(leaf[:]) {
		return &Fault{place, "was changed: it is not the one in the tree"}
	}
	v.peaks.add(leaf)
	return v.against.compare(&v.peaks)
}

// end compares the computed root with the tree's row, and looks for changes that have no place in the tree.
func (v *verification) end(tree sql.AuditTree) error {
	if v.peaks.root() != tlog.Hash(tree.Root) {
		return &Fault{v.against.fits, "or one after it was changed: the tree's root is another"}
	}
	if v.peaks.size != tree.Size {
		return &Fault{tree.Size, "is in a page that goes beyond the tree"}
	}
	if err := v.against.end(v.peaks.size); err != nil {
		return err
	}
	beyond, err := v.log.store.Audit.Changes(v.ctx, tree.Size, math.MaxInt64)
	if err != nil || len(beyond) == 0 {
		return err
	}
	now, err := v.log.store.Audit.Tree(v.ctx) // read last: it includes what was sealed meanwhile
	if last := beyond[len(beyond)-1].Place; err == nil && last >= now.Size {
		return &Fault{last, "is a change beyond the end of the tree"}
	}
	return err
}

// against compares checkpoints during a walk through the log, the smallest first.
type against struct {
	waiting []Checkpoint
	fits    int64 // the size of the last one that matched
}

func newAgainst(all []Checkpoint) *against {
	all = slices.DeleteFunc(all, func(c Checkpoint) bool { return c.Size == 0 })
	slices.SortStableFunc(all, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	return &against{waiting: all}
}

// compare is called after each entry.
func (a *against) compare(p *peaks) error {
	for len(a.waiting) > 0 && a.waiting[0].Size <= p.size {
		c := a.waiting[0]
		switch last := c.Size - 1; {
		case c.Root == p.root():
		case last <= a.fits:
			return &Fault{last, "is not the one of the checkpoint of " + shown(c.At)}
		default:
			return &Fault{a.fits, fmt.Sprintf("or one after it, up to %d, is not the one of the checkpoint of %s", last,
				shown(c.At))}
		}
		a.fits, a.waiting = c.Size, a.waiting[1:]
	}
	return nil
}

// end is called after the last entry.
func (a *against) end(size int64) error {
	if len(a.waiting) == 0 {
		return nil
	}
	c := a.waiting[len(a.waiting)-1]
	return &Fault{size, fmt.Sprintf("and all after it are missing: the checkpoint of %s has %d entries",
		shown(c.At), c.Size)}
}

func shown(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05Z") }
