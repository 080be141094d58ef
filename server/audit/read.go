package audit

import (
	"context"
	"fmt"

	"otpbridge/sql"
)

// contents returns the content of each entry of a page, nil for one that was removed.
func (l *Log) contents(ctx context.Context, page sql.AuditPage, stubs []stub) ([][]byte, error) {
	contents := make([][]byte, len(stubs))
	calls, err := unpackCalls(page)
	if err != nil {
		calls = nil // the first of these calls is then reported as a fault
	}
	next := 0
	for i, s := range stubs {
		if s.kind() == CallEntry && next < len(calls) {
			contents[i] = calls[next]
			next++
		}
	}
	if next < len(calls) {
		return nil, &Fault{page.Place, fmt.Sprintf("is in a page with %d calls, of which %d were added", len(calls),
			len(calls)-next)}
	}
	changes, err := l.store.Audit.Changes(ctx, page.Place, page.Place+int64(len(stubs)))
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		i := c.Place - page.Place
		if stubs[i].kind() != ChangeEntry {
			return nil, &Fault{c.Place, "was added: a change stands in the place of a call"}
		}
		contents[i] = ofChange(c.Change).encode()
	}
	return contents, nil
}

// walk visits every entry before a place, a page at a time. content is nil if it was removed.
func (l *Log) walk(ctx context.Context, end int64, visit func(place int64, s stub, content []byte) error) error {
	for place := int64(0); place < end; {
		pages, err := l.store.Audit.Pages(ctx, place, pagesAtOnce)
		if err != nil {
			return err
		}
		if len(pages) == 0 || pages[0].Place != place {
			return &Fault{place, "is missing"}
		}
		for _, page := range pages {
			stubs := stubsOf(page)
			contents, err := l.contents(ctx, page, stubs)
			if err != nil {
				return err
			}
			for i := 0; i < len(stubs) && place < end; i++ {
				if err := visit(page.Place+int64(i), stubs[i], contents[i]); err != nil {
					return err
				}
				place = page.Place + int64(i) + 1
			}
		}
	}
	return nil
}

// at returns the stub and the content of an entry; sql.ErrNotFound for a place beyond the tree.
func (l *Log) at(ctx context.Context, tree sql.AuditTree, place int64) (stub, []byte, error) {
	if place < 0 || place >= tree.Size {
		return stub{}, nil, sql.ErrNotFound
	}
	page, err := l.store.Audit.Page(ctx, place)
	if err != nil {
		return stub{}, nil, err
	}
	stubs := stubsOf(page)
	if place-page.Place >= int64(len(stubs)) {
		return stub{}, nil, &Fault{place, "is missing"}
	}
	contents, err := l.contents(ctx, page, stubs)
	if err != nil {
		return stub{}, nil, err
	}
	return stubs[place-page.Place], contents[place-page.Place], nil
}
