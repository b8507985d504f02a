package codec

// microLZMALevel is how hard a level searches.
type microLZMALevel struct{ depth, nice int }

// microLZMALevels are by liblzma's presets; the last is for all extreme ones.
var microLZMALevels = [...]microLZMALevel{
	{2, 24}, {4, 32}, {6, 40}, {8, 48}, {10, 32}, {16, 48}, {24, 64}, {32, 64}, {48, 64}, {64, 64}, {96, 128},
}

// pureMicroLZMAFitter packs in one pass: of the ways over a span of the input it
// takes the cheapest, and encodes it until a symbol no longer fits.
type pureMicroLZMAFitter struct {
	finder *matchFinder
	found  []match
	nice   int
	slots  uint32 // of distances within the dictionary
	enc    lzmaEncoder
	prices lzmaPrices
	stale  int // bytes that may still be encoded with these prices
	span   []lzmaStep
	path   []lzmaChoice
}

// lzmaStep is the cheapest way to a position of a span.
type lzmaStep struct {
	price uint32
	last  lzmaChoice // what leads here
	state uint32     // behind it, once the position is reached
	rep   [4]uint32
}

const (
	lzmaSpan = 1024
	// lzmaStale is after how many bytes prices are made anew.
	lzmaStale = 512
)

func newPureMicroLZMAFitter(o FitOptions) (Fitter, error) {
	level := microLZMALevels[len(microLZMALevels)-1]
	switch {
	case o.Level == FitLevel0:
		level = microLZMALevels[0]
	case o.Level < lzmaExtreme:
		level = microLZMALevels[o.Level]
	}
	slots, _ := lzmaSlot(o.Dictionary - 1)
	return &pureMicroLZMAFitter{
		finder: newMatchFinder(int(o.Dictionary), level.depth, level.nice, lzmaMinMatch),
		nice:   level.nice,
		slots:  slots + 1,
		span:   make([]lzmaStep, lzmaSpan+lzmaMaxMatch+1),
	}, nil
}

func (f *pureMicroLZMAFitter) Close() error { return nil }

func (f *pureMicroLZMAFitter) Fit(dst, src []byte) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	if len(src) == 0 || len(dst) < microLZMAFitMin {
		return 0, 0, nil
	}
	f.finder.reset(src)
	f.enc.begin(dst)
	f.stale = 0
	for used < len(src) {
		if f.stale <= 0 {
			f.prices.update(&f.enc, lzmaMaxMatch, f.slots)
			f.stale = lzmaStale
		}
		f.cheapest(src, used)
		start := used
		for i := len(f.path) - 1; i >= 0; i-- {
			before := f.enc.lzmaRange
			c := f.path[i]
			if c.how == lzmaLiteral {
				prev, same := byte(0), byte(0)
				if used > 0 {
					prev, same = src[used-1], src[used-int(f.enc.rep[0])-1]
				}
				f.enc.literal(used, src[used], prev, same)
			} else {
				f.enc.match(used, c)
			}
			if f.enc.size() > len(dst) {
				f.enc.lzmaRange = before
				return f.end(used)
			}
			used += int(c.length)
		}
		f.stale -= used - start
	}
	return f.end(used)
}

// end ends a stream that holds used bytes.
func (f *pureMicroLZMAFitter) end(used int) (int, int, error) {
	e := &f.enc
	e.flush()
	n := e.n
	dst := e.dst
	e.dst = nil
	// In the place of the range coder's first byte, which is always 0.
	dst[0] = ^byte(lzmaProps)
	return fitted(MicroLZMA, dst, used, n)
}

// reach takes a way to span[to] if it is cheaper. end is how far ways lead yet.
func (f *pureMicroLZMAFitter) reach(end *int, to int, price uint32, c lzmaChoice) {
	for ; *end < to; *end++ {
		f.span[*end+1].price = lzmaInfinite
	}
	if s := &f.span[to]; price < s.price {
		s.price, s.last = price, c
	}
}

// cheapest sets f.path to the symbols of the cheapest way from start to where no
// symbol reaches over, or the span ends, the last of them first.
func (f *pureMicroLZMAFitter) cheapest(src []byte, start int) {
	e, p := &f.enc, &f.prices
	f.path = f.path[:0]
	f.span[0] = lzmaStep{state: e.state, rep: e.rep}
	end := 0
	at := 0
	for ; ; at++ {
		s := &f.span[at]
		if at > 0 {
			before := &f.span[at-int(s.last.length)]
			s.state, s.rep = s.last.next(before.state, before.rep)
			if at == end || at >= lzmaSpan {
				break
			}
		}
		pos := start + at
		posState := uint32(pos) & lzmaPosMask
		limit := min(len(src)-pos, lzmaMaxMatch)
		f.found = f.finder.find(pos, limit, f.found)

		// Where something is long, all else is left.
		long := lzmaChoice{}
		longest := 0
		var reps [4]int
		if pos > 0 {
			for i, dist := range s.rep {
				if int(dist) < pos && src[pos] == src[pos-int(dist)-1] {
					reps[i] = matchLength(src, pos, int(dist)+1, limit)
				}
				longest = max(longest, reps[i])
				if reps[i] >= f.nice && reps[i] > int(long.length) {
					long = lzmaChoice{int32(reps[i]), int32(i)}
				}
			}
		}
		if n := len(f.found); n > 0 {
			m := f.found[n-1]
			longest = max(longest, m.length)
			if m.length >= f.nice && long.length == 0 {
				long = lzmaChoice{int32(m.length), int32(m.dist - 1 + lzmaNew)}
			}
		}
		if long.length > 0 {
			f.path = append(f.path, long)
			break
		}

		isMatch := probIsMatch + s.state<<4 + posState
		// A literal, or a byte from the last distance.
		prev, same := byte(0), byte(0)
		if pos > 0 {
			prev, same = src[pos-1], src[pos-int(s.rep[0])-1]
		}
		f.reach(&end, at+1, s.price+e.price(isMatch, 0)+e.literalPrice(s.state, src[pos], prev, same), lzmaChoice{1, lzmaLiteral})
		match := s.price + e.price(isMatch, 1)
		rep := match + e.price(probIsRep+s.state, 1)
		if reps[0] > 0 {
			f.reach(&end, at+1, rep+e.price(probIsRepG0+s.state, 0)+e.price(probIsRep0Long+s.state<<4+posState, 0), lzmaChoice{1, 0})
		}
		if longest < lzmaMinMatch {
			continue
		}
		for i, n := range reps {
			if n < lzmaMinMatch {
				continue
			}
			price := rep
			if i == 0 {
				price += e.price(probIsRepG0+s.state, 0) + e.price(probIsRep0Long+s.state<<4+posState, 1)
			} else {
				price += e.price(probIsRepG0+s.state, 1) + e.price(probIsRepG1+s.state, b32(i > 1))
				if i > 1 {
					price += e.price(probIsRepG2+s.state, b32(i > 2))
				}
			}
			for n := lzmaMinMatch; n <= reps[i]; n++ {
				f.reach(&end, at+n, price+p.repLens[posState][n], lzmaChoice{int32(n), int32(i)})
			}
		}
		match += e.price(probIsRep+s.state, 0)
		n := int32(lzmaMinMatch)
		for _, m := range f.found {
			dist := uint32(m.dist - 1)
			for ; int(n) <= m.length; n++ {
				f.reach(&end, at+int(n), match+p.lens[posState][n]+p.distance(dist, n), lzmaChoice{n, int32(dist) + lzmaNew})
			}
		}
	}
	for at > 0 {
		c := f.span[at].last
		f.path = append(f.path, c)
		at -= int(c.length)
	}
}
