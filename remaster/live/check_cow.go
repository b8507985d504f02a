package live

import (
	"context"

	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// CheckCOW refuses what is no copy-on-write store of a snapshot: a file that holds
// something else that is known. A store whose header is zero is a new one. Where
// it is to be written to it must be zero throughout, since the header may be lost,
// or of what was never a store; empty then says so. Nothing is wrong with what is
// of no known kind otherwise: whoever reads its header tells.
func CheckCOW(ctx context.Context, c tree.Content, path string, writes bool) error {
	res, err := ProbeContent(c, path)
	if err != nil {
		return err
	}
	if res.Kind == probe.COW {
		return nil
	}
	if res.Kind.Known() {
		return refusal.New(refusal.WrongKind, "name the overlay of a live system; if what the file holds is not wanted any more, wipe it "+
			"yourself (wipefs -a "+path+") and begin again",
			"%s: it holds %s, and is no COW", path, res.Name())
	}
	if !writes {
		return nil
	}
	at, err := DataBehind(ctx, c)
	if err != nil || at < 0 {
		return err
	}
	return refusal.New(refusal.NeedsForce, say.RecoverCOW+" "+say.ChunkSize+" 4K "+say.DryRun+" "+path+
		" tells whether there is anything to save; if it is a COW that was emptied, "+say.ResetCOW+" "+say.Force+" "+say.KeepChunk+" "+path+
		" gives it a header",
		"%s: its header is zero, but there is data in it from byte %d on: it may be a COW that was emptied, one whose header is lost, or "+
			"none at all", path, at)
}

// DataBehind returns the place of the first data in a copy-on-write store whose
// magic number is zero; -1 where there is none, or where it has another.
func DataBehind(ctx context.Context, c tree.Content) (int64, error) {
	var magic [4]byte
	if err := tree.ReadFull(c, magic[:], 0); err != nil || magic != [4]byte{} {
		return -1, nil // what reads the header tells
	}
	return probe.FirstData(ctx, c)
}
