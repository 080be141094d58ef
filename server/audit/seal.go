package audit

import (
	"context"
	"crypto/sha256"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// How many entries one sealing takes at most, so that sends do not wait long for the database.
const (
	sealChanges = 500
	sealCalls   = 4096
)

// seal gives places to the waiting changes and to calls, and returns the new tree and whether more changes may wait.
// Every server may seal at any time: the lock on the tree's row orders them. A change whose transaction commits late
// is sealed late.
func (l *Log) seal(ctx context.Context, calls []Call, now otp.Millis) (tree sql.AuditTree, more bool, err error) {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	packed, err := l.pack.calls(calls)
	if err != nil {
		return tree, false, err
	}
	err = l.store.Audit.Seal(ctx, sealChanges, func(state sql.AuditState) (*sql.AuditSeal, error) {
		tree, more = state.Tree, len(state.Changes) == sealChanges
		if len(state.Changes)+len(calls) == 0 {
			return nil, nil
		}
		made, err := sealed(state, packed, now)
		if err == nil {
			tree = made.Tree
		}
		return made, err
	})
	return tree, more, err
}

func sealed(state sql.AuditState, packed packedCalls, now otp.Millis) (*sql.AuditSeal, error) {
	stubs := make([]stub, 0, len(state.Changes)+len(packed.stubs))
	for _, c := range state.Changes {
		stubs = append(stubs, stubOf(ChangeEntry, c.At, ofChange(c).encode()))
	}
	stubs = append(stubs, packed.stubs...)
	made := &sql.AuditSeal{Tree: state.Tree, Terms: packed.terms}
	made.Tree.SealedAt = max(now, state.Tree.SealedAt)
	made.Page = sql.AuditPage{Place: state.Tree.Size, Entries: len(stubs), SealedAt: made.Tree.SealedAt,
		Calls: packed.data}
	leaves := make([]tlog.Hash, len(stubs))
	for i, s := range stubs {
		made.Page.Stubs = append(made.Page.Stubs, s[:]...)
		leaves[i] = s.hash()
		made.Tree.Lag = max(made.Tree.Lag, made.Tree.SealedAt-s.at())
	}
	made.Tree.Size += int64(len(stubs))
	var err error
	made.Tiles, made.Tree.Root, err = grow(state.Tree.Size, leaves, state.Tile)
	return made, err
}

// pairs returns the names and values that a search can compare.
func (e Entry) pairs() [6][2]string {
	return [6][2]string{{"action", e.Action}, {"actor", e.Actor}, {"account", e.Account}, {"credential", e.Credential},
		{"address", e.Address}, {"result", e.Result}}
}

// term returns the search term under which pages with such a call are found.
func term(pair [2]string) otp.ID {
	sum := sha256.Sum256([]byte(pair[0] + "\x00" + pair[1]))
	return otp.ID(sum[:16])
}

// sealEvery is the pause between two sealings of calls. lookEvery is the pause between two searches for waiting
// changes, which include those of the command line: it does not seal.
const (
	sealEvery = 500 * time.Millisecond
	lookEvery = time.Second
)
