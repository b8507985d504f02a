package dmmerge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
)

// TestMergeTo writes merged devices and compares them with the model's.
func TestMergeTo(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(31, 1))
	for i := range 200 {
		cs := []int{1, 2, 8, 64}[i%4]
		cow, origin := soundHistory(rnd, cs)
		for range 5 { // holes in the origin
			at := rnd.IntN(len(origin))
			clear(origin[at:min(len(origin), at+rnd.IntN(40000))])
		}
		want := shows(t, cow, origin)
		d := over(t, cow, origin)
		out := &memory{}
		last := int64(0)
		o := MergeOptions{ZerosToHoles: i%2 == 0, Progress: func(done int64) {
			if done < last {
				t.Error("progress goes back")
			}
			last = done
		}}
		res, err := MergeTo(t.Context(), out, d, o)
		if err != nil || !bytes.Equal(out.b, want) || out.syncs != 1 || last != int64(len(origin)) || res.Size != last {
			t.Fatalf("%+v, %v, %d syncs", res, err, out.syncs)
		}
		if o.ZerosToHoles {
			for at := range out.written {
				if tree.IsZero(out.b[at:min(at+4096, int64(len(out.b)))]) {
					t.Fatalf("zeros are written at %d", at)
				}
			}
		}
		if out.writes == 0 {
			continue
		}
		o.Progress = nil
		if _, err := MergeTo(t.Context(), &memory{fail: 1 + rnd.IntN(out.writes)}, d, o); !errors.Is(err, errWrite) {
			t.Fatal(err)
		}
	}
}

// TestMergeToFile has the kernel copy what does not change, and leaves holes.
func TestMergeToFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cow, origin, truth := image(t, "p8-multi/cow"), filepath.Join(dir, "origin"), image(t, "p8-multi/truth")
	if err := os.WriteFile(origin, image(t, "p8-multi/origin"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, holes := range []bool{false, true} {
		base, err := hostfs.OpenFile(origin)
		if err != nil {
			t.Fatal(err)
		}
		d, err := openBytes(t, cow).Over(base)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := MergeTo(t.Context(), f, d, MergeOptions{ZerosToHoles: holes})
		if err != nil || res.FromCOW != 700*4096 && !holes {
			t.Fatal(res, err)
		}
		f.Close()
		d.Close()
		got, err := os.ReadFile(filepath.Join(dir, "out"))
		if err != nil || !bytes.Equal(got, truth) {
			t.Error("other bytes than the kernel's", err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(dir, "out"), &st); err != nil || holes && st.Blocks*512 > 60<<20 &&
			bytes.Count(truth, make([]byte, 4096)) > 4000 {
			t.Errorf("%d blocks, %v", st.Blocks, err)
		}
	}
}

func TestMergeToEnds(t *testing.T) {
	t.Parallel()
	d := over(t, image(t, "forged/new-beyond"), make([]byte, 1<<20))
	if _, err := MergeTo(t.Context(), &memory{}, d, MergeOptions{}); !errors.Is(err, syscall.EIO) ||
		!strings.Contains(err.Error(), "area 0, entry 18") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	if _, err := MergeTo(ctx, &memory{}, d, MergeOptions{}); err == nil || err.Error() != "enough" {
		t.Error(err)
	}
	short := tree.Content(shortContent{newContent(make([]byte, 4096)).(content)})
	d, err := openBytes(t, forge(8, 10*4096, nil)).Over(short)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MergeTo(t.Context(), &memory{}, d, MergeOptions{}); err == nil {
		t.Error("an origin that is shorter than it says is taken")
	}
}

// shortContent claims more than it has.
type shortContent struct{ content }

func (shortContent) Size() int64 { return 100000 }
func (shortContent) NextData(off int64) (int64, int64, error) {
	return tree.WholeData(off, 100000)
}

// TestCheckBase tells right origins from wrong ones.
func TestCheckBase(t *testing.T) {
	t.Parallel()
	cow, origin := image(t, "po8-ext4-dirty/cow"), image(t, "po8-ext4-dirty/origin")
	with := func(at int, x byte) []byte {
		b := bytes.Clone(origin)
		b[at] ^= x
		return b
	}
	few := image(t, "p8-few/cow")
	for _, c := range []struct {
		name        string
		cow, origin []byte
		want        BaseVerdict
		reason      string
	}{
		{"its own", cow, origin, BaseSame, "both have the file system "},
		{"after a journal's work", cow, with(1024+0x30, 1), BaseSame, ""},
		{"another UUID", cow, with(1024+0x70, 1), BaseDiffers, "the COW belongs to the file system "},
		{"another size", cow, with(1024+5, 1), BaseDiffers, "blocks of 2^0 KiB, that of the origin "},
		{"no ext", cow, make([]byte, len(origin)), BaseDiffers, "the origin holds none"},
		{"neither ext", few, image(t, "p8-few/origin"), BaseUnknown, "no ext file system"},
		{"ext only below", few, origin, BaseUnknown, "the COW something else"},
		{"shorter", few, image(t, "p8-few/origin")[:1<<20], BaseDiffers, "past the end of the origin"},
		{"no copy", forge(8, 40960, [][2]uint64{{1, 2}}), origin, BaseUnknown, "no copy of the superblock"},
		{"copy lost", forge(8, 40960, [][2]uint64{{0, 20}}), origin, BaseUnknown, "past the end of the file"},
		{"tiny", forge(1, 4096, nil), origin[:1200], BaseUnknown, "no copy"},
		{"new", make([]byte, 40960), origin, BaseUnknown, "no copy"},
	} {
		got, err := over(t, c.cow, c.origin).CheckBase()
		if err != nil || got.Verdict != c.want || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %v (%s), %v", c.name, got.Verdict, got.Reason, err)
		}
	}
	// Chunks smaller than the superblock.
	sb := make([]byte, 4096)
	copy(sb, origin[:4096])
	small := forge(1, 40*512, [][2]uint64{{2, 2}})
	copy(small[1024:], sb[1024:1536])
	if got, err := over(t, small, origin).CheckBase(); err != nil || got.Verdict != BaseSame {
		t.Error(got, err)
	}
}

// TestOutside lists the entries for chunks that the origin does not have.
func TestOutside(t *testing.T) {
	t.Parallel()
	cow := forge(8, 40*4096, [][2]uint64{{9, 2}, {10, 3}, {11, 4}, {3, 5}, {1 << 40, 6}})
	for size, want := range map[int]int{12 * 4096: 1, 11 * 4096: 2, 10*4096 + 512: 2, 9 * 4096: 2} {
		d := over(t, cow, make([]byte, size))
		out := d.Outside()
		if len(out) != want || out[len(out)-1].Old != 1<<40 || out[0].Severity() != Corruption {
			t.Errorf("%d: %v", size, out)
		}
	}
}

// TestHeaderVerdicts goes through the kernel's checks in its order.
func TestHeaderVerdicts(t *testing.T) {
	t.Parallel()
	header := func(magic, valid, version, chunk uint32) []byte {
		b := make([]byte, 4<<20)
		for i, v := range []uint32{magic, valid, version, chunk} {
			binary.LittleEndian.PutUint32(b[4*i:], v)
		}
		return b
	}
	for _, c := range []struct {
		cow   []byte
		state State
		err   string
	}{
		{header(0, 0, 0, 0), New, ""},
		{header(0, 1, 7, 3), New, ""}, // only the magic counts
		{header(headerMagic, 1, 1, 8), Valid, ""},
		{header(headerMagic, 2, 1, 8), Valid, ""},
		{header(headerMagic, 0, 1, 8), Invalid, ""},
		{header(0x70416e54, 1, 1, 8), 0, "-ENXIO, Invalid or corrupt snapshot"},
		{header(headerMagic, 1, 1, 0), 0, "-EINVAL, chunk size is not a power of 2"},
		{header(headerMagic, 1, 1, 3), 0, "-EINVAL"},
		{header(headerMagic, 1, 1, 1<<22), 0, "-EINVAL, chunk size is too high"},
		{header(headerMagic, 0, 2, 3), 0, "chunk size"}, // before the version
		{header(headerMagic, 0, 2, 8), 0, "-EINVAL, unable to handle snapshot disk version 2"},
		{header(headerMagic, 1, 1, 8)[:8191], 0, "-EIO"},
		{header(headerMagic, 1, 1, 8)[:15], 0, "-EIO"},
		{header(headerMagic, 1, 1, 1<<21), 0, "-EIO"},
		{nil, 0, "-EIO"},
	} {
		got, err := Open(bytes.NewReader(c.cow), int64(len(c.cow)), "cow")
		if c.err == "" {
			if err != nil || got.State() != c.state {
				t.Errorf("% x: %v", c.cow[:16], err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.err) || !errors.Is(err, tree.ErrCorrupt) &&
			!errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("%v, not %s", err, c.err)
		}
	}
	if s := openBytes(t, header(headerMagic, 0, 1, 8)).Status(); s.Line(1<<20) != "0 2048 snapshot Invalid" {
		t.Error(s.Line(1 << 20))
	}
	if s := openBytes(t, make([]byte, 80000)).Status(); s.String() != "16/156 16" {
		t.Error(s)
	}
}

// TestFullLastArea: an area is full and the next one past the end. The kernel
// refuses; what is there is whole.
func TestFullLastArea(t *testing.T) {
	t.Parallel()
	var e [][2]uint64
	for i := range uint64(32) {
		e = append(e, [2]uint64{i, i + 2})
	}
	cow := forge(1, 34*512, e)
	fill(cow, 1024, rand.New(rand.NewPCG(1, 1)))
	d := over(t, cow, make([]byte, 40*512))
	c := d.COW()
	if c.State() != Unloadable || c.Exceptions() != 32 || c.Status().String() != "refused (-EIO)" || len(c.Findings()) != 1 ||
		c.Findings()[0].Severity() != Warning {
		t.Errorf("%v, %v", c.State(), c.Findings())
	}
	if got := readAll(t, d); !bytes.Equal(got[:32*512], cow[1024:]) {
		t.Error("the data is not read")
	}
	m := &memory{b: bytes.Clone(cow)}
	if _, err := Grow(m, int64(len(cow)), int64(len(cow))+512, "cow"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(shows(t, m.b, make([]byte, 40*512)), readAll(t, d)) {
		t.Error("grown, it shows something else")
	}
	cow[4] = 0
	if s := openBytes(t, cow).State(); s != Invalid {
		t.Error(s)
	}
}

// Entries behind the end of the list are found across the holes of a large
// area, and counted alike with and without knowing of holes.
func TestStaleTailInHoles(t *testing.T) {
	t.Parallel()
	const cs = 4096
	cow := forge(cs, 3*cs*512, [][2]uint64{{1, 2}})
	at := 2*cs*512 - 5*16
	for i := range 3 {
		binary.LittleEndian.PutUint64(cow[at+i*16+8:], 2)
	}
	want := Finding{What: StaleTail, Index: (cs*512)/16 - 5, Count: 3, epa: cs * 32}
	for name, r := range map[string]io.ReaderAt{"bytes": bytes.NewReader(cow), "holes": newContent(cow)} {
		c, err := Open(r, int64(len(cow)), "cow")
		if err != nil || len(c.Findings()) != 1 || c.Findings()[0] != want || want.Severity() != Warning {
			t.Errorf("%s: %v, %v", name, c.Findings(), err)
		}
	}
	if got := want.String(); got != "area 0, entry 131067 and 2 after it: 3 entries stand behind the end of the list; the kernel's next "+
		"write would bring them back" {
		t.Error(got)
	}
	none := forge(cs, 3*cs*512, [][2]uint64{{1, 2}})
	if c, err := Open(newContent(none), int64(len(none)), "cow"); err != nil || len(c.Findings()) != 0 {
		t.Error(err)
	}
}
