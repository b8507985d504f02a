//go:build e2e

package e2e

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"relive/e2e/machine"
	"relive/e2e/part"
	"relive/e2e/snapshots"
)

var seed = flag.Int("seed", 1, "another seed makes other writes in the part dm")

// shapes are what the kernel writes. Sectors; a chunk of 8 has 256 exceptions to an area.
var shapes = []struct {
	snapshots.Case
	origin, cow int64
}{
	{snapshots.Case{Name: "p8-fresh", Type: "P", Chunk: 8, Count: 0}, 8192, 2048},
	{snapshots.Case{Name: "po8-few", Type: "PO", Chunk: 8, Count: 37}, 8192, 2048},
	{snapshots.Case{Name: "p8-255", Type: "P", Chunk: 8, Count: 255}, 8192, 4096},
	{snapshots.Case{Name: "po8-256", Type: "PO", Chunk: 8, Count: 256}, 8192, 4096},
	{snapshots.Case{Name: "p8-257", Type: "P", Chunk: 8, Count: 257}, 8192, 4096},
	{snapshots.Case{Name: "po8-all", Type: "PO", Chunk: 8, Count: 1024}, 8192, 8704},
	{snapshots.Case{Name: "po1-many", Type: "PO", Chunk: 1, Count: 700}, 1024, 1024},
	{snapshots.Case{Name: "p16", Type: "P", Chunk: 16, Count: 300}, 8192, 8192},
	{snapshots.Case{Name: "po64", Type: "PO", Chunk: 64, Count: 90}, 16384, 8192},
	{snapshots.Case{Name: "p128", Type: "P", Chunk: 128, Count: 40}, 16384, 8192},
	{snapshots.Case{Name: "po8-odd-origin", Type: "PO", Chunk: 8, Count: 400}, 8187, 4096},
	{snapshots.Case{Name: "p8-odd-cow", Type: "P", Chunk: 8, Count: 200}, 8192, 3001},
	{snapshots.Case{Name: "po8-overflow", Type: "PO", Chunk: 8, Count: 300}, 8192, 1024},
	{snapshots.Case{Name: "p8-overflow", Type: "P", Chunk: 8, Count: 300}, 8192, 1024},
	{snapshots.Case{Name: "po8-trap", Type: "PO", Chunk: 8, Count: 256}, 8192, 2064},
	{snapshots.Case{Name: "merge-1", Type: "PO", Chunk: 1, Count: 600}, 2048, 2048},
	{snapshots.Case{Name: "merge-16", Type: "PO", Chunk: 16, Count: 400}, 8192, 8192},
	{snapshots.Case{Name: "merge-8", Type: "P", Chunk: 8, Count: 700}, 8192, 8192},
}

// TestDM is the kernel's dm-snapshot against relive dm. A guest writes at random to
// snapshots of many shapes, merges some until the power goes, and reads what relive made;
// its status lines and the sums of what it reads must be those of relive.
func TestDM(t *testing.T) {
	p := part.Begin(t, "dm", "ldd")
	if !*keep {
		p.RemoveAtEnd("disk", "cases")
	}
	var s *snapshots.Plans
	p.Step("prepare", func() { s = snapshots.New(p, machine.Fetch(p, machine.ForClouds), *seed) })

	s.NewPlan()
	for _, shape := range shapes {
		s.FreshCase(shape.Name, shape.origin, shape.cow)
		s.Add(snapshots.Write, shape.Case)
	}
	written := s.Boot("written")
	p.Step("compare written", func() {
		written.CompareAll()
		expectOverflow(s, written)
	})

	// A merge that the power cut interrupts.
	truth := map[string]string{}
	s.NewPlan()
	for _, shape := range shapes {
		if strings.HasPrefix(shape.Name, "merge-") {
			truth[shape.Name] = written.Of(snapshots.Sum, shape.Name, snapshots.Loaded)
			s.Add(snapshots.Merge, shape.Case)
		}
	}
	merging := s.BootAndCut("merging")

	// What the kernel reads of the merges that were interrupted, and of what relive made of
	// the other COWs; the last of them are written to again.
	p.Step("make others", func() {
		s.NewPlan()
		for _, name := range slices.Sorted(maps.Keys(truth)) {
			s.Add(snapshots.Read, read(name))
		}
		maps.Copy(truth, makeOthers(s, written))
	})
	readAgain := s.Boot("read")
	p.Step("compare read", func() {
		readAgain.CompareAll()
		for name, sum := range truth {
			if readAgain.Of(snapshots.Sum, name, snapshots.Loaded) != sum {
				readAgain.Fail(name, "the kernel reads something else than before")
			}
		}
	})
	p.Step("finish merges", func() { finishMerges(s, merging, readAgain, truth) })
}

// read is a case that is only read: the kernel knows its chunks by its header.
func read(name string) snapshots.Case { return snapshots.Case{Name: name, Type: "PO", Chunk: 8} }

// expectOverflow wants the kernel to have run out of space where there was too little.
func expectOverflow(s *snapshots.Plans, written *snapshots.Shown) {
	s.Helper()
	for _, name := range []string{"po8-overflow", "p8-overflow"} {
		status := written.Of(snapshots.Status, name, snapshots.After)
		s.Expect(strings.Contains(status, "Overflow") || strings.Contains(status, "Invalid"),
			"the kernel did not run out of space: %s", status)
	}
	s.Expect(strings.HasSuffix(written.Of(snapshots.Status, "p8-overflow", snapshots.Loaded), "Invalid"),
		"the kernel did not invalidate p8-overflow")
}

// makeOthers has relive make cases of those that the kernel wrote, and adds them to the
// plan. It returns the sums of what the kernel must read.
func makeOthers(s *snapshots.Plans, written *snapshots.Shown) map[string]string {
	s.Helper()
	loaded := func(name string) string { return written.Of(snapshots.Sum, name, snapshots.Loaded) }
	origin := func(name string) string { return s.SHA256(s.Path(name + ".origin")) }
	salvaged := written.Of(snapshots.Sum, "p8-overflow", snapshots.Salvaged)
	s.Expect(salvaged != "", "the kernel did not read p8-overflow with its mark taken back")
	may := s.ReliveMayWarn
	truth := map[string]string{}
	for _, o := range []struct {
		name, from, sum string
		// copied is whether the COW is changed in place.
		copied bool
		run    func(args ...string) part.Said
		// args has CASE for the files of the former case, and OTHER for those of this.
		args string
	}{
		{"repacked", "po8-256", loaded("po8-256"), false, s.Relive, "repack CASE.origin CASE.cow -o OTHER.cow"},
		{"repacked-16K", "p8-257", loaded("p8-257"), false, s.Relive, "repack --chunk 16K CASE.origin CASE.cow -o OTHER.cow"},
		{"recovered", "p8-overflow", salvaged, false, may, "recover CASE.cow -o OTHER.cow"},
		{"recovered-in-place", "p8-overflow", salvaged, true, may, "recover --in-place OTHER.cow"},
		{"grown", "po8-overflow", loaded("po8-overflow"), true, s.Relive, "grow --size +2M OTHER.cow"},
		{"reset", "po8-few", origin("po8-few"), true, s.Relive, "reset OTHER.cow"},
		{"reset-keep", "p16", origin("p16"), true, s.Relive, "reset --keep-chunk OTHER.cow"},
		{"created", "po64", origin("po64"), false, s.Relive, "create --chunk 32K --size 4M OTHER.cow"},
	} {
		// A case that relive makes of another one is over its origin.
		s.Copy(s.Path(o.from+".origin"), s.Path(o.name+".origin"))
		if o.copied {
			s.Copy(s.Path(o.from+".cow"), s.Path(o.name+".cow"))
		}
		args := []string{"dm"}
		for word := range strings.FieldsSeq(o.args) {
			word = strings.ReplaceAll(word, "CASE", s.Path(o.from))
			args = append(args, strings.ReplaceAll(word, "OTHER", s.Path(o.name)))
		}
		o.run(args...)
		truth[o.name] = o.sum
		s.Add(snapshots.Read, read(o.name))
	}
	for _, name := range []string{"grown", "recovered", "reset", "reset-keep", "created", "repacked-16K"} {
		used := name + "-used"
		s.Copy(s.Path(name+".origin"), s.Path(used+".origin"))
		s.Copy(s.Path(name+".cow"), s.Path(used+".cow"))
		s.Add(snapshots.Write, snapshots.Case{Name: used, Type: "PO", Chunk: 8, Count: 100})
	}
	return truth
}

// finishMerges has relive finish the merges that the kernel began.
func finishMerges(s *snapshots.Plans, merging, readAgain *snapshots.Shown, truth map[string]string) {
	s.Helper()
	interrupted := 0
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		if !strings.HasPrefix(name, "merge-") {
			continue
		}
		before := merging.Of(snapshots.Status, name, snapshots.Before)
		left := readAgain.Of(snapshots.Status, name, snapshots.Loaded)
		// "0 SECTORS snapshot A/T M": something is merged when A is less, all when A is M.
		if left != before && !strings.Contains(left, " "+left[strings.LastIndex(left, " ")+1:]+"/") {
			interrupted++
		}
		origin := s.Path(name + ".origin")
		s.Relive("dm", "merge", "--in-place", origin, s.Path(name+".cow"))
		if s.SHA256(origin) != truth[name] {
			readAgain.Fail(name, "merged in place it is not what the kernel read")
		}
		s.Say("%s: the kernel began at %s, was cut off at %s, relive merged the rest", name, before, left)
	}
	s.Expect(interrupted > 0, "the power cut met no merge midway: the test shows nothing")
}
