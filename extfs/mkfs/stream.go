package mkfs

import (
	"fmt"
	"io"
)

// stream collects writes that follow one another in the image and hands them
// on in large pieces, in order.
type stream struct {
	w   io.WriterAt
	buf []byte
	at  int64 // where buf[0] belongs
	n   int

	// Where there is another buffer, one is written while the other is filled,
	// and pending gives the result of that write.
	other   []byte
	pending chan error
}

func newStream(w io.WriterAt, size int) *stream {
	return &stream{w: w, buf: make([]byte, size)}
}

// newBackgroundStream makes a stream that writes while the next piece is
// collected. It must be waited for before it is left.
func newBackgroundStream(w io.WriterAt, size int) *stream {
	return &stream{w: w, buf: make([]byte, size), other: make([]byte, size)}
}

// next returns room for up to want bytes at off, in place, for the caller to
// fill; commit then takes as many of them as are wanted. The room has old
// bytes in it and may be shorter than want, never shorter than least, which is
// at most the stream's buffer.
func (s *stream) next(off int64, want, least int) ([]byte, error) {
	if s.n > 0 && (s.at+int64(s.n) != off || len(s.buf)-s.n < least) {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	if s.n == 0 {
		s.at = off
	}
	return s.buf[s.n:min(s.n+want, len(s.buf))], nil
}

func (s *stream) commit(n int) { s.n += n }

// write puts p, at most the stream's buffer, at off.
func (s *stream) write(p []byte, off int64) error {
	room, err := s.next(off, len(p), len(p))
	if err != nil {
		return err
	}
	copy(room, p)
	s.commit(len(p))
	return nil
}

// flush hands on what was collected. With a background write there is at most
// one under way, whose error comes with the next flush or wait.
func (s *stream) flush() error {
	if s.n == 0 {
		return nil
	}
	p, at := s.buf[:s.n], s.at
	s.n = 0
	if s.other == nil {
		return writeAt(s.w, p, at)
	}
	if err := s.wait(); err != nil {
		return err
	}
	s.buf, s.other = s.other, s.buf
	pending := make(chan error, 1)
	s.pending = pending
	go func() { pending <- writeAt(s.w, p, at) }()
	return nil
}

// wait waits for the write that is under way.
func (s *stream) wait() error {
	if s.pending == nil {
		return nil
	}
	err := <-s.pending
	s.pending = nil
	return err
}

// writeAt writes all of p and tells where it could not.
func writeAt(w io.WriterAt, p []byte, off int64) error {
	n, err := w.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("writing %d bytes at %d: %w", len(p), off, err)
	}
	return nil
}
