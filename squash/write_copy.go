package squash

import (
	"fmt"

	"relive/internal/hostcopy"
)

func (w *dataWriter) copier() hostcopy.Copier {
	return hostcopy.Copier{Ctx: w.ctx, Out: w.out, Base: w.base, Done: w.progress.Copied}
}

// copySources copies the ranges of files and fragment blocks that are copied as
// a whole.
func (w *dataWriter) copySources() error {
	c := w.copier()
	for _, s := range w.plan.sources {
		for _, e := range s.extents {
			if err := c.Copy(&s.img.stored, e.copied()); err != nil {
				return err
			}
		}
	}
	c.Finish()
	return nil
}

// keptRun is a range of stored blocks of a mixed file, and where it goes.
type keptRun struct {
	file *file
	extent
}

// copyRuns copies the runs of mixed files, whose places the collector finds one
// by one.
func (w *dataWriter) copyRuns() error {
	c := w.copier()
	for r := range w.runs {
		if err := c.Copy(&r.file.more.stored.Image.stored, r.copied()); err != nil {
			return fmt.Errorf("%s: %w", r.file.describe(), err)
		}
	}
	c.Finish()
	return nil
}
