package remaster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"relive/iso"
	"relive/tree"
)

// readBack compares a new image, as it is on the disk, with the tree that it was
// made of, and its boot catalogue, system area and appended partitions with the
// recipe.
func (p *RebuildPlan) readBack(ctx context.Context, f *os.File, size int64) error {
	name := filepath.Base(p.o.Output)
	img, err := iso.Open(f, size, name)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	got, err := img.Root()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	want, patched, err := p.expected()
	if err != nil {
		return err
	}
	var done int64
	o := tree.CompareOptions{WholeSeconds: true, Links: true, IgnoreXattr: func(string) bool { return true },
		SameContent: func(at string, a, b *tree.Node) (bool, error) {
			same := true
			if at != strings.Trim(p.recipe.Catalog, "/") || p.recipe.Catalog == "" {
				var err error
				if same, err = sameBut(ctx, a, b, patched[at]); err != nil || !same {
					return false, err
				}
			}
			done += a.Size
			p.env.done(done)
			return same, nil
		}}
	if err := mustEqual(ctx, name, want, got, o); err != nil {
		return err
	}
	return p.sameRecipe(ctx, name, img)
}

// span is a range of bytes.
type span struct{ from, to int64 }

// The bytes of a boot image that hold its address: the boot information table
// and GRUB's (libisofs doc/boot_sectors.txt).
var (
	bootInfoSpan  = span{8, 64}
	grub2InfoSpan = span{2548, 2556}
)

// expected gives the tree that the new image is to show, and for boot images
// that hold their address which bytes are others.
func (p *RebuildPlan) expected() (root *tree.Node, patched map[string][]span, err error) {
	patched = map[string][]span{}
	for _, b := range p.recipe.Boot {
		at := strings.Trim(b.Path, "/")
		if b.Path != "" && b.BootInfo {
			patched[at] = append(patched[at], bootInfoSpan)
		}
		if b.Path != "" && b.Grub2Info {
			patched[at] = append(patched[at], grub2InfoSpan)
		}
	}
	if p.recipe.Catalog == "" || len(p.recipe.Boot) == 0 {
		return p.root, patched, nil
	}
	// The catalogue is made anew.
	var e tree.Edits
	n := tree.NewFile("", 0o444, make([]byte, 2048))
	n.Mtime = p.recipe.Time
	e.Put(p.recipe.Catalog, n)
	root, err = e.Apply(p.root)
	return root, patched, err
}

// sameBut compares two files' content but for some bytes.
func sameBut(ctx context.Context, a, b *tree.Node, but []span) (bool, error) {
	if len(but) == 0 {
		return tree.SameContent(ctx, a, b)
	}
	if a.Size != b.Size {
		return false, nil
	}
	const most = 64 << 20 // of a boot image with its address
	x, err := tree.ReadAll(a, most)
	if err != nil {
		return false, err
	}
	y, err := tree.ReadAll(b, most)
	if err != nil {
		return false, err
	}
	for _, s := range but {
		clear(x[min(s.from, int64(len(x))):min(s.to, int64(len(x)))])
		clear(y[min(s.from, int64(len(y))):min(s.to, int64(len(y)))])
	}
	return bytes.Equal(x, y), nil
}

// sameRecipe compares what makes the new image boot with what was asked for.
func (p *RebuildPlan) sameRecipe(ctx context.Context, name string, img *iso.Image) error {
	got, left, err := img.Replay(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	// What the old image has of the kind, and is kept, the new one has, too.
	left = slices.DeleteFunc(left, func(s string) bool { return slices.Contains(p.Summary.Left, s) })
	if len(left) > 0 {
		return fmt.Errorf("%s: %w: it has %s", name, ErrReadBack, strings.Join(left, ", "))
	}
	want := p.recipe
	for i := range want.Appended {
		if i >= len(got.Appended) {
			return fmt.Errorf("%s: %w: %d appended partitions, not %d", name, ErrReadBack, len(got.Appended), len(want.Appended))
		}
		as := func(q iso.Partition) *tree.Node {
			return &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: q.Size}, Data: q.Data}
		}
		same, err := sameUpTo(ctx, as(want.Appended[i]), as(got.Appended[i]), want.Appended[i].Size)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("%s: %w: appended partition %d differs", name, ErrReadBack, i+1)
		}
	}
	a, err := img.SystemArea()
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	for _, g := range []*iso.GPT{a.GPT, a.BackupGPT} {
		if want.Disk != nil && want.Disk.Table != iso.TableMBR && (g == nil || !g.HeaderValid || !g.EntriesValid) {
			return fmt.Errorf("%s: %w: the GPT is wrong", name, ErrReadBack)
		}
	}
	for _, what := range recipeDifferences(want, got) {
		return fmt.Errorf("%s: %w: another %s", name, ErrReadBack, what)
	}
	return nil
}

// sameUpTo compares the first n bytes of two files, of which the second may be
// longer.
func sameUpTo(ctx context.Context, a, b *tree.Node, n int64) (bool, error) {
	x, err := a.Open()
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := b.Open()
	if err != nil {
		return false, err
	}
	defer y.Close()
	if y.Size() < n {
		return false, nil
	}
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); off < n; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		k := min(int64(len(p)), n-off)
		if err := tree.ReadFull(x, p[:k], off); err != nil {
			return false, err
		}
		if err := tree.ReadFull(y, q[:k], off); err != nil {
			return false, err
		}
		if !bytes.Equal(p[:k], q[:k]) {
			return false, nil
		}
		off += k
	}
	return true, nil
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
	check("time of the volume", want.Time == (tree.Time{}) || want.Time.Sec == got.Time.Sec)
	check("name space", want.NoJoliet == got.NoJoliet)
	check("boot catalogue", strings.Trim(want.Catalog, "/") == strings.Trim(got.Catalog, "/"))
	check("number of boot images", len(want.Boot) == len(got.Boot))
	for i := range min(len(want.Boot), len(got.Boot)) {
		w, g := want.Boot[i], got.Boot[i]
		w.Path, g.Path = strings.Trim(w.Path, "/"), strings.Trim(g.Path, "/")
		// 0 stands for what is usual.
		if w.Sectors == 0 {
			g.Sectors = 0
		}
		if w.LoadSegment == 0 {
			g.LoadSegment = 0
		}
		check(fmt.Sprintf("boot image %d", i+1), reflect.DeepEqual(w, g))
	}
	if (want.Disk == nil) != (got.Disk == nil) {
		check("partition table", false)
	} else if want.Disk != nil {
		w, g := *want.Disk, *got.Disk
		const code = 432 // bytes before the boot image's address
		check("MBR code", w.Kind == g.Kind && bytes.Equal(w.Code[:min(code, len(w.Code))], g.Code[:min(code, len(g.Code), len(w.Code))]))
		check("disk id", w.ID == 0 || w.ID == g.ID)
		check("partition table", w.Table == g.Table && w.Mountable == g.Mountable)
	}
	return out
}

// checkSum verifies the implanted sum.
func (p *RebuildPlan) checkSum(ctx context.Context, f *os.File, size int64) error {
	name := filepath.Base(p.o.Output)
	img, err := iso.Open(f, size, name)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	res, err := img.CheckMD5(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrReadBack, err)
	}
	if !res.Pass {
		return fmt.Errorf("%s: %w: the implanted MD5 sum is wrong from byte %d on", name, ErrReadBack, res.DamageFrom)
	}
	return nil
}
