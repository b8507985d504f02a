package osrelease

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Fields{
		"":                                {},
		"ID=debian\n":                     {"ID": "debian"},
		"ID=a\nID=b":                      {"ID": "b"},
		"# ID=x\n\nnonsense\n=y\n":        {},
		" NAME=\"MX \\\"Linux\\\"\" \r\n": {"NAME": `MX "Linux"`},
		`NAME='a\b'`:                      {"NAME": `a\b`},
		`NAME="cost: \$5"`:                {"NAME": "cost: $5"},
		`NAME="open`:                      {"NAME": `"open`},
		`NAME=`:                           {"NAME": ""},
		`NAME="`:                          {"NAME": `"`},
		`NAME=\`:                          {"NAME": `\`},
	} {
		if got := Parse(text); !maps.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestIDs: what the system is comes before what it is like, in whatever order the
// file has them.
func TestIDs(t *testing.T) {
	if got := Parse("ID_LIKE=\"ubuntu debian\"\nID=mint\n").IDs(); !slices.Equal(got, []string{"mint", "ubuntu", "debian"}) {
		t.Error(got)
	}
}

// TestRead: the file in etc counts, or what it leads to, where there is one.
func TestRead(t *testing.T) {
	usr := tree.NewDir("usr", 0o755, tree.NewDir("lib", 0o755, tree.NewFile("os-release", 0o644, []byte("ID=usr\n"))))
	for name, c := range map[string]struct {
		etc  *tree.Node
		want string
	}{
		"file": {tree.NewFile("os-release", 0o644, []byte("ID=etc\n")), "etc"},
		"link": {tree.NewSymlink("os-release", "../usr/lib/os-release"), "usr"},
		"loop": {tree.NewSymlink("os-release", "os-release"), "usr"},
		"away": {tree.NewSymlink("os-release", "/opt/release"), "opt"},
		"none": {tree.NewFile("other", 0o644, nil), "usr"},
	} {
		f, err := Read(tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, c.etc), usr,
			tree.NewDir("opt", 0o755, tree.NewFile("release", 0o644, []byte("ID=opt\n")))))
		systest.Must(t, err)
		if f["ID"] != c.want {
			t.Errorf("%s: %v", name, f)
		}
	}
	f, err := Read(tree.NewDir("", 0o755))
	if err != nil || len(f) > 0 {
		t.Error(f, err)
	}
	if _, err := Read(tree.NewDir("", 0o755,
		tree.NewDir("etc", 0o755, tree.NewFile("os-release", 0o644, make([]byte, sizeMax+1))))); err == nil ||
		!strings.Contains(err.Error(), "os-release") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ID=debian\nNAME=\"Debian \\\"x\\\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		for key, value := range Parse(text) {
			if key == "" || strings.Contains(key+value, "\n") {
				t.Errorf("%q: %q", key, value)
			}
		}
	})
}
