package menu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

func file(name, text string) *tree.Node { return tree.NewFile(name, 0o644, []byte(text)) }

// closed is a directory that must not be listed.
type closed struct{ t *testing.T }

func (c closed) Children() ([]*tree.Node, error) {
	c.t.Error("a directory of no loader was listed")
	return nil, nil
}

func medium(t *testing.T) *tree.Node {
	far := tree.NewDir("far", 0o755)
	far.Dir = closed{t}
	link := file("grub.cfg", "linux /antiX/vmlinuz persist_all $kopts\n")
	link.Inode, link.Nlink = tree.Inode{Source: t, Number: 7}, 2
	other := *link
	other.Name = "grub.conf.cfg"
	symlink := tree.NewSymlink("extlinux.conf", "syslinux.cfg")
	huge := file("huge.cfg", "")
	huge.Size = MaxText + 1
	return tree.NewDir("", 0o755,
		tree.NewDir("EFI", 0o755, tree.NewDir("BOOT", 0o755, file("BOOTX64.EFI", "MZ\x00 append persist_all"),
			file("BOOT.conf", "menuentry a {\nlinux /antiX/vmlinuz persist_all\n}\n"))),
		tree.NewDir("antiX", 0o755, far, file("grub.entry", "menuentry a {\nlinux /antiX/vmlinuz persist_root\n}\n"),
			file("linuxfs", "persist_all")),
		tree.NewDir("boot", 0o755,
			tree.NewDir("grub", 0o755, tree.NewDir("config", 0o755, file("defaults.cfg", "kopts='persist_home splash'\n"),
				file("unclosed.cfg", "x='persist_all\n"), huge), link, &other),
			tree.NewDir("isolinux", 0o755, file("help.txt", "append persist_all"),
				file("isolinux.cfg", "include a.cfg\ninclude isolinux.cfg\nlabel a\nlinux /v\n"), file("a.cfg", "append persist_all\n")),
			tree.NewDir("syslinux", 0o755, symlink, file("syslinux.cfg", "label a\nlinux /v\nappend quiet\n")),
			file("vmlinuz.cfg", "no menu\n")),
		tree.NewDir("loader", 0o755, tree.NewDir("entries", 0o755, file("a.conf", "linux /v\noptions persist_all\n")),
			file("loader.conf", "timeout 3\n")),
		tree.NewDir("pool", 0o755, far),
		file("version", "persist_all\n"),
	)
}

func read(t *testing.T, root *tree.Node, path string) string {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatal(path, err)
	}
	b, err := tree.ReadAll(n, 1<<20)
	if err != nil {
		t.Fatal(path, err)
	}
	return string(b)
}

func TestTree(t *testing.T) {
	root := medium(t)
	e := &Edits{Remove: Persistence("antix"), Add: []string{"new"}}
	now, changes, err := e.Tree(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	edited := map[string]string{
		"EFI/BOOT/BOOT.conf":            "menuentry a {\nlinux /antiX/vmlinuz new\n}\n",
		"antiX/grub.entry":              "menuentry a {\nlinux /antiX/vmlinuz new\n}\n",
		"boot/grub/grub.cfg":            "linux /antiX/vmlinuz $kopts new\n",
		"boot/grub/grub.conf.cfg":       "linux /antiX/vmlinuz $kopts new\n",
		"boot/grub/config/defaults.cfg": "kopts='splash'\n",
		"boot/isolinux/a.cfg":           "append new\n",
		"boot/syslinux/syslinux.cfg":    "label a\nlinux /v\nappend quiet new\n",
		"loader/entries/a.conf":         "linux /v\noptions new\n",
	}
	for path, want := range edited {
		if got := read(t, now, path); got != want {
			t.Errorf("%s: %q, not %q", path, got, want)
		}
		if n, _ := now.Lookup(path); n.Inode != (tree.Inode{}) || n.Nlink > 1 || n.Size != int64(len(want)) || n.Perm != 0o644 {
			t.Errorf("%s: %+v", path, n.Meta)
		}
	}
	for _, path := range []string{"EFI/BOOT/BOOTX64.EFI", "antiX/linuxfs", "boot/grub/config/unclosed.cfg", "boot/isolinux/help.txt",
		"boot/isolinux/isolinux.cfg", "boot/vmlinuz.cfg",
		"loader/loader.conf", "version", "pool", "boot/syslinux/extlinux.conf"} {
		was, _ := root.Lookup(path)
		is, _ := now.Lookup(path)
		if was == nil || was != is {
			t.Errorf("%s is another node", path)
		}
	}
	var left []string
	for _, c := range changes {
		if c.Left != "" {
			left = append(left, c.String())
		} else if _, ok := edited[c.File]; !ok {
			t.Errorf("%v", c)
		}
	}
	if len(left) != 2 || !strings.Contains(left[0]+left[1], "huge.cfg") || !strings.Contains(left[0]+left[1], "unclosed.cfg") {
		t.Errorf("%q", left)
	}
	again, changes, err := e.Tree(context.Background(), now)
	if err != nil || len(changes) != 2 {
		t.Error(changes, err)
	}
	for path, want := range edited {
		if got := read(t, again, path); got != want {
			t.Errorf("the second time %s: %q", path, got)
		}
	}
	same, changes, err := (&Edits{}).Tree(context.Background(), root)
	if same != root || changes != nil || err != nil {
		t.Error("without edits the tree is another", changes, err)
	}
	same, changes, err = (&Edits{Remove: []string{"nothing"}}).Tree(context.Background(), medium(t))
	if err != nil || len(changes) != 2 || same.Inode != (tree.Inode{}) {
		t.Error(changes, err)
	}
}

func TestTreeEnds(t *testing.T) {
	e := &Edits{Add: []string{"x"}}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := e.Tree(ctx, medium(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, _, err := (&Edits{Add: []string{"a b"}}).Tree(context.Background(), medium(t)); !errors.Is(err, ErrEdits) {
		t.Error(err)
	}
	deep := tree.NewDir("boot", 0o755)
	for range maxMenuDepth + 1 {
		deep = tree.NewDir("boot", 0o755, deep)
	}
	if _, _, err := e.Tree(context.Background(), tree.NewDir("", 0o755, deep)); !errors.Is(err, tree.ErrUnsupported) {
		t.Error(err)
	}
	big := strings.Repeat("#", MaxText)
	var many []*tree.Node
	for i := range maxTexts/MaxText + 1 {
		many = append(many, file(string(rune('a'+i))+".cfg", big))
	}
	if _, _, err := e.Tree(context.Background(), tree.NewDir("", 0o755, tree.NewDir("grub", 0o755, many...))); !errors.Is(err,
		tree.ErrUnsupported) {
		t.Error(err)
	}
}

func TestFiles(t *testing.T) {
	files, err := Files(context.Background(), medium(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path+" "+f.Kind.String())
		if (f.Err == nil) == strings.Contains(f.Path, "huge") {
			t.Error(f.Path, f.Err)
		}
	}
	want := `EFI/BOOT/BOOT.conf GRUB
antiX/grub.entry GRUB
boot/grub/config/defaults.cfg GRUB
boot/grub/config/huge.cfg GRUB
boot/grub/config/unclosed.cfg GRUB
boot/grub/grub.cfg GRUB
boot/grub/grub.conf.cfg GRUB
boot/isolinux/a.cfg SYSLINUX
boot/isolinux/isolinux.cfg SYSLINUX
boot/syslinux/syslinux.cfg SYSLINUX
loader/entries/a.conf Boot Loader Specification
loader/loader.conf Boot Loader Specification`
	if s := strings.Join(got, "\n"); s != want {
		t.Error(s)
	}
}

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		path, text string
		kind       Kind
	}{
		{"isolinux/isolinux.cfg", "", Syslinux},
		{"ISOLINUX/ISOLINUX.CFG", "", Syslinux},
		{"extlinux.conf", "menuentry", Syslinux},
		{"pxelinux.cfg/default", "", Syslinux},
		{"syslinux/sub/a.cfg", "x", Syslinux},
		{"boot/isolinux/grub.cfg", "set a=1\nmenuentry a {\n}\n", GRUB},
		{"boot/grub/x.cfg", "label a", GRUB},
		{"boot/grub/theme.txt", "menuentry", 0},
		{"boot/grub/grubenv", "kernelopts=x", 0},
		{"boot/grub/grubenv", "# GRUB Environment Block\nkernelopts=x\n####", Environment},
		{"EFI/fedora/grub.cfg", "", GRUB},
		{"/antiX-Frugal/grub.entry", "", GRUB},
		{"loader/entries/x.conf", "", Loader},
		{"EFI/loader/loader.conf", "", Loader},
		{"entries/x.conf", "title x", 0},
		{"EFI/BOOT/BOOT.conf", "menuentry 'a' {\n}", GRUB},
		{"txt.cfg", "default live\nlabel live\n  kernel /v\n", Syslinux},
		{"x.cfg", "set a=1\n", 0},
		{"x.cfg", "label a\nkernel b\x00", 0},
		{"boot/vmlinuz", "label a\n", 0},
	} {
		if k, ok := KindOf(c.path, []byte(c.text)); k != c.kind || ok != (c.kind != 0) {
			t.Errorf("%s: %v %v", c.path, k, ok)
		}
	}
}

func TestPersistence(t *testing.T) {
	for layout, gone := range map[string]string{
		"antix": "persist_all persist_static p_static_root frugal_only pdir=/x puuid=1 fromiso=/a.iso persist=root p=home pluks " +
			"fluks1=hd mk_swap_file=64",
		"liveos": "rd.live.overlay=LABEL=x rd.live.overlay.reset overlay=UUID=1 rd.overlay=LABEL=$x rd.overlay=UUID=1-2:/a " +
			"rd.overlay=/dev/sdb2 rd.overlay=PARTLABEL=x rd.overlay.reset rd.overlay.readonly=1 rd.overlay.crypt=UUID=1 " +
			"rd.live.overlay.persistent",
		"archiso": "cow_label=x cow_persistent=P img_loop=/a.iso",
		"debian":  "persistence persistence-encryption=luks findiso=/a.iso isofrom=/a.iso rd.overlay=LABEL=x",
		"casper":  "persistent persistent-path=/x iso-scan/filename=/a.iso",
	} {
		keep := "nopersistence nopersistent rd.live.overlay.nouserconfirmprompt rd.overlay rd.overlay=1 rd.overlay=tmpfs:size=2G quiet " +
			"persistently=1 rd.live.image rd.live.overlay.overlayfs=1 rd.live.overlay.size=100 cow_spacesize=1G boot=live toram pdir2=1 " +
			"findiso=${iso_path} iso-scan/filename=${iso_path} fromiso=$iso_path img_loop=$x"
		if layout == "antix" {
			keep += " noremaster persistence"
		}
		e := &Edits{Remove: Persistence(layout)}
		text := "linux /v " + keep + " " + gone + "\n"
		if got, _ := apply(t, e, GRUB, "x", text); got != "linux /v "+keep+"\n" {
			t.Errorf("%s: %s", layout, got)
		}
	}
	if Persistence("other") != nil || len(Placement("casper")) != 0 || len(Placement("antix")) == 0 {
		t.Error(Persistence("other"), Placement("casper"), Placement("antix"))
	}
	for layout, gone := range map[string]string{
		"antix":  "bdev=sdb1 bootdev=sdb from=usb bluks bluks1=hd encrypt=both encrypt fstype=crypto_LUKS sqname=my sqext=sq sq=antiX/my",
		"liveos": "rd.live.squashimg=my.img",
		"debian": "live-media=/dev/sdb1 live-media=removable-usb bootfrom=/dev/sdb live-media-offset=64 todisk=/dev/sda",
		"casper": "live-media=UUID=1 todisk=/dev/sda",
	} {
		const keep = "quiet nocrypt live-media=removable live-media=$x live-media-path=/x rd.live.dir=LiveOS bdir=/antiX"
		e := &Edits{Remove: Machine(layout)}
		if got, _ := apply(t, e, GRUB, "x", "linux /v "+keep+" "+gone+"\n"); got != "linux /v "+keep+"\n" {
			t.Errorf("%s: %s", layout, got)
		}
	}
	for i := range layouts {
		if _, _, err := (&Edits{Remove: slices.Concat(Persistence(layouts[i].name), Placement(layouts[i].name),
			Machine(layouts[i].name))}).Apply(GRUB, "x", nil); err != nil {
			t.Error(err)
		}
	}
}
