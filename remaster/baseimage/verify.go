package baseimage

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/job"
	"relive/remaster/packed"
)

// ErrDamaged is the error of a check that found something.
var ErrDamaged = errors.New("damaged")

// VerifyImage is VerifyFile for an opened image, with an error for damage.
func VerifyImage(ctx context.Context, e *job.Env, r packed.Image, progress func(done, total int64)) error {
	rep, err := r.Verify(ctx, packed.VerifyOptions{Workers: e.Jobs, Progress: progress})
	if err == nil && rep.Damage != "" {
		err = fmt.Errorf("%w: %s (%d findings)", ErrDamaged, rep.Damage, len(rep.Findings)+rep.More)
	}
	return err
}
