package bootedit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"relive/iso"
	"relive/remaster/job"
	"relive/remaster/readback"
	"relive/tree"
)

// ReadBack compares an ISO, as it is on the disk, with what it was made of.
// Every verb that writes one does so before the ISO gets its name. No byte is left
// out: the content of files is compared through the directories of the image, all
// else with what the plan wrote, and what makes it boot is read once more as iso
// info and iso rebuild read it.
type ReadBack struct {
	Env    *job.Env
	Name   string // what errors call the image
	Plan   *iso.Plan
	Recipe iso.Recipe
	// Root is the tree that the image was made of, left what the set-up that it has
	// from another image lacked there already.
	Root *tree.Node
	Left []string
	// Implanted is the sum that was put in, nil for none.
	Implanted *iso.ImplantedMD5
	// Late checks the content of files that were made while the image was written,
	// by path.
	Late map[string]func(ctx context.Context, n *tree.Node) error
}

// Run reads an image of size bytes back.
func (b *ReadBack) Run(ctx context.Context, r io.ReaderAt, size int64) error {
	img, err := iso.Open(r, size, b.Name)
	if err != nil {
		return b.wrong(err)
	}
	got, err := img.Root()
	if err != nil {
		return b.wrong(err)
	}
	g, within := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := b.Plan.Verify(within, r, size, b.Implanted); err != nil {
			return b.wrong(err)
		}
		return nil
	})
	g.Go(func() error { return b.sameTree(within, got) })
	g.Go(func() error { return b.sameRecipe(within, img) })
	for _, l := range b.Recipe.Late {
		g.Go(func() error { return b.sameLate(within, got, strings.Trim(l.Path, "/")) })
	}
	if b.Implanted != nil {
		g.Go(func() error { return b.sameSum(within, img) })
	}
	err = g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx) // and nothing is wrong with what was written
	}
	return err
}

func (b *ReadBack) wrong(err error) error {
	return fmt.Errorf("%s: %w: %w", b.Name, readback.Err, err)
}

// sameTree compares the image's tree, with the content of all files that are not
// compared otherwise.
func (b *ReadBack) sameTree(ctx context.Context, got *tree.Node) error {
	var edits tree.Edits
	other := map[string]bool{} // files whose content the plan or their maker compares
	for _, l := range b.Recipe.Late {
		at := strings.Trim(l.Path, "/")
		other[at] = true
		want, err := b.Root.Lookup(at)
		if err != nil {
			return err
		}
		now, err := got.Lookup(at)
		if err != nil {
			return b.wrong(err)
		}
		if now == nil {
			return fmt.Errorf("%s: %w: %s is not there", b.Name, readback.Err, tree.Quote(at))
		}
		n := *want
		n.Size = now.Size // as large as it came to
		edits.Put(at, &n)
	}
	for _, i := range b.Recipe.Boot {
		if i.Path != "" && (i.BootInfo || i.Grub2Info) {
			other[strings.Trim(i.Path, "/")] = true
		}
	}
	if at := strings.Trim(b.Recipe.Catalog, "/"); at != "" && len(b.Recipe.Boot) > 0 {
		// It is made anew.
		other[at] = true
		n := tree.NewFile("", 0o444, make([]byte, 2048))
		n.Mtime = b.Recipe.Time
		edits.Put(at, n)
	}
	want, err := edits.Apply(b.Root)
	if err != nil {
		return err
	}
	var done int64
	return readback.Equal(ctx, b.Name, want, got, tree.CompareOptions{
		WholeSeconds: true, Links: true, IgnoreXattr: func(string) bool { return true },
		SameContent: func(at string, x, y *tree.Node) (same bool, err error) {
			if same = other[at]; !same {
				if same, err = tree.SameContent(ctx, x, y); err != nil || !same {
					return false, err
				}
			}
			done += x.Size
			b.Env.Done(done)
			return same, nil
		},
	})
}

// sameLate has a file checked that was made while the image was written.
func (b *ReadBack) sameLate(ctx context.Context, got *tree.Node, at string) error {
	n, err := got.Lookup(at)
	if err == nil && (n == nil || n.Type != tree.Regular) {
		err = fmt.Errorf("%s is not there", tree.Quote(at))
	}
	if err != nil {
		return b.wrong(err)
	}
	check := b.Late[at]
	if check == nil {
		return fmt.Errorf("%s: nothing compares what was written", tree.Quote(at))
	}
	return check(ctx, n)
}

// sameSum verifies the implanted sum.
func (b *ReadBack) sameSum(ctx context.Context, img *iso.Image) error {
	res, err := img.CheckMD5(ctx, nil)
	if err != nil {
		return b.wrong(err)
	}
	if !res.Pass || res.Sum != b.Implanted.Sum {
		return fmt.Errorf("%s: %w: the implanted MD5 sum is wrong from byte %d on", b.Name, readback.Err, res.DamageFrom)
	}
	return nil
}

// sameRecipe compares what makes the new image boot, as it is read, with what was
// asked for.
func (b *ReadBack) sameRecipe(ctx context.Context, img *iso.Image) error {
	got, left, err := img.Replay(ctx)
	if err != nil {
		return b.wrong(err)
	}
	// What the old image has of the kind, and is kept, the new one has, too. What the
	// recipe's own code tells of is not the image's fault.
	left = slices.DeleteFunc(left, func(s string) bool {
		return slices.Contains(b.Left, s) || b.Recipe.Disk != nil && b.Recipe.Disk.Kind == iso.OtherCode &&
			strings.HasPrefix(s, "the certainty")
	})
	if len(left) > 0 {
		return fmt.Errorf("%s: %w: it has %s", b.Name, readback.Err, strings.Join(left, ", "))
	}
	for _, what := range recipeDifferences(b.Recipe, got) {
		return fmt.Errorf("%s: %w: another %s", b.Name, readback.Err, what)
	}
	a, err := img.SystemArea()
	if err != nil {
		return b.wrong(err)
	}
	if d := b.Recipe.Disk; d != nil && d.Table != iso.TableMBR {
		for _, g := range []*iso.GPT{a.GPT, a.BackupGPT} {
			if g == nil || !g.HeaderValid || !g.EntriesValid {
				return fmt.Errorf("%s: %w: the GPT is wrong", b.Name, readback.Err)
			}
		}
	}
	return nil
}

// recipeDifferences names the parts in which two recipes differ, but for what is
// made up where the first leaves it open.
func recipeDifferences(want, got iso.Recipe) (out []string) {
	check := func(what string, same bool) {
		if !same {
			out = append(out, what)
		}
	}
	check("volume id", want.VolumeID == got.VolumeID && want.SystemID == got.SystemID && want.VolumeSetID == got.VolumeSetID)
	check("text of the volume", want.Publisher == got.Publisher && want.Preparer == got.Preparer && want.Application == got.Application)
	check("name of a text's file", want.Copyright == got.Copyright && want.Abstract == got.Abstract &&
		want.Bibliographic == got.Bibliographic)
	check("time of the volume", want.Time == (tree.Time{}) || want.Time.Sec == got.Time.Sec && want.Zone == got.Zone)
	check("name space", want.NoJoliet == got.NoJoliet)
	check("boot catalogue", len(want.Boot) == 0 || strings.Trim(want.Catalog, "/") == strings.Trim(got.Catalog, "/") &&
		want.CatalogID == got.CatalogID)
	check("number of boot images", len(want.Boot) == len(got.Boot))
	for i := range min(len(want.Boot), len(got.Boot)) {
		check(fmt.Sprintf("boot image %d", i+1), sameBootImage(want.Boot[i], got.Boot[i]))
	}
	check("number of appended partitions", len(want.Appended) == len(got.Appended))
	if (want.Disk == nil) != (got.Disk == nil) {
		check("partition table", false)
	} else if want.Disk != nil {
		w, g := want.Disk, got.Disk
		check("MBR code", w.Kind == g.Kind && sameCode(w, g))
		check("disk id", w.ID == 0 || w.ID == g.ID)
		check("partition table", w.Table == g.Table && w.Mountable == g.Mountable && w.Start == g.Start && w.Inactive == g.Inactive &&
			max(1, w.Entry) == max(1, g.Entry))
	}
	return out
}

// sameBootImage compares two entries of a boot catalogue; what the first leaves
// open may be anything.
func sameBootImage(w, g iso.BootImage) bool {
	w.Path, g.Path = strings.Trim(w.Path, "/"), strings.Trim(g.Path, "/")
	if (w.Hidden == nil) != (g.Hidden == nil) {
		return false
	}
	w.Hidden, g.Hidden = nil, nil
	if w.Sectors == 0 && !w.SectorsNone {
		g.Sectors, g.SectorsNone, g.SectorsAll = 0, false, w.SectorsAll
	} else if w.Sectors == g.Sectors || g.SectorsAll {
		w.Sectors, g.Sectors, g.SectorsAll = 0, 0, w.SectorsAll
	}
	if w.LoadSegment == 0 {
		g.LoadSegment = 0
	}
	if w.GPT == nil || g.GPT == nil {
		w.GPT, g.GPT = nil, nil
	} else if w.GPT.GUID == (iso.GUID{}) {
		made := *g.GPT
		made.GUID = iso.GUID{}
		g.GPT = &made
	}
	return reflect.DeepEqual(w, g)
}

// sameCode compares the code of two MBRs but for the addresses in it.
func sameCode(w, g *iso.Disk) bool {
	a, b := slices.Clone(w.Code), slices.Clone(g.Code[:min(len(w.Code), len(g.Code))])
	const usual = 432 // of the boot image's address
	for _, at := range append([]iso.Address{{At: usual}}, w.Loads...) {
		for _, p := range [][]byte{a, b} {
			clear(p[min(at.At, len(p)):min(at.At+8, len(p))])
		}
	}
	return bytes.Equal(a, b)
}
