package overlay

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

// counts returns what a report counted, and where it was met first.
func counts(r *Report) string {
	var out []string
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.Int || v.Field(i).Int() == 0 {
			continue
		}
		s := fmt.Sprintf("%s=%d", v.Type().Field(i).Name, v.Field(i).Int())
		if at, ok := r.first[v.Field(i).Addr().Interface().(*int)]; ok {
			s += ":" + at
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// TestReportCounts compares every count of many stacks, those of TestRules among
// them, and the place that it names.
func TestReportCounts(t *testing.T) {
	want := map[string]string{
		"files of both":                                         "Merged=2 MaybeLostOpaque=1:/d",
		"modules made without an overlay":                       "Merged=3 MaybeLostOpaque=1:/d",
		"whiteout":                                              "Whiteouts=2:/a DeadWhiteouts=1:/no Merged=1",
		"attribute whiteout":                                    "Whiteouts=2:/d/a XattrWhiteouts=2:/d/a Merged=2 MaybeLostOpaque=1:/d",
		"whiteout in a middle layer":                            "Whiteouts=2:/e Merged=2 MaybeLostOpaque=1:/d",
		"whiteout over a whiteout":                              "Whiteouts=1:/a DeadWhiteouts=1:/a Merged=1",
		"opaque":                                                "Opaque=1:/d Merged=2 MaybeLostOpaque=1:/e",
		"opaque in a middle layer":                              "Opaque=1:/d Merged=2 MaybeLostOpaque=1:/d",
		"opaque root is the kernel's no matter":                 "Merged=1",
		"other types hide":                                      "Merged=1",
		"a file in a middle layer ends a directory":             "Merged=1",
		"private attributes":                                    "Escaped=2:/n Opaque=1:/pure Merged=2",
		"redirect to a sibling":                                 "Whiteouts=2:/old Merged=2 Redirects=1:/new",
		"redirect from the root":                                "Whiteouts=1:/d/old Merged=3 Redirects=1:/x/y/new MaybeLostOpaque=2:/d",
		"redirect out of an opaque directory":                   "Opaque=1:/o Merged=2 Redirects=1:/o/m MaybeLostOpaque=1:/o/m",
		"redirect out of an opaque directory of a middle layer": "Opaque=2:/p Merged=3 Redirects=3:/x Shared=1:/p/q MaybeLostOpaque=1:/x",
		"redirects of two layers":                               "Whiteouts=2:/b Merged=3 Redirects=2:/c MaybeLostOpaque=1:/c",
		"redirect through a parent that was renamed below":      "Merged=4 Redirects=3:/q Shared=1:/q/s MaybeLostOpaque=1:/z",
		"redirect to nowhere":                                   "Merged=1 Redirects=3:/d",
		"redirect through a symlink":                            "Merged=1 Redirects=1:/d",
		"redirect in the base counts for nothing":               "Merged=2 MaybeLostOpaque=1:/d",
		"metacopy":                              "Merged=1 Metacopies=1:/f",
		"metacopy through redirects and layers": "Whiteouts=1:/e Merged=1 Redirects=3:/f Metacopies=2:/f Digests=2:/f",
		"metacopy with the longest digest":      "Merged=1 Metacopies=1:/f Digests=1:/f",
		"names of aufs are names here":          "Merged=1",
		"opaque as fuse-overlayfs leaves it": "Whiteouts=1:/f/.wh..opq DeadWhiteouts=2:/e/.wh..wh..opq Opaque=2:/d Merged=2 " +
			"MaybeLostOpaque=1:/f",
		"the base keeps what a nested overlay stored": "Merged=2 MaybeLostOpaque=1:/var",
		"user namespace": "Opaque=1:/d Merged=1",
	}
	got := func(in []Layer, opts ...Option) string {
		t.Helper()
		m, err := Merge(in, opts...)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Report()
		if err != nil {
			t.Fatal(err)
		}
		return counts(r)
	}
	for _, tt := range ruleTests {
		if tt.err != "" {
			continue
		}
		var in []Layer
		for _, l := range tt.layers {
			in = append(in, Layer{Root: build(t, l...)})
		}
		if got := got(in); got != want[tt.name] {
			t.Errorf("%s: %s, want %s", tt.name, got, want[tt.name])
		}
	}
	base := lines{"a =1", "d/x =x", "d/e/y =y", "k/z =z"}
	for _, tt := range []struct {
		name   string
		layers []Layer
		want   string
		opts   []Option
	}{
		{"aufs between", []Layer{{Root: build(t, "d/n =n")}, {Root: build(t, "d/m =m", ".wh.a", "k/.wh..wh..opq"), Form: Aufs},
			{Root: build(t, base...)}},
			"Whiteouts=1:/.wh.a Opaque=1:/k Merged=2 MaybeLostOpaque=1:/d", nil},
		{"aufs above", []Layer{{Root: build(t, "d/n =n", ".wh.a", ".wh.none", "k/.wh.z", ".wh..wh.plnk/1.2 =x", ".wh..wh.orph/",
			".wh.t/x =x", "d/.wh.x"), Form: Aufs}, {Root: build(t, "d/m =m", "a c0:0")}, {Root: build(t, base...)}},
			"Whiteouts=3:/a DeadWhiteouts=2:/.wh.a Merged=3 AufsInternal=3:/.wh..wh.orph AufsPlinks=1:/.wh..wh.plnk/1.2", nil},
		{"made before", []Layer{{Root: build(t, "d/n =n", "d/e/n =n", "k/n =n")}, {Root: build(t, base...)}},
			"Merged=4 MaybeLostOpaque=1:/d/e", []Option{MadeBefore("d", "/k/")}},
		{"foreign on the root", []Layer{{Root: build(t, "/ +user.overlay.x=1 @overlay.y=1", "d/ @origin +user.overlay.x=1"),
			Namespace: Trusted}, {Root: build(t, base...)}},
			"Foreign=2: Escaped=1: Merged=2", nil},
		{"clean base", []Layer{{Root: build(t, "d/ @origin")}, {Root: build(t, "d/w c0:0", "d/ @opaque=y +user.overlay.x=1")}}, "Merged=2",
			[]Option{CleanBase()}},
	} {
		if got := got(tt.layers, tt.opts...); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestWarnings: a sentence stands for each count that a person should know of,
// with the number, and the place if there is one.
func TestWarnings(t *testing.T) {
	r := &Report{first: map[*int]string{}}
	if w := r.Warnings(); len(w) != 0 {
		t.Errorf("warnings of nothing: %q", w)
	}
	for i, n := range []*int{&r.MaybeLostOpaque, &r.OriginMismatches, &r.Shared, &r.Foreign, &r.Digests, &r.AufsPlinks, &r.StaleIndex} {
		*n = i + 2
		if n != &r.StaleIndex {
			r.first[n] = fmt.Sprintf("/place %d", i)
		}
		w := r.Warnings()
		if len(w) != i+1 || !strings.HasPrefix(w[i], fmt.Sprintf("%d ", i+2)) {
			t.Fatalf("%q", w)
		}
		if at := fmt.Sprintf("(first: /place %d)", i); strings.HasSuffix(w[i], at) != (n != &r.StaleIndex) ||
			strings.Contains(w[i], "(first: )") {
			t.Errorf("%q does not end with %q", w[i], at)
		}
	}
	r.Merged, r.Whiteouts, r.Opaque, r.Redirects, r.Metacopies = 1, 1, 1, 1, 1
	if len(r.Warnings()) != 7 {
		t.Errorf("warnings of what is well: %q", r.Warnings())
	}
}

// TestWithoutOrigins: the marks that refer to inodes below go, origin stays
// without its value, all else stays as it is.
func TestWithoutOrigins(t *testing.T) {
	in := build(t, "/ @origin=x @impure=y +user.k=v", "d/ @opaque=y @origin=x @uuid=u +user.overlay.upper=u",
		"d/f =f @origin=x @nlink=U+1 @redirect=/a +security.capability=c +user.overlay.origin=o", "d/e/g =g @metacopy @overlay.origin=kept",
		"h =h #7 %2 @origin=x")
	out := WithoutOrigins(in)
	got, err := text(t, out)
	want, _ := text(t, build(t, "d/ @opaque=y @origin", "d/f =f @origin @redirect=/a +security.capability=c +user.overlay.origin",
		"d/e/g =g @metacopy @overlay.origin=kept", "h =h @origin"))
	if err != nil || got != want {
		t.Errorf("%v\n%swant\n%s", err, got, want)
	}
	if x := out.Xattrs; len(x) != 2 || x[0].Name != "trusted.overlay.origin" || x[0].Value != "" || x[1].Name != "user.k" {
		t.Errorf("the root has %v", x)
	}
	if at(t, out, "h").Inode != at(t, in, "h").Inode {
		t.Error("a file's inode went")
	}
	for _, path := range []string{"", "d", "d/e"} {
		if at(t, out, path).Inode != (tree.Inode{}) {
			t.Errorf("%q passes for the directory that it was", path)
		}
	}
	if !slices.Equal(at(t, in, "h").Xattrs, tree.Xattrs{{Name: "trusted.overlay.origin", Value: "x"}}) {
		t.Error("the given tree changed")
	}
}

// TestOriginCounts: a directory is told of whose mark is that of another inode
// than it lies over, where both are known; what the mark says of no inode, or
// layers of aufs, do not count.
func TestOriginCounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		form   Form
		number string // of the lower directory
		mark   string
		want   int
	}{
		{"the same", OverlayFS, " #7", fileHandle(7, 1), 0},
		{"another", OverlayFS, " #7", fileHandle(8, 1), 1},
		{"below is one without a number", OverlayFS, " #0", fileHandle(8, 1), 0},
		{"the kernel did not know it", OverlayFS, " #7", "", 0},
		{"it cannot be read", OverlayFS, " #7", "rubbish", 0},
		{"aufs", Aufs, " #7", fileHandle(8, 1), 0},
	} {
		upper := build(t, "d/x =1")
		d := at(t, upper, "d")
		// Of a layer of aufs no attribute is a mark, with a prefix or without.
		d.Xattrs = tree.Xattrs{{Name: "origin", Value: tt.mark}, {Name: "trusted.overlay.origin", Value: tt.mark}}
		m, err := Merge([]Layer{{Root: upper, Form: tt.form}, {Root: build(t, "d/"+tt.number, "d/y =1")}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := m.Report(); err != nil || r.OriginMismatches != tt.want {
			t.Errorf("%s: %d, %v", tt.name, r.OriginMismatches, err)
		}
	}
}
