package exclude

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// examples reads testdata/lists.txt: the paths that each list drops, those that
// stay with the lists of a use, and all of them.
func examples(t *testing.T) (drop map[string][]string, keep map[Use][]string, all []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/lists.txt")
	if err != nil {
		t.Fatal(err)
	}
	drop, keep = map[string][]string{}, map[Use][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		if len(f) != 3 {
			t.Fatalf("%q", line)
		}
		path := strings.ReplaceAll(f[2], `\ `, " ")
		switch {
		case f[0] == "drop":
			drop[f[1]] = append(drop[f[1]], path)
		case line[:12] == "keep always ":
			keep[Always] = append(keep[Always], path)
		case line[:13] == "keep general ":
			keep[General] = append(keep[General], path)
		default:
			t.Fatalf("%q", line)
		}
		all = append(all, path)
	}
	return drop, keep, all
}

func listSet(t *testing.T, names ...string) *Set {
	t.Helper()
	rules, err := Default(names...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestListsDrop: each list drops its examples, each of its rules has one, and
// no rule drops anything that must stay.
func TestListsDrop(t *testing.T) {
	drop, keep, all := examples(t)
	root := build(all)
	for _, l := range Lists() {
		s := listSet(t, l.Name)
		view := s.Apply(root)
		if len(drop[l.Name]) == 0 {
			t.Errorf("%s: no example", l.Name)
		}
		for _, p := range drop[l.Name] {
			if n, err := view.Lookup(p); err != nil || n != nil {
				t.Errorf("%s: %s stays (%v)", l.Name, p, err)
			}
		}
		delete(drop, l.Name)
		counts, err := s.Count(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range counts {
			if c.Matches == 0 {
				t.Errorf("%s: has no example", c.Rule)
			}
		}
		if l.Use == Asked {
			continue
		}
		stay := keep[General]
		if l.Use == Always {
			stay = slices.Concat(stay, keep[Always])
		}
		for _, p := range stay {
			if rule, out := s.Excluded(p); out {
				t.Errorf("%s: dropped by %s", p, s.Rules()[rule])
			}
		}
	}
	for name := range drop {
		t.Errorf("there is no list %q", name)
	}
	if len(keep[Always]) < 20 || len(keep[General]) < 80 {
		t.Errorf("only %d and %d examples of what stays", len(keep[Always]), len(keep[General]))
	}
}

// TestListsMeta: directories that stay are as they were, but for what is below.
func TestListsMeta(t *testing.T) {
	tmp := tree.NewDir("tmp", 0o1777, tree.NewFile(".X0-lock", 0o444, nil), tree.NewFile("x", 0o600, nil))
	dev := tree.NewDir("dev", 0o755, tree.NewFile("sda", 0o660, nil))
	dev.UID, dev.Xattrs = 7, tree.Xattrs{{Name: "security.selinux", Value: "x"}}
	root := listSet(t, "base").Apply(tree.NewDir("", 0o755, tmp, dev))
	for _, was := range []*tree.Node{tmp, dev} {
		n, err := root.Child(was.Name)
		if err != nil || n == nil {
			t.Fatal(was.Name, err)
		}
		if n.Meta != was.Meta || !n.Xattrs.Equal(was.Xattrs) {
			t.Errorf("%s: %+v, was %+v", n.Name, n.Meta, was.Meta)
		}
		if kids, err := n.Children(); err != nil || len(kids) != 0 {
			t.Errorf("%s: %d entries stay, %v", n.Name, len(kids), err)
		}
	}
}

// TestListsMksquashfs: mksquashfs understands every list as relive does.
func TestListsMksquashfs(t *testing.T) {
	systest.NeedTools(t, "mksquashfs", "unsquashfs")
	_, _, all := examples(t)
	root := build(all)
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	for _, p := range append([]string{""}, list(t, root)...) {
		n, err := root.Lookup(p)
		if err != nil {
			t.Fatal(err)
		}
		if n.Type == tree.Directory {
			err = os.MkdirAll(filepath.Join(src, p), 0o755)
		} else {
			err = os.WriteFile(filepath.Join(src, p), []byte("x"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range Lists() {
		file, img := filepath.Join(dir, l.Name), filepath.Join(dir, l.Name+".img")
		if err := os.WriteFile(file, []byte(l.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		systest.Run(t, "mksquashfs", src, img, "-wildcards", "-ef", file, "-no-progress", "-quiet", "-processors", "1", "-noI", "-noD",
			"-noF", "-noX")
		var want []string
		for line := range strings.Lines(systest.Output(t, "unsquashfs", "-d", "", "-l", img)) {
			if p := strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "/"); p != "" {
				want = append(want, p)
			}
		}
		slices.Sort(want)
		got := list(t, listSet(t, l.Name).Apply(root))
		if !slices.Equal(got, want) {
			t.Errorf("%s: kept but for mksquashfs %q, missing %q", l.Name, minus(got, want), minus(want, got))
		}
		if len(got) == len(list(t, root)) {
			t.Errorf("%s: drops nothing", l.Name)
		}
	}
}

// TestListsText: the lists are for people: each begins with what it is, is in
// use under its name, and has no rule twice.
func TestListsText(t *testing.T) {
	entries, err := listFiles.ReadDir("lists")
	if err != nil {
		t.Fatal(err)
	}
	lists := Lists()
	if len(entries) != len(lists) {
		t.Errorf("%d files, %d lists", len(entries), len(lists))
	}
	for _, l := range lists {
		if !strings.HasPrefix(l.Text, "# ") || !strings.HasSuffix(l.Title, ".") {
			t.Errorf("%s: title %q", l.Name, l.Title)
		}
		rules, err := Default(l.Name)
		if err != nil || len(rules) == 0 {
			t.Fatalf("%s: %d rules, %v", l.Name, len(rules), err)
		}
		seen := map[string]bool{}
		for _, r := range rules {
			if seen[r.Pattern] {
				t.Errorf("%s: twice", r)
			}
			seen[r.Pattern] = true
		}
		for i, line := range strings.Split(l.Text, "\n") {
			if strings.TrimSpace(line) != line || len(line) > 160 {
				t.Errorf("%s:%d: %q", l.Name, i+1, line)
			}
		}
	}
	if rules, err := Default("base", "logs"); err != nil || rules[0].Source != "list base:12" ||
		!strings.HasPrefix(rules[len(rules)-1].Source, "list logs:") {
		t.Errorf("%v, %v", rules[0], err)
	}
	if _, err := Default("base", "nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"; there are base, debian, `) {
		t.Error(err)
	}
	if got := fmt.Sprint(Always, General, Asked, Use(9)); got != "always general where asked for use 9" {
		t.Error(got)
	}
}

func TestListsFor(t *testing.T) {
	file := func(path, text string) func(*tree.Edits) {
		return func(e *tree.Edits) { e.Put(path, tree.NewFile("", 0o644, []byte(text))) }
	}
	link := func(e *tree.Edits) { e.Put("etc/os-release", tree.NewSymlink("", "../usr/lib/os-release")) }
	for _, c := range []struct {
		name    string
		puts    []func(*tree.Edits)
		always  string
		general string
	}{
		{"nothing", nil, "base logs", "base logs general"},
		{"Debian", []func(*tree.Edits){link, file("usr/lib/os-release", "NAME=\"Debian\"\nID=debian\n")}, "base debian logs",
			"base debian logs general debian-general"},
		{"antiX", []func(*tree.Edits){file("etc/antix-version", "x"), file("etc/os-release", "ID=debian\n")}, "base debian antix logs",
			"base debian antix logs general debian-general antix-general"},
		{"MX", []func(*tree.Edits){file("etc/mx-version", "x")}, "base debian antix logs",
			"base debian antix logs general debian-general antix-general"},
		{"Mint", []func(*tree.Edits){file("etc/os-release", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n")}, "base debian logs",
			"base debian logs general debian-general"},
		{"Fedora", []func(*tree.Edits){link, file("usr/lib/os-release", "ID=fedora\n")}, "base fedora logs",
			"base fedora logs general fedora-general"},
		{"Rocky", []func(*tree.Edits){file("etc/os-release", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"")}, "base fedora logs",
			"base fedora logs general fedora-general"},
		{"Manjaro", []func(*tree.Edits){file("etc/os-release", "ID=manjaro\n")}, "base arch logs", "base arch logs general arch-general"},
		{"Tumbleweed", []func(*tree.Edits){file("etc/os-release", "ID='opensuse-tumbleweed'\nID_LIKE='opensuse suse'\n")}, "base suse logs",
			"base suse logs general"},
		{"Alpine", []func(*tree.Edits){file("etc/os-release", "ID=alpine\n")}, "base alpine logs", "base alpine logs general"},
		{"another", []func(*tree.Edits){file("etc/os-release", "#ID=debian\nID=\n")}, "base logs", "base logs general"},
	} {
		var e tree.Edits
		for _, put := range c.puts {
			put(&e)
		}
		root, err := e.Apply(tree.NewDir("", 0o755))
		if err != nil {
			t.Fatal(err)
		}
		for general, want := range map[bool]string{false: c.always, true: c.general} {
			names, err := ListsFor(root, general)
			if got := strings.Join(names, " "); err != nil || got != want {
				t.Errorf("%s, general %v: %s, %v", c.name, general, got, err)
			}
		}
	}
	big := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewFile("os-release", 0o644, make([]byte, 1<<16+1))))
	if _, err := ListsFor(big, false); err == nil || !strings.Contains(err.Error(), "/etc/os-release: ") {
		t.Error(err)
	}
}
