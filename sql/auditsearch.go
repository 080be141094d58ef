package sql

import (
	"context"
	"strings"

	"otpbridge/server/otp"
)

// AuditFilter selects changes; zero and nil fields select everything.
type AuditFilter struct {
	From, Before int64 // places; Before is exclusive
	Kind         string
	Kinds        []string // any of these
	OtherThan    []string // none of these
	Actor        otp.ID
	Credential   otp.ID // which the change is about
	Account      string
	Address      string
	Since, Until otp.Millis // times; Until is exclusive
}

// FindChanges reads the newest changes that match a filter, at most limit. Each filter has an index.
func (a *Audit) FindChanges(ctx context.Context, f AuditFilter, limit int) ([]SealedChange, error) {
	where, args := `place >= ? AND place < ?`, []any{f.From, f.Before}
	and := func(given bool, condition string, value ...any) {
		if given {
			where, args = where+` AND `+condition, append(args, value...)
		}
	}
	among := func(condition string, kinds []string) {
		if len(kinds) > 0 {
			values := make([]any, len(kinds))
			for i, kind := range kinds {
				values[i] = kind
			}
			and(true, condition+` (`+strings.Repeat("?, ", len(kinds)-1)+`?)`, values...)
		}
	}
	and(f.Kind != "", `kind = ?`, f.Kind)
	among(`kind IN`, f.Kinds)
	among(`kind NOT IN`, f.OtherThan)
	and(!f.Actor.IsZero(), `actor_id = ?`, f.Actor[:])
	and(!f.Credential.IsZero(), `credential_id = ?`, f.Credential[:])
	and(f.Account != "", `esme_address = ?`, f.Account)
	and(f.Address != "", `address = ?`, f.Address)
	and(f.Since != 0, `at >= ?`, int64(f.Since))
	and(f.Until != 0, `at < ?`, int64(f.Until))
	return a.changes(ctx, where+` ORDER BY place DESC LIMIT ?`, append(args, limit)...)
}

// FindPages reads the newest pages with calls that contain all of the terms, at most limit, with places from from up
// to, but not including, before.
func (a *Audit) FindPages(ctx context.Context, terms []otp.ID, from, before int64, limit int) ([]AuditPage, error) {
	if len(terms) == 0 {
		return auditPages.find(ctx, a.store, `place >= ? AND place < ? AND calls IS NOT NULL ORDER BY place DESC LIMIT ?`,
			from, before, limit)
	}
	inner := `SELECT t0.page FROM audit_terms t0`
	var args []any
	for i := range terms[1:] {
		name := "t" + string(rune('1'+i))
		inner += ` JOIN audit_terms ` + name + ` ON ` + name + `.page = t0.page AND ` + name + `.term = ?`
		args = append(args, terms[i+1][:])
	}
	// MySQL allows no LIMIT inside IN, except in a derived table.
	return auditPages.find(ctx, a.store, `place IN (SELECT page FROM (`+inner+
		` WHERE t0.term = ? AND t0.page >= ? AND t0.page < ? ORDER BY t0.page DESC LIMIT ?) found) ORDER BY place DESC`,
		append(args, terms[0][:], from, before, limit)...)
}

// FirstSealed returns the place of the first page that was sealed at since or later, or the size of the tree if there
// is none.
func (a *Audit) FirstSealed(ctx context.Context, since otp.Millis) (int64, error) {
	pages, err := auditPages.find(ctx, a.store, `sealed_at >= ? ORDER BY sealed_at, place LIMIT 1`, int64(since))
	if err == nil && len(pages) > 0 {
		return pages[0].Place, nil
	}
	tree, err := a.Tree(ctx)
	return tree.Size, err
}
