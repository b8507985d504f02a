package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func TestQuote(t *testing.T) {
	for path, want := range map[string]string{
		"":               "/",
		"/":              "/",
		"a/b c":          "/a/b c",
		"/a":             "/a",
		"ü/ß.txt":        "/ü/ß.txt",
		"日本":             "/日本",
		"a\nb":           `"/a\nb"`,
		`a"b`:            `"/a\"b"`,
		`a\b`:            `"/a\\b"`,
		"a\x7f":          `"/a\x7f"`,
		"a\xff":          `"/a\xff"`,
		"\u202egnp.exe":  `"/\u202egnp.exe"`,
		"a\u0085b":       `"/a\u0085b"`,
		"zero\u200bwide": `"/zero\u200bwide"`,
	} {
		if got := Quote(path); got != want {
			t.Errorf("%q: %s, not %s", path, got, want)
		}
	}
}

// Escape is what net/url undoes, and nothing but printable ASCII.
func TestEscape(t *testing.T) {
	for i := range 256 {
		s := "a" + string([]byte{byte(i)}) + "z"
		want := s
		if i < 0x21 || i > 0x7e || i == '%' {
			want = fmt.Sprintf("a%%%02Xz", i)
		}
		if got := Escape(s); got != want {
			t.Errorf("%q: %q, not %q", s, got, want)
		}
	}
	if got := Escape("plain/path"); got != "plain/path" {
		t.Error(got)
	}
}

// Rdev holds what the kernel's 32-bit form holds, which in Linux is what the
// low half of the C library's dev_t is.
func TestRdev(t *testing.T) {
	for _, major := range []uint32{0, 1, 8, 255, 256, 4095} {
		for _, minor := range []uint32{0, 1, 255, 256, 65535, 65536, 1<<20 - 1} {
			r := Rdev{major, minor}
			d, ok := r.Linux()
			if !ok || RdevFromLinux(d) != r || uint64(d) != unix.Mkdev(major, minor) {
				t.Errorf("%v: %#x %v, %v", r, d, ok, RdevFromLinux(d))
			}
		}
	}
	for _, r := range []Rdev{{4096, 0}, {0, 1 << 20}, {math.MaxUint32, math.MaxUint32}} {
		if _, ok := r.Linux(); ok {
			t.Errorf("%v fits", r)
		}
	}
}

func TestTime(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(-1, 5), time.Unix(1<<33, 999999999), time.Unix(-1<<40, 1)} {
		tm := TimeOf(at)
		if !tm.Time().Equal(at) {
			t.Errorf("%v became %v", at, tm)
		}
	}
	order := []Time{{-5, 0}, {-5, 1}, {0, 0}, {0, 2}, {3, 0}}
	for i, a := range order {
		for j, b := range order {
			if a.Before(b) != (i < j) {
				t.Errorf("%v before %v: %v", a, b, a.Before(b))
			}
		}
	}
	for in, want := range map[Time]int64{{-3, 5}: 0, {0, 999999999}: 0, {7, 7}: 7, {1<<32 - 1, 9}: 1<<32 - 1, {1 << 32, 0}: 1<<32 - 1,
		{math.MaxInt64, 0}: 1<<32 - 1, {math.MinInt64, 0}: 0} {
		if got := in.Whole(); got != (Time{Sec: want}) {
			t.Errorf("%v: %v", in, got)
		}
	}
}

func TestTypes(t *testing.T) {
	seen := map[string]bool{}
	for typ := Regular; typ <= Socket; typ++ {
		if got := TypeFromMode(typ.ModeBits() | 0o7777); got != typ {
			t.Errorf("%v became %v", typ, got)
		}
		if seen[typ.letter()] || typ.letter() == "" {
			t.Errorf("%v: letter %q", typ, typ.letter())
		}
		seen[typ.letter()] = true
	}
	for _, mode := range []uint32{0, 0o7777, 0o030000, 0o170000} {
		if got := TypeFromMode(mode); got != 0 {
			t.Errorf("%#o: %v", mode, got)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{"a": true, "...": true, "\xff": true, "\n": true, strings.Repeat("n", 255): true,
		"": false, ".": false, "..": false, "a/b": false, "a\x00": false, strings.Repeat("n", 256): false} {
		if got := CheckName(name) == nil; got != ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestXattrs(t *testing.T) {
	x := Xattrs{{"user.b", "2"}, {"security.a", "1"}, {"user.a", ""}}
	SortXattrs(x)
	for name, want := range map[string]string{"user.b": "2", "security.a": "1", "user.a": ""} {
		if v, ok := x.Get(name); !ok || v != want {
			t.Errorf("%s: %q, %v", name, v, ok)
		}
	}
	if _, ok := x.Get("user.c"); ok {
		t.Error("found what is not there")
	}
	before := slices.Clone(x)
	got := x.Filter(func(a Xattr) bool { return a.Name != "user.a" })
	if len(got) != 2 || got[0].Name != "security.a" || got[1].Name != "user.b" || !x.Equal(before) {
		t.Errorf("%v of %v", got, x)
	}
	if got := x.Filter(func(Xattr) bool { return false }); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := x.Filter(func(Xattr) bool { return true }); &got[0] != &x[0] {
		t.Error("all of it is a copy")
	}
	if x.Equal(before[:2]) || x.Equal(nil) || !Xattrs(nil).Equal(Xattrs{}) {
		t.Error("Equal")
	}
}

// A directory comes before its children, these in byte order; SkipDir leaves
// them out.
func TestWalk(t *testing.T) {
	root := NewDir("", 0o755, NewDir("a", 0o755, NewFile("z", 0o644, nil), NewDir("b", 0o755, NewFile("c", 0o644, nil))),
		NewFile("a.b", 0o644, nil), NewFile("\xff", 0o644, nil), NewFile("Z", 0o644, nil))
	var got []string
	walk := func(skip string) error {
		got = nil
		return Walk(context.Background(), root, func(path string, n *Node) error {
			got = append(got, path)
			if path == skip {
				return SkipDir
			}
			return nil
		})
	}
	for skip, want := range map[string]string{
		"none": "|Z|a|a/b|a/b/c|a/z|a.b|\xff",
		"a":    "|Z|a|a.b|\xff",
		"a/b":  "|Z|a|a/b|a/z|a.b|\xff",
		"":     "",
	} {
		if err := walk(skip); err != nil || strings.Join(got, "|") != want {
			t.Errorf("skipping %q: %q, %v", skip, strings.Join(got, "|"), err)
		}
	}
	if err := walk("Z"); err != nil {
		t.Errorf("SkipDir on a file: %v", err)
	}
	loop := NewDir("l", 0o755)
	loop.Dir = List{loop}
	if err := Walk(context.Background(), loop, func(string, *Node) error { return nil }); err == nil {
		t.Error("a loop is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, root, func(string, *Node) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestContent(t *testing.T) {
	n := NewFile("f", 0o644, []byte("0123456789"))
	c, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := make([]byte, 4)
	if err := ReadFull(c, p, 6); err != nil || string(p) != "6789" {
		t.Errorf("%q, %v", p, err)
	}
	if err := ReadFull(c, p, 7); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if s, e, err := c.NextData(3); s != 3 || e != 10 || err != nil {
		t.Error(s, e, err)
	}
	if _, _, err := c.NextData(10); err != io.EOF {
		t.Error(err)
	}
	if _, err := ReadAll(n, 9); err == nil {
		t.Error("more than the limit is no error")
	}
	if b, err := ReadAll(n, 10); err != nil || string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := NewDir("d", 0).Open(); err != ErrNoData {
		t.Error(err)
	}
	for i := range 40 {
		b := make([]byte, 40)
		if !IsZero(b[:i]) {
			t.Error("zeros are not zero")
		}
		b[i] = 1
		if IsZero(b) || IsZero(b[i:]) || IsZero(b[:i+1]) {
			t.Errorf("a byte at %d is not seen", i)
		}
	}
}

func TestFormatError(t *testing.T) {
	err := Corrupt("linuxfs", "fragment table: entry 17", "points to %d", 9)
	if err.Error() != "linuxfs: fragment table: entry 17: points to 9" || !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	err = fmt.Errorf("outer: %w", &FormatError{File: "f", Kind: ErrUnsupported, Err: io.ErrUnexpectedEOF})
	if err.Error() != "outer: f: unexpected EOF" || !errors.Is(err, ErrUnsupported) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A tree as an fs.FS does what testing/fstest asks of one.
func TestFS(t *testing.T) {
	root := NewDir("", 0o755,
		NewFile("file", 0o644, []byte("content")), NewFile("empty", 0o4755, nil), NewFile("with space", 0o600, make([]byte, 70000)),
		NewDir("dir", 0o1777, NewFile("inner", 0o644, []byte("x")), NewDir("none", 0o2755)), NewFile("\xff", 0o644, nil))
	for _, n := range []string{"file", "dir"} {
		k, err := root.Child(n)
		if err != nil {
			t.Fatal(err)
		}
		k.Mtime = Time{Sec: 1e9}
	}
	fsys := FS(root)
	if err := fstest.TestFS(fsys, "file", "empty", "with space", "dir/inner", "dir/none"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(fsys, "file"); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	for name, want := range map[string]fs.FileMode{"empty": 0o755 | fs.ModeSetuid, "dir": 0o777 | fs.ModeDir | fs.ModeSticky,
		"dir/none": 0o755 | fs.ModeDir | fs.ModeSetgid} {
		if st, err := fs.Stat(fsys, name); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	for _, name := range []string{"none", "file/x", "dir/none/x"} {
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"/file", "", "../x", "dir/", "\xff"} {
		if _, err := fsys.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	// Other types open, tell what they are, and have nothing to read.
	others := FS(NewDir("", 0o755, NewSymlink("l", "t"), &Node{Name: "c", Meta: Meta{Type: CharDevice}},
		&Node{Name: "b", Meta: Meta{Type: BlockDevice}},
		&Node{Name: "p", Meta: Meta{Type: FIFO}}, &Node{Name: "s", Meta: Meta{Type: Socket}}))
	for name, want := range map[string]fs.FileMode{"l": fs.ModeSymlink, "c": fs.ModeDevice | fs.ModeCharDevice, "b": fs.ModeDevice,
		"p": fs.ModeNamedPipe, "s": fs.ModeSocket} {
		f, err := others.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := f.Stat(); err != nil || st.Mode().Type() != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
		if _, err := f.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s can be read", name)
		}
	}
}
