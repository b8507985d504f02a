package codec

// microLZMAMin is the shortest stream: the byte of properties in the place of the
// range coder's first one, and the four that set up its code.
const microLZMAMin = 5

type pureMicroLZMA struct {
	lzma   lzmaDecoder
	window int
}

func newPureMicroLZMA(window int) (RawDecompressor, error) {
	return &pureMicroLZMA{window: window}, nil
}

func (d *pureMicroLZMA) Decompress(dst, src []byte) error {
	if err := d.begin(dst, src); err != nil {
		return err
	}
	rest, err := d.lzma.run(src, len(dst), lzmaExact)
	if err != nil {
		return rawCorrupt(MicroLZMA, err)
	}
	if len(rest) > 0 {
		return rawCorruptf(MicroLZMA, "%d bytes follow the stream", len(rest))
	}
	return checkGiven(MicroLZMA, dst, d.lzma.pos)
}

func (d *pureMicroLZMA) Prefix(dst, src []byte) error {
	if err := d.begin(dst, src); err != nil {
		return err
	}
	if _, err := d.lzma.run(src, len(dst), lzmaPrefix); err != nil {
		return rawCorrupt(MicroLZMA, err)
	}
	return checkGiven(MicroLZMA, dst, d.lzma.pos)
}

// begin sets up the decoder for a stream. Its first byte is that of the properties,
// inverted; an LZMA stream begins with 0 there, of which nothing depends.
func (d *pureMicroLZMA) begin(dst, src []byte) error {
	if err := checkRaw(MicroLZMA, dst, src); err != nil {
		return err
	}
	if len(src) < microLZMAMin {
		return rawCorrupt(MicroLZMA, errLZMACut)
	}
	d.lzma.begin(dst, 0, d.window)
	if err := d.lzma.setProps(^src[0]); err != nil {
		return rawCorrupt(MicroLZMA, err)
	}
	return nil
}

func (d *pureMicroLZMA) Close() error { return nil }

// microLZMAFitMin is less than any stream that is shorter than what it holds, and
// what liblzma's encoder wants at least.
const microLZMAFitMin = 8
