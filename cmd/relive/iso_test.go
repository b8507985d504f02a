package main

import (
	"bytes"
	"context"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"relive/iso"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// isoTestCode is what stands for isohybrid's code in an MBR: the text by which it
// is known.
func isoTestCode() []byte {
	code := make([]byte, 440)
	copy(code[64:], "isolinux.bin missing or corrupt")
	return code
}

// mkiso [-boot] [-efi DIR] [-append] [-md5] [-nojoliet] [-volid NAME] FILE DIR
// makes an image of the files in DIR. -boot gives it isolinux/isolinux.bin, a
// boot catalogue and an MBR, -efi an EFI image of another directory as
// boot/grub/efi.img, -append that one appended instead, -md5 an implanted sum.
func makeISOCommand(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	r := iso.Recipe{VolumeID: "TEST", Time: epoch}
	boot, appended, md5 := false, false, false
	efi := ""
	for len(args) > 2 {
		switch args[0] {
		case "-boot":
			boot = true
		case "-append":
			appended = true
		case "-md5":
			md5 = true
		case "-nojoliet":
			r.NoJoliet = true
		case "-efi":
			efi, args = args[1], args[1:]
		case "-volid":
			r.VolumeID, args = args[1], args[1:]
		default:
			ts.Fatalf("mkiso: unknown flag %s", args[0])
		}
		args = args[1:]
	}
	root, err := loadTree(ts.MkAbs(args[1]))
	ts.Check(err)
	var e tree.Edits
	if boot {
		image := file("", bytes.Repeat([]byte("ISOLINUX"), 600))
		e.Put("isolinux/isolinux.bin", image)
		r.Catalog = "isolinux/boot.cat"
		r.Boot = append(r.Boot, iso.BootImage{Path: "isolinux/isolinux.bin", BootInfo: true})
		r.Disk = &iso.Disk{Code: isoTestCode(), Kind: iso.Isohybrid, Table: iso.TableBoth}
	}
	if efi != "" {
		content, err := loadTree(ts.MkAbs(efi))
		ts.Check(err)
		p, err := fat.NewPlan(ctx, content, fat.BuildOptions{Size: 1440 << 10, Label: "EFI"})
		ts.Check(err)
		if appended {
			r.Appended = append(r.Appended, iso.Partition{Data: p.Data(), Size: p.Size()})
			r.Boot = append(r.Boot, iso.BootImage{Appended: 1, Platform: iso.PlatformEFI})
		} else {
			n := file("", nil)
			n.Data, n.Size = p.Data(), p.Size()
			e.Put("boot/grub/efi.img", n)
			r.Boot = append(r.Boot, iso.BootImage{Path: "boot/grub/efi.img", Platform: iso.PlatformEFI})
		}
	}
	root, err = e.Apply(root)
	ts.Check(err)
	p, err := iso.NewPlan(ctx, root, r)
	ts.Check(err)
	ts.Check(create(ts.MkAbs(args[0]), func(f *os.File) error {
		rep, err := p.Write(ctx, f, nil)
		if err == nil && md5 {
			_, err = iso.ImplantMD5(ctx, f, rep.Size, "test.iso", false, nil)
		}
		return err
	}))
}

// mkbig FILE SIZE makes a file of noise.
func makeBigCommand(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), noise(9, size), 0o644))
}
