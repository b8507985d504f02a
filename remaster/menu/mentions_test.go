package menu

import (
	"strings"
	"testing"

	"relive/tree"
)

func TestDecodeLabel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a": "a", `a\x20b`: "a b", `\x5cx`: `\x`, `\x2`: `\x2`, `\xzz`: `\xzz`, `\`: `\`} {
		if got := DecodeLabel(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, label := range []string{"A B", "ümläut", `back\slash`, "a/b", "x(1)", "plain-1.0_x"} {
		if got := DecodeLabel(EncodeLabel(label)); got != label {
			t.Errorf("%q: %q", label, got)
		}
	}
}

// A label with a blank is found in every form that loaders and kernels read, and
// the new one has the same form.
func TestLabelWithBlank(t *testing.T) {
	t.Parallel()
	for now, forms := range map[string][3]string{"NEW": {"NEW", "NEW", "NEW"}, "NEW 2": {`NEW\x202`, "NEW 2", `NEW\0402`}} {
		e := &Edits{Labels: map[string]string{"Cent OS 7": now}}
		for _, c := range []struct {
			kind     Kind
			old, new string
		}{
			{GRUB, `linuxefi /v inst.stage2=hd:LABEL=Cent\x20OS\x207 inst.ks=hd:LABEL=Cent\x20OS\x207:/ks.cfg`,
				`linuxefi /v inst.stage2=hd:LABEL=` + forms[0] + ` inst.ks=hd:LABEL=` + forms[0] + `:/ks.cfg`},
			{GRUB, `linux /v 'root=live:CDLABEL=Cent\x20OS\x207' "a=LABEL=Cent\x20OS\x207"`, `linux /v 'root=live:CDLABEL=` + forms[0] +
				`' "a=LABEL=` + forms[0] + `"`},
			{GRUB, `search --set=root -l 'Cent OS 7'`, `search --set=root -l '` + forms[1] + `'`},
			{GRUB, `search --label "Cent OS 7" --set`, `search --label "` + forms[1] + `" --set`},
			{GRUB, `set isolabel="Cent OS 7"`, `set isolabel="` + forms[1] + `"`},
			{GRUB, `linux /v "root=LABEL=Cent OS 7"`, `linux /v "root=LABEL=` + forms[1] + `"`},
			{Syslinux, `append root=live:LABEL=Cent\x20OS\x207 quiet`, `append root=live:LABEL=` + forms[0] + ` quiet`},
			{Syslinux, `append root="LABEL=Cent OS 7" quiet`, `append root="LABEL=` + forms[1] + `" quiet`},
			{Syslinux, `append fstab=LABEL=Cent\040OS\0407:/x`, `append fstab=LABEL=` + forms[2] + `:/x`},
			{Loader, `options archisolabel=Cent\x20OS\x207 quiet`, `options archisolabel=` + forms[0] + ` quiet`},
		} {
			head := map[Kind]string{Syslinux: "label x\nlinux /v\n", Loader: "linux /v\n"}[c.kind]
			if got, _ := apply(t, e, c.kind, "x.cfg", head+c.old+"\n"); got != head+c.new+"\n" {
				t.Errorf("%q\nbecame %q\nnot    %q", c.old, got[len(head):], c.new)
			}
		}
	}
}

func TestMentions(t *testing.T) {
	t.Parallel()
	refind := tree.NewFile("refind.conf", 0o644,
		[]byte("menuentry \"A B\" {\n  volume \"A B\"\n  options \"root=live:LABEL=A\\x20B quiet\"\n}\n# volume \"A B\"\n"))
	syslinux := tree.NewFile("isolinux.cfg", 0o644,
		[]byte("label A B\nmenu label A B\nappend root=LABEL=A\\040B:/x\nappend PARTLABEL=A\\x20B LABEL=A\\x20BC\n"))
	program := tree.NewFile("BOOTX64.EFI", 0o644, []byte("MZ\x00\x00 --label A B"))
	script := tree.NewFile("ks.cfg", 0o644, []byte("harddrive --partition=LABEL=\"A B\"\nuuid 2026-01-01-00-00-00-00\n"))
	root := tree.NewDir("", 0o755, tree.NewDir("EFI", 0o755, tree.NewDir("BOOT", 0o755, program, refind)),
		tree.NewDir("isolinux", 0o755, syslinux),
		tree.NewDir("usr", 0o755, tree.NewFile("x", 0o644, []byte("LABEL=A\\x20B"))), script)
	found, err := Mentions(t.Context(), root, []string{"A B"}, []string{"2026-01-01-00-00-00-00"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range found {
		got = append(got, m.File+":"+string(rune('0'+m.Line)))
	}
	if want := "EFI/BOOT/refind.conf:2 EFI/BOOT/refind.conf:3 isolinux/isolinux.cfg:3 ks.cfg:1 ks.cfg:2"; strings.Join(got, " ") != want {
		t.Errorf("%q, not %q", got, want)
	}
}
