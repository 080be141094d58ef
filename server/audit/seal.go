package audit

import (
	"context"
	"crypto/sha256"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
	"otpbridge/sql"
)

// The most that one sealing takes, so that no batch of codes waits long for it.
const (
	sealChanges = 500
	sealCalls   = 4096
)

// seal gives places to the changes that wait and to calls, and returns the tree with them. Any server may seal at any
// time: they take turns on the tree's row. A change whose transaction commits late is sealed late.
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

// pairs are what an entry is found by.
func (e Entry) pairs() [6][2]string {
	return [6][2]string{{"action", e.Action}, {"actor", e.Actor}, {"account", e.Account}, {"credential", e.Credential},
		{"address", e.Address}, {"result", e.Result}}
}

// term is what a page with calls is found by.
func term(pair [2]string) otp.ID {
	sum := sha256.Sum256([]byte(pair[0] + "\x00" + pair[1]))
	return otp.ID(sum[:16])
}

// sealEvery and lookEvery are the pauses between two sealings while calls come, and between two looks for changes of
// servers and commands that do not seal themselves.
const (
	sealEvery = 500 * time.Millisecond
	lookEvery = time.Second
)
