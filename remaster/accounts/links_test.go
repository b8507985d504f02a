package accounts

import (
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

// hardLink returns two paths one inode.
func hardLink(t *testing.T, root *tree.Node, paths ...string) *tree.Node {
	t.Helper()
	n, err := root.Lookup(paths[0])
	if n == nil || err != nil {
		t.Fatal(paths[0], err)
	}
	c := *n
	c.Nlink = uint32(len(paths))
	var e tree.Edits
	for _, p := range paths {
		e.Put(p, &c)
	}
	root, err = e.Apply(root)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestHardLinks(t *testing.T) {
	root := sampleTree(t)
	root = hardLink(t, root, "etc/shadow", "srv/copy/shadow", "usr/share/other")
	root = hardLink(t, root, "etc/ssh/ssh_host_rsa_key", "usr/share/key")
	root = hardLink(t, root, "home/alice/.bash_history", "home/bobby/same")
	root = hardLink(t, root, "home/bobby/x", "usr/local/bin/x")
	p := mustPlan(t, root, Options{Mode: Secure})
	a, _ := p.Root().Lookup("etc/shadow")
	for _, path := range []string{"srv/copy/shadow", "usr/share/other"} {
		b, _ := p.Root().Lookup(path)
		if b == nil || a.Inode != b.Inode || a.Inode == (tree.Inode{}) || content(t, p.Root(), path) != content(t, p.Root(),
			"etc/shadow") || b.Nlink != 3 {
			t.Errorf("%s: %+v", path, b)
		}
	}
	for _, word := range []string{"HOSTKEYsecret", "ALICEhash", "ROOThash"} {
		if at := holds(t, p.Root(), word); at != nil {
			t.Errorf("%s is in %s", word, at)
		}
	}
	if got := content(t, p.Root(), "usr/local/bin/x"); got != "x" {
		t.Errorf("a program is gone with a home: %q", got)
	}
	if !slices.ContainsFunc(p.Report.Entries, func(e Entry) bool { return e.Path == "usr/local/bin/x" && e.Action == KeptByDoubt }) {
		t.Error("no doubt of the other name")
	}
	for _, path := range []string{"usr/share/key", "usr/share/other"} {
		if !slices.ContainsFunc(p.Report.Entries, func(e Entry) bool { return e.Path == path && e.Action != KeptByDoubt }) {
			t.Errorf("%s is not in the report", path)
		}
	}
}

// A file that two rules drop under two names goes under the third as well, if
// one of them is about all names.
func TestLinksOfTwoRules(t *testing.T) {
	for range 20 { // whatever rule comes first
		root := hardLink(t, sampleTree(t), "etc/ssh/ssh_host_rsa_key", "home/alice/key", "usr/share/key")
		p := mustPlan(t, root, Options{Mode: Secure, User: &User{Name: "eve"}})
		if got := content(t, p.Root(), "usr/share/key"); got != "(missing)" {
			t.Fatalf("the third name is left: %q", got)
		}
	}
}

// Where all names of a file go with a home, nothing else is listed for it.
func TestLinksWithinADrop(t *testing.T) {
	root := hardLink(t, sampleTree(t), "home/alice/.bash_history", "home/bobby/same")
	var e tree.Edits
	closed := tree.NewDir("", 0o755)
	closed.Dir = untouchable{}
	e.Put("usr/share/doc", closed)
	root, _ = e.Apply(root)
	mustPlan(t, root, Options{Mode: Reset})
}

func TestSymlinkedFiles(t *testing.T) {
	f := sample()
	delete(f, "home")
	for path, text := range sample() {
		if rest, ok := strings.CutPrefix(path, "etc/"); ok {
			delete(f, path)
			f["usr/real/etc/"+rest] = text
		}
		if rest, ok := strings.CutPrefix(path, "home/"); ok {
			delete(f, path)
			f["var/home/"+rest] = text
		}
	}
	f["usr/real/etc/shadow"] = "-> /var/./lib/../real/shadow"
	f["var/real/shadow"] = sample()["etc/shadow"]
	f["etc"] = "-> usr/real/etc"
	f["home"] = "-> /var/home"
	root := build(t, f)
	p := mustPlan(t, root, Options{Mode: Secure})
	for _, word := range append(append([]string{}, resetSecrets...), secureSecrets...) {
		if at := holds(t, p.Root(), word); at != nil {
			t.Errorf("%s is in %s", word, at)
		}
	}
	n, _ := p.Root().Lookup("usr/real/etc/shadow")
	if n == nil || n.Type != tree.Symlink {
		t.Errorf("the link is %v", n)
	}
	if n, _ = p.Root().Lookup("var/home/demo/.bashrc"); n == nil || n.UID != 1000 {
		t.Errorf("home: %v", n)
	}
}
