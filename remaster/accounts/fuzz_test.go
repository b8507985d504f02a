package accounts

import (
	"bytes"
	"context"
	"path"
	"strings"
	"testing"

	"relive/tree"
)

// Whatever the account files hold, a plan is made or refused with a clear
// error; what it makes no longer names the people, holds no hash but those
// asked for, and is left alone by a second plan.
func FuzzAccountFiles(f *testing.F) {
	s := sample()
	for _, suffix := range []string{"", "-"} {
		f.Add([]byte(s["etc/passwd"+suffix]), []byte(s["etc/shadow"+suffix]), []byte(s["etc/group"+suffix]),
			[]byte(s["etc/gshadow"+suffix]), []byte(s["etc/subuid"+suffix]))
	}
	f.Add([]byte("root:x:0:0\r\n+alice\n-bob::\n:::\n:x:1:1::/home/q:/bin/sh"), []byte("root\nx:$1$\n"), []byte("a:b\n+:::\na:x:1000:,,b"),
		[]byte("a"), []byte("a:b:c\n1:2:3:4"))
	r := newRandomAccounts(5).files()
	f.Add([]byte(r["etc/passwd"]), []byte(r["etc/shadow"]), []byte(r["etc/group"]), []byte(r["etc/gshadow"]), []byte(r["etc/subuid"]))
	const hash = "$6$salt$NEWNEWNEWNEWNEWNEW"
	f.Fuzz(func(t *testing.T, passwd, shadow, group, gshadow, sub []byte) {
		file := func(name string, b []byte) *tree.Node { return tree.NewFile(name, 0o600, b) }
		root := tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, file("passwd", passwd), file("shadow", shadow), file("group", group),
			file("gshadow", gshadow),
			file("subuid", sub), file("subgid", sub), file("passwd-", shadow), file("shadow-", passwd), file("group-", gshadow)),
			tree.NewDir("bin", 0o755, file("sh", nil)))
		o := Options{Mode: Reset, Root: Hashed(hash), User: &User{Name: "newone", Password: Hashed(hash)}}
		p, err := New(context.Background(), root, o)
		if err != nil {
			return
		}
		for _, name := range []string{"etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/subuid", "etc/subgid", "etc/passwd-",
			"etc/shadow-", "etc/group-"} {
			b := []byte(content(t, p.Root(), name))
			for i, l := range splitLines(b) {
				switch kindOf(l.text) {
				case outsideLine:
					if n := outsideName(l.text); contains(p.Report.People, n) && n != "newone" {
						t.Errorf("%s:%d names %q", name, i+1, n)
					}
				case entryLine:
					fl := fields(l.text)
					isGroup := strings.Contains(name, "group") || strings.Contains(name, "gshadow")
					if n := string(fl[0]); !isGroup && contains(p.Report.People, n) && n != "newone" {
						t.Errorf("%s:%d is of %q", name, i+1, n)
					}
					if pw := field(fl, 1); !strings.Contains(name, "sub") && isHash(pw) && string(pw) != hash {
						t.Errorf("%s:%d holds a hash: %q", name, i+1, l.text)
					}
					if isGroup && len(fl) > groupMembers {
						for _, m := range members(fl[groupMembers]) {
							if contains(p.Report.People, m) && m != "newone" {
								t.Errorf("%s:%d has the member %q", name, i+1, m)
							}
						}
					}
				}
			}
		}
		again, err := New(context.Background(), p.Root(), o)
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		for _, c := range differences(t, p.Root(), again.Root()) {
			a, b := "", ""
			if c.A != nil && c.B != nil && c.A.Type == tree.Regular {
				a, b = content(t, p.Root(), c.Path), content(t, again.Root(), c.Path)
			}
			t.Errorf("the second time: %s: %s\n%q\n%q", c.Path, c.Diff, a, b)
		}
	})
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// Rules are read or refused with the file's name and line, and what is read
// can be carried out.
func FuzzRules(f *testing.F) {
	files, err := DefaultFiles()
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range files {
		for part := range bytes.SplitSeq(d.Text, []byte("\n\n")) {
			f.Add(part)
		}
	}
	f.Add([]byte("family x\nuids 500 600\nrule a reset\nwhy b\nreplace **\n~ ({person})\n= {user}\nkeep home/*\ndrop **/x\nexcept " +
		"e*\ncontent etc/{a,passwd}\n| {hostname}"))
	src := sample()
	delete(src, "home")
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRules("f", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("no place in %v", err)
			}
			return
		}
		p, err := New(context.Background(), build(t, src), Options{Mode: Secure, Rules: []*Rules{r}, User: &User{Name: "eve"}})
		if err != nil {
			return
		}
		if err := tree.Walk(context.Background(), p.Root(), func(string, *tree.Node) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// Patterns: braces and parts come apart as a simple recursion has it, and each
// part is one that path.Match takes.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a/{b,c}/d", "{a,{b,c}}x{,y}", "{person}.x", "a{b", "}{,}", "{{a,b}", "a/**", "[{,}]", "\\{a,b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parsePattern(s)
		if err != nil {
			return
		}
		if len(all) == 0 || len(all) > maxAlternatives {
			t.Fatalf("%q: %d patterns", s, len(all))
		}
		for _, parts := range all {
			for _, p := range parts {
				if p == "" || p == "." || p == ".." || strings.Contains(p, "/") {
					t.Errorf("%q: part %q", s, p)
				}
				if _, err := path.Match(strings.NewReplacer(personMark, "x", formerMark, "x").Replace(p), "name"); err != nil {
					t.Errorf("%q: part %q: %v", s, p, err)
				}
			}
		}
	})
}

// Splitting and joining is the identity, and lines hold no line feed.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\n\rc\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines := splitLines(b)
		if got := joinLines(lines); !bytes.Equal(got, b) {
			t.Errorf("%q became %q", b, got)
		}
		for _, l := range lines {
			if bytes.ContainsRune(l.text, '\n') || bytes.HasSuffix(l.text, []byte("\r")) && len(l.end) > 0 && len(l.end) < 2 {
				t.Errorf("%q holds the line %q", b, l.text)
			}
		}
	})
}

// A hosts file, and the lines that rules edit, in any bytes.
func FuzzEditedText(f *testing.F) {
	s := sample()
	for _, name := range []string{"etc/hosts", "etc/sudoers", "etc/lightdm/lightdm.conf", "etc/inittab", "etc/default/grub",
		"etc/login.defs", "etc/os-release", "etc/hostname"} {
		f.Add([]byte(s[name]))
	}
	delete(s, "home")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"etc/hosts", "etc/sudoers", "etc/lightdm/lightdm.conf", "etc/inittab", "etc/default/grub",
			"etc/login.defs", "etc/os-release", "etc/hostname"} {
			s[name] = string(b)
		}
		o := Options{Mode: Secure, User: &User{Name: "eve"}}
		p, err := New(context.Background(), build(t, s), o)
		if err != nil {
			return
		}
		again, err := New(context.Background(), p.Root(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range differences(t, p.Root(), again.Root()) {
			t.Errorf("the second time: %s: %s: %q", c.Path, c.Diff, content(t, again.Root(), c.Path))
		}
	})
}
