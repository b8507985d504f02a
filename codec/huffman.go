package codec

import "slices"

// huffman makes the codes of deflate (RFC 1951, section 3.2.2) for symbols that
// occur freqs times. Lengths are the shortest that max allows, nearly.
type huffman struct {
	keys []uint32 // frequency and symbol of those that occur, rising
	work []uint32
}

// huffmanSymbol is how many bits of a key are the symbol.
const huffmanSymbol = 9

// lengths sets the length, in bits, of each symbol's code; 0 for those that do not
// occur. Frequencies are below 1<<23. There are always two codes at least, as not
// every decoder takes one alone.
func (h *huffman) lengths(lens []uint8, freqs []uint32, max int) {
	clear(lens)
	h.keys = h.keys[:0]
	for s, f := range freqs {
		if f > 0 {
			h.keys = append(h.keys, f<<huffmanSymbol|uint32(s))
		}
	}
	for s := uint32(0); len(h.keys) < 2; s++ {
		if freqs[s] == 0 {
			h.keys = append(h.keys, 1<<huffmanSymbol|s)
		}
	}
	slices.Sort(h.keys)
	a := h.work[:0]
	for _, k := range h.keys {
		a = append(a, k>>huffmanSymbol)
	}
	h.work = a
	depths(a)
	var count [33]int
	for _, n := range a {
		count[min(n, 32)]++
	}
	limitDepths(&count, max)
	// The rarest have the longest codes.
	i := 0
	for n := max; n > 0; n-- {
		for range count[n] {
			lens[h.keys[i]&(1<<huffmanSymbol-1)] = uint8(n)
			i++
		}
	}
}

// depths replaces frequencies, which rise, with the depths of a Huffman tree's
// leaves, in place (Moffat and Katajainen, In-Place Calculation of Minimum-
// Redundancy Codes, 1995).
func depths(a []uint32) {
	n := len(a)
	a[0] += a[1]
	root, leaf := 0, 2
	for next := 1; next < n-1; next++ {
		if leaf >= n || a[root] < a[leaf] {
			a[next] = a[root]
			a[root] = uint32(next)
			root++
		} else {
			a[next] = a[leaf]
			leaf++
		}
		if leaf >= n || root < next && a[root] < a[leaf] {
			a[next] += a[root]
			a[root] = uint32(next)
			root++
		} else {
			a[next] += a[leaf]
			leaf++
		}
	}
	a[n-2] = 0
	for next := n - 3; next >= 0; next-- {
		a[next] = a[a[next]] + 1
	}
	avail, used, depth := 1, 0, uint32(0)
	root, next := n-2, n-1
	for avail > 0 {
		for root >= 0 && a[root] == depth {
			used++
			root--
		}
		for avail > used {
			a[next] = depth
			next--
			avail--
		}
		avail = 2 * used
		depth++
		used = 0
	}
}

// limitDepths moves codes that are longer than max to max, and lengthens others
// until all are again the leaves of one tree.
func limitDepths(count *[33]int, max int) {
	for n := max + 1; n < len(count); n++ {
		count[max] += count[n]
		count[n] = 0
	}
	total := 0
	for n := 1; n <= max; n++ {
		total += count[n] << (max - n)
	}
	for ; total > 1<<max; total-- {
		count[max]--
		for n := max - 1; n > 0; n-- {
			if count[n] > 0 {
				count[n]--
				count[n+1] += 2
				break
			}
		}
	}
}

// huffmanCodes sets the code of each length, bits reversed as deflate writes them.
func huffmanCodes(codes []uint16, lens []uint8) {
	var count, next [16]uint16
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
	}
	for s, n := range lens {
		if n > 0 {
			v, r := next[n], uint16(0)
			next[n]++
			for range n {
				r, v = r<<1|v&1, v>>1
			}
			codes[s] = r
		}
	}
}
