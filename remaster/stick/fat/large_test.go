package fat

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"relive/tree"
)

// device is a FAT32 volume that is made as it is read: one file of 4 GiB less a
// byte whose clusters lie backwards in groups, so that it is in as many pieces as
// can be.
type device struct {
	boot  [512]byte
	count uint32 // clusters of the file
	group uint32
}

const (
	devCluster = 4096
	devFATs    = 32 * 512
	devSize    = 1<<32 - 1
)

func newDevice(group uint32) *device {
	d := &device{count: 1 << 20, group: group}
	clusters := uint32(1<<20 + 10)
	fatSectors := (clusters+2)*4/512 + 1
	b := d.boot[:]
	b[0] = 0xEB
	le.PutUint16(b[bsBytesPerSector:], 512)
	b[bsSectorsPerCluster] = devCluster / 512
	le.PutUint16(b[bsReserved:], 32)
	b[bsFATs], b[bsMedia] = 1, 0xF8
	le.PutUint32(b[bsFATSectors32:], fatSectors)
	le.PutUint32(b[bsSectors32:], 32+fatSectors+clusters*8)
	le.PutUint32(b[bsRootCluster:], 2)
	le.PutUint16(b[bsMagic:], bootMagic)
	return d
}

func (d *device) size() int64 { return int64(le.Uint32(d.boot[bsSectors32:])) * 512 }
func (d *device) heap() int64 { return devFATs + int64(le.Uint32(d.boot[bsFATSectors32:]))*512 }

// cluster is where a cluster of the file lies: groups in order from the end.
func (d *device) cluster(i uint32) uint32 {
	groups := d.count / d.group
	return 3 + (groups-1-i/d.group)*d.group + i%d.group
}

// index is the other way about.
func (d *device) index(cluster uint32) uint32 {
	c := cluster - 3
	return (d.count/d.group-1-c/d.group)*d.group + c%d.group
}

// word is the content of the file.
func word(off int64) uint32 { return uint32(off>>2)*2654435761 + 1 }

func (d *device) u32(off int64) uint32 {
	switch heap := d.heap(); {
	case off < 512:
		return le.Uint32(d.boot[off:])
	case off < devFATs:
		return 0
	case off < heap:
		c := uint32(off-devFATs) / 4
		switch {
		case c == 2, c >= 3+d.count:
			return 0xFFFFFFF
		case c < 2:
			return 0xFFFFFF8
		case d.index(c) == d.count-1:
			return 0xFFFFFFF
		}
		return d.cluster(d.index(c)+1) | 0x50000000 // the upper bits are reserved
	case off < heap+devCluster:
		e := [32]byte{}
		copy(e[:], "FOUR    GIB")
		e[deAttr] = 0x20
		le.PutUint16(e[deClusterHi:], uint16(d.cluster(0)>>16))
		le.PutUint16(e[deClusterLo:], uint16(d.cluster(0)))
		le.PutUint32(e[deSize:], devSize)
		if off -= heap; off < 32 {
			return le.Uint32(e[off:])
		}
		return 0
	default:
		in := off - heap
		return word(int64(d.index(uint32(in/devCluster)+2))*devCluster + in%devCluster)
	}
}

func (d *device) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		if at >= d.size() {
			return n, io.EOF
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], d.u32(at&^3))
		n += copy(p[n:], b[at&3:])
	}
	return len(p), nil
}

// TestLargestFile reads a file of 4 GiB less a byte, in 2^20 pieces and in few,
// at random and to its end, in bounded memory.
func TestLargestFile(t *testing.T) {
	for _, group := range []uint32{1, 64, 1 << 20} {
		d := newDevice(group)
		fs, err := Open(d, d.size(), "image")
		if err != nil {
			t.Fatal(err)
		}
		n := lookup(t, rootOf(t, fs), "FOUR.GIB")
		if n.Size != devSize {
			t.Fatal(n.Size)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := n.Open()
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, uint64(group)))
		buf := make([]byte, 20000)
		check := func(off int64, p []byte) {
			t.Helper()
			got, err := c.ReadAt(p, off)
			if want := min(int64(len(p)), devSize-off); int64(got) != want || (got < len(p)) != (err == io.EOF) || err != nil &&
				err != io.EOF {
				t.Fatalf("at %d: %d of %d bytes, %v", off, got, want, err)
			}
			for i := range p[:got] {
				at := off + int64(i)
				if w := byte(word(at) >> (at & 3 * 8)); p[i] != w {
					t.Fatalf("group %d: byte %d is %#x, want %#x", group, at, p[i], w)
				}
			}
		}
		for range 200 {
			check(r.Int64N(devSize), buf[:1+r.IntN(len(buf)-1)])
		}
		check(devSize-1, buf[:10])
		check(devSize-5000, buf)
		for off := int64(1 << 30); off < 1<<30+1<<20; off += int64(len(buf)) {
			check(off, buf)
		}
		if n, err := c.ReadAt(buf, devSize); n != 0 || err != io.EOF {
			t.Error(n, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("group %d: %d bytes allocated", group, used)
		}
		for off := int64(0); off < 100<<20; {
			at, length, err := c.(Mapped).Extent(off)
			if err != nil || length <= 0 {
				t.Fatal(off, at, length, err)
			}
			if want := fs.vol.offset(d.cluster(uint32(off/devCluster))) + off%devCluster; at != want {
				t.Fatalf("byte %d at %d, want %d", off, at, want)
			}
			off += max(length, 1<<20-7)
		}
	}
}

// TestConcurrentReads reads one file from several goroutines at once.
func TestConcurrentReads(t *testing.T) {
	d := newDevice(4)
	fs, err := Open(d, d.size(), "image")
	if err != nil {
		t.Fatal(err)
	}
	root := rootOf(t, fs)
	c, err := lookup(t, root, "FOUR.GIB").Open()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			buf := make([]byte, 9000)
			for range 50 {
				off := r.Int64N(devSize/4) * 4
				n, err := c.ReadAt(buf, off)
				if err != nil && err != io.EOF {
					t.Error(err)
				}
				for i := 0; i+4 <= n; i += 4 {
					if le.Uint32(buf[i:]) != word(off+int64(i)) {
						t.Errorf("other bytes at %d", off+int64(i))
						return
					}
				}
				if kids, err := root.Children(); len(kids) != 1 || err != nil {
					t.Error(kids, err)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkReadAt reads a file in the most pieces, and in one.
func BenchmarkReadAt(b *testing.B) {
	for name, group := range map[string]uint32{"pieces": 1, "straight": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			d := newDevice(group)
			fs, err := Open(d, d.size(), "image")
			if err != nil {
				b.Fatal(err)
			}
			n := lookup(b, rootOf(b, fs), "FOUR.GIB")
			c, err := n.Open()
			if err != nil {
				b.Fatal(err)
			}
			m := c.(Mapped)
			b.ReportAllocs()
			off := int64(0)
			for b.Loop() {
				// The place alone: the device's own time would hide it.
				if _, _, err := m.Extent(off); err != nil {
					b.Fatal(err)
				}
				if off += 128 << 10; off >= devSize {
					off = 0
				}
			}
		})
	}
}

var _ tree.Content = (*content)(nil)
