package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/crypto"
	"otpbridge/sql"
)

// Checkpoint is the state of the log at a time: the first Size entries have this Root.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	At     time.Time
	Note   string // the text and its signature
}

// key signs the checkpoints of one database.
type key struct {
	origin   string
	signer   note.Signer
	verifier note.Verifier
	public   string // as note.NewVerifier reads it
}

// newKey derives the key and the log's name from the index key. That key survives rotations of the keyring and is in
// every backup, so that checkpoints from before a restore can still be verified.
func newKey(index *crypto.IndexKey) (*key, error) {
	seed := index.Sum32("audit checkpoint key")
	name := index.Sum("audit log")
	k := &key{origin: fmt.Sprintf("otpbridge-%x", name[:8])}
	private := ed25519.NewKeyFromSeed(seed[:])
	public, err := note.NewEd25519VerifierKey(k.origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	k.public = public
	if k.verifier, err = note.NewVerifier(public); err != nil {
		return nil, err
	}
	const ed25519Algorithm = 1 // of package note
	k.signer, err = note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", k.origin, k.verifier.KeyHash(),
		base64.StdEncoding.EncodeToString(append([]byte{ed25519Algorithm}, seed[:]...))))
	return k, err
}

// sign returns the checkpoint of a tree: a note whose text is a C2SP tlog-checkpoint, with the time as extension line.
func (k *key) sign(tree sql.AuditTree) (Checkpoint, error) {
	c := Checkpoint{Origin: k.origin, Size: tree.Size, Root: tree.Root, At: tree.SealedAt.Time()}
	text := fmt.Sprintf("%s\n%d\n%s\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]),
		c.At.Format(time.RFC3339Nano))
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	c.Note = string(signed)
	return c, err
}

// readCheckpoint checks the signature of one checkpoint and reads it.
func readCheckpoint(text string, verifier note.Verifier) (Checkpoint, error) {
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("a checkpoint is damaged, or of another log than %s: %w", verifier.Name(), err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 5 || lines[0] != verifier.Name() {
		return Checkpoint{}, errors.New("a checkpoint lacks a line; it has origin, size, root and time")
	}
	c := Checkpoint{Origin: lines[0], Note: text}
	c.Size, err = strconv.ParseInt(lines[1], 10, 64)
	if err == nil {
		c.Root, err = tlog.ParseHash(lines[2])
	}
	if err == nil {
		c.At, err = time.Parse(time.RFC3339Nano, lines[3])
	}
	if err != nil || c.Size < 0 {
		return Checkpoint{}, errors.New("a checkpoint cannot be read: its lines are origin, size, root and time")
	}
	return c, nil
}

// maxNote is the length of one checkpoint at most, in bytes, with the signatures of others.
const maxNote = 16 << 10

// readCheckpoints reads a file of checkpoints, without their texts: a server appends two a second.
func readCheckpoints(file io.Reader, verifier note.Verifier) ([]Checkpoint, error) {
	if file == nil {
		return nil, nil
	}
	var all []Checkpoint
	var one bytes.Buffer
	signed := false
	flush := func() error {
		if one.Len() == 0 {
			return nil
		}
		c, err := readCheckpoint(one.String(), verifier)
		if err != nil {
			return fmt.Errorf("checkpoint %d of the file: %w", len(all)+1, err)
		}
		c.Note = ""
		all = append(all, c)
		one.Reset()
		signed = false
		return nil
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		isSignature := strings.HasPrefix(line, "— ")
		if signed && !isSignature || one.Len() > maxNote {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if one.Len() == 0 && line == "" {
			continue
		}
		signed = isSignature
		one.WriteString(line + "\n")
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("checkpoint %d of the file: %w", len(all)+1, err)
	}
	return all, flush()
}
