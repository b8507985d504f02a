package packed

import (
	"fmt"
	"slices"
	"strings"

	"relive/codec"
	"relive/erofs"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/squash"
	"relive/tree"
)

// Wish is what is asked of a new image; what is zero is as the image that it takes
// the place of has it.
type Wish struct {
	Format    Format
	Codec     string // of the format's names, CodecNames
	Level     int    // of the codec
	BlockSize int    // of SquashFS's blocks, or what a compressed extent of EROFS may take, in bytes
}

// Any reports whether anything is asked for.
func (w Wish) Any() bool { return w != Wish{} }

// WriteOptions say how an image is made.
type WriteOptions struct {
	format Format
	squash squash.WriteOptions
	erofs  erofs.WriteOptions
}

// newBlock is the block size of an image that takes the place of none, in bytes.
const newBlock = 128 << 10

// newExtent is what an extent of an EROFS image that takes the place of none may
// take, in bytes, as Fedora's media have it.
const newExtent = 1 << 20

// Options join what is asked for with what an image has, which is nil where what is
// there is not compressed.
func Options(like Image, w Wish, lib *codec.Library) (WriteOptions, error) {
	o := WriteOptions{format: w.Format}
	if o.format == "" {
		if o.format = SquashFS; like != nil {
			o.format = like.Format()
		}
	}
	if o.format == EROFS {
		err := o.likeErofs(Erofs(like), w, lib)
		return o, err
	}
	err := o.likeSquash(Squash(like), w)
	o.squash.Library = lib
	return o, err
}

// CodecNames are the codecs of a format, as its tools name them.
func CodecNames(f Format) []string {
	if f == EROFS {
		return []string{"lz4", "lz4hc", "lzma", "deflate", "zstd", "none"}
	}
	return []string{"gzip", "lz4", "xz", "zstd", "lzo"}
}

func wrongCodec(f Format, name string) error {
	return refusal.WithCode(refusal.WrongCompression, refusal.WithHint(refusal.Option(fmt.Errorf("%s %s: %s has no such codec",
		say.Codec, name, f.Name())), f.Name()+" has "+strings.Join(CodecNames(f), ", ")))
}

// likeSquash sets the options of a SquashFS image.
func (o *WriteOptions) likeSquash(like *squash.Reader, w Wish) error {
	// What is not compressed yet is compressed as most live media are.
	wo := squash.WriteOptions{Codec: codec.DefaultOptions(codec.XZ, newBlock), BlockSize: newBlock}
	if like != nil {
		wo = squash.WriteOptionsLike(like)
	}
	blockSize := wo.BlockSize
	if w.BlockSize != 0 {
		wo.BlockSize = w.BlockSize
	}
	if wo.BlockSize < squash.MinBlockSize || wo.BlockSize > squash.MaxBlockSize || wo.BlockSize&(wo.BlockSize-1) != 0 {
		return refusal.WithHint(refusal.Option(fmt.Errorf("block size %d", wo.BlockSize)), "SquashFS knows 4K, 8K, 16K and so on to 1M")
	}
	id := wo.Codec.ID
	if w.Codec != "" {
		var err error
		if id, err = codec.ParseID(w.Codec); err != nil || !slices.Contains(CodecNames(SquashFS), w.Codec) {
			return wrongCodec(SquashFS, w.Codec)
		}
	}
	switch {
	case id != wo.Codec.ID:
		wo.Codec = codec.DefaultOptions(id, wo.BlockSize)
	case wo.BlockSize != blockSize && wo.Codec.ID == codec.XZ:
		filters := wo.Codec.Filters
		wo.Codec = codec.DefaultOptions(codec.XZ, wo.BlockSize)
		wo.Codec.Filters = filters
	}
	if w.Level != 0 {
		wo.Codec.Level = w.Level
	}
	if err := wo.Codec.Validate(wo.BlockSize); err != nil {
		return refusal.WithCode(refusal.WrongCompression, refusal.Option(err))
	}
	o.squash = wo
	return nil
}

// erofsCodecs are EROFS's compressions by the names that mkfs.erofs has for them.
var erofsCodecs = map[string]erofs.Compression{
	"lz4":     {Algorithm: codec.RawLZ4},
	"lz4hc":   {Algorithm: codec.RawLZ4, Options: codec.FitOptions{Level: 12}},
	"lzma":    {Algorithm: codec.MicroLZMA},
	"deflate": {Algorithm: codec.RawDeflate},
	"zstd":    {Algorithm: codec.RawZstd},
}

// likeErofs sets the options of an EROFS image.
func (o *WriteOptions) likeErofs(like *erofs.Reader, w Wish, lib *codec.Library) error {
	wo := erofs.WriteOptions{Compressions: []erofs.Compression{erofsCodecs["lzma"]}, Configs: true, Fragments: true,
		PclusterSize: newExtent, UnsharedXattrs: 2}
	if like != nil {
		var err error
		if wo, err = erofs.WriteOptionsLike(like); err != nil {
			return refusal.WithCode(refusal.UnsupportedForm, refusal.WithHint(err, "make it anew with "+say.Format+
				" squashfs, or with mkfs.erofs"))
		}
	}
	if w.Codec == "none" {
		wo.Compressions, wo.Fragments, wo.AllFragments, wo.Dedupe, wo.Tails = nil, false, false, false, false
	} else if w.Codec != "" {
		c, ok := erofsCodecs[w.Codec]
		if !ok {
			return wrongCodec(EROFS, w.Codec)
		}
		if len(wo.Compressions) == 0 || wo.Compressions[0].Algorithm != c.Algorithm || w.Codec == "lz4" {
			wo.Compressions = []erofs.Compression{c}
		}
		wo.Configs, wo.Legacy = true, false
	}
	if w.Level != 0 {
		if len(wo.Compressions) == 0 {
			return refusal.WithCode(refusal.WrongCompression, refusal.Option(fmt.Errorf("%s: nothing is compressed", say.Level)))
		}
		wo.Compressions[0].Options.Level = w.Level
		f, err := lib.NewFitter(wo.Compressions[0].Algorithm, wo.Compressions[0].Options)
		if err != nil {
			return refusal.WithCode(refusal.WrongCompression, refusal.Option(fmt.Errorf("%s %d: %w", say.Level, w.Level, err)))
		}
		f.Close()
	}
	if w.BlockSize != 0 {
		if w.BlockSize < erofs.BlockSize || w.BlockSize > newExtent || w.BlockSize%erofs.BlockSize != 0 {
			return refusal.WithHint(refusal.Option(fmt.Errorf("block size %d", w.BlockSize)),
				"of EROFS it is what a compressed extent may "+
					"take: a multiple of 4K up to 1M")
		}
		wo.PclusterSize = w.BlockSize
		wo.Configs = wo.Configs || w.BlockSize > erofs.BlockSize && len(wo.Compressions) > 0
	}
	wo.Library = lib
	o.erofs = wo
	return nil
}

// Format is the image's.
func (o *WriteOptions) Format() Format { return o.format }

// Codec is the name of the compressor of new data, "none" where nothing is
// compressed.
func (o *WriteOptions) Codec() string {
	if o.format == SquashFS {
		return o.squash.Codec.ID.String()
	}
	if len(o.erofs.Compressions) == 0 {
		return "none"
	}
	return o.erofs.Compressions[0].Algorithm.String()
}

// Library names the library that compresses, "" for none.
func (o *WriteOptions) Library() string {
	if o.format == SquashFS {
		return o.squash.Library.Implementation(o.squash.Codec.ID).Name
	}
	if len(o.erofs.Compressions) == 0 {
		return ""
	}
	return o.erofs.Library.FitterName(o.erofs.Compressions[0].Algorithm)
}

// BlockSize is what Wish.BlockSize stands for.
func (o *WriteOptions) BlockSize() int {
	if o.format == SquashFS {
		return o.squash.BlockSize
	}
	return o.erofs.PclusterSize
}

// Unit is the unit in which content is compressed, of which a change makes all anew;
// in bytes.
func (o *WriteOptions) Unit() int {
	if o.format == SquashFS {
		return o.squash.BlockSize
	}
	return erofs.BlockSize
}

// Built is when the image is said to be made.
func (o *WriteOptions) Built() tree.Time {
	if o.format == SquashFS {
		return tree.Time{Sec: int64(o.squash.MkfsTime)}
	}
	return o.erofs.Epoch
}

// SetBuilt sets it. Where inodes of EROFS are short, their time is that of the image,
// which stays.
func (o *WriteOptions) SetBuilt(t tree.Time) {
	o.squash.MkfsTime = uint32(t.Sec)
	if !o.erofs.Compact {
		o.erofs.Epoch = tree.Time{Sec: t.Sec}
	}
}

// SetNumbers has inodes of SquashFS keep numbers. EROFS has its files placed anew, and
// a UUID that tells marks of an overlay apart.
func (o *WriteOptions) SetNumbers(n *squash.Numbers) { o.squash.Numbers = n }

// SetWorkers bounds the goroutines that compress; 0 is one for each CPU.
func (o *WriteOptions) SetWorkers(n int) { o.squash.Workers, o.erofs.Workers = n, n }

// SetNoDead has nothing in the image that is not in its tree.
func (o *WriteOptions) SetNoDead(b bool) { o.squash.NoDead, o.erofs.NoDead = b, b }
