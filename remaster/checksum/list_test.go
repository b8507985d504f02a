package checksum

import (
	"bytes"
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/systest"
)

// TestNamed: which files are lists of sums, and of which digest.
func TestNamed(t *testing.T) {
	for name, want := range map[string]Kind{
		"linuxfs.md5": MD5, "vmlinuz.MD5": MD5, "md5sum.txt": MD5, "MD5SUMS": MD5, "md5sums.txt": MD5, "md5sum": MD5, "SHA256SUMS": SHA256,
		"sha256sum.txt":   SHA256,
		"airootfs.sha512": SHA512, "x.iso.sha1": SHA1, "x.sha256sum": SHA256, "SHA1SUMS": SHA1, "sha1sum.txt": SHA1, "SHA224SUMS": SHA224,
		"sha224sum.txt": SHA224,
		"SHA384SUMS":    SHA384, "sha384sum.txt": SHA384, "SHA512SUM": SHA512, "casper.md5sums": MD5, "live-sha512sums.txt": SHA512,
		"x.sha224": SHA224, "x.SHA384": SHA384,
		"CHECKSUM": "", "Fedora-Live-41-CHECKSUM": "", "checksums.txt": "",
	} {
		if got, ok := Named(name); !ok || got != want {
			t.Errorf("%s: %q, %v, not %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"md5sum.txt.asc", "md5", ".md5", "SHA256SUMS.gpg", "md5sum.c", "libmd5.so", "linuxfs.md5.new",
		"linuxfs.md5.old", "b2sum.txt", "B2SUMS", "sums", "checksum.c", ""} {
		if got, ok := Named(name); ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, want := range map[string]string{"b2sum.txt": "b2", "B2SUMS": "b2", "x.b2": "b2", "md5sum.txt": "", "x.sha3-256": "sha3-256",
		"sha256sum.txt": ""} {
		if got := Foreign(name); got != want {
			t.Errorf("%s: foreign %q, not %q", name, got, want)
		}
	}
}

const (
	sumA = "0123456789abcdef0123456789abcdef"
	sumB = "FEDCBA9876543210FEDCBA9876543210"
)

var sum256 = strings.Repeat(sumA, 2)

// TestLines: the forms of lines, what they name, and that another sum leaves all
// else as it is.
func TestLines(t *testing.T) {
	for _, c := range []struct {
		text, name, sum string
		kind            Kind
	}{
		{sumA + "  linuxfs", "linuxfs", sumA, MD5},
		{sumA + " *linuxfs\r", "linuxfs", sumA, MD5},
		{sumA + " linuxfs", "linuxfs", sumA, MD5},
		{"  " + sumA + "\tlinuxfs", "linuxfs", sumA, MD5},
		{sumA + "  with blank  s", "with blank  s", sumA, MD5},
		{sumA + "   leading", " leading", sumA, MD5},
		{`\` + sumA + `  back\\slash\nline\r`, "back\\slash\nline\r", sumA, MD5},
		{sumB + "  upper", "upper", sumB, MD5},
		{sum256 + "  x", "x", sum256, SHA256},
		{"MD5 (name (of)) = " + sumA, "name (of)", sumA, MD5},
		{"SHA256 (x) = " + sum256 + "\r", "x", sum256, SHA256},
		{"SHA2-256(x)= " + sum256, "x", sum256, SHA256},
		{`\MD5 (a\nb) = ` + sumA, "a\nb", sumA, MD5},
		{"MD5 (" + sumA + ") = " + sumA, sumA, sumA, MD5},
		{sumA, "", sumA, MD5},
		{sumA + "  -", "", sumA, MD5},
		{sumA[:31] + "  short", "", "", ""},
		{sumA + "0  long", "", "", ""},
		{"# comment", "", "", ""},
		{"", "", "", ""},
		{"MD5 (x) = " + sumA[:30], "", "", ""},
		{"SHA1 (x) = " + sumA, "", "", ""},
		{"CRC (x) = " + sumA, "", "", ""},
		{"MD5 )x( = " + sumA, "", "", ""},
	} {
		l := Parse("dir/list", "", []byte(c.text+"\n"))
		if len(l.Lines) != 1 || l.Lines[0].Name != c.name || l.Lines[0].Sum != c.sum || l.Lines[0].Kind != c.kind {
			t.Errorf("%q: %+v", c.text, l.Lines)
			continue
		}
		if string(l.Bytes()) != c.text+"\n" {
			t.Errorf("%q became %q", c.text, l.Bytes())
		}
		if wantUnknown := c.kind == "" && c.text != "" && c.text[0] != '#'; (l.Unknown > 0) != wantUnknown {
			t.Errorf("%q: %d unknown lines", c.text, l.Unknown)
		}
		if c.kind == "" {
			continue
		}
		want := strings.Repeat("ab", len(c.sum)/2)
		if c.sum == sumB {
			want = strings.ToUpper(want)
		}
		i := strings.LastIndex(c.text, c.sum)
		if !strings.Contains(c.text, " = ") && !strings.Contains(c.text, ")= ") {
			i = strings.Index(c.text, c.sum)
		}
		l.Lines[0].Set(strings.ToLower(want))
		if got := string(l.Bytes()); got != c.text[:i]+want+c.text[i+len(c.sum):]+"\n" {
			t.Errorf("%q became %q", c.text, got)
		}
	}
	if l := Parse("x", SHA256, []byte(sumA+"  x\n")); l.Lines[0].Kind != "" || l.Unknown != 1 {
		t.Errorf("a sum of md5 in a list of sha256: %+v", l)
	}
	if l := Parse("x", "", []byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"+sumA+"  x\n")); !l.Signed {
		t.Error("a signed list is not told")
	}
}

// TestTarget: names are of the list's directory, or of one above it; none leads
// out of the medium.
func TestTarget(t *testing.T) {
	for _, c := range []struct{ list, text, there, want string }{
		{"antiX/linuxfs.md5", sumA + "  linuxfs", "antiX/linuxfs", "antiX/linuxfs"},
		{"antiX/linuxfs.md5", sumA, "antiX/linuxfs", "antiX/linuxfs"},
		{"antiX/linuxfs.md5", sumA + "  -", "antiX/linuxfs", "antiX/linuxfs"},
		{"antiX/linuxfs.md5", sumA + "  /home/me/build/linuxfs", "antiX/linuxfs", "antiX/linuxfs"},
		{"md5sum.txt", sumA + "  ./live/../live/x", "live/x", "live/x"},
		{".disk/md5sum.txt", sumA + "  ./live/x", "live/x", "live/x"},
		{"live/SHA256SUMS", sumA + "  live/x", "live/x", "live/x"},
		{"live/SHA256SUMS", sumA + "  x", "live/x", "live/x"},
		{"live/SHA256SUMS", sumA + "  ../casper/x", "casper/x", "casper/x"},
		{"a/b/list.md5", sumA + "  ../../../../etc/passwd", "", "etc/passwd"},
		{"a/b/MD5SUMS", sumA + "  none", "", "a/b/none"},
		{"MD5SUMS", sumA + "  .", "", ""},
		{"MD5SUMS", "# nothing", "", ""},
	} {
		l := Parse(c.list, "", []byte(c.text+"\n"))
		if got := l.Target(&l.Lines[0], func(at string) bool { return at == c.there }); got != c.want {
			t.Errorf("%s: %q is of %q, not %q", c.list, c.text, got, c.want)
		}
	}
}

// FuzzParse: a list that is read and not changed has the same bytes; a line with
// another sum has the same name and form; no line leaves the medium.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sumA+"  a\n"+sumB+" *b\r\nMD5 (c) = "+sumA+"\n"), "dir/list.md5")
	f.Add([]byte("\\"+sumA+"  a\\n\n\n# x\n"+sumA), "md5sum.txt")
	f.Add([]byte("SHA2-256(x)= "+sum256+"\n"+sum256+" y"), "Fedora-CHECKSUM")
	f.Add([]byte(strings.Repeat(sumA, 4)+"  a\n"+sumA+sumA[:8]+"\tb\n"), "a/b/.disk/SHA512SUMS")
	f.Fuzz(func(t *testing.T, text []byte, at string) {
		if strings.Contains(at, "..") || strings.HasPrefix(at, "/") || path.Clean(at) != at {
			return
		}
		kind, _ := Named(path.Base(at))
		l := Parse(at, kind, text)
		if !bytes.Equal(l.Bytes(), text) {
			t.Errorf("%q became %q", text, l.Bytes())
		}
		now := l.Clone()
		for i := range now.Lines {
			line := &now.Lines[i]
			for _, p := range l.Paths(line) {
				if p == "" || p == "." || strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../") || path.Clean(p) != p {
					t.Errorf("%q is of %q", line.Text(), p)
				}
			}
			if line.Kind != "" {
				line.Set(strings.Repeat("0", line.Kind.Digits()))
			}
		}
		if !bytes.Equal(l.Bytes(), text) {
			t.Error("a change of the copy changed the list")
		}
		again := Parse(at, kind, now.Bytes())
		if len(again.Lines) != len(l.Lines) || again.Unknown != l.Unknown {
			t.Fatalf("%q became %q", text, now.Bytes())
		}
		for i, line := range again.Lines {
			if line.Kind != l.Lines[i].Kind || line.Name != l.Lines[i].Name || line.Kind != "" &&
				line.Sum != strings.Repeat("0", line.Kind.Digits()) {
				t.Errorf("%q became %q", l.Lines[i].Text(), line.Text())
			}
		}
	})
}

// TestTools: what coreutils write in each of its forms is read, and what is
// written is taken by their -c.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	names := []string{"plain", "with  blank", " leading", "*star", `back\slash`, "new\nline", "cr\rname", "paren) = (x", "ünï"}
	for _, name := range names {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	for _, kind := range Kinds {
		tool := string(kind) + "sum"
		systest.NeedTools(t, tool)
		for _, form := range []string{"--text", "--binary", "--tag"} {
			l := Parse("list", kind, []byte(systest.Output(t, tool, append([]string{form, "--"}, names...)...)))
			if len(l.Lines) != len(names) {
				t.Fatalf("%s %s: %d lines", tool, form, len(l.Lines))
			}
			for i, name := range names {
				if line := l.Lines[i]; line.Name != name || line.Kind != kind || !line.Is(Bytes(kind, []byte(name))) {
					t.Errorf("%s %s: %q is %+v", tool, form, name, line)
				}
				systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte("another "+name), 0o644))
				l.Lines[i].Set(Bytes(kind, []byte("another "+name)))
			}
			systest.Must(t, os.WriteFile(filepath.Join(dir, "list"), l.Bytes(), 0o644))
			systest.Run(t, tool, "--strict", "--quiet", "-c", "list")
			for _, name := range names {
				systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
			}
		}
		var text string
		for _, name := range names {
			sums, err := File(context.Background(), filepath.Join(dir, name), int64(len(name)), kind)
			systest.Must(t, err)
			text += FormatLine(sums[kind], name)
		}
		systest.Must(t, os.WriteFile(filepath.Join(dir, "list"), []byte(text), 0o644))
		systest.Run(t, tool, "--strict", "--quiet", "-c", "list")
	}
	if _, err := File(context.Background(), filepath.Join(dir, "plain"), 4, MD5); err == nil {
		t.Error("a file of another size is taken")
	}
}
