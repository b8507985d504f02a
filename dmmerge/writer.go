package dmmerge

import (
	"encoding/binary"
	"io"
)

// writer writes a fresh COW: chunks one after the other, each with an entry, and
// the header last.
type writer struct {
	out io.WriterAt
	geo geometry
	n   uint64 // entries so far

	data    []byte // chunks that are not written yet
	dataAt  int64
	areas   []byte // entries that are not written yet
	areasAt int64
}

func newWriter(out io.WriterAt, g geometry) *writer {
	return &writer{out: out, geo: g, data: make([]byte, 0, copyBytes), areas: make([]byte, 0, scanBytes)}
}

// begin adds the entry for a chunk of the origin; the chunk's bytes follow by
// write.
func (w *writer) begin(old uint64) error {
	at := w.geo.entryOffset(w.n)
	if at != w.areasAt+int64(len(w.areas)) || len(w.areas) == cap(w.areas) {
		if err := w.flushAreas(); err != nil {
			return err
		}
		w.areasAt = at
	}
	chunk := w.geo.nthData(w.n)
	w.areas = binary.LittleEndian.AppendUint64(w.areas, old)
	w.areas = binary.LittleEndian.AppendUint64(w.areas, chunk)
	w.n++
	if off := int64(chunk) * w.geo.bytes; off != w.dataAt+int64(len(w.data)) {
		if err := w.flushData(); err != nil {
			return err
		}
		w.dataAt = off
	}
	return nil
}

// write adds bytes to the chunk that was begun.
func (w *writer) write(p []byte) error {
	for len(p) > 0 {
		if len(w.data) == cap(w.data) {
			if err := w.flushData(); err != nil {
				return err
			}
		}
		n := copy(w.data[len(w.data):cap(w.data)], p)
		w.data = w.data[:len(w.data)+n]
		p = p[n:]
	}
	return nil
}

func (w *writer) flushData() error {
	_, err := w.out.WriteAt(w.data, w.dataAt)
	w.dataAt += int64(len(w.data))
	w.data = w.data[:0]
	return err
}

func (w *writer) flushAreas() error {
	_, err := w.out.WriteAt(w.areas, w.areasAt)
	w.areasAt += int64(len(w.areas))
	w.areas = w.areas[:0]
	return err
}

// finish writes what is left and, once that is durable, the header.
func (w *writer) finish(s interface {
	io.WriterAt
	Sync() error
}) error {
	if err := w.flushData(); err != nil {
		return err
	}
	if err := w.flushAreas(); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	if _, err := s.WriteAt(Header{Valid: 1, Version: headerVersion, ChunkSectors: uint32(w.geo.sectors)}.encode(), 0); err != nil {
		return err
	}
	return s.Sync()
}
