package baseimage

import (
	"fmt"

	"relive/codec"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/squash"
	"relive/tree"
)

// bareBlock is the block size for a base that was not compressed, in bytes.
const bareBlock = 128 << 10

// Salt is what decides a new base besides the old one and the overlay.
func (p *Plan) Salt() string {
	s := fmt.Sprint(p.Summary.Codec, p.o.Level, p.Summary.BlockSize, p.o.Excludes)
	if p.o.Medium != nil {
		s += p.o.Medium.Salt()
	}
	return s
}

// WriteOptions joins what was asked for with what the base has.
func (p *Plan) WriteOptions() (squash.WriteOptions, error) {
	// What is not compressed yet is compressed as the media of that layout are.
	wo := squash.WriteOptions{Codec: codec.DefaultOptions(codec.XZ, bareBlock), BlockSize: bareBlock}
	if image := p.Live.Base.Image; image != nil && image.Format() != packed.SquashFS {
		return wo, refusal.New(refusal.UnsupportedForm, say.List+", "+say.Diff+" and "+say.Save+" work with it",
			"%s: it holds %s, of which no new base can be made yet", p.Live.Base.Name(), image.Format().Name())
	}
	if image := packed.Squash(p.Live.Base.Image); image != nil {
		wo = squash.WriteOptionsLike(image)
	}
	if p.o.Medium == nil && (p.Live.Base.Inner == nil || p.keepsImage()) {
		var err error
		if wo.Numbers, err = p.Live.Numbers(); err != nil {
			return wo, err
		}
	}
	wo.Library, wo.Workers = p.Env.Library, p.Env.Jobs
	// What was taken out of a system that is given away must not lie about in it.
	wo.NoDead = p.o.Medium != nil && p.o.Medium.NoDead
	blockSize := wo.BlockSize
	if p.o.BlockSize != 0 {
		wo.BlockSize = p.o.BlockSize
	}
	if wo.BlockSize < squash.MinBlockSize || wo.BlockSize > squash.MaxBlockSize || wo.BlockSize&(wo.BlockSize-1) != 0 {
		return wo, refusal.WithHint(refusal.Option(fmt.Errorf("block size %d", wo.BlockSize)), "SquashFS knows 4K, 8K, 16K and so on to 1M")
	}
	switch {
	case p.o.Codec != nil && *p.o.Codec != wo.Codec.ID:
		wo.Codec = codec.DefaultOptions(*p.o.Codec, wo.BlockSize)
	case wo.BlockSize != blockSize && wo.Codec.ID == codec.XZ:
		filters := wo.Codec.Filters
		wo.Codec = codec.DefaultOptions(codec.XZ, wo.BlockSize)
		wo.Codec.Filters = filters
	}
	if p.o.Level != 0 {
		wo.Codec.Level = p.o.Level
	}
	if err := wo.Codec.Validate(wo.BlockSize); err != nil {
		return wo, refusal.WithCode(refusal.WrongCompression, refusal.Option(err))
	}
	return wo, nil
}

// warnLosses tells what the new base cannot hold.
func (p *Plan) warnLosses(st *squash.PlanStats) {
	acls := uint64(0)
	for name, n := range st.DroppedXattrs {
		if (tree.Xattr{Name: name}).IsACL() {
			acls += n
		} else {
			p.Warn("SquashFS cannot hold the attribute %s, which %d files lose", name, n)
		}
	}
	if acls > 0 {
		p.Warn("SquashFS cannot hold POSIX ACLs: %d are lost", acls)
	}
	if text := replace.FlagsLost(st.DroppedFlags, st.FirstFlagged); text != "" {
		p.Warn("SquashFS cannot hold flags that chattr sets: %s", text)
	}
	if st.TimesOutOfRange > 0 {
		p.Warn("SquashFS cannot hold times before 1970 and after 2106: %d are set to the nearest", st.TimesOutOfRange)
	}
}
