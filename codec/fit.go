package codec

import (
	"fmt"
	"math/bits"

	"relive/tree"
)

// Fitter compresses as much of the beginning of data as one raw stream of bounded
// length holds. It is not safe for concurrent use. What it gives depends on
// src, len(dst) and its options alone, never on what it was called with before.
type Fitter interface {
	// Fit writes to dst one raw stream of at most len(dst) bytes that decodes to
	// exactly src[:used], the longest beginning that it finds to fit, and returns
	// used and the stream's length n. used is 0 where no stream is found that is
	// shorter than what it holds; such data is better stored. used is never more
	// than FitMax. The stream never begins with byte 0. All of dst may have been
	// written to.
	Fit(dst, src []byte) (used, n int, err error)
	// Close frees what the garbage collector does not see. No method may be called
	// after it.
	Close() error
}

// FitMax is the most that one stream holds, in bytes: what the kernel takes
// (Z_EROFS_PCLUSTER_MAX_DSIZE).
const FitMax = 12 << 20

// FitOptions are what mkfs.erofs -z takes behind an algorithm's name. Zero values
// stand for its defaults.
type FitOptions struct {
	// Level is:
	//   - RawLZ4: 1 to 12 as in lz4hc,N; 0 is lz4, which has no levels.
	//   - MicroLZMA: 1 to 9 as in lzma,level=N, 100 to 109 as liblzma's extreme
	//     presets, FitLevel0 for level=0; by default 6.
	//   - RawDeflate: 1 to 9 as in deflate,N; by default 1.
	//   - RawZstd: to 22 as in zstd,N, with those below 0; by default 3 as
	//     mkfs.erofs's help has it (1.9.4 gives libzstd -1 where there is no level).
	Level int
	// Dictionary is how far back a MicroLZMA stream may reach, in bytes, 4096 to
	// 8 MiB; by default four times the pcluster, 32 KiB at least.
	Dictionary uint32
	// WindowBits is the same for RawDeflate, as log2, 8 to 15; by default 15.
	WindowBits uint8
	// WindowLog is the same for RawZstd, as log2, 10 to 20; by default that of
	// eight times the pcluster, rounded down.
	WindowLog uint8
}

// FitLevel0 stands for preset 0 of MicroLZMA, where 0 is the default.
const FitLevel0 = -1

// The limits of what EROFS's configuration of an algorithm names.
const (
	fitMinDictionary = 4096
	fitMaxDictionary = 8 << 20
	fitMinWindowBits = 8
	fitMaxWindowBits = 15
	fitMinWindowLog  = 10
	fitMaxWindowLog  = 20
)

// WithDefaults gives o with what mkfs.erofs 1.9 takes in the place of zero values
// where streams are at most pcluster bytes long. RawLZ4's level stays.
func (o FitOptions) WithDefaults(r Raw, pcluster int) FitOptions {
	pcluster = max(pcluster, 1)
	if o.Level == 0 {
		o.Level = [rawCount]int{RawLZ4: 0, MicroLZMA: 6, RawDeflate: 1, RawZstd: 3}[r]
	}
	if o.Dictionary == 0 {
		o.Dictionary = uint32(min(max(4*pcluster, 32<<10), fitMaxDictionary))
	}
	if o.WindowBits == 0 {
		o.WindowBits = fitMaxWindowBits
	}
	if o.WindowLog == 0 {
		o.WindowLog = uint8(min(max(bits.Len(uint(8*pcluster))-1, fitMinWindowLog), fitMaxWindowLog))
	}
	return o
}

// fitSmallestPcluster is what defaults are counted from where nobody says how
// long streams are; so they suit all.
const fitSmallestPcluster = 4096

// FitterName tells which library fits streams of that compression, with its
// version, as Implementation.Name does.
func (l *Library) FitterName(r Raw) string {
	switch {
	case r >= rawCount:
		return ""
	case l.raws[r].nativeFit:
		return l.codecs[map[Raw]ID{RawLZ4: LZ4, MicroLZMA: XZ, RawDeflate: Gzip, RawZstd: Zstd}[r]].name
	case r == RawZstd:
		return pureCodecs()[Zstd].name
	}
	return "relive " + r.String() + " (Go)"
}

// NewFitter makes a fitter. Options that are out of range are ErrOptions. Zero
// values are replaced as WithDefaults has it for pclusters of 4 KiB: whoever
// makes longer ones calls it before, as the image has to tell the windows, too.
func (l *Library) NewFitter(r Raw, o FitOptions) (Fitter, error) {
	if r >= rawCount {
		return nil, tree.Unsupported("", "", "%s is unknown", r)
	}
	o = o.WithDefaults(r, fitSmallestPcluster)
	if err := o.check(r); err != nil {
		return nil, err
	}
	return l.raws[r].fitter(o)
}

// check refuses options that are out of range.
func (o FitOptions) check(r Raw) error {
	wrong := func(what string, v, low, high int) error {
		return &tree.FormatError{Place: r.String() + " options", Kind: ErrOptions,
			Fact: fmt.Sprintf("%s %d is not from %d to %d", what, v, low, high)}
	}
	level := func(low, high int) error {
		if o.Level < low || o.Level > high {
			return wrong("level", o.Level, low, high)
		}
		return nil
	}
	switch r {
	case RawLZ4:
		return level(0, lz4DefaultHCLevel)
	case MicroLZMA:
		if o.Dictionary < fitMinDictionary || o.Dictionary > fitMaxDictionary {
			return wrong("dictionary size", int(o.Dictionary), fitMinDictionary, fitMaxDictionary)
		}
		if o.Level >= lzmaExtreme {
			return level(lzmaExtreme, lzmaExtreme+9)
		}
		return level(FitLevel0, 9)
	case RawDeflate:
		if o.WindowBits < fitMinWindowBits || o.WindowBits > fitMaxWindowBits {
			return wrong("window bits", int(o.WindowBits), fitMinWindowBits, fitMaxWindowBits)
		}
		return level(1, 9)
	case RawZstd:
		if o.WindowLog < fitMinWindowLog || o.WindowLog > fitMaxWindowLog {
			return wrong("window log", int(o.WindowLog), fitMinWindowLog, fitMaxWindowLog)
		}
		return level(zstdMinLevel, zstdMaxLevel)
	}
	return nil
}

// lzmaExtreme is added to the levels of liblzma's extreme presets.
const lzmaExtreme = 100

// fitted is what Fit returns for a stream of n bytes that holds used.
func fitted(r Raw, dst []byte, used, n int) (int, int, error) {
	if n >= used {
		return 0, 0, nil
	}
	if n > len(dst) || used > FitMax || dst[0] == 0 {
		return 0, 0, fmt.Errorf("%s: a stream of %d bytes for %d, with %#x first", r, n, len(dst), dst[0])
	}
	return used, n, nil
}

// fitSearch fits by trying lengths of an encoder that takes all it is given: the
// ratios of what was tried tell what to try next.
type fitSearch struct{ buf []byte }

// The tries of a search, and the share of dst that may stay empty.
const (
	fitTries = 6
	fitSlack = 8 // as log2
)

// fit is Fit. pack packs src into out, whose length is len(src), and gives the
// stream's length, or one of more than out's where it is not shorter.
func (s *fitSearch) fit(r Raw, dst, src []byte, pack func(out, src []byte) (int, error)) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	if len(src) == 0 || len(dst) == 0 {
		return 0, 0, nil
	}
	slack := len(dst)>>fitSlack + 1
	aim := len(dst) - slack/2
	fits, fitsTo := 0, 0                       // the longest that fits, and its stream's length
	over := len(src) + 1                       // the shortest that does not
	below, above := aim, 0                     // how far from aim the streams of both are
	side := 0                                  // how often in turn a try was over, or, below 0, did fit
	m := min(len(src), max(3*len(dst), 1<<10)) // what is tried
	for try := 0; ; try++ {
		if cap(s.buf) < m {
			s.buf = make([]byte, m+m/4)
		}
		got, err := pack(s.buf[:m], src[:m])
		if err != nil {
			return 0, 0, err
		}
		got = min(got, m)
		if got <= len(dst) {
			if got == m && m < len(src) && try > 0 {
				break
			}
			fits, fitsTo = m, got
			below, side = aim-got, min(side, 0)-1
			copy(dst, s.buf[:got])
			if got > len(dst)-slack {
				break
			}
		} else {
			over = m
			above, side = got-aim, max(side, 0)+1
		}
		if over <= fits+1 || fits > 0 && try >= fitTries {
			break
		}
		switch {
		case over > len(src):
			m = int(int64(fits) * int64(aim) / int64(fitsTo))
		case try >= fitTries:
			m = fits + (over-fits)/2
		default:
			// An end that stays counts for less each time, or the other would creep.
			switch {
			case side < -1:
				above = (above + 1) / 2
			case side > 1:
				below = (below + 1) / 2
			}
			m = fits + int(int64(over-fits)*int64(below)/int64(below+above))
		}
		m = min(max(m, fits+1), over-1)
	}
	return fitted(r, dst, fits, fitsTo)
}
