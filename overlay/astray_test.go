package overlay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"relive/tree"
)

// TestAstray: there is a mark that leads astray if and only if the inode that it
// leads to is shown by the union, by whatever name, or another file is marked
// with it; inodes of several names and directories do not count.
func TestAstray(t *testing.T) {
	met := map[string]int{}
	for _, seed := range seeds(t, 3000) {
		r := rand.New(rand.NewPCG(seed, 40))
		names := []string{"a", "b", "c"}
		number := uint64(1)
		// Paths of up to three names; what is no directory has a number of its own.
		var base lines
		var fill func(at string, depth int)
		fill = func(at string, depth int) {
			for _, n := range names {
				number++
				switch k := r.IntN(6); {
				case k < 2 && depth < 3:
					base = append(base, fmt.Sprintf("%s%s/ #%d", at, n, number))
					fill(at+n+"/", depth+1)
				case k < 4:
					base = append(base, fmt.Sprintf("%s%s =%s #%d %%%d", at, n, n, number, 1+r.IntN(5)/4))
				}
			}
		}
		fill("", 1)
		var upper lines
		fill = func(at string, depth int) {
			for _, n := range names {
				switch k := r.IntN(10); {
				case k < 4 && depth < 3:
					dir := at + n + "/"
					switch r.IntN(6) {
					case 0:
						dir += " @opaque=y"
					case 1:
						dir += " @redirect=" + names[r.IntN(3)]
					case 2:
						dir += " @redirect=/" + names[r.IntN(3)] + []string{"", "/" + names[r.IntN(3)]}[r.IntN(2)]
					}
					upper = append(upper, dir)
					fill(at+n+"/", depth+1)
				case k == 4:
					upper = append(upper, at+n+" c0:0")
				case k < 7:
					upper = append(upper, at+n+" =upper")
				}
			}
		}
		fill("", 1)
		lower, layer := build(t, base...), Layer{Root: build(t, upper...), Namespace: Trusted}
		union := merge(t, nil, layer, Layer{Root: lower})
		// Some of the layer's files are marked with some numbers.
		var marks []Origin
		err := tree.Walk(t.Context(), layer.Root, func(path string, n *tree.Node) error {
			if n.Type == tree.Regular && r.IntN(2) == 0 {
				marks = append(marks, Origin{Path: path, File: n.Inode, Number: 2 + r.Uint64N(number)})
			}
			if n.Type == tree.Directory && path != "" {
				marks = append(marks, Origin{Path: path, Dir: true, File: n.Inode, Number: 2 + r.Uint64N(number)})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		shown := map[tree.Inode]string{}
		err = tree.Walk(t.Context(), union, func(path string, n *tree.Node) error {
			shown[n.Inode] = path
			return nil
		})
		if err != nil && !strings.Contains(err.Error(), "redirect") {
			t.Fatal(err)
		} else if err != nil {
			continue
		}
		var want []string
		err = tree.Walk(t.Context(), lower, func(path string, n *tree.Node) error {
			if n.Type == tree.Directory || n.Nlink > 1 {
				return nil
			}
			var marked []string
			for _, m := range marks {
				if !m.Dir && m.Number == n.Inode.Number {
					marked = append(marked, m.Path)
				}
			}
			switch at, is := shown[n.Inode]; {
			case len(marked) == 0:
			case len(marked) > 1:
				met["of two"]++
				want = append(want, fmt.Sprintf("%s, marked by %q", path, marked))
			case is && at != path:
				met["elsewhere"]++
				fallthrough
			case is:
				met["shown"]++
				want = append(want, fmt.Sprintf("%s, shown at %s and marked by %q", path, at, marked))
			default:
				met["covered"]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Astray(t.Context(), layer, marks, lower)
		if err != nil || (got != nil) != (len(want) > 0) {
			t.Fatalf("OVERLAY_SEED=%d: %+v, %v; want one of %q\nbase  %q\nupper %q\nmarks %+v", seed, got, err, want, base, upper, marks)
		}
	}
	for _, kind := range []string{"of two", "elsewhere", "shown", "covered"} {
		if met[kind] < 10 {
			t.Errorf("met: %v", met)
		}
	}
}

// TestAstrayFiles: names of one file that is marked are one mark, and a root that
// is marked has to be the base's.
func TestAstrayFiles(t *testing.T) {
	lower := build(t, "/ #2", "a =1 #7", "b =2 #8")
	layer := Layer{Root: build(t, "a =x", "link =x", "other =x"), Namespace: Trusted}
	file := func(path string) tree.Inode { return at(t, layer.Root, path).Inode }
	one := tree.Inode{Source: layer.Root, Number: 99}
	for _, tt := range []struct {
		name  string
		marks []Origin
		want  string
	}{
		{"nothing", nil, "-"},
		{"its own", []Origin{{Path: "a", File: file("a"), Number: 7}}, "-"},
		{"another's", []Origin{{Path: "a", File: file("a"), Number: 8}}, "a"},
		{"nobody's", []Origin{{Path: "a", File: file("a"), Number: 9}}, "-"},
		{"two names", []Origin{{Path: "a", File: one, Number: 7}, {Path: "link", File: one, Number: 7}}, "-"},
		{"two files", []Origin{{Path: "a", File: file("a"), Number: 7}, {Path: "other", File: file("other"), Number: 7}}, "a"},
		{"two of which nothing is known", []Origin{{Path: "a", Number: 7}, {Path: "link", Number: 7}}, "a"},
		{"the root", []Origin{{Dir: true, Number: 2}}, "-"},
		{"another root", []Origin{{Path: "a", File: file("a"), Number: 7}, {Dir: true, Number: 3}}, ""},
		{"a directory", []Origin{{Path: "d", Dir: true, Number: 7}}, "-"},
	} {
		got, err := Astray(t.Context(), layer, tt.marks, lower)
		said := "-"
		if got != nil {
			said = got.Path
		}
		if err != nil || said != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, said, err, tt.want)
		}
	}
}
