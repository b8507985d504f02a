package doctor

import (
	"context"

	"relive/remaster/bootable"
	"relive/remaster/say"
)

// system looks whether the system can come up to a shell.
func (d *doctor) system(ctx context.Context) error {
	lost, ails, judged, err := bootable.BootFindings(ctx, d.l)
	if err != nil {
		return err
	}
	for _, s := range lost {
		d.tell("cannot-boot", Certain,
			"see what was deleted ("+say.Diff+"), bring it back, or empty the overlay ("+say.Reset+"); do not compact before",
			"what base and overlay show does not boot, or not to a shell: %s", s)
	}
	for _, s := range ails {
		d.tell("may-not-boot", Likely, "see whether the base is whole ("+say.Verify+") and which kernels the medium has",
			"the system may not boot, or not to a shell: %s", s)
	}
	misses, err := d.l.BootMisses(ctx)
	if err != nil {
		return err
	}
	if misses != "" {
		d.tell("initrd-finds-no-base", Certain,
			"boot with the kernel and the initrd that the base came with; a compaction of it with "+say.Flatten+
				" holds files, which any dracut boots",
			"a boot finds no base: %s", misses)
	}
	if !judged {
		d.notes = append(d.notes, "the base has no init (/sbin/init, /lib/systemd/systemd, /init), so that nothing tells whether it boots")
	}
	return nil
}
