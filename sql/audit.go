package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"otpbridge/server/otp"
)

// Audit stores the audit log: pages of entries, and the Merkle tree over them. The caller decides what an entry
// contains and how it is hashed.
type Audit struct{ store *Store }

// AuditTree is the sealed state of the log.
type AuditTree struct {
	Size     int64      // number of entries with a place
	Root     [32]byte   // the tree's root hash
	SealedAt otp.Millis // never decreases
	Lag      otp.Millis // the longest time that an entry waited for its place
}

var auditTrees = table[AuditTree]{"audit_tree", func(t *AuditTree) []column {
	return []column{{"size", &t.Size}, {"root", &t.Root}, {"sealed_at", &t.SealedAt}, {"lag", &t.Lag}}
}}

// AuditPage holds entries that were sealed together. Their places are consecutive.
type AuditPage struct {
	Place    int64 // of the first
	Entries  int
	SealedAt otp.Millis
	Stubs    []byte // what the tree hashes of each entry
	Calls    []byte // nil: there were none, or they were removed
}

var auditPages = table[AuditPage]{"audit_pages", func(p *AuditPage) []column {
	return []column{
		{"place", &p.Place}, {"entries", &p.Entries}, {"sealed_at", &p.SealedAt}, {"stubs", &p.Stubs}, {"calls", &p.Calls},
	}
}}

// AuditTile is a row of the tree's hashes.
type AuditTile struct {
	Level  int
	Number int64
	Hashes []byte
}

var auditTiles = table[AuditTile]{"audit_tiles", func(t *AuditTile) []column {
	return []column{{"level", &t.Level}, {"number", &t.Number}, {"hashes", &t.Hashes}}
}}

type auditTerm struct {
	term otp.ID
	page int64
}

var auditTerms = table[auditTerm]{"audit_terms", func(t *auditTerm) []column {
	return []column{{"term", &t.term}, {"page", &t.page}}
}}

// SealedChange is a change with its place in the log.
type SealedChange struct {
	Place int64
	otp.Change
}

type placedChange struct {
	change
	place int64
}

var placedChanges = table[placedChange]{"changes", func(c *placedChange) []column {
	return append(changes.columns(&c.change), column{"place", &c.place})
}}

// AuditSeal is the result of one sealing. The changes come first, in the order in which they were given.
type AuditSeal struct {
	Tree  AuditTree
	Page  AuditPage
	Terms []otp.ID
	Tiles []AuditTile
}

// AuditState is the input of a sealing.
type AuditState struct {
	Tree    AuditTree
	Changes []otp.Change // without a place, oldest first
	Tile    func(level int, number int64) ([]byte, error)
}

// Waiting reports whether a change waits for its place.
func (a *Audit) Waiting(ctx context.Context) (bool, error) {
	var n int
	err := a.store.reads.GetContext(ctx, &n, `
		SELECT COUNT(*)
		FROM (SELECT id FROM changes WHERE place IS NULL LIMIT 1) w`)
	return n > 0, err
}

// Seal gives places to the oldest changes without one, at most limit, and to what seal adds to them. seal may be
// called several times, each time on a fresh state. If it returns nil, nothing is written.
func (a *Audit) Seal(ctx context.Context, limit int, seal func(AuditState) (*AuditSeal, error)) error {
	return a.store.write(ctx, func(w *session) error {
		tx := &Tx{session: w, store: a.store, ctx: ctx}
		trees, err := auditTrees.lock(ctx, tx, `id = 1`)
		if err != nil || len(trees) != 1 {
			return fmt.Errorf("read the audit tree, of which there are %d: %w", len(trees), err)
		}
		state := AuditState{Tree: trees[0], Tile: func(level int, number int64) ([]byte, error) {
			tiles, err := auditTiles.lock(ctx, tx, `level = ? AND number = ?`, int64(level), number)
			if err != nil || len(tiles) == 0 {
				return nil, err
			}
			return tiles[0].Hashes, nil
		}}
		if state.Changes, err = unsealed(tx, limit); err != nil {
			return err
		}
		made, err := seal(state)
		if err != nil || made == nil {
			return err
		}
		return writeSeal(tx, state, made)
	})
}

// unsealed reads without locks: it must not wait for transactions that are still adding changes.
func unsealed(tx *Tx, limit int) (found []otp.Change, err error) {
	err = tx.query(tx.ctx, changes.selects()+`place IS NULL ORDER BY id LIMIT ?`, []driver.Value{int64(limit)},
		func(values row) error {
			c, err := changes.read(values)
			if err != nil {
				return err
			}
			read, err := c.read()
			found = append(found, read)
			return err
		})
	return found, err
}

func writeSeal(tx *Tx, state AuditState, made *AuditSeal) error {
	var writes script
	writes.guard(`UPDATE audit_tree SET size = ?, root = ?, sealed_at = ?, lag = ? WHERE id = 1 AND size = ?`,
		made.Tree.Size, made.Tree.Root[:], int64(made.Tree.SealedAt), int64(made.Tree.Lag), state.Tree.Size)
	for i, c := range state.Changes {
		writes.guard(`UPDATE changes SET place = ? WHERE id = ? AND place IS NULL`, made.Page.Place+int64(i), c.ID[:])
	}
	for _, tile := range made.Tiles {
		before, err := state.Tile(tile.Level, tile.Number)
		if err != nil {
			return err
		}
		if before != nil {
			writes.guard(`UPDATE audit_tiles SET hashes = ? WHERE level = ? AND number = ?`, tile.Hashes,
				int64(tile.Level), tile.Number)
			continue
		}
		insertInto(tx, &writes, auditTiles, &tile)
	}
	insertInto(tx, &writes, auditPages, &made.Page)
	for _, term := range made.Terms {
		insertInto(tx, &writes, auditTerms, &auditTerm{term, made.Page.Place})
	}
	return tx.play(tx.ctx, &writes)
}

// insertInto adds a row to a script, to the last INSERT if that is into the same table.
func insertInto[R any](tx *Tx, writes *script, t table[R], r *R) {
	text := `INSERT INTO ` + t.name + ` (` + t.names() + `) VALUES `
	args := t.values(r)
	if n := len(writes.writes); n > 0 && writes.writes[n-1].text == text {
		writes.writes[n-1].args = append(writes.writes[n-1].args, args...)
		return
	}
	writes.writes = append(writes.writes, write{text: text, args: args, width: len(args)})
}

// Tree reads the sealed state of the log.
func (a *Audit) Tree(ctx context.Context) (AuditTree, error) {
	return auditTrees.one(ctx, a.store, `id = 1`)
}

// Tile reads a row of the tree's hashes, nil if there is none.
func (a *Audit) Tile(ctx context.Context, level int, number int64) ([]byte, error) {
	tiles, err := auditTiles.find(ctx, a.store, `level = ? AND number = ?`, level, number)
	if err != nil || len(tiles) == 0 {
		return nil, err
	}
	return tiles[0].Hashes, nil
}

// Pages reads up to limit pages in the order of their places, starting with the first page at or after from.
func (a *Audit) Pages(ctx context.Context, from int64, limit int) ([]AuditPage, error) {
	return auditPages.find(ctx, a.store, `place >= ? ORDER BY place LIMIT ?`, from, limit)
}

// Page reads the page that holds a place; ErrNotFound if there is none.
func (a *Audit) Page(ctx context.Context, place int64) (AuditPage, error) {
	return auditPages.one(ctx, a.store, `place <= ? ORDER BY place DESC LIMIT 1`, place)
}

// Changes reads the changes with a place from from up to, but not including, to.
func (a *Audit) Changes(ctx context.Context, from, to int64) ([]SealedChange, error) {
	return a.changes(ctx, `place >= ? AND place < ? ORDER BY place`, from, to)
}

func (a *Audit) changes(ctx context.Context, where string, args ...any) ([]SealedChange, error) {
	rows, err := placedChanges.find(ctx, a.store, where, args...)
	if err != nil {
		return nil, err
	}
	found := make([]SealedChange, len(rows))
	for i, r := range rows {
		if found[i].Change, err = r.read(); err != nil {
			return nil, err
		}
		found[i].Place = r.place
	}
	return found, nil
}

// PagesWithCalls reads up to limit pages from a place on that hold calls and were sealed before a time.
func (a *Audit) PagesWithCalls(ctx context.Context, from int64, before otp.Millis, limit int) ([]AuditPage, error) {
	return auditPages.find(ctx, a.store, `place >= ? AND sealed_at < ? AND calls IS NOT NULL ORDER BY place LIMIT ?`,
		from, int64(before), limit)
}

// RemoveCalls removes the calls of a page and their search terms.
func (a *Audit) RemoveCalls(ctx context.Context, page int64, terms []otp.ID) error {
	return a.store.write(ctx, func(w *session) error {
		for chunk := range slices.Chunk(terms, 256) {
			list, args := in(chunk, idValue)
			if err := w.exec(ctx, `DELETE FROM audit_terms WHERE page = ? AND term IN `+list,
				append([]driver.Value{page}, args...)...); err != nil {
				return err
			}
		}
		return w.exec(ctx, `UPDATE audit_pages SET calls = NULL WHERE place = ?`, page)
	})
}

// RemoveChanges removes the changes of pages that were sealed before a time.
func (a *Audit) RemoveChanges(ctx context.Context, before otp.Millis) error {
	end, err := a.FirstSealed(ctx, before)
	for err == nil {
		var last []SealedChange
		if last, err = a.changes(ctx, `place < ? ORDER BY place LIMIT 1 OFFSET 499`, end); err != nil {
			break
		}
		to := end
		if len(last) > 0 {
			to = last[0].Place
		}
		err = a.store.exec(ctx, `DELETE FROM changes WHERE place < ?`, to)
		if to == end {
			break
		}
	}
	return err
}

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
