package dmmerge

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

var errFault = errors.New("a fault of the medium")

// faults lets one operation of many fail, over all files that share it.
type faults struct{ calls, fail int }

func (f *faults) call() error {
	if f.calls++; f.calls == f.fail {
		return errFault
	}
	return nil
}

// flaky is a file whose operations count.
type flaky struct {
	*faults
	b []byte
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	return bytes.NewReader(f.b).ReadAt(p, off)
}

func (f *flaky) WriteAt(p []byte, off int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	if end := int(off) + len(p); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

func (f *flaky) Truncate(size int64) error {
	if err := f.call(); err != nil {
		return err
	}
	f.b = append(f.b, make([]byte, max(0, int(size)-len(f.b)))...)[:size]
	return nil
}

func (f *flaky) Sync() error  { return f.call() }
func (f *flaky) Size() int64  { return int64(len(f.b)) }
func (f *flaky) Close() error { return nil }
func (f *flaky) NextData(off int64) (int64, int64, error) {
	if err := f.call(); err != nil {
		return 0, 0, err
	}
	return newContent(f.b).NextData(off)
}

// TestFaults: whichever single read, write or sync of a verb fails, the verb
// says so, or does without it and gives what it gives otherwise.
func TestFaults(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(41, 1))
	for round := range 4 {
		cs := []int{1, 2, 8, 1}[round%4]
		cow, origin := soundHistory(rnd, cs)
		clear(origin[len(origin)/3 : len(origin)/2])
		stale(cow, cs, rnd)
		ranges := func(yield func(Extent, error) bool) {
			for at := int64(0); at+5000 < int64(len(origin)); at += 20000 {
				if !yield(Extent{at, at + 5000}, nil) {
					return
				}
			}
		}
		over := func(f *faults) (*Device, error) {
			c, err := Open(&flaky{f, cow}, int64(len(cow)), "cow")
			if err != nil {
				return nil, err
			}
			return c.Over(&flaky{f, origin})
		}
		for name, verb := range map[string]func(f *faults) ([]byte, error){
			"read": func(f *faults) ([]byte, error) {
				d, err := over(f)
				if err != nil {
					return nil, err
				}
				if _, err := d.CheckBase(); err != nil {
					return nil, err
				}
				b := make([]byte, len(origin))
				return b, tree.ReadFull(d, b, 0)
			},
			"merge": func(f *faults) ([]byte, error) {
				d, err := over(f)
				if err != nil {
					return nil, err
				}
				out := &flaky{f, nil}
				_, err = MergeTo(t.Context(), out, d, MergeOptions{ZerosToHoles: round%2 == 0})
				return out.b, err
			},
			"merge in place": func(f *faults) ([]byte, error) {
				or, c := &flaky{f, bytes.Clone(origin)}, &flaky{f, bytes.Clone(cow)}
				_, err := MergeInPlace(t.Context(), or, or.Size(), c, c.Size(), "cow", InPlaceOptions{Batch: 40 * int64(cs) * 512})
				return append(or.b, c.b...), err
			},
			"repack": func(f *faults) ([]byte, error) {
				d, err := over(f)
				if err != nil {
					return nil, err
				}
				out := &flaky{f, nil}
				_, err = Repack(t.Context(), d, out, RepackOptions{Free: ranges, Chunk: uint32([]int{0, 4}[round%2])})
				return out.b, err
			},
			"grow": func(f *faults) ([]byte, error) {
				c := &flaky{f, bytes.Clone(cow[:len(cow)/512*512])}
				c.b[4] = byte(round % 2)
				_, err := Grow(c, c.Size(), c.Size()+40*512, "cow")
				return c.b, err
			},
			"reset": func(f *faults) ([]byte, error) {
				c := &flaky{f, bytes.Clone(cow)}
				_, err := Reset(c, c.Size(), "cow", ResetOptions{KeepChunk: round%2 == 0})
				return c.b, err
			},
			"recover": func(f *faults) ([]byte, error) {
				out := &flaky{f, nil}
				rep, err := Recover(t.Context(), &flaky{f, cow}, int64(len(cow)), "cow", out, RecoverOptions{})
				if err == nil && slices.Contains(rep.Conditions, Unreadable) && rep.LostChunks > 0 {
					err = errFault // it is told, chunk by chunk
				}
				return out.b, err
			},
			"create": func(f *faults) ([]byte, error) {
				out := &flaky{f, nil}
				return out.b, Create(out, 64*4096, uint32(cs))
			},
		} {
			sound := &faults{}
			want, err := verb(sound)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i := range sound.calls {
				got, err := verb(&faults{fail: i + 1})
				if !errors.Is(err, errFault) && (err != nil || !bytes.Equal(got, want)) {
					t.Errorf("%s: operation %d of %d fails, and the error is %v", name, i+1, sound.calls, err)
				}
			}
		}
	}
}

// TestFreeFails: a list of free ranges that breaks off is an error.
func TestFreeFails(t *testing.T) {
	t.Parallel()
	cow, origin := soundHistory(rand.New(rand.NewPCG(42, 1)), 1)
	var free iter.Seq2[Extent, error] = func(yield func(Extent, error) bool) { yield(Extent{}, errFault) }
	if _, err := Repack(t.Context(), over(t, cow, origin), &memory{}, RepackOptions{Free: free}); !errors.Is(err, errFault) {
		t.Error(err)
	}
}

// TestShortFiles: an origin or COW that ends before its size is an error, and
// tells how much came.
func TestShortFiles(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(43, 1))
	for range 20 {
		cow, origin := soundHistory(rnd, 1)
		want := shows(t, cow, origin)
		cut := rnd.IntN(len(origin))
		d, err := openBytes(t, cow).Over(sized{bytes.NewReader(origin[:cut]), int64(len(origin))})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(origin))
		n, err := d.ReadAt(b, 0)
		if err == nil && !bytes.Equal(b, want) || err != nil && err != io.ErrUnexpectedEOF || !bytes.Equal(b[:n], want[:n]) || err != nil &&
			n > 0 && n < min(cut, len(b))/512*512 {
			t.Errorf("cut at %d of %d: %d bytes, %v", cut, len(origin), n, err)
		}
	}
}

// TestMergeCounts: what a merge says that it wrote is what it wrote.
func TestMergeCounts(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(44, 1))
	for i := range 40 {
		cow, origin := soundHistory(rnd, []int{1, 8, 64}[i%3])
		clear(origin[len(origin)/4 : len(origin)/2])
		d := over(t, cow, origin)
		changed := int64(0)
		for e := range d.Changed() {
			changed += e.End - e.Start
		}
		for _, holes := range []bool{false, true} {
			out := &counted{}
			res, err := MergeTo(t.Context(), out, d, MergeOptions{ZerosToHoles: holes})
			if err != nil || res.Written != out.n || res.FromCOW != changed || !holes && res.Written < changed {
				t.Fatalf("with holes %v: %+v, %v; %d bytes were written, %d changed", holes, res, err, out.n, changed)
			}
		}
	}
}

// counted counts what is written to it.
type counted struct {
	memory
	n int64
}

func (c *counted) WriteAt(p []byte, off int64) (int, error) {
	c.n += int64(len(p))
	return c.memory.WriteAt(p, off)
}

// TestLargeChunks: chunks that are larger than what is copied at a time.
func TestLargeChunks(t *testing.T) {
	t.Parallel()
	const cs = 4096 // 2 MiB
	cow, origin := forge(cs, 7*cs*512, [][2]uint64{{2, 2}, {0, 4}, {3, 5}}), make([]byte, 4*cs*512)
	for i := 2 * cs * 512; i < len(cow); i += 100 {
		cow[i] = byte(i>>12) | 1
	}
	want := shows(t, cow, origin)
	d := over(t, cow, origin)
	for _, chunk := range []uint32{cs, cs / 2, 8} {
		out := &memory{}
		if _, err := Repack(t.Context(), d, out, RepackOptions{Chunk: chunk}); err != nil || !bytes.Equal(shows(t, out.b, origin), want) {
			t.Errorf("chunks of %d: %v, or another content", chunk, err)
		}
	}
	out := &memory{}
	if rep, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{}); err != nil ||
		rep.Saved != 3 || !bytes.Equal(shows(t, out.b, origin), want) {
		t.Errorf("recovered: %+v, %v, or another content", rep, err)
	}
}

// TestStaleTailCut: a last area that the file holds in part, with entries behind
// the end of the list.
func TestStaleTailCut(t *testing.T) {
	t.Parallel()
	const cs = 4
	var entries [][2]uint64
	for i := range uint64(cs * 32) {
		entries = append(entries, [2]uint64{i, i + 2})
	}
	entries = append(entries, [2]uint64{0, 0}, [2]uint64{7, 7}, [2]uint64{8, 8})
	at := (1 + cs*32 + 1) * cs * 512
	for sectors := 1; sectors < cs; sectors++ {
		c := openBytes(t, forge(cs, at+sectors*512, entries))
		var stale, missing *Finding
		for _, f := range c.Findings() {
			switch f.What {
			case StaleTail:
				stale = &f
			case MissingArea:
				missing = &f
			}
		}
		if c.State() != Unloadable || c.Exceptions() != cs*32 || missing == nil || stale == nil || stale.Area != 1 || stale.Index != 1 ||
			stale.Count != 2 {
			t.Errorf("%d sectors of the area: %v, %v", sectors, c.State(), c.Findings())
		}
	}
}

// orderly is a disk that sees that a header is written only when all before it
// is durable.
type orderly struct {
	*disk
	t       *testing.T
	headers int
}

func (o *orderly) WriteAt(p []byte, off int64) (int, error) {
	if off < sectorSize && !tree.IsZero(p[:min(len(p), headerSize)]) {
		o.headers++
		if len(o.states) > 0 {
			o.t.Errorf("%d sectors are not durable when the header is written", len(o.states))
		}
	}
	for end := int(off) + len(p); end > len(o.now); {
		o.now = append(o.now, 0)
	}
	return o.disk.WriteAt(p, off)
}

// TestHeaderLast: a COW becomes valid when all that it tells of is durable, and
// is durable itself in the end.
func TestHeaderLast(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(45, 1))
	for round := range 12 {
		cs := []int{1, 2, 8}[round%3]
		cow, origin := soundHistory(rnd, cs)
		cow = cow[:len(cow)/512*512]
		stale(cow, cs, rnd)
		p := &power{left: 1 << 30}
		for name, verb := range map[string]func(o *orderly) error{
			"merge in place": func(o *orderly) error {
				_, err := MergeInPlace(t.Context(), newDisk(p, origin), int64(len(origin)), o, int64(len(cow)), "cow",
					InPlaceOptions{Batch: 33 * 512})
				return err
			},
			"reset": func(o *orderly) error {
				_, err := Reset(o, int64(len(cow)), "cow", ResetOptions{KeepChunk: true})
				return err
			},
			"grow": func(o *orderly) error {
				o.now[4] = 0
				_, err := Grow(o, int64(len(cow)), int64(len(cow))+99*512, "cow")
				return err
			},
			"recover": func(o *orderly) error {
				_, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", o, RecoverOptions{})
				return err
			},
			"repack": func(o *orderly) error {
				_, err := Repack(t.Context(), over(t, cow, origin), o, RepackOptions{})
				return err
			},
		} {
			o := &orderly{disk: newDisk(p, cow), t: t}
			if err := verb(o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if o.headers != 1 || len(o.states) > 0 || openBytes(t, o.durable).State() != Valid {
				t.Errorf("%s: %d headers, %d sectors not durable", name, o.headers, len(o.states))
			}
		}
	}
}

// TestRecoverStride: of a run of chunks that goes over the place of an area, that
// one chunk is lost, wherever in the run it is.
func TestRecoverStride(t *testing.T) {
	t.Parallel()
	for from := uint64(2); from < 34; from += 7 {
		var entries [][2]uint64
		for i := range uint64(60) {
			entries = append(entries, [2]uint64{i, from + i})
		}
		cow := forge(1, 120*512, entries)
		rep, err := Diagnose(bytes.NewReader(cow), int64(len(cow)), "cow", RecoverOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lost := []Lost{{Extent{int64(34-from) * 512, int64(35-from) * 512}, 34 - from, rep.Lost[0].Place, "overwritten by metadata"}}
		if rep.Saved != 59 || rep.LostChunks != 1 || !slices.Equal(rep.Lost, lost) {
			t.Errorf("from chunk %d: %d saved, lost %+v", from, rep.Saved, rep.Lost)
		}
	}
	// A chunk that only the largest origins have is named where it is, and one that
	// none can have at the end of all.
	const most = (1<<63 - 1) / 512 * 512
	for old, want := range map[uint64]Extent{1<<53 + 5: {1<<62 + 5*512, 1<<62 + 6*512}, 1 << 60: {most, most}} {
		cow := forge(1, 120*512, [][2]uint64{{1, 2}, {old, 500}})
		rep, err := Diagnose(bytes.NewReader(cow), int64(len(cow)), "cow", RecoverOptions{})
		if err != nil || len(rep.Lost) != 1 || rep.Lost[0].Extent != want {
			t.Errorf("chunk %d: %+v, %v", old, rep, err)
		}
	}
}

// TestFindingsApart: findings of one kind are told as one where they follow on,
// and only there.
func TestFindingsApart(t *testing.T) {
	t.Parallel()
	c := openBytes(t, forge(8, 100*4096, [][2]uint64{{10, 200}, {11, 201}, {5, 3}, {12, 202}, {14, 203}, {15, 205}, {16, 206}}))
	type brief struct{ index, count, old, new uint64 }
	var got []brief
	for _, f := range c.Findings() {
		if f.What != PastEnd {
			t.Errorf("%v", f)
		}
		got = append(got, brief{f.Index, f.Count, f.Old, f.New})
	}
	if want := []brief{{0, 2, 10, 200}, {3, 1, 12, 202}, {4, 1, 14, 203}, {5, 2, 15, 205}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestDuplicatesApart: entries that an earlier one hides are told as one where the
// ones that hide them follow on, too.
func TestDuplicatesApart(t *testing.T) {
	t.Parallel()
	c := openBytes(t, forge(8, 100*4096, [][2]uint64{{41, 2}, {40, 3}, {10, 4}, {11, 5}, {10, 6}, {11, 7}, {40, 8}, {41, 9}}))
	type brief struct{ index, count, old, new, other uint64 }
	var got []brief
	for _, f := range c.Findings() {
		if f.What != Duplicate {
			t.Errorf("%v", f)
		}
		got = append(got, brief{f.Index, f.Count, f.Old, f.New, f.Other})
	}
	if want := []brief{{4, 2, 10, 6, 2}, {6, 1, 40, 8, 1}, {7, 1, 41, 9, 0}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// badSpot is a medium that cannot be read at one place.
type badSpot struct {
	*bytes.Reader
	at int64
}

func (b badSpot) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.at && b.at < off+int64(len(p)) {
		n, _ := b.Reader.ReadAt(p[:b.at-off], off)
		return n, errFault
	}
	return b.Reader.ReadAt(p, off)
}

// TestBadChunk: the error of a chunk that cannot be read names that chunk, also
// of the last one, of which the file holds a part.
func TestBadChunk(t *testing.T) {
	t.Parallel()
	cow := forge(8, 9*4096+512, [][2]uint64{{0, 2}, {1, 3}, {2, 4}, {9, 8}, {10, 9}})
	for chunk, at := range map[string]int64{"chunk 2:": 2*4096 + 5, "chunk 3:": 3*4096 + 4000, "chunk 4:": 4 * 4096, "chunk 8:": 8*4096 + 1,
		"chunk 9:": 9*4096 + 100} {
		c, err := Open(badSpot{bytes.NewReader(cow), at}, int64(len(cow)), "cow")
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Over(newContent(make([]byte, 12*4096)))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, d.Size())
		if _, err := d.ReadAt(b, 0); !errors.Is(err, errFault) || !strings.Contains(err.Error(), chunk) {
			t.Errorf("%s: %v", chunk, err)
		}
	}
}

// TestRepackProgress: what is done never goes back, and is all in the end.
func TestRepackProgress(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(46, 1))
	for range 10 {
		cow, origin := soundHistory(rnd, 1)
		last, all := int64(0), int64(0)
		o := RepackOptions{Chunk: uint32(1 << rnd.IntN(4)), Progress: func(done, total int64) {
			if done < last || done > total || all != 0 && all != total {
				t.Errorf("%d of %d after %d of %d", done, total, last, all)
			}
			last, all = done, total
		}}
		if _, err := Repack(t.Context(), over(t, cow, origin), &memory{}, o); err != nil || last != all || all == 0 {
			t.Errorf("%d of %d, %v", last, all, err)
		}
	}
	if _, err := Open(bytes.NewReader(nil), 0, "cow"); err == nil || !strings.Contains(err.Error(), "only 0 bytes") {
		t.Errorf("an empty file: %v", err)
	}
}
