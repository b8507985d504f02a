package upper

import (
	"context"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/tree"
)

// NewLayer plans that the overlay consists of this very layer, with all marks
// as they are: one that was written over the present base, so that what it
// refers to there still means the same. shown is what it shows over the base,
// merged with the options of live.Live.lay. The layer must not depend on an index.
// The overlay must be an image of one layer of the same form.
func NewLayer(ctx context.Context, l *live.Live, e *job.Env, verb string, layer, shown *tree.Node, o Options) (*Plan, error) {
	return planned(ctx, l, e, verb, shown, layer, o)
}

// given is the layer that planLayer was given, as the one that is to be made.
func (p *Plan) given(ctx context.Context, root *tree.Node) ([]newLayer, error) {
	if len(p.Live.Overlay.UnionLayers) > 0 || p.Live.Overlay.Image == nil {
		return nil, refusal.New(refusal.UnsupportedForm, "bring the files in as root, through a mount", "%s: is no image of one layer",
			p.Live.Overlay.Path)
	}
	layers, err := p.shares(ctx)
	if err != nil {
		return nil, err
	}
	layers[0].Root = root
	return layers, nil
}
