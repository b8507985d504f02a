package filedata

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"relive/tree"
)

// Digest is the hash of a file's size and content, with pieces of zeros left out: it
// takes in the offset of each other piece, and the piece. Holes need no reading. Two
// digests tell equal content where their pieces are as long.
type Digest [sha256.Size]byte

// Hash makes a Digest of the pieces of a file.
type Hash struct {
	hash hash.Hash
	at   [8]byte
}

// NewHash begins a digest of a file of that size.
func NewHash(size int64) *Hash {
	h := &Hash{hash: sha256.New()}
	binary.LittleEndian.PutUint64(h.at[:], uint64(size))
	h.hash.Write(h.at[:])
	return h
}

// Piece takes in the piece at off. Pieces come in their order.
func (h *Hash) Piece(off int64, p []byte) {
	if tree.IsZero(p) {
		return
	}
	binary.LittleEndian.PutUint64(h.at[:], uint64(off))
	h.hash.Write(h.at[:])
	h.hash.Write(p)
}

// Sum returns the digest.
func (h *Hash) Sum() Digest { return Digest(h.hash.Sum(nil)) }

// DigestOf reads content of that size in pieces as long as buf.
func DigestOf(d tree.Data, size int64, buf []byte) (Digest, error) {
	c, err := d.Open()
	if err != nil {
		return Digest{}, err
	}
	defer c.Close()
	h := NewHash(size)
	data := Ranges{Content: c}
	for off := int64(0); off < size; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), size-off)]
		if has, err := data.Has(off, off+int64(len(p))); err != nil {
			return Digest{}, err
		} else if !has {
			continue
		}
		if err := tree.ReadFull(c, p, off); err != nil {
			return Digest{}, err
		}
		h.Piece(off, p)
	}
	return h.Sum(), nil
}
