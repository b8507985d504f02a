package accounts

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

// optionSets are ways to ask that tests of laws go through.
func optionSets() []Options {
	return []Options{
		{Mode: Reset},
		{Mode: Secure},
		{Mode: Secure, NoUser: true, Root: Plain("toor")},
		{Mode: Reset, Root: Kept(), User: &User{Name: "alice", FullName: "Another", Groups: []string{},
			Password: Hashed("$6$abc$defghijklmnop")}},
		{Mode: Secure, Root: Hashed("$6$abc$defghijklmnop"), Hostname: "some.host", Now: tree.Time{Sec: 1700000000},
			User: &User{Name: "eve", UID: 4000, Shell: "/usr/bin/sh", Groups: []string{"users", "svc"}}},
	}
}

// What differs is in the report, and what the report says to differ does.
func TestReportTellsAll(t *testing.T) {
	root := sampleTree(t)
	for _, o := range optionSets() {
		p := mustPlan(t, root, o)
		told := map[string]Action{}
		for _, e := range p.Report.Entries {
			if e.Rule == "" || e.Reason == "" || e.Path == "" {
				t.Errorf("an entry lacks something: %+v", e)
			}
			if e.Action != KeptByDoubt {
				told[e.Path] = e.Action
			}
		}
		differ := map[string]bool{}
		for _, c := range differences(t, root, p.Root()) {
			known := false
			for at := c.Path; at != ""; at = parent(at) {
				differ[at] = true
				known = known || told[at] != ""
			}
			if !known && c.Diff&tree.LinkSet == 0 {
				t.Errorf("%s %s: %s is not in the report", o.Mode, c.Path, c.Diff)
			}
			if c.A != nil && c.B != nil && c.Diff != tree.Contents && c.Path != "home/alice" { // a home is made anew
				t.Errorf("%s %s: %s", o.Mode, c.Path, c.Diff)
			}
		}
		for path, a := range told {
			if !differ[path] && path != "home/alice" {
				t.Errorf("%s: %s is %s, but does not differ", o.Mode, path, a)
			}
		}
	}
}

// Applying a plan to its own result changes nothing.
func TestTwiceIsOnce(t *testing.T) {
	for i, o := range optionSets() {
		once := mustPlan(t, sampleTree(t), o)
		o.Rand = nil
		twice := mustPlan(t, once.Root(), with(o, salts()))
		for _, c := range differences(t, once.Root(), twice.Root()) {
			t.Errorf("set %d: %s: %s", i, c.Path, c.Diff)
		}
		for _, e := range twice.Report.Entries {
			if e.Action == Changed {
				t.Errorf("set %d: changed again: %+v", i, e)
			}
		}
	}
}

func with(o Options, r *bytes.Reader) Options { o.Rand = r; return o }

// What the plan does not touch is the source's own node.
func TestUntouchedNodes(t *testing.T) {
	root := sampleTree(t)
	p := mustPlan(t, root, Options{Mode: Secure})
	for _, path := range []string{"usr", "etc/skel", "etc/nsswitch.conf", "root/.bashrc", "opt", "etc/login.defs"} {
		a, _ := root.Lookup(path)
		b, err := p.Root().Lookup(path)
		if err != nil || a == nil || a != b {
			t.Errorf("%s is another node: %v", path, err)
		}
	}
}

var errTouched = errors.New("touched")

type untouchable struct{}

func (untouchable) Open() (tree.Content, error)       { return nil, errTouched }
func (untouchable) Children() ([]*tree.Node, error)   { return nil, errTouched }
func (untouchable) Lookup(string) (*tree.Node, error) { return nil, errTouched }

// Nothing is read that no rule is about.
func TestReadsLittle(t *testing.T) {
	f := sample()
	delete(f, "home")
	root := build(t, f)
	var e tree.Edits
	closed := tree.NewDir("", 0o755)
	closed.Dir = untouchable{}
	e.Put("usr/share/doc", closed)
	e.Put("usr/lib/x", closed)
	e.Put("proc", closed)
	e.Put("var/lib/dpkg/info", closed)
	unread := tree.NewFile("", 0o644, nil)
	unread.Data, unread.Size = untouchable{}, 1<<40
	e.Put("usr/bin/huge", unread)
	e.Put("home/alice/huge", unread)
	e.Put("var/log/huge", unread)
	e.Put("var/cache/apt/huge", unread)
	root, err := e.Apply(root)
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, root, Options{Mode: Secure})
	if got := content(t, p.Root(), "var/log/huge"); got != "" {
		t.Errorf("a log is left: %q", got)
	}
}

// Metadata of what is edited stays, and bytes of lines that are not.
func TestEditsKeepTheRest(t *testing.T) {
	f := sample()
	delete(f, "home")
	f["etc/passwd"] = "root:x:0:0:root:/root:/bin/bash\r\n\n# alice was here\n  " +
		"svc:x:120:130::/var/lib/svc:/bin/sh\n+@staff::::::\n+alice::::::\n+::::::\nlate:x:121:121:caf\xe9" +
		":/:/bin/false\nlate:x:121:121:caf\xe9:/:/bin/false\nalice:x:1000:1000::/home/alice:/bin/sh\nbroken " +
		"line\nshort:x:50\nsvc2:x:122:122::/home/svc2:/usr/sbin/nologin"
	root := build(t, f)
	p := mustPlan(t, root, Options{Mode: Reset, User: &User{Name: "eve"}})
	want := "root:x:0:0:root:/root:/bin/bash\r\n\n# alice was here\n  " +
		"svc:x:120:130::/var/lib/svc:/bin/sh\neve:x:1000:1000::/home/eve:/bin/bash\n+@staff::::::\n+::::::\nlate:x:121:121:caf\xe9" +
		":/:/bin/false\nlate:x:121:121:caf\xe9:/:/bin/false\nshort:x:50\nsvc2:x:122:122::/home/svc2:/usr/sbin/nologin"
	if got := content(t, p.Root(), "etc/passwd"); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	was, _ := root.Lookup("etc/passwd")
	n, _ := p.Root().Lookup("etc/passwd")
	m := n.Meta
	m.Size = was.Size
	if m != was.Meta || !n.Xattrs.Equal(was.Xattrs) {
		t.Errorf("%+v became %+v", was.Meta, n.Meta)
	}
	var doubts []string
	for _, e := range p.Report.Entries {
		if e.Path == "etc/passwd" && e.Action == KeptByDoubt {
			doubts = append(doubts, e.Reason)
		}
	}
	for _, word := range []string{"comment names a person", "NIS", "CR LF", "there twice", "seven fields"} {
		if !slices.ContainsFunc(doubts, func(s string) bool { return strings.Contains(s, word) }) {
			t.Errorf("no doubt of %q in %q", word, doubts)
		}
	}
}

// A report never shows a secret, and its JSON is ASCII.
func TestReportForms(t *testing.T) {
	f := sample()
	delete(f, "home")
	f["etc/passwd"] += "al\x1b[2Jx:x:1003:1003::/home/x:/bin/sh\n"
	f["home/caf\xe9\n"] = "x"
	for _, o := range optionSets() {
		p := mustPlan(t, build(t, f), o)
		var text bytes.Buffer
		if err := p.Report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		js, err := json.Marshal(p.Report)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{text.String(), string(js)} {
			if strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
				t.Errorf("raw bytes in %q", out)
			}
			for _, secret := range append(append([]string{}, secureSecrets...), rootHash, aliceHash, "toor", "WIFI", "HISTORY") {
				if secret != "deadbeef" && secret != "alicebox" && strings.Contains(out, secret) {
					t.Errorf("%s is in a report", secret)
				}
			}
		}
		var back struct {
			Mode    string
			People  []string
			Entries []struct{ Path, Action string }
		}
		if err := json.Unmarshal(js, &back); err != nil || back.Mode != o.Mode.String() || len(back.Entries) != len(p.Report.Entries) ||
			back.People[0] != "alice" {
			t.Errorf("JSON: %v, %+v", err, back)
		}
		if !slices.ContainsFunc(back.Entries, func(e struct{ Path, Action string }) bool {
			return e.Path == "home/caf%E9%0A" &&
				e.Action == "dropped"
		}) {
			t.Error("the odd path is not in the JSON")
		}
	}
}

// The new home is etc/skel's, owned by the user, with hard links of its own.
func TestHome(t *testing.T) {
	f := sample()
	delete(f, "home")
	f["etc/login.defs"] += "HOME_MODE 0710\n"
	root := build(t, f)
	var e tree.Edits
	linked := tree.NewFile("", 0o4755, []byte("l"))
	linked.Inode, linked.Nlink = tree.Inode{Source: t, Number: 9000}, 2
	linked.Xattrs = tree.Xattrs{{Name: "security.selinux", Value: "system_u:object_r:etc_t:s0\x00"}, {Name: "user.x", Value: "1"}}
	e.Put("etc/skel/l1", linked)
	e.Put("etc/skel/l2", linked)
	root, _ = e.Apply(root)
	p := mustPlan(t, root, Options{Mode: Reset, User: &User{Name: "eve", UID: 1234}})
	home, _ := p.Root().Lookup("home/eve")
	if home == nil || home.UID != 1234 || home.GID != 1234 || home.Perm != 0o710 {
		t.Fatalf("home: %+v", home)
	}
	one, _ := home.Lookup("l1")
	two, _ := home.Lookup("l2")
	was, _ := p.Root().Lookup("etc/skel/l1")
	if one.Inode != two.Inode || one.Inode == was.Inode || was.UID != 0 || one.UID != 1234 || one.Perm != 0o4755 {
		t.Errorf("links: %+v, %+v, %+v", one, two, was)
	}
	if _, ok := one.Xattrs.Get("security.selinux"); ok || len(one.Xattrs) != 1 {
		t.Errorf("attributes: %v", one.Xattrs)
	}
	if got := content(t, p.Root(), "home/eve/.config/x/y"); got != "y" {
		t.Errorf("skel: %q", got)
	}
	kids, _ := p.Root().Lookup("home")
	if all, _ := kids.Children(); len(all) != 1 {
		t.Errorf("%d homes", len(all))
	}
	delete(f, "etc/skel/.bashrc")
	delete(f, "etc/skel/link")
	delete(f, "etc/skel/.config/x/y")
	p = mustPlan(t, build(t, f), Options{Mode: Reset})
	if home, _ = p.Root().Lookup("home/demo"); home == nil || home.UID != 1000 {
		t.Errorf("home without skel: %+v", home)
	}
}
