package menu

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func apply(t *testing.T, e *Edits, kind Kind, path, text string) (string, []Change) {
	t.Helper()
	out, changes, err := e.Apply(kind, path, []byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	got, now := replay(text, changes), string(out)
	if kind == Environment {
		got, now = strings.TrimRight(got, "#"), strings.TrimRight(now, "#")
	}
	if got != now {
		t.Errorf("%q: the report gives\n%q, but it is\n%q", text, got, out)
	}
	return string(out), changes
}

// replay makes of a text what its changes say.
func replay(text string, changes []Change) string {
	lines := strings.SplitAfter(text, "\n")
	for i := len(changes) - 1; i >= 0; i-- {
		c := changes[i]
		if c.Left != "" {
			continue
		}
		at := c.Line - 1
		end := lines[at][len(strings.TrimRight(lines[at], "\n")):]
		body := strings.TrimSuffix(lines[at], "\n")
		if end != "" && strings.HasSuffix(body, "\r") {
			body, end = body[:len(body)-1], "\r"+end
		}
		if c.Before == "" {
			eol := "\n"
			if strings.HasSuffix(lines[at], "\r\n") || at == len(lines)-1 && strings.HasSuffix(lines[0], "\r\n") {
				eol = "\r\n"
			}
			lines[at] = body + eol + c.After + end
			continue
		}
		n := strings.Count(c.Before, "\n")
		for k := 1; k <= n; k++ {
			lines[at] += lines[at+k]
			lines[at+k] = ""
		}
		lines[at] = strings.Replace(lines[at], c.Before, c.After, 1)
	}
	return strings.Join(lines, "")
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		add, remove, args, want string // parted by ';' and as they stand
	}{
		{"", "persist_all", "quiet persist_all splash", "quiet splash"},
		{"", "persist_all", "persist_all  quiet", "quiet"},
		{"", "persist_all", "quiet  persist_all", "quiet"},
		{"", "persist_all", "persist_all", ""},
		{"", "persist_all", "persist_allx xpersist_all", "persist_allx xpersist_all"},
		{"", "a;b;c", "a b c d a e b", "d e"},
		{"", "pdir", "pdir=/x pdir pdirx=1", "pdirx=1"},
		{"", "pdir=", "pdir=/x pdir", "pdir"},
		{"", "pdir=/x", "pdir=/x pdir=/xy", "pdir=/xy"},
		{"", "rd.live.overlay*", "a rd.live.overlay=x:/y rd.live.overlay.size=1 b", "a b"},
		{"", "*persist*", "a xpersist=1 persistence y=persist", "a y=persist"},
		{"", "from=*iso", "from=/a.iso from=/a.is0", "from=/a.is0"},
		{"", "opt=a b", "", ""}, // not one argument: an error, below
		{"", `opt="a b"`, `x opt="a b" y`, "x y"},
		{"", "opt", `x opt="a b" y`, "x y"},
		{"", "b", `x="a b c" b`, `x="a b c"`},
		{"", "quiet", "--- quiet", "---"},
		{"", "persistent", "a -- persistent", "a --"},
		{"", "--", "a -- b", "a -- b"},
		{"quiet", "", "", "quiet"},
		{"quiet", "", "quiet", "quiet"},
		{"quiet", "", "splash ---", "splash quiet ---"},
		{"quiet", "", "--- splash", "quiet --- splash"},
		{"quiet", "", "--- quiet", "--- quiet"},
		{"quiet", "", "a -- quiet", "a quiet -- quiet"},
		{"quiet;splash", "b", "a b ---", "a quiet splash ---"},
		{"quiet", "quiet", "a quiet b", "a quiet b"},
		{"persist_root", "persist*", "persist_all a", "a persist_root"},
		{"tz=B", "", "x tz=A y", "x tz=B y"},
		{"tz=B", "", "x tz=A y tz=C", "x tz=B y"},
		{"tz=B", "", "tz=A tz=B", "tz=B"},
		{"tz=B", "", "tz", "tz tz=B"},
		{"tz=", "", "tz=A", "tz="},
		{"console=ttyS0", "", "console=tty0", "console=tty0 console=ttyS0"},
		{"console=tty0;console=ttyS0", "", "console=tty0", "console=tty0 console=ttyS0"},
		{`opt="a b"`, "", "x", `x opt="a b"`},
		{`opt="a b"`, "", `x "opt=a b"`, `x "opt=a b"`},
		{"new", "old", "old", "new"},
		{"new", "old", "old --- old", "new ---"},
		{"new", "old", "  old   keep  ", "  keep new  "},
	} {
		e := &Edits{}
		if c.add != "" {
			e.Add = strings.Split(c.add, ";")
		}
		if c.remove != "" {
			e.Remove = strings.Split(c.remove, ";")
		}
		if c.remove == "opt=a b" {
			if _, _, err := e.Apply(GRUB, "grub.cfg", nil); !errors.Is(err, ErrEdits) {
				t.Errorf("%q: %v", c.remove, err)
			}
			continue
		}
		squeeze := func(s string) string { return strings.TrimSpace(s) }
		got, _ := apply(t, e, Syslinux, "syslinux.cfg", "label x\nlinux /vmlinuz\nappend "+c.args+"\n")
		got = strings.TrimPrefix(got, "label x\nlinux /vmlinuz\nappend")
		if squeeze(got) != squeeze(c.want) {
			t.Errorf("SYSLINUX, +%q -%q: %q -> %q, not %q", c.add, c.remove, c.args, squeeze(got), c.want)
		}
		got, _ = apply(t, e, Loader, "loader/entries/x.conf", "linux /vmlinuz\noptions "+c.args+"\n")
		got = strings.TrimPrefix(got, "linux /vmlinuz\noptions")
		if squeeze(got) != squeeze(c.want) {
			t.Errorf("loader, +%q -%q: %q -> %q, not %q", c.add, c.remove, c.args, squeeze(got), c.want)
		}
		// GRUB's quotes part words as the kernel's do here.
		got, _ = apply(t, e, GRUB, "grub.cfg", "menuentry x {\n\tlinux /vmlinuz "+c.args+"\n}\n")
		got = strings.TrimSuffix(strings.TrimPrefix(got, "menuentry x {\n\tlinux /vmlinuz"), "\n}\n")
		if squeeze(got) != strings.ReplaceAll(squeeze(c.want), `x opt="a b"`, "x 'opt=a b'") {
			t.Errorf("GRUB, +%q -%q: %q -> %q, not %q", c.add, c.remove, c.args, squeeze(got), c.want)
		}
	}
}

// What else stands in a line and around it stays.
func TestBytesStay(t *testing.T) {
	e := &Edits{Remove: []string{"gone"}, Add: []string{"new"}, Paths: map[string]string{"/old": "/moved"}, Title: "T2"}
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{Syslinux, "LABEL a\r\n\tKERNEL  /old/vmlinuz  \r\n\tAPPEND\tx  gone\ty \r\n",
			"LABEL a\r\n\tKERNEL  /moved/vmlinuz  \r\n\tAPPEND\tx\ty new \r\n"},
		{Syslinux, "label a\n linux /v\n append gone", "label a\n linux /v\n append new"},
		{Syslinux, "label a\n linux /v\n append", "label a\n linux /v\n append new"},
		{Syslinux, "label a\n  linux /v", "label a\n  linux /v\n  append new"},
		{Syslinux, "LABEL a\r\n  LINUX /v\r\n  INITRD /old/i,/i,/old/j\r\n",
			"LABEL a\r\n  LINUX /v\r\n  APPEND new\r\n  INITRD /moved/i,/i,/moved/j\r\n"},
		{Syslinux, "label a\nlinux /v\nappend -\n", "label a\nlinux /v\nappend new\n"},
		{Syslinux, "append gone x\nlabel a\nlinux /v\nlabel b\nlinux /w\nappend gone\n",
			"append x new\nlabel a\nlinux /v\nlabel b\nlinux /w\nappend new\n"},
		{Syslinux, "label a\nkernel /v gone y\n", "label a\nkernel /v y new\n"},
		{Syslinux, "label a\nkernel /v\nappend initrd=/old/i,/j gone\n", "label a\nkernel /v\nappend initrd=/moved/i,/j new\n"},
		{Syslinux, "label a\nappend initrd=/i gone\n", "label a\nappend initrd=/i new\n"},
		{Syslinux, "# gone\nlabel a\ntext help\n append gone\n  linux /old/v\nendtext\nlinux /v\nappend gone\n",
			"# gone\nlabel a\ntext help\n append gone\n  linux /old/v\nendtext\nlinux /v\nappend new\n"},
		{Syslinux, "menu title T1\nmenu begin x\nmenu title T1\nlabel a\nlinux /v\nappend z\nmenu end\nmenu title\n",
			"menu title T2\nmenu begin x\nmenu title T1\nlabel a\nlinux /v\nappend z new\nmenu end\nmenu title T2\n"},
		{Syslinux, "menu begin\nappend sub\nlabel a\nlinux /v\nmenu end\nlabel b\nlinux /w\n",
			"menu begin\nappend sub new\nlabel a\nlinux /v\nmenu end\nlabel b\nlinux /w\nappend new\n"},
		{Syslinux, "label m\nlinux /boot/memtest\nlabel c\ncom32 chain.c32\nappend hd0\nlabel i\nkernel /x.img\nlabel l\nlocalboot 0\n",
			""},
		{Syslinux, "default a gone x\nontimeout b gone\ndefault menu.c32 gone\nf1 /old/help.txt\ninclude /old/x.cfg\n",
			"default a x\nontimeout b\ndefault menu.c32 gone\nf1 /moved/help.txt\ninclude /moved/x.cfg\n"},
		{Syslinux, "label a\n\tlinux /v\xff\x00\n\tappend \xe4 gone \x00x\xff\n",
			"label a\n\tlinux /v\xff\x00\n\tappend \xe4 \x00x\xff new\n"},
		{GRUB, "linux /v gone\r\n", "linux /v new\r\n"},
		{GRUB, "linux /v gone", "linux /v new"},
		{GRUB, "\tlinux\t/old/v  x\t gone  # gone\n", "\tlinux\t/moved/v  x new  # gone\n"},
		{GRUB, "linux /v \\\n  gone \\\n  x\n", "linux /v \\\n   \\\n  x new\n"},
		{GRUB, "linux /v 'gone' \"gone\" g\\one go\"ne\"; initrd /old/i\n", "linux /v new; initrd /moved/i\n"},
		{GRUB, "linux /v $x gone ${y}gone z=gone\"$w\"\n", "linux /v $x ${y}gone z=gone\"$w\" new\n"},
		{GRUB, "#linux /v gone\necho gone /old/x\n", ""},
		{GRUB, "linux16 /boot/memtest86+.bin gone\nchainloader (hd0)+1\nlinux /mtest/mtest-64.efi gone\n", ""},
		{GRUB, "linux (hd0,1)/old/$k a\n", "linux (hd0,1)/moved/$k a new\n"},
		{GRUB, "linux \"/old\"/'v' a\n", "linux \"/moved\"/'v' a new\n"},
		{GRUB, "linux /old${x}/v a\n", "linux /old${x}/v a new\n"},
		{GRUB, "$linux$efi /v a\nlinux$efi /w\n$initrd /old/i\n", "$linux$efi /v a new\nlinux$efi /w new\n$initrd /moved/i\n"},
		{GRUB, "if [ -f /old/v ]; then linux /old/v; else linux /w; fi\n",
			"if [ -f /moved/v ]; then linux /moved/v new; else linux /w new; fi\n"},
		{GRUB, "set k=\"a gone b\"\nlinux /v $k\n", "set k=\"a b\"\nlinux /v $k new\n"},
		{GRUB, "k=gone\nk=\"$k gone\"\nk=\"gone $k\"\nlinux /v \"$k\"\n", "k=\nk=\"$k\"\nk=\"$k\"\nlinux /v \"$k\" new\n"},
		{GRUB, "k='gone a gone gone b gone'\nlinux /v $k\n", "k='a b'\nlinux /v $k new\n"},
		{GRUB, "k=\"${k}gone=1 \"\nj=\"${j} x gone=$n \"\nlinux /v $k $j\nn=$m\n",
			"k=\"${k}\"\nj=\"${j} x gone=$n \"\nlinux /v $k $j new\nn=$m\n"},
		{GRUB, "n=1\nj=\"x gone=$n\"\nlinux /v $j\n", "n=1\nj=\"x\"\nlinux /v $j new\n"},
		{GRUB, "a=\"gone\"\nb=\"$a x\"\nlinux /v $b\n", "a=\"\"\nb=\"$a x\"\nlinux /v $b new\n"},
		{GRUB, "menuentry a {\nk=\"a gone\"\nif true; then\nlinux /v $k\nfi\n}\n",
			"menuentry a {\nk=\"a\"\nif true; then\nlinux /v $k new\nfi\n}\n"},
		{GRUB, "linux $memtest gone\nlinux \"${k}\" a gone\n", "linux $memtest gone\nlinux \"${k}\" a new\n"},
		{GRUB, "bdir=\"/old\"\nlinux $bdir/v bdir=$bdir\n", "bdir=\"/moved\"\nlinux $bdir/v bdir=$bdir new\n"},
		{GRUB, "module2 --nounzip /old/vmlinuz x gone\nmodule2 /old/initrd.img\n",
			"module2 --nounzip /moved/vmlinuz x new\nmodule2 /moved/initrd.img\n"},
		{Loader, "title a\r\nlinux /v\r\n", "title a\r\nlinux /v\r\noptions new\r\n"},
		{Loader, "title   a\nlinux   /v\ninitrd  /old/i\n", "title   a\nlinux   /v\ninitrd  /moved/i\noptions new\n"},
		{Loader, "linux      /v", "linux      /v\noptions    new"},
		{Loader, "linux /v\noptions gone a\noptions b gone\n# options gone\n", "linux /v\noptions a\noptions b new\n# options gone\n"},
		{Loader, "efi /old/shell.efi\noptions gone\n", "efi /moved/shell.efi\noptions gone\n"},
		{Loader, "efi /old/v\noptions gone initrd=\\x\n", "efi /moved/v\noptions initrd=\\x new\n"},
		{Loader, "linux /v\noptions gone $kernelopts ${x}\n", "linux /v\noptions $kernelopts ${x} new\n"},
		{Loader, "options gone\nlinux /boot/memtest\n", ""},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		got, _ := apply(t, e, c.kind, "boot/x.cfg", c.text)
		if got != want {
			t.Errorf("%v: %q\ngives %q\n  not %q", c.kind, c.text, got, want)
		}
		if again, _ := apply(t, e, c.kind, "boot/x.cfg", got); again != got {
			t.Errorf("%v: %q\nthe second time %q", c.kind, got, again)
		}
	}
}

// What an edit is about and stays is told.
func TestLeft(t *testing.T) {
	e := &Edits{Remove: []string{"gone"}, Labels: map[string]string{"OLD": "it's"}}
	for _, c := range []struct {
		kind   Kind
		text   string
		line   int
		reason string
	}{
		{GRUB, "linux /v\nx='a gone'\n", 2, unusedReason},
		{GRUB, "linux /v ${x}gone\n", 1, gluedReason},
		{GRUB, "x=\"${y}gone\"\nlinux /v $x\n", 1, gluedReason},
		{GRUB, "menuentry a {\nlinux /v $x\n}\nmenuentry b {\nx=gone\n}\n", 5, choiceReason},
		{Syslinux, "label x\nlinux /v\nappend gone \"a\n", 3, "a quote in the arguments is not closed"},
		{GRUB, "function boot {\nlinux /v $@\n}\nboot 'a gone' b\n", 4, handedReason},
		{GRUB, "menuentry gone 'gone a' {\nlinux /v $2\n}\n", 1, handedReason},
		{Syslinux, "label x\ncom32 mboot.c32\nappend /v gone --- /i\n", 3, "the entry is not known to boot Linux"},
	} {
		out, changes := apply(t, e, c.kind, "x.cfg", c.text)
		if out != c.text || len(changes) != 1 || changes[0].Line != c.line || changes[0].Left != c.reason ||
			changes[0].Before != changes[0].After {
			t.Errorf("%q: %v\n%q", c.text, changes, out)
		}
		if s := fmt.Sprint(changes); !strings.Contains(s, "not changed") {
			t.Error(s)
		}
	}
	if out, _ := apply(t, e, GRUB, "x", "search -l 'OLD'\nsearch --label OLD\n"); out != "search -l \"it's\"\nsearch --label it\\'s\n" {
		t.Errorf("%q", out)
	}
}

func TestVolumes(t *testing.T) {
	e := &Edits{
		Labels: map[string]string{"OLD": "NEW 1", "A B": "AB"},
		UUIDs:  map[string]string{"AAAA-bbbb": "CCCC-DDDD", "2026-05-01-10-00-00-00": "2027-01-01-00-00-00-00"},
	}
	for _, c := range []struct{ arg, want string }{
		{"root=live:CDLABEL=OLD", `root=live:CDLABEL=NEW\x201`},
		{"root=live:LABEL=OLD", `root=live:LABEL=NEW\x201`},
		{"root=LABEL=OLD", `root=LABEL=NEW\x201`},
		{"root=/dev/disk/by-label/OLD", `root=/dev/disk/by-label/NEW\x201`},
		{"inst.stage2=hd:LABEL=OLD:/img", `inst.stage2=hd:LABEL=NEW\x201:/img`},
		{"inst.stage2=hd:LABEL=OLDER", ""},
		{"root=PARTLABEL=OLD", ""},
		{"root=PARTUUID=AAAA-BBBB", ""},
		{`root=live:CDLABEL=A\x20B`, "root=live:CDLABEL=AB"},
		{`archisolabel=A\x20B`, "archisolabel=AB"},
		{"archisolabel=OLD", `archisolabel=NEW\x201`},
		{"blab=OLD", `blab=NEW\x201`},
		{"hostname=OLD", ""},
		{"OLD", ""},
		{"root=live:UUID=aaaa-BBBB", "root=live:UUID=CCCC-DDDD"},
		{"rd.live.overlay=UUID=AAAA-BBBB:/x", "rd.live.overlay=UUID=CCCC-DDDD:/x"},
		{"buuid=AAAA-BBBB", "buuid=CCCC-DDDD"},
		{"archisosearchuuid=2026-05-01-10-00-00-00", "archisosearchuuid=2027-01-01-00-00-00-00"},
		{"img_dev=/dev/disk/by-uuid/AAAA-BBBB", "img_dev=/dev/disk/by-uuid/CCCC-DDDD"},
	} {
		want := c.want
		if want == "" {
			want = c.arg
		}
		got, _ := apply(t, e, Syslinux, "x", "label a\nlinux v\nappend a "+c.arg+" b\n")
		if got != "label a\nlinux v\nappend a "+want+" b\n" {
			t.Errorf("%s: %q", c.arg, got)
		}
		if strings.Contains(c.arg, `\`) {
			continue
		}
		got, _ = apply(t, e, GRUB, "x", "linux /v a '"+c.arg+"' b\n")
		if got != "linux /v a '"+want+"' b\n" {
			t.Errorf("%s: %q", c.arg, got)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"search --no-floppy --set=root --label OLD", `search --no-floppy --set=root --label NEW\ 1`},
		{"search --set root -l 'OLD' --hint=x", "search --set root -l 'NEW 1' --hint=x"},
		{"search --label --set OLD OLD", `search --label --set OLD NEW\ 1`},
		{"search --fs-uuid --set=root aaaa-bbbb", "search --fs-uuid --set=root CCCC-DDDD"},
		{"search.fs_label OLD root", `search.fs_label NEW\ 1 root`},
		{"search --file --set=root /OLD", ""},
		{"if ! search --no-floppy --set root --fs-uuid AAAA-BBBB hd0,1; then",
			"if ! search --no-floppy --set root --fs-uuid CCCC-DDDD hd0,1; then"},
		{"set isolabel=\"OLD\"", "set isolabel=\"NEW 1\""},
		{"isolabel=OLD", `isolabel=NEW\ 1`},
		{"theme=OLD", ""},
		{"main_uuid=\"AAAA-BBBB\"", "main_uuid=\"CCCC-DDDD\""},
		{"menuentry OLD {\n}", ""},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		if got, _ := apply(t, e, GRUB, "x", c.text+"\n"); got != want+"\n" {
			t.Errorf("%q: %q", c.text, got)
		}
	}
}

// Labels are encoded as udev does where a link of udev's is looked for, whatever the
// old one had: as it was, it found nothing.
func TestEncodedLabels(t *testing.T) {
	e := &Edits{Labels: map[string]string{"A(1)": "B(2)", "A B(1)": "B 2%"}}
	for _, c := range []struct{ arg, want string }{
		{"root=live:CDLABEL=A(1)", `root=live:CDLABEL=B\x282\x29`},
		{`root=live:LABEL=A\x281\x29`, `root=live:LABEL=B\x282\x29`},
		{`"root=live:CDLABEL=A B(1)"`, `"root=live:CDLABEL=B 2\x25"`},
		{"archisolabel=A(1)", `archisolabel=B\x282\x29`},
		{"blab=A(1)", "blab=B(2)"},
		{`blab=A\x281\x29`, "blab=B(2)"},
	} {
		if got, _ := apply(t, e, Syslinux, "x", "label a\nlinux v\nappend a "+c.arg+" b\n"); got != "label a\nlinux v\nappend a "+c.want+
			" b\n" {
			t.Errorf("%s: %q", c.arg, got)
		}
	}
}

func TestPaths(t *testing.T) {
	e := &Edits{Paths: map[string]string{"antiX-Frugal-6.1": "/antiX", "/live/vmlinuz": "/live/vmlinuz2", "/iso/k": "/boot/k",
		"/sub": "/sub/sub"}}
	for _, c := range []struct{ path, text, want string }{
		{"x.cfg", "kernel /antiX-Frugal-6.1/vmlinuz bdir=antiX-Frugal-6.1 x=antiX-Frugal-6.1",
			"kernel /antiX/vmlinuz bdir=antiX x=antiX-Frugal-6.1"},
		{"x.cfg", "kernel antiX-Frugal-6.1/vmlinuz", "kernel antiX/vmlinuz"},
		{"x.cfg", "kernel /antiX-Frugal-6.12/vmlinuz", ""},
		{"x.cfg", "kernel //antiX-Frugal-6.1/./vmlinuz", "kernel /antiX/vmlinuz"},
		{"live/x.cfg", "kernel vmlinuz", "kernel vmlinuz2"},
		{"live/x.cfg", "kernel ../live/vmlinuz", "kernel vmlinuz2"},
		{"iso/x.cfg", "kernel k", "kernel /boot/k"},
		{"iso/x.cfg", "kernel kk", ""},
		{"x.cfg", "kernel /sub/k", "kernel /sub/sub/k"},
		{"sub/x.cfg", "kernel k", ""},
		{"sub/x.cfg", "kernel /iso/k", "kernel /boot/k"},
		{"x.cfg", "kernel v file=/cdrom/live/vmlinuz live-media-path=/antiX-Frugal-6.1",
			"kernel v file=/cdrom/live/vmlinuz2 live-media-path=/antiX"},
		{"x.cfg", "kernel v inst.ks=hd:LABEL=X:/antiX-Frugal-6.1/ks.cfg", "kernel v inst.ks=hd:LABEL=X:/antiX/ks.cfg"},
	} {
		want := c.want
		if want == "" {
			want = c.text
		}
		got, _ := apply(t, e, Syslinux, c.path, "label a\n"+c.text+"\n")
		if got != "label a\n"+want+"\n" {
			t.Errorf("%s: %q: %q", c.path, c.text, got)
		}
		if again, _ := apply(t, e, Syslinux, c.path, got); again != got {
			t.Errorf("%s: %q: the second time %q", c.path, got, again)
		}
	}
}

func TestTitles(t *testing.T) {
	e := &Edits{Titles: []TitleEdit{{"Fedora", "Fedora remix"}, {"40", "41"}, {"'", "\""}}}
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{Syslinux, "label Fedora\nmenu label ^Start Fedora 40\n", "label Fedora\nmenu label ^Start Fedora remix 41\n"},
		{Syslinux, "label a\nmenu label Fedora remix Fedora\n", "label a\nmenu label Fedora remix Fedora remix\n"},
		{Loader, "title Fedora 40\nversion 40\n", "title Fedora remix 41\nversion 40\n"},
		{GRUB, "menuentry --class Fedora 'Start Fedora 40' --id 40 { echo Fedora }\n",
			"menuentry --class Fedora 'Start Fedora remix 41' --id 40 { echo Fedora }\n"},
		{GRUB, "submenu \"Fedora ${x}\"$\"Fedora\" {\n}\n", "submenu \"Fedora remix ${x}\"$\"Fedora remix\" {\n}\n"},
		{GRUB, "menuentry Fedora {\n}\n", "menuentry Fedora\\ remix {\n}\n"},
		{GRUB, "menuentry \"it's\" {\n}\n", "menuentry \"it\\\"s\" {\n}\n"},
	} {
		if got, _ := apply(t, e, c.kind, "x", c.text); got != c.want {
			t.Errorf("%q: %q", c.text, got)
		} else if again, _ := apply(t, e, c.kind, "x", got); again != got {
			t.Errorf("%q: the second time %q", got, again)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, e := range []*Edits{
		{Add: []string{"a b"}},
		{Add: []string{""}},
		{Add: []string{"a\nb"}},
		{Add: []string{`a="b`}},
		{Add: []string{"---"}},
		{Add: []string{"a=1", "a=2"}},
		{Remove: []string{"a b"}},
		{Remove: []string{"a\x00"}},
		{Title: "a\nb"},
		{Titles: []TitleEdit{{"", "x"}}},
		{Titles: []TitleEdit{{"x", "\n"}}},
		{Labels: map[string]string{"A": "B", "B": "C"}},
		{Labels: map[string]string{"A": ""}},
		{UUIDs: map[string]string{"A": "b", "B": "c"}},
		{UUIDs: map[string]string{"A": "x", "a": "y"}},
		{Paths: map[string]string{"/a": "/b/c", "/b": "/d"}},
		{Paths: map[string]string{"/": "/d"}},
	} {
		if _, _, err := e.Apply(GRUB, "x", []byte("linux /v\n")); !errors.Is(err, ErrEdits) {
			t.Errorf("%+v: %v", *e, err)
		}
	}
}

func TestReport(t *testing.T) {
	e := &Edits{Remove: []string{"gone"}, Add: []string{"new"}}
	_, changes := apply(t, e, Syslinux, "/isolinux/isolinux.cfg", "label a\r\nlinux /v\r\nlabel b\r\nlinux /w\r\nappend x gone\r\n")
	want := []Change{
		{File: "/isolinux/isolinux.cfg", Line: 2, After: "append new"},
		{File: "/isolinux/isolinux.cfg", Line: 5, Before: "append x gone", After: "append x new"},
	}
	if !reflect.DeepEqual(changes, want) {
		t.Errorf("%q", changes)
	}
	if s := changes[0].String(); s != `isolinux/isolinux.cfg:2: new: "append new"` {
		t.Error(s)
	}
	if s := changes[1].String(); s != `isolinux/isolinux.cfg:5: "append x gone" -> "append x new"` {
		t.Error(s)
	}
}

// TestValues: an argument that begins as told is another in every kind of menu,
// and in variables that reach a kernel.
func TestValues(t *testing.T) {
	e := &Edits{Values: []ValueEdit{
		{Old: []string{"root=live:PARTUUID=", "root=live:/dev/"}, New: `root=live:CDLABEL=A\x28B`, GRUB: "root=live:UUID=1-2"},
		{Old: []string{"root=/dev/"}, New: "root=live:X", Beside: []string{"rd.live.image"}},
		{Old: []string{"archisodevice=/dev/sd", "archisodevice=UUID="}, New: "archisodevice=/dev/disk/by-uuid/1-2", Known: true},
	}}
	for _, c := range []struct {
		kind      Kind
		text, now string
	}{
		{Syslinux, "label a\nlinux v\nappend root=live:PARTUUID=0a-01 quiet\n",
			"label a\nlinux v\nappend root=live:CDLABEL=A\\x28B quiet\n"},
		{Loader, "linux v\noptions root=live:/dev/sda1 quiet\n", "linux v\noptions root=live:CDLABEL=A\\x28B quiet\n"},
		{GRUB, "linux /v root=live:/dev/sda1 quiet\n", "linux /v root=live:UUID=1-2 quiet\n"},
		{GRUB, "linux /v root=live:PARTUUID=$part quiet\n", "linux /v root=live:UUID=1-2 quiet\n"},
		{GRUB, "set o=\"root=live:/dev/sda1 quiet\"\nlinux /v $o\n", "set o=\"root=live:UUID=1-2 quiet\"\nlinux /v $o\n"},
		{GRUB, "linux /v root=/dev/sda1 quiet\n", ""},
		{GRUB, "linux /v root=/dev/sda1 rd.live.image\n", "linux /v root=live:X rd.live.image\n"},
		{GRUB, "linux /v archisodevice=UUID=1\n", "linux /v archisodevice=/dev/disk/by-uuid/1-2\n"},
		{GRUB, "linux /v archisodevice=UUID=${ARCHISO_UUID} root=live:CDLABEL=A\n", ""},
		{GRUB, "echo root=live:/dev/sda1\n", ""},
	} {
		want := c.now
		if want == "" {
			want = c.text
		}
		got, _ := apply(t, e, c.kind, "x", c.text)
		if got != want {
			t.Errorf("%q\nbecame %q\nnot    %q", c.text, got, want)
		}
		if again, _ := apply(t, e, c.kind, "x", got); again != got {
			t.Errorf("%q: the second time %q", got, again)
		}
	}
	for _, wrong := range []string{"", "a b", "x\ny"} {
		if _, _, err := (&Edits{Values: []ValueEdit{{Old: []string{"a="}, New: wrong}}}).Apply(GRUB, "x",
			[]byte("linux /v a=1\n")); !errors.Is(err, ErrEdits) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
