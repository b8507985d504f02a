package iso

import (
	"encoding/binary"
	"fmt"
)

// File flags of a directory record (ECMA-119 9.1.6).
const (
	flagHidden     = 0x01
	flagDirectory  = 0x02
	flagAssociated = 0x04
	flagMore       = 0x80 // another section of the file follows
)

// recordHead is the length of a directory record up to its identifier.
const recordHead = 33

// record is a directory record (ECMA-119 9.1). Its slices are parts of what it
// was decoded from.
type record struct {
	extent uint32 // logical block of the extent
	xattr  uint8  // blocks of extended attribute record before the data
	size   uint32 // of the data, in bytes
	date   []byte // seven bytes
	flags  uint8
	unit   uint8 // of interleaved files, 0 for others
	gap    uint8
	id     []byte
	su     []byte // system use
}

func (r *record) isDir() bool { return r.flags&flagDirectory != 0 }

// block is the first logical block of the data.
func (r *record) block() uint32 { return r.extent + uint32(r.xattr) }

// interleaved tells of files whose blocks alternate with those of others.
func (r *record) interleaved() bool { return r.unit != 0 || r.gap != 0 }

// decodeRecord decodes the record that p is the whole of; fault tells what is
// wrong with it, or is empty. Numbers that stand in both orders are taken from
// the little-endian half, as Linux takes them.
func decodeRecord(p []byte) (r record, fault string) {
	if len(p) < recordHead+1 {
		return r, fmt.Sprintf("has %d bytes", len(p))
	}
	n := int(p[32])
	if n == 0 || recordHead+n > len(p) {
		return r, fmt.Sprintf("of %d bytes has an identifier of %d", len(p), n)
	}
	r = record{
		extent: binary.LittleEndian.Uint32(p[2:]),
		xattr:  p[1],
		size:   binary.LittleEndian.Uint32(p[10:]),
		date:   p[18:25],
		flags:  p[25],
		unit:   p[26],
		gap:    p[27],
		id:     p[recordHead : recordHead+n],
	}
	if uint64(r.extent)+uint64(r.xattr) > 1<<32-1 {
		return r, fmt.Sprintf("names block %d", r.extent)
	}
	// A pad byte makes the identifier end on an even offset.
	if at := recordHead + n + (n+1)%2; at < len(p) {
		r.su = p[at:]
	}
	return r, ""
}
