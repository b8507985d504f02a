package exclude

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// dirNode is a directory in memory.
type dirNode []*tree.Node

func (d dirNode) Children() ([]*tree.Node, error) { return d, nil }

// build makes a tree of paths; one that ends in '/' is a directory. Each file's
// content is its path.
func build(paths []string) *tree.Node {
	source := new(int)
	root := &tree.Node{Meta: tree.Meta{Type: tree.Directory}, Dir: dirNode{}, Inode: tree.Inode{Source: source, Number: 1}}
	number := uint64(1)
	for _, p := range paths {
		at := root
		parts := strings.Split(strings.TrimSuffix(p, "/"), "/")
		for i, name := range parts {
			kids := at.Dir.(dirNode)
			k := tree.Find(kids, name)
			if k == nil {
				number++
				k = &tree.Node{Name: name, Meta: tree.Meta{Type: tree.Directory}, Inode: tree.Inode{Source: source, Number: number}}
				if i == len(parts)-1 && !strings.HasSuffix(p, "/") {
					k.Type, k.Size, k.Data = tree.Regular, int64(len(p)), tree.Bytes(p)
				} else {
					k.Dir = dirNode{}
				}
				kids = append(kids, k)
				tree.Sort(kids)
				at.Dir = kids
			}
			at = k
		}
	}
	return root
}

// list returns all paths of a tree.
func list(t *testing.T, n *tree.Node) []string {
	t.Helper()
	var all []string
	var walk func(n *tree.Node, path string)
	walk = func(n *tree.Node, path string) {
		kids, err := n.Children()
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range kids {
			if i > 0 && kids[i-1].Name >= k.Name {
				t.Fatalf("%s: %q after %q", path, k.Name, kids[i-1].Name)
			}
			all = append(all, path+k.Name)
			walk(k, path+k.Name+"/")
		}
	}
	walk(n, "")
	slices.Sort(all)
	return all
}

func mustSet(t *testing.T, patterns ...string) *Set {
	t.Helper()
	var rules []Rule
	for _, p := range patterns {
		r, err := ParsePattern(p, "command line")
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	s, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	text := "# comment\n\n  tmp/*\n\t# not a rule\n\\#rule\n\\ space\ncrlf\r\n/lead\n./dot\nslash/\n... *.pyc\n\\\\*star\n{a,b}\nend "
	rules, err := Parse(strings.NewReader(text), "list")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, fmt.Sprintf("%s|%s|%v", r.Source, strings.Join(r.components(), "|"), r.Sticky))
	}
	want := []string{"list:3|tmp|*|false", "list:5|#rule|false", "list:6| space|false", "list:7|crlf|false", "list:8|lead|false",
		"list:9|dot|false", "list:10|slash|false", "list:11|*.pyc|true", `list:12|\*star|false`, "list:13|{a,b}|false",
		"list:14|end |false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for text, want := range map[string]string{
		"ok\n../up\n":                     "list:2: exclude \"../up\": leads out of the tree",
		"/\n":                             "list:1: exclude \"/\": names no file",
		"a\x00b\n":                        "list:1: exclude \"a\\x00b\": holds a NUL",
		"\n" + strings.Repeat("a", 16385): "list:2: the line has more than 16384 bytes",
	} {
		if _, err := Parse(strings.NewReader(text), "list"); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	if rules, err := Parse(strings.NewReader(strings.Repeat("a", 16384)+"\nb"), "list"); err != nil || len(rules) != 2 {
		t.Errorf("the longest line: %v", err)
	}
}

// sample is a tree with something for every rule below.
var sample = []string{
	"dev/null", "dev/.hid", "dev/sub/x", "media/usb/a", "tmp/a", "tmp/.a", "tmp/d/b", "var/tmp/x", "var/tmp/.x", "run/", "mnt/",
	"live/boot/x", "lost+found/", "swapfile", "home/lost+found/x", "home/u/.Xauthority", "home/u/.bashrc", "home/.d/.Xauthority",
	"home/v/.Xauthority",
	"etc/defaultdomain", "etc/fstab", "etc/fstab.orig", "etc/fstab.", "etc/.fstab.x", "etc/ioctl.save", "etc/mtab",
	"etc/live/live-dir", "etc/live/protect/remaster", "etc/live/protect/persist", "etc/live/version/rootfs.ver",
	"etc/live/version/linuxfs.ver",
	"etc/udev/rules.d/70-persistent-net.rules", "etc/udev/rules.d/70-persistent-cd.rules", "etc/udev/rules.d/z.rules",
	"etc/udev/x-persistent-net.rules",
	"root/.bash_history", "root/.dbus/x", "root/.gconf/", "root/.profile", "root/.Trash-0/x", "root/.xsession-errors",
	"root/.xsession-errors.old", "root/keyfile",
	"var/cache/apt/pkgcache.bin", "var/cache/apt/.bin", "var/cache/apt/archives/a.deb", "var/cache/apt/archives/lock",
	"var/cache/apt/archives/partial/x",
	"var/cache/debconf/config.dat-old", "var/cache/debconf/config.dat", "var/cache/lightdm/x", "var/cache/man/de/x", "var/cache/man/index",
	"var/cache/samba/browse.dat",
	"var/lib/apt/lists/x", "var/lib/apt/lists/partial/y", "var/lib/apt/extended", "var/lib/dbus/machine-id", "var/lib/dpkg/status-old",
	"var/lib/dpkg/status", "var/lib/sudo/x/y",
	"var/lib/lightdm/.Xauthority", "var/lib/lightdm/.cache/z", "var/lib/lightdm/data",
	"var/log/syslog", "var/log/.hid", "var/log/samba/a", "var/log/samba/.b", "var/log/apache2/access", "var/log/apache/x",
	"var/log/journal/m/system", "var/log/apt/history",
	"var/mail/u", "var/spool/mail/u", "var/spool/anacron/x", "var/spool/cron/y",
	"boot/grub/grub.cfg", "boot/grub/themes/a/b", "boot/grub/unicode.pf2", "boot/grub/.x", "boot/vmlinuz",
	"home/u/.cache/mozilla/firefox/p.default/cache2/entries/1", "home/u/.cache/mozilla/firefox/p.default/x", "home/u/.cache/thumbnails/n/1",
	"home/u/.local/share/Trash/files/x", "home/u/.local/share/keep", "home/u/.adobe/f", "home/u/.recently-used.xbel", "home/u/doc/.Trash/x",
	"usr/lib/python3/__pycache__/a.pyc", "usr/lib/python3/a.py", "usr/lib/python3/sub/b.pyc", "usr/lib/python3/.c.pyc", "a/b/c", "b/c/b",
	"x/a/b/c", "x/y/b",
	"odd/sp ace", "odd/[x]", "odd/x", "odd/a*b", "odd/aXb", "odd/{a,b}", "odd/a", "odd/b", "odd/back\\slash", "odd/caf\xe9", "odd/!bang",
	"odd/-dash", "odd/#hash", "odd/(p)", "odd/a|b", "etc/x", "etc/X11/xorg.conf", "etc/X11/xorg.conf.d/20-nvidia.conf",
	"etc/X11/xorg.conf.d/30-x.conf",
}

// remasterList and snapshotList are what live-remaster and mx-snapshot exclude,
// in the brace form that stands for several rules.
var remasterList = strings.Fields(`dev/* dev/.[!.]* media/* run/* tmp/* tmp/.[!.]* var/tmp/* var/tmp/.[!.]*
	mnt/* live lost+found swapfile home/lost+found home/*/.Xauthority
	etc/{defaultdomain,fstab.*,ioctl.save,mtab} etc/live/{live-dir,protect/remaster,version/rootfs.ver}
	etc/udev/rules.d/*-persistent-net.rules
	root/.{bash_history,dbus,gconf,gnome2}
	var/cache/{apt-show-versions/*,apt/*.bin,apt/archives/*.deb,debconf/*-old,lightdm,man/*,samba/browse.dat}
	var/lib/{apt/lists/*,dbus/machine-id,dhcp/*,dpkg/*-old,lightdm/.Xauthority,lightdm/.cache,nfs/rpc_pipefs/*,sudo/*,udisks/*,urandom/*}
	var/log/!(samba) var/log/samba/* var/mail/* var/spool/mail/* etc/X11/xorg.conf etc/network/interfaces{,.d/*}
	etc/udev/*-persistent-net.rules`)

var snapshotList = strings.Fields(`.bind-root .config lost+found swapfile tmp tmpdir live
	{dev,cdrom,media,mnt,sys,proc,run}/* boot/grub/!(themes|unicode.pf2)
	etc/{adjtime,bcm-ckd,defaultdomain,crypttab,fstab.backup,ioctl.save,live/protect,machine-id,mtab,resolv.conf,volkeys/*}
	etc/udev/rules.d/70-persistent-{cd,net}.rules
	root/{.bash_history,.cache,.local/share/Trash/*,.dbus,.gconf,.Trash*,.xsession-errors*,keyfile}
	var/cache/{apt/archives/*.deb,apt/archives/partial/*,apt-xapian-index/index.*,apt/*.bin,debconf/*-old,lightdm,samba/browse.dat}
	var/lib/{apt/lists/*,apt/periodic/*,dbus/machine-id,dpkg/*-old,lightdm/.cache,lightdm/.Xauthority,sudo/*}
	var/log/!(apache2|clamav|libvirt|journal|samba) var/log/{clamav,journal,samba}/* var/mail/* var/spool/{mail,anacron}/* var/tmp/*
	home/*/.cache/{mozilla/firefox/*/{cache2,thumbnails}/*,thumbnails/*}
	home/*/{.adobe,.dbus,.Trash*,.recently-used,.recently-used.xbel,.xsession-errors*}
	home/*/.local/share/{Trash/*,recently-used.xbel,mc/history} etc/X11/xorg.conf etc/X11/xorg.conf.d/20-{nvidia,intel,radeon,amd}.conf`)

// braces does what the shell does with {a,b}.
func braces(p string) []string {
	open := strings.IndexByte(p, '{')
	if open < 0 {
		return []string{p}
	}
	var alts []string
	level, start, end := 0, open+1, -1
	for i := open; i < len(p) && end < 0; i++ {
		switch {
		case p[i] == '{':
			level++
		case p[i] == ',' && level == 1:
			alts = append(alts, p[start:i])
			start = i + 1
		case p[i] == '}':
			if level--; level == 0 {
				alts = append(alts, p[start:i])
				end = i
			}
		}
	}
	var all []string
	for _, a := range alts {
		all = append(all, braces(p[:open]+a+p[end+1:])...)
	}
	return all
}

func expand(list []string) []string {
	var all []string
	for _, p := range list {
		all = append(all, braces(p)...)
	}
	return all
}

// lists are the exclude lists that are held against mksquashfs.
func lists() [][]string {
	all := [][]string{expand(remasterList), expand(snapshotList)}
	for _, p := range []string{
		"tmp", "tmp/", "tmp/*", "*", ".*", "*/*", "?*", "home/*/.*", "home/?/.[A-Z]*", "var/*/!(samba)", "!(etc)", "!(etc|usr|var|home)",
		"var/log/*(s)*", "var/+([a-l])",
		"var/@(log|lib)", "var/?(l)og", "odd/\\[x\\]", "odd/[x]", "odd/a\\*b", "odd/a*b", "odd/{a,b}", "odd/*[[:space:]]*",
		"odd/[[:punct:]]*", "odd/sp ace", "odd/back\\\\slash",
		"odd/caf\xe9", "odd/caf?", "odd/@(a|b)", "odd/a\\|b", "odd/[!a-z]*", "odd/!(a|b|x)", "a//b///c", "a/b", "*/b", "*/*/b", "... b",
		"... *.pyc", "... .*", "... !(*.py|usr|lib|python3|etc)",
		"nothing/here", "et[c]/fstab*", "etc/fstab.?*", "etc/fstab.*", "var/log/!(*)", "var/log/!(.*)", "x/./a", "etc/[", "etc/x[",
		"@(a|b)/*/c", "etc/X11/xorg.conf.d/20-@(nvidia|intel).conf",
		"boot/grub/!(themes|unicode.pf2)", "home/*/.cache/*/*/*/cache2", "**", "***/b", "odd/\\#hash", "odd/(p)", "odd/!(\\(p\\))", "[!.]*",
		"var/cache/apt/*.bin",
	} {
		all = append(all, []string{p})
	}
	return append(all, []string{"a/b", "a"}, []string{"a", "a/b"}, []string{"a/*", "a/b/c", "x/[a]/b", "x/a/*"}, []string{"... b", "x/*"},
		[]string{"*/c", "b/*/b", "... c"})
}

// TestMksquashfs holds what is kept against mksquashfs itself.
func TestMksquashfs(t *testing.T) {
	systest.NeedTools(t, "mksquashfs", "unsquashfs")
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	for _, p := range sample {
		full := filepath.Join(src, p)
		if strings.HasSuffix(p, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root := build(sample)
	whole := len(list(t, root))
	cut := 0
	for i, patterns := range lists() {
		var text strings.Builder
		for _, p := range patterns {
			if p[0] == '\\' || p[0] == '#' {
				p = "\\" + p
			}
			text.WriteString(p + "\n")
		}
		file, img := filepath.Join(dir, fmt.Sprint("list", i)), filepath.Join(dir, fmt.Sprint("img", i))
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
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
		rules, err := Parse(strings.NewReader(text.String()), file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(rules)
		if err != nil {
			t.Fatal(err)
		}
		got := list(t, s.Apply(root))
		if !slices.Equal(got, want) {
			t.Errorf("%q: kept but for mksquashfs %q, missing %q", patterns, minus(got, want), minus(want, got))
		}
		if len(want) < whole {
			cut++
		}
	}
	if cut < 50 {
		t.Errorf("only %d lists exclude anything", cut)
	}
}

func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// TestApplyIsFilter: Apply lists what Excluded does not exclude.
func TestApplyIsFilter(t *testing.T) {
	root := build(sample)
	all := list(t, root)
	rnd := rand.New(rand.NewSource(1))
	pool := slices.Concat(lists()...)
	for range 300 {
		var patterns []string
		for range 1 + rnd.Intn(6) {
			patterns = append(patterns, pool[rnd.Intn(len(pool))])
		}
		s := mustSet(t, patterns...)
		var want []string
		for _, p := range all {
			if _, ok := s.Excluded(p); !ok {
				want = append(want, p)
			}
		}
		view := s.Apply(root)
		if got := list(t, view); !slices.Equal(got, want) {
			t.Fatalf("%q: Apply shows %q too many, %q too few", patterns, minus(got, want), minus(want, got))
		}
		for _, p := range all {
			n, err := view.Lookup(p)
			if err != nil {
				t.Fatal(err)
			}
			if (n != nil) != slices.Contains(want, p) {
				t.Fatalf("%q: Lookup of %q gives %v", patterns, p, n)
			}
		}
	}
}

// TestUntouched: what no rule can reach is the source's own node.
func TestUntouched(t *testing.T) {
	root := build(sample)
	s := mustSet(t, "var/log/*", "home/*/.cache", "etc/fstab")
	view := s.Apply(root)
	for path, own := range map[string]bool{"": false, "var": false, "var/log": false, "home": false, "home/u": false,
		"var/lib": true, "usr": true, "dev/sub": true, "etc": false, "etc/live": true, "etc/mtab": true, "home/u/doc": true,
		"home/u/.bashrc": true} {
		n, err := view.Lookup(path)
		if err != nil || n == nil {
			t.Fatal(path, err)
		}
		was, _ := root.Lookup(path)
		if (n == was) != own {
			t.Errorf("%q: the source's own node: %v", path, n == was)
		}
		if !own && n.Inode != (tree.Inode{}) {
			t.Errorf("%q: has the source's identity", path)
		}
	}
	if mustSet(t).Apply(root) != root {
		t.Error("no rules, but another root")
	}
}

func TestCount(t *testing.T) {
	root := build([]string{"a/b/c", "a/b/d", "a/e", "f", "g/c"})
	s := mustSet(t, "a/b", "... c", "a/*", "nothing")
	counts, err := s.Count(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range counts {
		got = append(got, fmt.Sprintf("%s %d %d %d", c.Rule.Pattern, c.Matches, c.Entries, c.Bytes))
	}
	// a/b has c and d below; c matches twice, but one is gone with a/b.
	want := []string{"a/b 1 3 10", "... c 2 1 3", "a/* 2 1 3", "nothing 0 0 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// What is counted is what is missing.
	root = build(sample)
	s = mustSet(t, expand(snapshotList)...)
	counts, err = s.Count(root)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, c := range counts {
		sum += c.Entries
	}
	if gone := len(list(t, root)) - len(list(t, s.Apply(root))); int64(gone) != sum || gone == 0 {
		t.Errorf("%d entries are gone, %d counted", gone, sum)
	}
}

func TestExcludedRule(t *testing.T) {
	s := mustSet(t, "var/log/*", "... *.pyc", "var", "/etc/./x")
	for path, want := range map[string]int{"var": 2, "var/log/x": 2, "a/b.pyc": 1, "b.pyc/x/y": 1, "etc/x": -1, "": -1, "/var//log/": 2} {
		if rule, ok := s.Excluded(path); rule != want || ok != (want >= 0) {
			t.Errorf("%q: rule %d, %v, want %d", path, rule, ok, want)
		}
	}
	p, err := Plain("odd/a*b", "command line")
	if err != nil {
		t.Fatal(err)
	}
	s, err = New([]Rule{p, {Pattern: "... z*", Source: "x"}, {Pattern: "q*", Plain: true}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"odd/a*b": true, "odd/aXb": false, "odd/a*b/c": true, "d/zz": true, "q*": true, "qq": false} {
		if _, ok := s.Excluded(path); ok != want {
			t.Errorf("plain: %q: %v", path, ok)
		}
	}
	if _, err := New([]Rule{{Pattern: "/", Source: "x"}}); err == nil {
		t.Error("a rule for the root is taken")
	}
}
