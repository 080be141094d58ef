package audit

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"otpbridge/sql"
)

// Tiles store the tree's hashes as tlog defines them: 256 neighbours of one level, on every eighth level.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// readTile returns the hashes of a tile, nil for one that does not exist.
type readTile func(level int, number int64) ([]byte, error)

// hashes reads stored hashes of the tree from tiles.
func (read readTile) hashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		data, err := read(tile.L, tile.N)
		if err != nil {
			return nil, err
		}
		if len(data) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("the tree's tile %d/%d is cut off or missing", tile.L, tile.N)
		}
		if found[i], err = tlog.HashFromTile(tile, data[:tile.W*tlog.HashSize], index); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// grow returns the tiles that change when a tree of a size gets more leaves, and its new root.
func grow(size int64, leaves []tlog.Hash, read readTile) ([]sql.AuditTile, tlog.Hash, error) {
	var changed []sql.AuditTile
	first := size
	for level, added := 0, leaves; len(added) > 0; level++ {
		number := first >> tileHeight
		have := int(first % tileWidth)
		var hashes []byte
		if have > 0 {
			before, err := read(level, number)
			if err != nil {
				return nil, tlog.Hash{}, err
			}
			if len(before) < have*tlog.HashSize {
				return nil, tlog.Hash{}, fmt.Errorf("the tree's tile %d/%d is cut off or missing", level, number)
			}
			hashes = before[:have*tlog.HashSize]
		}
		var above []tlog.Hash // one for each tile that is full now
		for len(added) > 0 {
			n := min(tileWidth-len(hashes)/tlog.HashSize, len(added))
			for _, hash := range added[:n] {
				hashes = append(hashes, hash[:]...)
			}
			added = added[n:]
			changed = append(changed, sql.AuditTile{Level: level, Number: number, Hashes: hashes})
			if len(hashes) == tileWidth*tlog.HashSize {
				above = append(above, tileRoot(hashes))
			}
			number, hashes = number+1, nil
		}
		first, added = first>>tileHeight, above
	}
	grown := readTile(func(level int, number int64) ([]byte, error) {
		for _, tile := range changed {
			if tile.Level == level && tile.Number == number {
				return tile.Hashes, nil
			}
		}
		return read(level, number)
	})
	root, err := tlog.TreeHash(size+int64(len(leaves)), tlog.HashReaderFunc(grown.hashes))
	return changed, root, err
}

// tileRoot returns the root hash of a full tile.
func tileRoot(data []byte) tlog.Hash {
	row := make([]tlog.Hash, tileWidth)
	for i := range row {
		copy(row[i][:], data[i*tlog.HashSize:])
	}
	for n := tileWidth; n > 1; n /= 2 {
		for i := range n / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}

// peaks computes a tree's root leaf by leaf. It stores one hash for each level.
type peaks struct {
	size   int64
	hashes []tlog.Hash // of the full subtrees, the largest first
}

func (p *peaks) add(leaf tlog.Hash) {
	p.hashes = append(p.hashes, leaf)
	for n := p.size; n&1 == 1; n >>= 1 {
		last := len(p.hashes) - 1
		p.hashes[last-1] = tlog.NodeHash(p.hashes[last-1], p.hashes[last])
		p.hashes = p.hashes[:last]
	}
	p.size++
}

func (p *peaks) root() tlog.Hash {
	if p.size == 0 {
		root, _ := tlog.TreeHash(0, nil) // reads no hash
		return root
	}
	root := p.hashes[len(p.hashes)-1]
	for i := len(p.hashes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(p.hashes[i], root)
	}
	return root
}
