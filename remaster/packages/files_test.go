package packages

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// told are the files of all packages, a line each.
func told(t testing.TB, root *tree.Node, m Manager) ([]string, error) {
	t.Helper()
	var lines []string
	_, err := Walk(context.Background(), root, m, func(p *Installed) error {
		return p.Files(func(f *File) error {
			lines = append(lines, fmt.Sprintf("%s %s /%s %o %d %s %q config=%v ghost=%v root=%v", p.Name, p.Version, f.Path,
				f.Type.ModeBits()|uint32(f.Perm), f.Size, hex.EncodeToString(f.Digest), f.Caps, f.Config, f.Ghost, f.Root))
			return nil
		})
	})
	slices.Sort(lines)
	return lines, err
}

const fileSpec = `Name: files
Version: 1
Release: 2
Summary: x
License: MIT
BuildArch: noarch
%define __spec_install_post %{nil}
%description
x
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/empty
cd %{buildroot}
printf one > usr/bin/one; printf two > usr/bin/two; printf three > usr/bin/three; printf conf > etc/conf
ln -s one usr/bin/link; ln usr/bin/one usr/bin/hard
%files
%defattr(-,root,root)
%attr(0755,root,root) %caps(cap_net_raw,cap_net_admin=ep) /usr/bin/one
%attr(0755,root,root) %caps(cap_net_raw,cap_net_admin=ep) /usr/bin/hard
%attr(6755,root,mail) /usr/bin/two
%attr(0755,daemon,root) /usr/bin/three
/usr/bin/link
%config(noreplace) /etc/conf
%ghost /etc/ghost
%dir /usr/share/empty
`

// TestRPMFiles holds what is told of files against rpm.
func TestRPMFiles(t *testing.T) {
	systest.NeedTools(t, "rpm", "rpmbuild")
	dir := systest.TempDir(t)
	db := filepath.Join(dir, "root/usr/lib/sysimage/rpm")
	systest.Must(t, os.MkdirAll(db, 0o755))
	file := filepath.Join(dir, "files.spec")
	systest.Must(t, os.WriteFile(file, []byte(fileSpec), 0o644))
	systest.Run(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_binary_payload w1.gzdio", file)
	rpm := func(args ...string) string {
		return systest.Output(t, "rpm", append([]string{"--dbpath", db, "--define", "_db_backend sqlite"}, args...)...)
	}
	rpm("--initdb")
	rpm("-i", "--justdb", "--nodeps", "--nosignature", "--force-debian", filepath.Join(dir, "RPMS/noarch/files-1-2.noarch.rpm"))
	root, err := hostfs.Open(filepath.Join(dir, "root"))
	systest.Must(t, err)
	got, err := told(t, root, RPM)
	systest.Must(t, err)
	var want []string
	for line := range strings.Lines(rpm("-qa", "--qf",
		"[%{=NAME}|%{=VERSION}-%{=RELEASE}|%{FILENAMES}|%{FILEMODES:octal}|%{FILESIZES}|%{FILEDIGESTS}|"+
			"%{FILECAPS}|%{FILEFLAGS}|%{FILEUSERNAME}\n]")) {
		f := strings.Split(strings.TrimSpace(line), "|")
		var flags int
		fmt.Sscan(f[7], &flags)
		caps := f[6]
		if caps == "(none)" {
			caps = ""
		}
		want = append(want, fmt.Sprintf("%s %s %s %s %s %s %q config=%v ghost=%v root=%v", f[0], f[1], f[2], f[3], f[4], f[5], caps,
			flags&1 != 0, flags&64 != 0, f[8] == "root"))
	}
	slices.Sort(want)
	if len(want) < 7 || !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	joined := strings.Join(got, "\n")
	for _, part := range []string{"/usr/bin/two 106755", `cap_net_admin,cap_net_raw=ep`, "/etc/ghost", "ghost=true", "config=true",
		"root=false"} {
		if !strings.Contains(joined, part) {
			t.Errorf("no %s in\n%s", part, joined)
		}
	}
}

// TestMtree: what libarchive's bsdtar writes, as makepkg calls it.
func TestMtree(t *testing.T) {
	systest.NeedTools(t, "bsdtar")
	dir := systest.TempDir(t)
	pkg := filepath.Join(dir, "var/lib/pacman/local/x-1-1")
	root := filepath.Join(dir, "pkg")
	names := []string{"usr/bin/plain", "usr/bin/setuid", "usr/share/with space", "usr/share/back\\slash#", "usr/share/\u00e4\n",
		"etc/x.conf"}
	for i, name := range names {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		systest.Must(t, os.WriteFile(filepath.Join(root, name), []byte(strings.Repeat("x", i)), 0o644))
	}
	systest.Must(t, os.Chmod(filepath.Join(root, "usr/bin/setuid"), os.ModeSetuid|0o755))
	systest.Must(t, os.Symlink("plain", filepath.Join(root, "usr/bin/link")))
	systest.Must(t, os.MkdirAll(pkg, 0o755))
	systest.Must(t, os.WriteFile(filepath.Join(root, ".INSTALL"), nil, 0o644))
	systest.Must(t, os.WriteFile(filepath.Join(pkg, "desc"), []byte("%NAME%\nx\n\n%VERSION%\n1-1\n\n"), 0o644))
	systest.Must(t, os.WriteFile(filepath.Join(pkg, "files"), []byte("%FILES%\nusr/\nusr/bin/plain\n\n%BACKUP%\netc/x.conf\t0123\n"),
		0o644))
	systest.Run(t, "sh", "-c", "cd "+root+" && bsdtar -czf "+pkg+
		"/mtree --format=mtree --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' .INSTALL *")
	tr, err := hostfs.Open(dir)
	systest.Must(t, err)
	got := map[string]File{}
	_, err = Walk(context.Background(), tr, Pacman, func(p *Installed) error {
		return p.Files(func(f *File) error {
			got[f.Path] = *f
			return nil
		})
	})
	systest.Must(t, err)
	for i, name := range names {
		f, ok := got[name]
		if want := int64(i); !ok || f.Size != want || f.Type != tree.Regular || f.Hash != crypto.SHA256 || len(f.Digest) != 32 ||
			f.Config != (name == "etc/x.conf") {
			t.Errorf("%q: %+v", name, f)
		}
		if setuid := f.Perm == 0o4755; setuid != (name == "usr/bin/setuid") {
			t.Errorf("%q: mode %o", name, f.Perm)
		}
	}
	if f := got["usr/bin/link"]; f.Type != tree.Symlink {
		t.Errorf("the link: %+v", f)
	}
	if f := got["usr"]; f.Type != tree.Directory || f.Perm != 0o755 {
		t.Errorf("/usr: %+v", f)
	}
	if _, ok := got[".INSTALL"]; ok || len(got) != len(names)+5 {
		t.Errorf("%d files", len(got))
	}
	// Without it the list of files is what there is.
	systest.Must(t, os.Remove(pkg+"/mtree"))
	lines, err := told(t, tr, Pacman)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "/usr/bin/plain") {
		t.Errorf("%q, %v", lines, err)
	}
}

// TestFilesDamaged: what is damaged is told as damage of that file, and an error
// of the one who asks as it is.
func TestFilesDamaged(t *testing.T) {
	errMine := errors.New("mine")
	for name, files := range map[string]map[string]string{
		"no gzip":    {"mtree": "#mtree\n"},
		"long line":  {"files": "%FILES%\n" + strings.Repeat("x", 70_000) + "\n"},
		"bad mode":   {"mtree": zipped(t, "#mtree\n./x mode=9 type=file size=1\n")},
		"bad size":   {"mtree": zipped(t, "#mtree\n./x mode=644 type=file size=-1\n")},
		"bad type":   {"mtree": zipped(t, "#mtree\n./x mode=644 type=door\n")},
		"many words": {"mtree": zipped(t, "/set"+many(100)+"\n")},
	} {
		at := map[string]string{"var/lib/pacman/local/x/desc": "%NAME%\nx\n\n%VERSION%\n1-1\n"}
		for n, text := range files {
			at["var/lib/pacman/local/x/"+n] = text
		}
		_, err := told(t, system(t, at), Pacman)
		var fe *tree.FormatError
		if kind(err) != "corrupt" || !errors.As(err, &fe) || !strings.Contains(fe.File, "pacman/local/x/") {
			t.Errorf("%s: %v", name, err)
		}
	}
	sound := system(t, map[string]string{"var/lib/pacman/local/x/desc": "%NAME%\nx\n\n%VERSION%\n1-1\n",
		"var/lib/pacman/local/x/mtree": zipped(t, "./x type=file mode=644 size=1\n")})
	_, err := Walk(context.Background(), sound, Pacman, func(p *Installed) error {
		return p.Files(func(*File) error { return errMine })
	})
	if err != errMine {
		t.Error(err)
	}
	rpm := system(t, map[string]string{"var/lib/rpm/Packages.db": ndb(header("a", "1", "1", "x", 0))})
	if _, err := Walk(context.Background(), rpm, RPM, func(*Installed) error { return errMine }); err != errMine {
		t.Error(err)
	}
	if _, err := told(t, rpm, RPM); err != nil {
		t.Error(err)
	}
	if l, err := Walk(context.Background(), rpm, Dpkg, nil); l != nil || err != nil {
		t.Error(l, err)
	}
}

func many(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(" k%d=v", i)
	}
	return s
}

func FuzzMtree(f *testing.F) {
	f.Add([]byte("#mtree\n/set type=file uid=0 gid=0 mode=644\n./usr/bin/x\\040y time=1.0 mode=4755 size=6 sha256digest=6e834c\n./l " +
		"type=link link=x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = readMtree(context.Background(), strings.NewReader(string(b)), func(file *File) error {
			if file.Path == "" || file.Size < 0 || file.Perm > 0o7777 {
				t.Errorf("%+v", file)
			}
			return nil
		})
	})
}

func FuzzRPMFiles(f *testing.F) {
	for _, state := range []string{"before", "now"} {
		db := systest.Unpack(f, "../../testdata/packages/rpm-"+state+".sqlite.zst")
		root := system(f, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(db)})
		_, err := rpmHeaders(context.Background(), root, func(_ *List, b []byte) error {
			f.Add(slices.Clone(b))
			return nil
		})
		systest.Must(f, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		n := 0
		_ = h.files(func(file *File) error {
			if n++; n > 10_000 {
				return io.EOF
			}
			if len(file.Digest) > 0 && len(file.Digest) != file.Hash.Size() {
				t.Errorf("%+v", file)
			}
			return nil
		})
	})
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	systest.Must(t, errors.Join(err, z.Close()))
	return b.String()
}
