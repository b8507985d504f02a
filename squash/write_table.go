package squash

import (
	"encoding/binary"

	"relive/codec"
	"relive/squash/internal/ondisk"
)

// metadataWriter cuts a stream of bytes into metadata blocks, compresses each
// and hands it to sink.
type metadataWriter struct {
	c     codec.Compressor
	plain bool // store uncompressed
	sink  func([]byte) error
	// starts are the offsets of the blocks from the start of the table.
	starts []int64
	pos    int64  // stored bytes handed over
	buf    []byte // of the block that is being filled
	out    []byte
}

func newMetadataWriter(c codec.Compressor, plain bool, sink func([]byte) error) *metadataWriter {
	return &metadataWriter{c: c, plain: plain, sink: sink, buf: make([]byte, 0, ondisk.MetadataSize),
		out: make([]byte, 2, 2+ondisk.MetadataSize)}
}

// ref is the place of the next byte.
func (m *metadataWriter) ref() ondisk.Ref { return ondisk.MakeRef(m.pos, len(m.buf)) }

func (m *metadataWriter) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), ondisk.MetadataSize-len(m.buf))
		m.buf = append(m.buf, p[:n]...)
		p = p[n:]
		// A full block is closed at once, so that ref never points behind one.
		if len(m.buf) == ondisk.MetadataSize {
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush closes the block that is being filled, if there is anything in it.
func (m *metadataWriter) flush() error {
	if len(m.buf) == 0 {
		return nil
	}
	block, header := m.buf, uint16(len(m.buf))|ondisk.MetadataUncompressed
	if !m.plain {
		out, ok, err := m.c.Compress(m.out[2:2], m.buf)
		if err != nil {
			return err
		}
		if ok && len(out) < len(m.buf) {
			block, header = out, uint16(len(out))
		}
	}
	p := append(m.out[:2], block...)
	binary.LittleEndian.PutUint16(p, header)
	m.starts = append(m.starts, m.pos)
	m.pos += int64(len(p))
	m.buf = m.buf[:0]
	return m.sink(p)
}
