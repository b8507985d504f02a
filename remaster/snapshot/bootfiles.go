package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/bootfiles"
	"relive/remaster/menu"
	"relive/remaster/osrelease"
	"relive/remaster/packages"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
	"relive/tree/hostfs"
)

// bootFiles takes what boots from the medium, or from packages. own has the kernel
// and the initrd that come along.
func (p *Plan) bootFiles(ctx context.Context, own *tree.Node) error {
	s := &p.Summary
	host, err := hostfs.Open("/")
	if err != nil {
		return err
	}
	if p.o.Boot == BootMedium {
		// What starts the loader from a disk lies before all files, so no medium
		// has it as a file.
		setup, err := bootfiles.Find(ctx, p.root, p.live.Merged, host)
		if err != nil {
			return err
		}
		if len(setup.Boot) > 0 {
			return p.setUp(ctx, setup)
		}
		return refusal.New(refusal.NoBootFiles, "give an ISO with "+say.Template+", or take boot files of packages with "+say.Boot+
			" system or "+say.Boot+" host", "%s: has no loader that an ISO boots with: %s", p.form.Root, strings.Join(setup.Notes, "; "))
	}
	// The menu names what kernel comes to lie on the ISO.
	if err := p.kernel(ctx, own); err != nil {
		return err
	}
	if err := p.texts(ctx); err != nil {
		return err
	}
	title := p.o.Title
	if title == "" {
		release, err := osrelease.Read(p.live.Merged)
		if err != nil {
			return err
		}
		title = cmp.Or(release["PRETTY_NAME"], p.live.Layout.Name())
	}
	made := func(label string) *menu.Menu {
		return &menu.Menu{Title: title, Timeout: 10, Entries: []menu.Entry{
			{Title: title, Kernel: "/" + s.Kernel, Initrd: []string{"/" + s.Initrd}, Args: p.form.Arguments(label, p.uuid())},
		}}
	}
	label := menu.EncodeLabel(p.recipe.VolumeID)
	menus := bootfiles.Menus{
		ISOLINUX: func(ui string) ([]byte, error) {
			return made(label).Text(menu.Syslinux, menu.TextOptions{UI: ui})
		},
		GRUB: func() ([]byte, error) {
			label := label
			if strings.Contains(label, `\`) {
				label = "" // GRUB hands a backslash on as two
			}
			return made(label).Text(menu.GRUB, menu.TextOptions{UUID: p.uuid()})
		},
	}
	system := p.live.Merged
	if p.o.Boot == BootHost {
		system = host
	}
	setup, err := bootfiles.FromPackages(ctx, system, menus, bootfiles.Options{Title: title})
	if err != nil {
		return err
	}
	if len(setup.Boot) == 0 {
		hint := "install isolinux, syslinux-common and grub-efi-amd64-bin (Debian's names) in it, give an ISO with " + say.Template +
			", or take " + "the packages of this system with " + say.Boot + " host"
		where := "the live system"
		if p.o.Boot == BootHost {
			hint, where = "install isolinux, syslinux-common and grub-efi-amd64-bin (Debian's names), or give an ISO with "+say.Template,
				"this system"
		}
		return refusal.New(refusal.NoBootFiles, hint, "%s has no loader that an ISO boots with: %s", where, strings.Join(setup.Notes, "; "))
	}
	return p.setUp(ctx, setup)
}

// setUp takes a set-up over.
func (p *Plan) setUp(ctx context.Context, setup *bootfiles.Setup) error {
	if setup.Root != nil {
		var err error
		if p.root, err = laid(ctx, p.root, setup.Root); err != nil {
			return err
		}
	}
	r := &p.recipe
	r.Boot, r.Catalog, r.Disk, r.Appended = setup.Boot, setup.Catalog, setup.Disk, setup.Appended
	if r.Disk != nil && r.Disk.Table == iso.TableGPT && len(r.Disk.Code) > 0 {
		r.Disk.Active = true // some BIOSes start no disk without an active entry
	}
	if err := p.holdVolume(setup.Root); err != nil {
		return err
	}
	p.Summary.Boot = setup.Origin
	for _, n := range setup.Notes {
		p.warn("%s", n)
	}
	return nil
}

// packageList plans the list of packages beside the ISO.
func (p *Plan) packageList(ctx context.Context) error {
	lists, err := packages.Find(ctx, p.base.System)
	if tree.IsDamage(err) {
		p.warn("there is no list of packages: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if len(lists) == 0 {
		p.warn("there is no list of packages: the system has no database of dpkg, rpm, pacman or apk")
	}
	lists = slices.DeleteFunc(lists, func(l packages.List) bool {
		if l.Unread != "" {
			p.warn("the packages of %s are not listed: %s", l.Source, l.Unread)
		}
		return l.Unread != ""
	})
	if len(lists) == 0 {
		return nil
	}
	p.beside = append(p.beside, sidecar{".packages", func() ([]byte, error) {
		var b bytes.Buffer
		for _, l := range lists {
			if err := l.Write(&b); err != nil {
				return nil, err
			}
		}
		return b.Bytes(), nil
	}})
	return nil
}
