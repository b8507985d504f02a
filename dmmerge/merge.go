package dmmerge

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// copyBytes is how much is read and written at a time.
const copyBytes = 1 << 20

// holeBytes is the size of the zero blocks that become holes.
const holeBytes = 4096

// Output is a new file that a merged device is written to. An *os.File is one.
type Output interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// MergeOptions change how a device is written.
type MergeOptions struct {
	// ZerosToHoles leaves out blocks of 4 KiB that are zero, so that they become
	// holes.
	ZerosToHoles bool
	// Progress is told how many bytes of the device are done; it may be nil.
	Progress func(done int64)
}

// MergeResult tells what was written, in bytes.
type MergeResult struct {
	Size    int64 `json:"size"`
	Written int64 `json:"written"`
	FromCOW int64 `json:"from_cow"`
}

// MergeTo writes the device to a new, empty file, in ascending order and without
// its holes, and syncs it once. The COW and its origin are only read. After an
// error the file is of no use.
func MergeTo(ctx context.Context, out Output, d *Device, o MergeOptions) (MergeResult, error) {
	m := merger{ctx: ctx, out: out, d: d, o: o, buf: make([]byte, copyBytes)}
	m.res.Size = d.size
	if err := out.Truncate(d.size); err != nil {
		return m.res, err
	}
	if f := hostOut(out); f != nil && !o.ZerosToHoles {
		if h, ok := d.origin.(interface{ HostFile() *os.File }); ok {
			m.from, m.to = h.HostFile(), f
		}
	}
	for off := int64(0); ; {
		start, end, err := d.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			return m.res, err
		}
		if start < off || end <= start {
			return m.res, fmt.Errorf("origin of %s: data at %d is said to be at %d to %d", d.cow.name, off, start, end)
		}
		if err := m.copy(start, end); err != nil {
			return m.res, err
		}
		off = end
	}
	m.progress(d.size)
	return m.res, out.Sync()
}

type merger struct {
	ctx      context.Context
	out      Output
	d        *Device
	o        MergeOptions
	buf      []byte
	from, to *os.File // where the kernel may copy from the origin
	res      MergeResult
}

func (m *merger) progress(done int64) {
	if m.o.Progress != nil {
		m.o.Progress(done)
	}
}

// copy writes a range of the device.
func (m *merger) copy(off, end int64) error {
	for off < end {
		if m.ctx.Err() != nil {
			return context.Cause(m.ctx)
		}
		changed, stop := m.d.kind(off)
		stop = min(stop, end)
		var n int64
		if !changed && m.from != nil {
			var err error
			if n, err = m.kernelCopy(off, stop); err != nil {
				return err
			}
		}
		if n == 0 {
			n = min(stop-off, int64(len(m.buf))-off%holeBytes)
			p := m.buf[:n]
			if err := tree.ReadFull(m.d, p, off); err != nil {
				return err
			}
			if err := m.write(p, off); err != nil {
				return err
			}
		}
		if changed {
			m.res.FromCOW += n
		}
		off += n
		m.progress(off)
	}
	return nil
}

// kind reports whether a byte comes from the COW, and where the range that does
// or does not ends.
func (d *Device) kind(off int64) (changed bool, end int64) {
	i := d.at(off)
	if i == len(d.runs) || off >= d.limit {
		return false, d.size
	}
	e, _ := d.joined(i, off+copyBytes)
	if e.Start > off {
		return false, e.Start
	}
	return true, e.End
}

// kernelCopy has the kernel copy from the origin and gives how much it did. If
// it does not, it is not asked again.
func (m *merger) kernelCopy(off, end int64) (int64, error) {
	in, at := off, off
	n, err := unix.CopyFileRange(int(m.from.Fd()), &in, int(m.to.Fd()), &at, int(min(end-off, 64<<20)), 0)
	if err != nil || n <= 0 {
		m.from = nil
		return 0, nil
	}
	m.res.Written += int64(n)
	if noted, ok := m.out.(copyNoter); ok {
		err = noted.Copied(off, int64(n))
	}
	return int64(n), err
}

// copyNoter is a new file that is to be told what the kernel copied to it.
type copyNoter interface {
	HostFile() *os.File
	Copied(off, n int64) error
}

// hostOut is the host's file that is written to, nil where it is none.
func hostOut(out Output) *os.File {
	switch v := out.(type) {
	case *os.File:
		return v
	case copyNoter:
		return v.HostFile()
	}
	return nil
}

// write writes bytes, or what of them is not zero.
func (m *merger) write(p []byte, off int64) error {
	if !m.o.ZerosToHoles {
		m.res.Written += int64(len(p))
		_, err := m.out.WriteAt(p, off)
		return err
	}
	from := 0
	flush := func(to int) error {
		if to == from {
			return nil
		}
		m.res.Written += int64(to - from)
		_, err := m.out.WriteAt(p[from:to], off+int64(from))
		return err
	}
	for i := 0; i < len(p); {
		next := min(i+holeBytes-int((off+int64(i))%holeBytes), len(p))
		if tree.IsZero(p[i:next]) {
			if err := flush(i); err != nil {
				return err
			}
			from = next
		}
		i = next
	}
	return flush(len(p))
}
