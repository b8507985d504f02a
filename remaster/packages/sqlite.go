package packages

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"relive/tree"
)

// sqlite reads tables of an SQLite database (fileformat2.html; the numbers in
// comments are its sections).
type sqlite struct {
	c      tree.Content
	page   int64 // bytes of a page
	usable int64 // of which the b-trees use this
	pages  int64 // in the database
	wal    *wal  // nil where there is none
}

const sqliteMagic = "SQLite format 3\x00"

// openSQLite reads the header (1.3). log is the write-ahead log beside the
// database, nil where there is none.
func openSQLite(ctx context.Context, c, log tree.Content) (*sqlite, error) {
	h := make([]byte, 100)
	db := &sqlite{c: c}
	if log != nil && log.Size() > 0 {
		w, err := openWAL(ctx, log)
		if err != nil {
			return nil, err
		}
		db.wal = w
	}
	if db.wal != nil {
		// A database may still be empty, all of it in the log.
		db.page, db.pages = db.wal.page, db.wal.pages
		first := make([]byte, db.page)
		if err := db.read(1, first); err != nil {
			return nil, err
		}
		copy(h, first)
	} else if err := tree.ReadFull(c, h, 0); err != nil {
		return nil, err
	}
	if string(h[:16]) != sqliteMagic {
		return nil, errors.New("no SQLite database")
	}
	page := int64(binary.BigEndian.Uint16(h[16:]))
	if page == 1 {
		page = 65536
	}
	if page < 512 || page&(page-1) != 0 || db.wal != nil && page != db.page {
		return nil, fmt.Errorf("header: pages of %d bytes", page)
	}
	db.page, db.usable = page, page-int64(h[20])
	if db.usable < 480 {
		return nil, fmt.Errorf("header: %d bytes of a page are set aside", h[20])
	}
	if enc := binary.BigEndian.Uint32(h[56:]); enc > 1 {
		return nil, tree.Unsupported("", "header", "text in UTF-16")
	}
	if db.wal == nil {
		db.pages = c.Size() / page
	}
	return db, nil
}

// read reads a page; pages are counted from 1.
func (db *sqlite) read(number int64, p []byte) error {
	if number < 1 || number > db.pages {
		return fmt.Errorf("page %d of %d", number, db.pages)
	}
	if db.wal != nil {
		if off, ok := db.wal.frames[uint32(number)]; ok {
			return tree.ReadFull(db.wal.c, p, off)
		}
	}
	return tree.ReadFull(db.c, p, (number-1)*db.page)
}

// maxDepth is deeper than a b-tree of 2^32 pages can be.
const maxDepth = 32

// table calls fn for every row of a table b-tree (1.5), in the order of the row
// ids, with the columns of its record. fn may not keep what the columns hold.
// Rows of more than limit bytes are an error.
func (db *sqlite) table(ctx context.Context, root, limit int64, fn func(row []column) error) error {
	w := &tableWalk{db: db, ctx: ctx, limit: limit, fn: fn, left: db.pages, bytes: db.pages * db.page}
	return w.page(root, 0)
}

type tableWalk struct {
	db      *sqlite
	ctx     context.Context
	limit   int64
	fn      func([]column) error
	left    int64    // pages that may still be visited: each is there once
	bytes   int64    // that rows may still have: each is there once
	pages   [][]byte // a buffer for each depth
	payload []byte
	row     []column
	over    []byte // an overflow page
}

func (w *tableWalk) page(number int64, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	if w.left--; w.left < 0 || depth > maxDepth {
		return fmt.Errorf("page %d: the b-tree leads in a circle", number)
	}
	if depth == len(w.pages) {
		w.pages = append(w.pages, make([]byte, w.db.page))
	}
	b := w.pages[depth]
	if err := w.db.read(number, b); err != nil {
		return err
	}
	fault := func(format string, args ...any) error {
		return fmt.Errorf("page %d: "+format, append([]any{number}, args...)...)
	}
	h := b
	if number == 1 {
		h = b[100:]
	}
	b = b[:w.db.usable]
	const interior, leaf = 5, 13
	cells := int(binary.BigEndian.Uint16(h[3:]))
	pointers := h[8:]
	if h[0] == interior {
		pointers = h[12:]
	} else if h[0] != leaf {
		return fault("type %d, not one of a table", h[0])
	}
	if 2*cells > len(pointers) {
		return fault("%d cells", cells)
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(pointers[2*i:]))
		if at >= len(b) {
			return fault("cell %d lies past the end", i)
		}
		cell := b[at:]
		if h[0] == interior {
			if len(cell) < 4 {
				return fault("cell %d lies past the end", i)
			}
			if err := w.page(int64(binary.BigEndian.Uint32(cell)), depth+1); err != nil {
				return err
			}
			continue
		}
		if err := w.cell(cell); err != nil {
			return fault("cell %d: %w", i, err)
		}
	}
	if h[0] == interior {
		return w.page(int64(binary.BigEndian.Uint32(h[8:])), depth+1)
	}
	return nil
}

// cell reads a cell of a leaf: the size of the payload, the row id, the payload,
// of which the end may lie in overflow pages (1.6).
func (w *tableWalk) cell(b []byte) error {
	size, b, ok := varint(b)
	if !ok {
		return errors.New("is cut short")
	}
	if _, b, ok = varint(b); !ok {
		return errors.New("is cut short")
	}
	if w.bytes -= size; size < 0 || size > w.limit || w.bytes < 0 {
		return fmt.Errorf("a row of %d bytes", size)
	}
	u := w.db.usable
	local := size
	if most := u - 35; size > most {
		least := (u-12)*32/255 - 23
		if local = least + (size-least)%(u-4); local > most {
			local = least
		}
	}
	if int64(len(b)) < local || local < size && int64(len(b)) < local+4 {
		return errors.New("is cut short")
	}
	payload := b[:local]
	if local < size {
		if int64(cap(w.payload)) < size {
			w.payload = make([]byte, size)
		}
		payload = w.payload[:size]
		n := int64(copy(payload, b[:local]))
		if w.over == nil {
			w.over = make([]byte, w.db.page)
		}
		for next := binary.BigEndian.Uint32(b[local:]); n < size; {
			if err := w.db.read(int64(next), w.over); err != nil {
				return fmt.Errorf("overflow: %w", err)
			}
			next = binary.BigEndian.Uint32(w.over)
			n += int64(copy(payload[n:], w.over[4:u]))
		}
	}
	return w.record(payload)
}

// column is a value of a row: an integer, or text or a blob.
type column struct {
	n int64
	b []byte
}

// record splits a payload into its columns (2.1).
func (w *tableWalk) record(p []byte) error {
	size, h, ok := varint(p)
	if !ok || size < 1 || size > int64(len(p)) {
		return errors.New("a record without a header")
	}
	h, p = h[:max(0, size-int64(len(p)-len(h)))], p[size:]
	w.row = w.row[:0]
	for len(h) > 0 {
		var kind int64
		if kind, h, ok = varint(h); !ok {
			return errors.New("the header of a record is cut short")
		}
		var c column
		length := int64(0)
		switch {
		case kind >= 1 && kind <= 4:
			length = kind
		case kind == 5:
			length = 6
		case kind == 6 || kind == 7:
			length = 8
		case kind == 9:
			c.n = 1
		case kind >= 12:
			length = (kind - 12) / 2
		case kind < 0 || kind > 9:
			return fmt.Errorf("a column of type %d", kind)
		}
		if length > int64(len(p)) {
			return errors.New("a column is cut short")
		}
		c.b, p = p[:length], p[length:]
		if kind >= 1 && kind <= 6 {
			c.n = int64(int8(c.b[0]))
			for _, x := range c.b[1:] {
				c.n = c.n<<8 | int64(x)
			}
		}
		w.row = append(w.row, c)
	}
	return w.fn(w.row)
}

// varint reads a number of one to nine bytes, seven bits each and eight of the
// ninth, the highest first (1.6).
func varint(b []byte) (v int64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 9; i++ {
		if i == 8 {
			return v<<8 | int64(b[i]), b[9:], true
		}
		v = v<<7 | int64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}

// errFound ends a walk that has what it looked for.
var errFound = errors.New("found")

// rootOf finds a table in sqlite_schema (2.6): type, name, tbl_name, rootpage,
// sql. It is zero where there is no such table.
func (db *sqlite) rootOf(ctx context.Context, name string) (root int64, err error) {
	const limit = 1 << 20
	err = db.table(ctx, 1, limit, func(row []column) error {
		if len(row) >= 4 && string(row[0].b) == "table" && strings.EqualFold(string(row[1].b), name) {
			root = row[3].n
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return root, err
}

// wal is a write-ahead log (4): of each page what was written last and
// committed.
type wal struct {
	c      tree.Content
	page   int64
	pages  int64            // of the database after the last commit
	frames map[uint32]int64 // offset of a page's content
}

const walHeader, walFrame = 32, 24 // bytes

// openWAL reads the log's frames up to the last that commits. A frame counts
// with the salts of the header and a right checksum; what follows one that does
// not is left from before. It gives nil where nothing is committed.
func openWAL(ctx context.Context, c tree.Content) (*wal, error) {
	var h [walHeader]byte
	if c.Size() < walHeader {
		return nil, nil
	}
	if err := tree.ReadFull(c, h[:], 0); err != nil {
		return nil, err
	}
	magic := binary.BigEndian.Uint32(h[:])
	if magic&^1 != 0x377f0682 {
		return nil, errors.New("write-ahead log: of an unknown form")
	}
	if v := binary.BigEndian.Uint32(h[4:]); v != 3007000 {
		return nil, tree.Unsupported("", "write-ahead log", "version %d", v)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	w := &wal{c: c, page: int64(binary.BigEndian.Uint32(h[8:])), frames: map[uint32]int64{}}
	if w.page < 512 || w.page > 65536 || w.page&(w.page-1) != 0 {
		return nil, fmt.Errorf("write-ahead log: pages of %d bytes", w.page)
	}
	s0, s1 := walSum(order, 0, 0, h[:24])
	if s0 != binary.BigEndian.Uint32(h[24:]) || s1 != binary.BigEndian.Uint32(h[28:]) {
		return nil, nil // as SQLite has it: an empty log
	}
	f := make([]byte, walFrame+w.page)
	pending := map[uint32]int64{}
	for off := int64(walHeader); off+int64(len(f)) <= c.Size(); off += int64(len(f)) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := tree.ReadFull(c, f, off); err != nil {
			return nil, err
		}
		if string(f[8:16]) != string(h[16:24]) {
			break
		}
		s0, s1 = walSum(order, s0, s1, f[:8])
		s0, s1 = walSum(order, s0, s1, f[walFrame:])
		if s0 != binary.BigEndian.Uint32(f[16:]) || s1 != binary.BigEndian.Uint32(f[20:]) {
			break
		}
		pending[binary.BigEndian.Uint32(f)] = off + walFrame
		if size := binary.BigEndian.Uint32(f[4:]); size != 0 {
			w.pages = int64(size)
			for n, at := range pending {
				w.frames[n] = at
			}
			clear(pending)
		}
	}
	if w.pages == 0 {
		return nil, nil
	}
	return w, nil
}

// walSum is the checksum of 4.2; the length of b is a multiple of eight.
func walSum(order binary.ByteOrder, s0, s1 uint32, b []byte) (uint32, uint32) {
	for ; len(b) >= 8; b = b[8:] {
		s0 += order.Uint32(b) + s1
		s1 += order.Uint32(b[4:]) + s0
	}
	return s0, s1
}

// content opens a file beside another, nil where there is none.
func content(n *tree.Node) (tree.Content, error) {
	if n == nil {
		return nopContent{}, nil
	}
	return n.Open()
}

// nopContent is an empty file.
type nopContent struct{}

func (nopContent) ReadAt([]byte, int64) (int, error)            { return 0, io.EOF }
func (nopContent) Size() int64                                  { return 0 }
func (nopContent) Close() error                                 { return nil }
func (nopContent) NextData(int64) (start, end int64, err error) { return 0, 0, io.EOF }
