package dmmerge

import (
	"errors"
	"io"
)

// memory is a file in memory. It counts syncs and writes, and knows which 4 KiB
// blocks were never written.
type memory struct {
	b       []byte
	written map[int64]bool
	syncs   int
	writes  int
	fail    int // the write that fails, from 1
}

var errWrite = errors.New("no space left")

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if m.writes++; m.writes == m.fail {
		return 0, errWrite
	}
	if grow := off + int64(len(p)) - int64(len(m.b)); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	if m.written == nil {
		m.written = map[int64]bool{}
	}
	if len(p) > 0 {
		for at := off &^ 4095; at < off+int64(len(p)); at += 4096 {
			m.written[at] = true
		}
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) Truncate(size int64) error {
	if grow := size - int64(len(m.b)); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	m.b = m.b[:size]
	return nil
}

func (m *memory) Sync() error {
	m.syncs++
	return nil
}
