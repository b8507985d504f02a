package packages

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"relive/tree"
)

// Sizes and magics of rpm's own database (ndb, rpmpkg.c), in bytes.
const (
	ndbPage      = 4096
	ndbBlock     = 16
	ndbSlot      = 16
	ndbHeader    = 32 // of the database: the first slots' place
	ndbBlob      = 16 // of a blob
	ndbMagic     = "RpmP"
	ndbSlotMagic = "Slot"
	ndbBlobMagic = "BlbS"
)

// rpmNDB reads rpm's own database. A header of two slots has a magic, version,
// generation and the number of pages with slots; each slot in use has a magic,
// the package's number, and where its blob lies, in blocks of 16 bytes; a blob
// has a magic, the package's number, generation, and the length of the header
// that follows. All numbers are little-endian.
func rpmNDB(ctx context.Context, l *List, _, n *tree.Node, fn func([]byte) error) error {
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	page := make([]byte, ndbPage)
	if err := tree.ReadFull(c, page, 0); err != nil {
		return err
	}
	if string(page[:4]) != ndbMagic {
		return errors.New("no database of rpm's own form")
	}
	if v := binary.LittleEndian.Uint32(page[4:]); v != 0 {
		return tree.Unsupported(tree.Quote(l.Source), "header", "version %d", v)
	}
	pages := int64(binary.LittleEndian.Uint32(page[12:]))
	if pages < 1 || pages*ndbPage > c.Size() {
		return fmt.Errorf("header: %d pages of slots", pages)
	}
	var blob []byte
	left := c.Size() // bytes that blobs may still have: each is there once
	for p := range pages {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := tree.ReadFull(c, page, p*ndbPage); err != nil {
			return err
		}
		from := 0
		if p == 0 {
			from = ndbHeader
		}
		for at := from; at < ndbPage; at += ndbSlot {
			s := page[at:]
			if string(s[:4]) != ndbSlotMagic {
				return fmt.Errorf("slot at byte %d: damaged", p*ndbPage+int64(at))
			}
			off := int64(binary.LittleEndian.Uint32(s[8:])) * ndbBlock
			if off == 0 {
				continue // free
			}
			fault := func(fact string) error {
				return fmt.Errorf("package %d: %s", binary.LittleEndian.Uint32(s[4:]), fact)
			}
			var h [ndbBlob]byte
			if off+ndbBlob > c.Size() {
				return fault("lies past the end")
			}
			if err := tree.ReadFull(c, h[:], off); err != nil {
				return err
			}
			size := int64(binary.LittleEndian.Uint32(h[12:]))
			if string(h[:4]) != ndbBlobMagic || string(h[4:8]) != string(s[4:8]) {
				return fault("is not where its slot points")
			}
			if left -= size; left < 0 || size > maxRPMHeader || off+ndbBlob+size > c.Size() ||
				size > int64(binary.LittleEndian.Uint32(s[12:]))*ndbBlock {
				return fault(fmt.Sprintf("has %d bytes", size))
			}
			if int64(cap(blob)) < size {
				blob = make([]byte, size)
			}
			blob = blob[:size]
			if err := tree.ReadFull(c, blob, off+ndbBlob); err != nil {
				return err
			}
			if err := fn(blob); err != nil {
				return fault(err.Error())
			}
		}
	}
	return nil
}
