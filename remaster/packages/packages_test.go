package packages

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// system makes a tree of files.
func system(t testing.TB, files map[string]string) *tree.Node {
	t.Helper()
	var e tree.Edits
	for path, text := range files {
		e.Put(path, tree.NewFile("", 0o644, []byte(text)))
	}
	root, err := e.Apply(tree.NewDir("", 0o755))
	systest.Must(t, err)
	return root
}

func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, tree.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, tree.ErrUnsupported):
		return "unsupported"
	}
	return "other: " + err.Error()
}

// text is all lists of a system, as Write gives them.
func text(t testing.TB, root *tree.Node) (string, error) {
	t.Helper()
	lists, err := Find(context.Background(), root)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, l := range lists {
		if l.Unread != "" {
			fmt.Fprintf(&b, "unread: %.40s\n", l.Unread)
		}
		systest.Must(t, l.Write(&b))
	}
	return b.String(), nil
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	systest.Must(t, err)
	return string(b)
}

const dpkgText = `Package: zlib1g
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 1:1.2.13.dfsg-1
Description: compression library
 It has many
 .
 Package: lines

Package: dpkg
Status: install ok installed
Multi-Arch: foreign
Architecture: amd64
Version: 1.21.22

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: known
Status: unknown ok not-installed
Architecture: amd64

Package: wine32
Status: install ok half-configured
Architecture: i386
Version: 8.0~repack-4

Package: tzdata
Status: hold ok installed
Architecture: all
Version: 2024a-0+deb12u1

Package: zlib1g
Status: install ok unpacked
Architecture: i386
Multi-Arch: same
Version: 1:1.2.13.dfsg-1
`

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
		kind  string
	}{
		{"nothing", nil, "", "none"},
		{"dpkg", map[string]string{"var/lib/dpkg/status": dpkgText},
			"dpkg\t1.21.22\ntzdata\t2024a-0+deb12u1\nwine32:i386\t8.0~repack-4\nzlib1g:amd64\t1:1.2.13.dfsg-1\n" +
				"zlib1g:i386\t1:1.2.13.dfsg-1\n", "none"},
		{"dpkg, no line feed at the end",
			map[string]string{"var/lib/dpkg/status": "\n\nPackage: a\r\nVersion: 1\nstatus: install ok installed"}, "a\t1\n", "none"},
		{"a long line that says nothing",
			map[string]string{"var/lib/dpkg/status": "Package: a\nVersion: 1\nStatus: install ok installed\nDepends: " +
				strings.Repeat("x, ", 100000) + "\n\n"}, "a\t1\n", "none"},
		{"a long name", map[string]string{"var/lib/dpkg/status": "Package: " + strings.Repeat("x", 100000) +
			"\nVersion: 1\nStatus: install ok installed\n\n"}, "", "corrupt"},
		{"status.d", map[string]string{"var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\nArchitecture: amd64\n",
			"var/lib/dpkg/status.d/base.md5sums": "0 x\n", "var/lib/dpkg/status.d/b": "Package: b\nVersion: 1\n"}, "b\t1\nbase-files\t12\n",
			"none"},
		{"no field", map[string]string{"var/lib/dpkg/status": "Package: a\nnonsense\n"}, "", "corrupt"},
		{"no version", map[string]string{"var/lib/dpkg/status": "Package: a\nStatus: install ok installed\n"}, "", "corrupt"},
		{"a status of two words", map[string]string{"var/lib/dpkg/status": "Package: a\nStatus: installed ok\n"}, "", "corrupt"},
		{"a control character", map[string]string{"var/lib/dpkg/status": "Package: a\x1b[2J\nStatus: install ok installed\nVersion: 1\n"},
			"", "corrupt"},
		{"pacman", map[string]string{
			"var/lib/pacman/local/ALPM_DB_VERSION":   "9\n",
			"var/lib/pacman/local/zlib-1:1.3-1/desc": "%NAME%\nzlib\n\n%VERSION%\n1:1.3-1\n\n%DESC%\n%NAME%x\n\n%ARCH%\nx86_64\n",
			"var/lib/pacman/local/acl-2.3.2-1/desc":  "%NAME%\nacl\n\n%VERSION%\n2.3.2-1\n",
		}, "acl 2.3.2-1\nzlib 1:1.3-1\n", "none"},
		{"pacman, no desc", map[string]string{"var/lib/pacman/local/zlib-1/files": "x"}, "", "corrupt"},
		{"pacman, no version", map[string]string{"var/lib/pacman/local/zlib-1/desc": "%NAME%\nzlib\n"}, "", "corrupt"},
		{"apk", map[string]string{
			"lib/apk/db/installed": "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld.so\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\n\n",
		}, "busybox-1.36.1-r29\nmusl-1.2.5-r0\n", "none"},
		{"apk, new place", map[string]string{"usr/lib/apk/db/installed": "P:musl\nV:1\n"}, "musl-1\n", "none"},
		{"apk, no field", map[string]string{"lib/apk/db/installed": "P:musl\nx\n"}, "", "corrupt"},
		{"rpm, checkpointed", map[string]string{"usr/lib/sysimage/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite"),
			"usr/lib/sysimage/rpm/rpmdb.sqlite-wal": ""},
			"long-1-" + strings.Repeat("x", 700) + ".x86_64\npkg0-1.0-1.noarch\npkg1-1.1-1.noarch\npkg2-1.2-1.noarch\npkg3-1.3-1.noarch\n",
			"none"},
		{"rpm, with a log", map[string]string{"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite"),
			"var/lib/rpm/rpmdb.sqlite-wal": fixture(t, "tiny.sqlite-wal")},
			"gpg-pubkey-a15b79cc-63d04c2c\nlong-1-" + strings.Repeat("x", 700) +
				".x86_64\npkg0-1.0-1.noarch\npkg2-1.2-1.noarch\npkg3-1.3-1.noarch\n", "none"},
		{"rpm, a log cut within its last commit", map[string]string{"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite"),
			"var/lib/rpm/rpmdb.sqlite-wal": fixture(t, "tiny.sqlite-wal")[:32+536-1]},
			"long-1-" + strings.Repeat("x", 700) + ".x86_64\npkg0-1.0-1.noarch\npkg1-1.1-1.noarch\npkg2-1.2-1.noarch\npkg3-1.3-1.noarch\n",
			"none"},
		{"rpm, a rollback journal", map[string]string{"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite"),
			"var/lib/rpm/rpmdb.sqlite-journal": "x"}, "", "unsupported"},
		{"rpm, no database", map[string]string{"var/lib/rpm/rpmdb.sqlite": strings.Repeat("x", 4096)}, "", "corrupt"},
		{"rpm, cut", map[string]string{"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite")[:1024]}, "", "corrupt"},
		{"rpm, empty", map[string]string{"var/lib/rpm/rpmdb.sqlite": ""}, "", "none"},
		{"rpm in Berkeley DB", map[string]string{"var/lib/rpm/Packages": "x"}, "unread: rpm's database is in Berkeley DB, which \n",
			"none"},
		{"rpm's own", map[string]string{"usr/lib/sysimage/rpm/Packages.db": ndb(header("zypper", "1.14", "150400.1", "x86_64", 0),
			header("aaa_base", "84", "1", "x86_64", 2))}, "aaa_base-84-1.x86_64\nzypper-1.14-150400.1.x86_64\n", "none"},
		{"rpm's own, damaged", map[string]string{"usr/lib/sysimage/rpm/Packages.db": strings.Replace(ndb(header("a", "1", "1", "x", 0)),
			"BlbS", "BlbX", 1)}, "", "corrupt"},
		{"two", map[string]string{"var/lib/dpkg/status": dpkgText[:strings.Index(dpkgText, "Package: dpkg")],
			"lib/apk/db/installed": "P:musl\nV:1\n"}, "zlib1g:amd64\t1:1.2.13.dfsg-1\nmusl-1\n", "none"},
	} {
		got, err := text(t, system(t, c.files))
		if got != c.want || kind(err) != c.kind {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	for _, path := range []string{"var/lib/dpkg/status", "lib/apk/db/installed", "var/lib/pacman/local/x/desc"} {
		if _, err := Find(ctx, system(t, map[string]string{path: "x"})); err == nil || err.Error() != "enough" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Find(ctx, system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite")})); err == nil ||
		err.Error() != "enough" {
		t.Error(err)
	}
}

// header is one of rpm's; an epoch of zero is none.
func header(name, version, release, arch string, epoch uint32) string {
	var index, data []byte
	add := func(tag, kind uint32, value []byte) {
		for _, v := range []uint32{tag, kind, uint32(len(data)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, value...)
	}
	add(tagName, typeString, []byte(name+"\x00"))
	add(tagVersion, typeString, []byte(version+"\x00"))
	add(tagRelease, typeString, []byte(release+"\x00"))
	add(tagArch, typeString, []byte(arch+"\x00"))
	if epoch != 0 {
		add(tagEpoch, typeInt32, binary.BigEndian.AppendUint32(nil, epoch))
	}
	var b []byte
	b = binary.BigEndian.AppendUint32(b, uint32(len(index)/16))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return string(b) + string(index) + string(data)
}

// ndb is a database of rpm's own form, as rpmpkg.c lays it out.
func ndb(headers ...string) string {
	le := binary.LittleEndian
	b := make([]byte, ndbPage)
	copy(b, ndbMagic)
	le.PutUint32(b[12:], 1)
	for at := ndbHeader; at < ndbPage; at += ndbSlot {
		copy(b[at:], ndbSlotMagic)
	}
	for i, h := range headers {
		slot := b[ndbHeader+i*ndbSlot:]
		blocks := (ndbBlob + len(h) + 12 + ndbBlock - 1) / ndbBlock
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(b)/ndbBlock))
		le.PutUint32(slot[12:], uint32(blocks))
		blob := make([]byte, blocks*ndbBlock)
		copy(blob, ndbBlobMagic)
		le.PutUint32(blob[4:], uint32(i+1))
		le.PutUint32(blob[12:], uint32(len(h)))
		copy(blob[ndbBlob:], h)
		b = append(b, blob...)
	}
	return string(b)
}

// sorted are the lines of a text.
func sorted(s string) []string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	a, b := sorted(got), sorted(want)
	if slices.Equal(a, b) {
		return
	}
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("%s: %d lines, want %d; line %d: %q, want %q", what, len(a), len(b), i+1, a[min(i, len(a)-1)], b[min(i, len(b)-1)])
			return
		}
	}
}

// TestDpkgQuery holds the list of this very system against dpkg-query's, and
// that of the text above.
func TestDpkgQuery(t *testing.T) {
	systest.NeedTools(t, "dpkg-query")
	dir := systest.TempDir(t)
	systest.Must(t, os.WriteFile(filepath.Join(dir, "status"), []byte(dpkgText), 0o644))
	host, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		systest.Lacks(t, "dpkg's database")
	}
	for admin, status := range map[string]string{dir: dpkgText, "/var/lib/dpkg": string(host)} {
		got, err := text(t, system(t, map[string]string{"var/lib/dpkg/status": status}))
		systest.Must(t, err)
		var want strings.Builder
		for line := range strings.Lines(systest.Output(t, "dpkg-query", "--admindir", admin, "-W", "-f",
			"${db:Status-Status} ${binary:Package}\t${Version}\n")) {
			if state, p, _ := strings.Cut(line, " "); state != "not-installed" && state != "config-files" {
				want.WriteString(p)
			}
		}
		same(t, admin, got, want.String())
	}
}

const spec = `Name: many
Version: 1.0~rc1
Release: 2%%{?dist}
Summary: many packages
License: MIT
BuildArch: noarch
%%define __spec_install_post %%{nil}
%%description
%s
%%package -n epoch
Epoch: 7
Version: 2^git1
Summary: with an epoch
%%description -n epoch
x
%%{lua: for i = 1, 90 do
print("%%package p" .. i .. "\nSummary: x\n%%description p" .. i .. "\n" .. string.rep("word ", i * i) .. "\n") end}
%%files
%%files -n epoch
%%{lua: for i = 1, 90 do print("%%files p" .. i .. "\n") end}
`

// TestRPM holds the lists of databases that rpm made against rpm -qa: after an
// installation, after a removal, and with a write-ahead log of which the end is
// lost at various places, as SQLite itself reads it.
func TestRPM(t *testing.T) {
	systest.NeedTools(t, "rpm", "rpmbuild", "python3")
	dir := systest.TempDir(t)
	root := filepath.Join(dir, "root")
	db := filepath.Join(root, "usr/lib/sysimage/rpm")
	systest.Must(t, os.MkdirAll(db, 0o755))
	file := filepath.Join(dir, "many.spec")
	systest.Must(t, os.WriteFile(file, fmt.Appendf(nil, spec, strings.Repeat("a long text ", 9000)), 0o644))
	systest.Run(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir, "--define", "_binary_payload w1.gzdio", file)
	rpms, err := filepath.Glob(filepath.Join(dir, "RPMS/noarch/*.rpm"))
	systest.Must(t, err)
	if len(rpms) != 92 {
		t.Fatalf("%d packages were built", len(rpms))
	}
	rpm := func(args ...string) string {
		return systest.Output(t, "rpm", append([]string{"--dbpath", db, "--define", "_db_backend sqlite"}, args...)...)
	}
	check := func(what string) {
		t.Helper()
		tr, err := hostfs.Open(root)
		systest.Must(t, err)
		lists, err := Find(context.Background(), tr)
		systest.Must(t, err)
		if len(lists) != 1 {
			t.Fatalf("%s: %d lists", what, len(lists))
		}
		var b, full strings.Builder
		systest.Must(t, lists[0].Write(&b))
		for _, p := range lists[0].Packages {
			fmt.Fprintln(&full, p.Name, p.Version, p.Arch)
		}
		same(t, what, b.String(), rpm("-qa"))
		same(t, what, full.String(), rpm("-qa", "--qf", "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\n"))
	}
	rpm("--initdb")
	rpm(append([]string{"-i", "--justdb", "--nodeps", "--nosignature", "--force-debian"}, rpms...)...)
	check("installed")
	rpm("-e", "--justdb", "--nodeps", "--force-debian", "many-p7", "many-p90", "epoch")
	check("removed")

	// A log that is never written back, with several commits.
	logged := filepath.Join(dir, "logged/var/lib/rpm")
	systest.Must(t, os.MkdirAll(logged, 0o755))
	script := filepath.Join(dir, "log.py")
	systest.Must(t, os.WriteFile(script, []byte(`
import shutil, sqlite3, sys
src, dst = sys.argv[1:]
db = sqlite3.connect(src)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA wal_autocheckpoint=0")
for step in range(5):
    db.execute("DELETE FROM Packages WHERE hnum % 11 = ?", (step,))
    db.execute("INSERT INTO Packages(blob) SELECT blob FROM Packages WHERE hnum % 13 = ?", (step,))
    db.commit()
for end in "", "-wal":
    shutil.copy(src + end, dst + end)
`), 0o644))
	systest.Run(t, "python3", script, filepath.Join(db, "rpmdb.sqlite"), filepath.Join(logged, "rpmdb.sqlite"))
	whole, err := os.ReadFile(filepath.Join(logged, "rpmdb.sqlite-wal"))
	systest.Must(t, err)
	base, err := os.ReadFile(filepath.Join(logged, "rpmdb.sqlite"))
	systest.Must(t, err)
	counts := map[string]bool{}
	for i := range 13 {
		wal := whole[:len(whole)*i/12]
		if i == 6 { // a checksum that is wrong ends the log
			wal = slices.Clone(whole)
			wal[len(wal)/2] ^= 1
		}
		got, err := text(t, system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(base),
			"var/lib/rpm/rpmdb.sqlite-wal": string(wal)}))
		systest.Must(t, err)
		work := filepath.Join(dir, fmt.Sprint("cut", i))
		systest.Must(t, os.MkdirAll(work, 0o755))
		systest.Must(t, os.WriteFile(filepath.Join(work, "rpmdb.sqlite"), base, 0o644))
		systest.Must(t, os.WriteFile(filepath.Join(work, "rpmdb.sqlite-wal"), wal, 0o644))
		want := strings.TrimSpace(systest.Output(t, "python3", "-c",
			"import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from Packages').fetchone()[0])",
			filepath.Join(work, "rpmdb.sqlite")))
		if n := fmt.Sprint(strings.Count(got, "\n")); n != want {
			t.Errorf("log of %d bytes: %s packages, SQLite has %s", len(wal), n, want)
		}
		counts[want] = true
	}
	if len(counts) < 4 {
		t.Errorf("the logs make no difference: %v", counts)
	}
}

// TestDamage: no damage of a database makes a panic, a loop, or an error of
// another kind.
func TestDamage(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"sqlite": {"var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite")},
		"wal":    {"var/lib/rpm/rpmdb.sqlite-wal": fixture(t, "tiny.sqlite-wal"), "var/lib/rpm/rpmdb.sqlite": fixture(t, "tiny.sqlite")},
		"ndb": {"usr/lib/sysimage/rpm/Packages.db": ndb(header("zypper", "1.14", "1", "x86_64", 0),
			header("b", "84", "1", "x86_64", 2))},
	} {
		failed := 0
		for path, whole := range files {
			for i := 0; i < len(whole); i += 3 {
				b := []byte(whole)
				b[i] ^= 0xff
				c := map[string]string{}
				for p, text := range files {
					c[p] = text
				}
				c[path] = string(b)
				_, err := Find(context.Background(), system(t, c))
				if k := kind(err); k != "none" && k != "corrupt" && k != "unsupported" {
					t.Fatalf("%s, byte %d: %v", path, i, err)
				} else if k != "none" {
					failed++
				}
			}
		}
		if failed == 0 {
			t.Errorf("%s: no damage is seen", name)
		}
	}
	// A page that is its own child.
	b := []byte(fixture(t, "tiny.sqlite"))
	b[100] = 5
	binary.BigEndian.PutUint32(b[108:], 1)
	if _, err := Find(context.Background(), system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(b)})); kind(err) != "corrupt" {
		t.Error(err)
	}
}

// TestShared: rows and blobs that lie over one another end in an error before
// they take the time of a database of their size.
func TestShared(t *testing.T) {
	h := header("a", "1", strings.Repeat("r", 60000), "x", 0)
	b := []byte(ndb(h))
	for at := ndbHeader + ndbSlot; at < ndbPage; at += ndbSlot {
		copy(b[at:], b[ndbHeader:ndbHeader+ndbSlot])
	}
	if _, err := Find(context.Background(), system(t, map[string]string{"var/lib/rpm/Packages.db": string(b)})); kind(err) != "corrupt" {
		t.Error(err)
	}
	b = []byte(fixture(t, "tiny.sqlite"))
	// The table's root becomes a leaf of ten cells, all of them the same one.
	h = header("a", "1", strings.Repeat("r", 250), "x", 0)
	page := b[512:1024]
	clear(page)
	page[0], page[4] = 13, 10
	record := append([]byte{4, 0, byte((12+2*len(h))>>7) | 0x80, byte(12+2*len(h)) & 0x7f}, h...)
	cell := append([]byte{byte(len(record)>>7) | 0x80, byte(len(record)) & 0x7f, 1}, record...)
	copy(page[512-len(cell):], cell)
	for i := range 10 {
		binary.BigEndian.PutUint16(page[8+2*i:], uint16(512-len(cell)))
	}
	for cells, want := range map[byte]string{5: "none", 10: "corrupt"} {
		page[4] = cells
		if _, err := Find(context.Background(), system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": string(b)})); kind(err) != want {
			t.Errorf("%d cells: %v", cells, err)
		}
	}
}

// fuzz is a fuzz target of a database at a path.
func fuzz(f *testing.F, path string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lists, err := Find(context.Background(), system(t, map[string]string{path: string(b)}))
		if k := kind(err); k != "none" && k != "corrupt" && k != "unsupported" {
			t.Error(err)
		}
		for _, l := range lists {
			var out strings.Builder
			systest.Must(t, l.Write(&out))
			if n := strings.Count(out.String(), "\n"); n != len(l.Packages) {
				t.Errorf("%d packages, %d lines", len(l.Packages), n)
			}
		}
	})
}

func FuzzDpkg(f *testing.F) { fuzz(f, "var/lib/dpkg/status", dpkgText) }
func FuzzApk(f *testing.F)  { fuzz(f, "lib/apk/db/installed", "P:musl\nV:1.2.5-r0\nA:x86_64\n\n") }
func FuzzPacman(f *testing.F) {
	fuzz(f, "var/lib/pacman/local/x/desc", "%NAME%\nacl\n\n%VERSION%\n2.3.2-1\n")
}
func FuzzRPMSQLite(f *testing.F) {
	fuzz(f, "var/lib/rpm/rpmdb.sqlite", fixture(f, "tiny.sqlite"))
}
func FuzzRPMNDB(f *testing.F) {
	fuzz(f, "var/lib/rpm/Packages.db", ndb(header("zypper", "1.14", "1", "x86_64", 3)))
}
func FuzzRPMHeader(f *testing.F) {
	f.Add([]byte(header("zypper", "1.14", "1", "x86_64", 3)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var l List
		_ = l.addHeader(b)
	})
}

// FuzzRPMLog reads a sound database with a log; its checksums are made right, so
// that more than the first frame is reached.
func FuzzRPMLog(f *testing.F) {
	base := fixture(f, "tiny.sqlite")
	f.Add([]byte(fixture(f, "tiny.sqlite-wal")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= walHeader {
			order := binary.ByteOrder(binary.LittleEndian)
			if b[3]&1 != 0 {
				order = binary.BigEndian
			}
			s0, s1 := walSum(order, 0, 0, b[:24])
			binary.BigEndian.PutUint32(b[24:], s0)
			binary.BigEndian.PutUint32(b[28:], s1)
			for f := b[walHeader:]; len(f) >= walFrame+512; f = f[walFrame+512:] {
				s0, s1 = walSum(order, s0, s1, f[:8])
				s0, s1 = walSum(order, s0, s1, f[walFrame:walFrame+512])
				binary.BigEndian.PutUint32(f[16:], s0)
				binary.BigEndian.PutUint32(f[20:], s1)
			}
		}
		_, err := Find(context.Background(),
			system(t, map[string]string{"var/lib/rpm/rpmdb.sqlite": base, "var/lib/rpm/rpmdb.sqlite-wal": string(b)}))
		if k := kind(err); k != "none" && k != "corrupt" && k != "unsupported" {
			t.Error(err)
		}
	})
}
