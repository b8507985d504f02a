package baseimage

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/job"
	"relive/squash"
)

// ErrDamaged is the error of a check that found something.
var ErrDamaged = errors.New("damaged")

// VerifyImage is VerifyFile for an opened image, with an error for damage.
func VerifyImage(ctx context.Context, e *job.Env, r *squash.Reader, progress func(done, total int64)) error {
	rep, err := squash.Verify(ctx, r, squash.VerifyOptions{Workers: e.Jobs, Progress: progress})
	if err != nil {
		return err
	}
	for _, f := range rep.Findings {
		if !f.Warning {
			return fmt.Errorf("%w: %s (%d findings)", ErrDamaged, f, len(rep.Findings)+rep.More)
		}
	}
	return nil
}
