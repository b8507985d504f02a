package exclude

import (
	"os"
	"strings"
	"testing"
	"time"

	"relive/tree/systest"
)

// TestGlibc compares with what glibc 2.36's fnmatch says, in the C locale and
// with the flags that mksquashfs gives it, of pairs made at random. Each line
// is '+' or '-', the pattern and the name.
func TestGlibc(t *testing.T) {
	b, err := os.ReadFile("testdata/fnmatch.tsv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 2000 {
		t.Fatalf("only %d lines", len(lines))
	}
	for _, line := range lines {
		f := strings.Split(line, "\t")
		if got := compile(f[1]).match(f[2]); got != (f[0] == "+") {
			t.Errorf("%s %s: %v, glibc says %s", f[1], f[2], got, f[0])
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, yes, no string // names, separated by spaces
	}{
		{"abc", "abc", "ab abcd ABC .abc"},
		{"*", "a abc a.b -", ".a . .."},
		{".*", ".a .", "a"},
		{"?", "a", ".  ab"},
		{"*.bin", "a.bin a.b.bin", ".bin .a.bin bin a.bin2"},
		{"*-old", "x-old -old", ".x-old"},
		{"a*b*c", "abc axbxc abbcc abcbc", "ab acb ac"},
		{"a**?b", "axb axxb", "ab"},
		{"70-persistent-*.rules", "70-persistent-net.rules 70-persistent-.rules", "70-persistent.rules"},
		{"[abc]", "a b c", "d ab ."},
		{"[!abc]", "d", "a . ab"},
		{"[^abc]", "d", "a ."},
		{"x[a-c-]", "xa xb xc x-", "xd x"},
		{"x[]]", "x]", "x x[]]"},
		{"x[!]]", "xa", "x]"},
		{"[[:digit:][:upper:]]", "1 A", "a . :"},
		{"[[:foo:]a]", "", "a f"},
		{"[![:foo:]]", "", "a f"},
		{"[a[:foo:]]", "a", "f"},
		{`[\]a]`, "] a", `\`},
		{`[a\-c]`, "a - c", "b"},
		{"[z-a]", "", "z a m"},
		{"[abc", "[abc", "a"},
		{"[]", "[]", "]"},
		{".[.]x", "..x", ".x"},
		{"[.]x", "", ".x"},
		{`\*`, "*", "a"},
		{`\a\.b`, "a.b", "axb"},
		{`a\`, "", `a a\`},
		{"!(samba)", "x .x samba2 sam", "samba"},
		{"!(apache2|clamav|libvirt)", "x apache apache22 .x", "apache2 clamav libvirt"},
		{"!(themes|unicode.pf2)", "grub.cfg theme", "themes unicode.pf2"},
		{"*.!(deb)", "a.rpm a.debx a.b.deb", "a .deb a.deb"},
		{"a!(b)c", "ac axc abbc", "abc"},
		{"@(a|b)c", "ac bc", "c abc"},
		{"?(a|b)c", "c ac bc", "abc"},
		{"*(a|bc)d", "d ad bcd abcaad", "abd bd"},
		{"+(a|bc)d", "ad bcd abcaad", "d abd"},
		{"@(a*|b)@(c|*d)", "ac axc axd bd bc", "ab b"},
		{"+(+(a)b)", "ab aabab", "a b aabb"},
		{"!(!(a))", "a", "b ab"},
		{"@(a|b", "@(a|b", "a b"},
		{"a(b|c)", "a(b|c)", "ab ac"},
		{"{a,b}", "{a,b}", "a b"},
		{"*(.a)x", ".ax x .a.ax", "..ax"},
		{"@(*)", "a", ".a"},
		{"+(*|b).a*", ".ax x.ax", "..ax"},
		{"@(*|b).a*", "x.a", ".ax"},
		{"@(.*|*~)", ".a a~", "a"},
		{"\xe9?", "\xe9\xe8", "\xe9"},
		{"[\x80-\xff]", "\xe9", "a"},
	} {
		p := compile(c.pattern)
		for _, n := range strings.Fields(c.yes) {
			if !p.match(n) {
				t.Errorf("%q does not match %q", c.pattern, n)
			}
		}
		for _, n := range strings.Fields(c.no) {
			if p.match(n) {
				t.Errorf("%q matches %q", c.pattern, n)
			}
		}
	}
}

// TestSimpleIsMatcher: patterns without groups mean the same to both ways of
// matching.
func TestSimpleIsMatcher(t *testing.T) {
	b, err := os.ReadFile("testdata/fnmatch.tsv")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		p := compile(f[1])
		if p.grouped() {
			continue
		}
		n++
		m := newMatcher(f[2])
		if a, b := p.match(f[2]), m.has(m.ends(p, nil, m.none)[0], len(f[2])); a != b {
			t.Errorf("%s %s: %v and %v", f[1], f[2], a, b)
		}
	}
	if n < 500 {
		t.Errorf("only %d patterns", n)
	}
}

// TestHostile: patterns that drive a backtracking matcher into exponential time.
func TestHostile(t *testing.T) {
	long := strings.Repeat("a", 255)
	nest := func(op string, n int) string {
		return strings.Repeat(op+"(*", n) + strings.Repeat(")", n)
	}
	for _, p := range []string{
		"!(*(*a)*)", "*(*(*(*(*a))))b", "+(a|aa|aaa|*)b", strings.Repeat("*a", 100) + "b", strings.Repeat("?(a)", 200) + "b",
		strings.Repeat("@(a|a)", 200) + "b", nest("!", 60), nest("*", 60), nest("+", 60), nest("@", 60),
		"!(" + strings.Repeat("!(a)", 100) + ")",
		strings.Repeat("!(*", 2000), strings.Repeat("[", 16000), strings.Repeat("[:", 8000) + "]", strings.Repeat("[.", 8000) + "]",
		strings.Repeat("[!", 8000), strings.Repeat("*(", 8000), "*(" + strings.Repeat("a|", 2000) + "b)c",
	} {
		start := time.Now()
		c := compile(p)
		compiled := time.Since(start)
		c.match(long)
		c.match("." + long[1:])
		if d := time.Since(start); d > systest.Within(2*time.Second) {
			t.Errorf("%.40q: %v, of which compiling %v", p, d, compiled)
		} else {
			t.Logf("%.40q: %v, of which compiling %v", p, d, compiled)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"*.deb", "a.deb"}, {"!(*(*a)*)", "aaa"}, {"[[:alpha:]-z]x", "ax"}, {`@(a\|b|[)])`, "b"},
		{"**?(a)", ".a"}, {"... a/[", "x/a/["}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, p, path string) {
		if len(p) > 300 || len(path) > 300 {
			return
		}
		start := time.Now()
		for part := range strings.SplitSeq(path, "/") {
			c := compile(p)
			c.match(part)
			if !c.grouped() && len(part) <= maxName {
				m := newMatcher(part)
				if part != "" && c.match(part) != m.has(m.ends(c, nil, m.none)[0], len(part)) {
					t.Errorf("%q %q: the two ways of matching differ", p, part)
				}
			}
		}
		rules, err := Parse(strings.NewReader(p), "list")
		if err == nil {
			s, err := New(rules)
			if err != nil {
				t.Fatalf("%q: parsed, but %v", p, err)
			}
			s.Excluded(path)
		}
		if d := time.Since(start); d > systest.Within(5*time.Second) {
			t.Errorf("%q %q: %v", p, path, d)
		}
	})
}
