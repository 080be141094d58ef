package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/server/otp"
)

// Proof proves that an entry is in the log of a checkpoint. Package tlog, or any other implementation of RFC 6962, can
// verify it with the hash of the entry's stub, without this server.
type Proof struct {
	Place      int64           `json:"place"`
	Entry      json.RawMessage `json:"entry,omitempty"` // missing if it was removed
	Stub       string          `json:"stub"`            // hex; see the page on the audit log
	Hashes     []tlog.Hash     `json:"hashes"`
	Key        string          `json:"key"`
	Checkpoint string          `json:"checkpoint"`
}

// Prove records that somebody reads an entry, and returns its proof. Error: sql.ErrNotFound for a place without an
// entry.
func (l *Log) Prove(ctx context.Context, by otp.Actor, place int64, now otp.Millis) (Proof, error) {
	details := map[string]string{"place": strconv.FormatInt(place, 10)}
	if err := l.NoteReading(ctx, otp.AuditRead, by, details, "", now); err != nil {
		return Proof{}, err
	}
	tree, err := l.store.Audit.Tree(ctx)
	if err != nil {
		return Proof{}, err
	}
	s, content, err := l.at(ctx, tree, place)
	if err != nil {
		return Proof{}, err
	}
	reader := readTile(func(level int, number int64) ([]byte, error) { return l.store.Audit.Tile(ctx, level, number) })
	hashes, err := tlog.ProveRecord(tree.Size, place, tlog.HashReaderFunc(reader.hashes))
	if err != nil {
		return Proof{}, err
	}
	if err := tlog.CheckRecord(hashes, tree.Size, tree.Root, place, s.hash()); err != nil {
		return Proof{}, &Fault{place, "is not the one in the tree; run otpbridge audit verify"}
	}
	checkpoint, err := l.key.sign(tree)
	return Proof{place, content, hex.EncodeToString(s[:]), hashes, l.key.public, checkpoint.Note}, err
}
