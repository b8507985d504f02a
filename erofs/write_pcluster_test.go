package erofs

import (
	"testing"

	"relive/codec"
	"relive/tree"
)

// Whatever lies between two extents that are copied has a place there, also where none
// of it shrinks: no two extents begin in one lcluster, and none in that of the copied
// one that follows.
func TestCompressBetween(t *testing.T) {
	m := newTreeMaker(17)
	lz4 := []Compression{{Algorithm: codec.RawLZ4, Options: codec.FitOptions{Level: 1}}}
	for _, o := range []WriteOptions{
		{Compressions: lz4},
		{Compressions: lz4, Configs: true, PclusterSize: 16384, Fragments: true},
		{Compressions: lz4, Configs: true, PclusterSize: 8192, Tails: true},
	} {
		o.Library = library(t)
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		e, err := newEncoder(&o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.f.Close()
		var b bridges
		defer b.close()
		bridged, none := 0, 0
		for i := range 900 {
			from := int64(m.rnd.IntN(3 * BlockSize))
			to := from&^(BlockSize-1) + int64(1+m.rnd.IntN(1+i%30))*BlockSize + int64(m.rnd.IntN(BlockSize))
			raw := m.noise(int(to - from))
			if i%3 > 0 {
				raw = m.mixture(int(to - from))[:to-from]
			}
			n := tree.NewFile("", 0, append(make([]byte, from), raw...))
			ok, err := b.fits(&o, &stretch{from: from}, n.Data, to)
			if err != nil {
				t.Fatal(err)
			}
			if from&(BlockSize-1) < to&(BlockSize-1) {
				if !ok {
					none++
					continue
				}
				bridged++
			} else if !ok {
				t.Fatalf("%d to %d does not fit", from, to)
			}
			r := run{start: from, end: to, packs: o.packs(), interlaced: o.interlaced()}
			if o.Tails {
				r.inline = inlineMax
			}
			if err := e.compress(&r, raw); err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
			if r.ends != noTail || r.exts[0].start != from {
				t.Fatalf("%d to %d: begins at %d, ends by %d", from, to, r.exts[0].start, r.ends)
			}
			blocks := 0
			for k := range r.exts {
				next := to
				if k+1 < len(r.exts) {
					next = r.exts[k+1].start
				}
				x := &r.exts[k]
				if n := next>>writeBits - x.start>>writeBits; n < 1 || x.blocks > 1 && n < 2 || int(x.block) != blocks ||
					x.typ == 0 && next-x.start > BlockSize {
					t.Fatalf("%d to %d: extent %d from %d to %d: %+v", from, to, k, x.start, next, *x)
				}
				blocks += int(x.blocks)
			}
			if len(r.out) != blocks*BlockSize {
				t.Fatalf("%d to %d: %d bytes in %d blocks", from, to, len(r.out), blocks)
			}
		}
		if bridged < 100 || none < 100 {
			t.Errorf("%d bridges, in %d places none", bridged, none)
		}
	}
}

// A file of which any parts are overwritten with what does not shrink can be written
// with the rest of it copied.
func TestChangedBetween(t *testing.T) {
	m := newTreeMaker(18)
	content := m.mixture(1 << 20)
	for _, set := range writeSets() {
		if len(set.o.Compressions) == 0 || set.o.Compressions[0].Algorithm != codec.RawLZ4 || set.o.AllTime != nil {
			continue
		}
		t.Run(set.name, func(t *testing.T) {
			b, _ := writeImage(t, tree.NewDir("", 0o755, tree.NewFile("image", 0o644, content)), set.o)
			r := openBytes(t, b)
			below, err := rootOf(t, r).Child("image")
			if err != nil {
				t.Fatal(err)
			}
			o, err := WriteOptionsLike(r)
			if err != nil {
				t.Fatal(err)
			}
			mixed := uint64(0)
			o.Compressions[0].Options.Level = 1
			for i := range 7 {
				p := &patched{below: below.Data, b: append([]byte(nil), content...)}
				for k := range 1 << i {
					at := m.rnd.IntN(len(content))
					if k == 0 {
						at = i * 500 // as a superblock changes
					}
					n := copy(p.b[at:], m.noise(1+m.rnd.IntN(40000>>i)))
					p.changed = append(p.changed, [2]int64{int64(at), int64(at + n)})
				}
				n := tree.NewFile("image", 0o644, p.b)
				n.Data = p
				root := tree.NewDir("", 0o755, n)
				b, plan := writeImage(t, root, o)
				mixed += plan.Stats.MixedFiles
				if d := differences(t, root, rootOf(t, openBytes(t, b))); d != "" {
					t.Fatalf("differs:\n%.2000s", d)
				}
			}
			if mixed < 4 {
				t.Errorf("extents of %d files of 7 were copied", mixed)
			}
		})
	}
}

// A run of packed data that is too dense for its place is joined with what follows; where
// nothing does yet, that is told.
func TestPackedJoin(t *testing.T) {
	o := WriteOptions{Library: library(t), Compressions: []Compression{{Algorithm: codec.RawLZ4, Options: codec.FitOptions{Level: 1}}},
		Fragments: true}
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755), o)
	if err != nil {
		t.Fatal(err)
	}
	var out memory
	w := newWriter(t.Context(), p, &out, 0)
	e, err := newEncoder(&p.o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.f.Close()
	w.encoders = make(chan *encoder, 1)
	w.encoders <- e
	content := newTreeMaker(19).noise(9 * BlockSize)
	add := func(start, end int64) {
		w.pack.tasks = append(w.pack.tasks, w.pack.launch(start, end, func(raw []byte) error {
			copy(raw, content[start:end])
			return nil
		}))
	}
	for _, end := range []int64{2*BlockSize + 300, 4*BlockSize + 700} {
		add(w.pack.size, end)
		w.pack.size = end
		if err := w.pack.write(0); err != errDense || len(w.pack.exts) > 0 {
			t.Fatalf("to %d: %v, %d extents", end, err, len(w.pack.exts))
		}
	}
	add(w.pack.size, 9*BlockSize)
	at := w.pos
	if err := w.pack.write(0); err != nil || len(w.pack.exts) != 9 {
		t.Fatalf("%v, %d extents", err, len(w.pack.exts))
	}
	if string(out.b[at:]) != string(content) {
		t.Error("other content")
	}
}
