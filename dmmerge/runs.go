package dmmerge

import (
	"cmp"
	"container/heap"
	"slices"
)

// run is exceptions that follow each other in the metadata, in the origin and
// in the COW.
type run struct {
	old   uint64 // first chunk of the origin
	new   uint64 // first chunk of the COW
	n     uint32 // chunks
	entry uint32 // index of the first exception over all areas
}

func (r run) end() uint64    { return r.old + uint64(r.n) }
func (r run) newEnd() uint64 { return r.new + uint64(r.n) }

// rank orders runs where they overlap: the one whose entry for a chunk comes
// first in the metadata has the smaller rank, and that is so for every chunk
// that two runs share.
func (r run) rank() int64 { return int64(r.entry) - int64(r.old) }

// part returns the chunks [from, to) of the origin out of a run.
func (r run) part(from, to uint64) run {
	skip := from - r.old
	return run{old: from, new: r.new + skip, n: uint32(to - from), entry: r.entry + uint32(skip)}
}

// follows reports whether b goes on where a ends.
func (r run) follows(b run) bool {
	return b.old == r.end() && b.new == r.newEnd() && uint64(b.entry) == uint64(r.entry)+uint64(r.n) && uint64(r.n)+uint64(b.n) < 1<<32
}

// resolve sorts runs by their place in the origin and cuts them so that none
// overlap, the earliest entry winning, as it does in the kernel. It calls lost
// for what is cut away, with the run that wins.
func resolve(runs []run, lost func(loser, winner run)) []run {
	byOld := func(a, b run) int {
		if c := cmp.Compare(a.old, b.old); c != 0 {
			return c
		}
		return cmp.Compare(a.entry, b.entry)
	}
	if !slices.IsSortedFunc(runs, byOld) {
		slices.SortFunc(runs, byOld)
	}
	overlap := false
	for i := 1; i < len(runs) && !overlap; i++ {
		overlap = runs[i].old < runs[i-1].end()
	}
	if !overlap {
		return runs
	}
	won := make([]run, 0, len(runs))
	for len(runs) > 0 {
		// A cluster is runs that hang together by overlapping.
		end, k := runs[0].end(), 1
		for k < len(runs) && runs[k].old < end {
			end = max(end, runs[k].end())
			k++
		}
		if k == 1 {
			won = append(won, runs[0])
		} else {
			won = appendWinners(won, runs[:k], lost)
		}
		runs = runs[k:]
	}
	return won
}

// byRank is a heap of runs, the winner on top.
type byRank []run

func (h byRank) Len() int           { return len(h) }
func (h byRank) Less(i, j int) bool { return h[i].rank() < h[j].rank() }
func (h byRank) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byRank) Push(x any)        { *h = append(*h, x.(run)) }
func (h *byRank) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// appendWinners resolves one cluster.
func appendWinners(won, cluster []run, lost func(loser, winner run)) []run {
	first := len(won)
	var active byRank
	for pos, next := cluster[0].old, 0; ; {
		for next < len(cluster) && cluster[next].old <= pos {
			heap.Push(&active, cluster[next])
			next++
		}
		for len(active) > 0 && active[0].end() <= pos {
			heap.Pop(&active)
		}
		if len(active) == 0 {
			break // a cluster has no gaps
		}
		stop := active[0].end()
		if next < len(cluster) {
			stop = min(stop, cluster[next].old)
		}
		p := active[0].part(pos, stop)
		if n := len(won); n > first && won[n-1].follows(p) {
			won[n-1].n += p.n
		} else {
			won = append(won, p)
		}
		pos = stop
	}
	winners := won[first:]
	for _, r := range cluster {
		i, _ := slices.BinarySearchFunc(winners, r.old, func(w run, old uint64) int {
			if w.end() <= old {
				return -1
			}
			return 1
		})
		for ; i < len(winners) && winners[i].old < r.end(); i++ {
			if w := winners[i]; w.rank() != r.rank() {
				from, to := max(w.old, r.old), min(w.end(), r.end())
				lost(r.part(from, to), w.part(from, to))
			}
		}
	}
	return won
}

// sharing calls found for chunks of the COW that several entries name, for each
// but one of them.
func sharing(runs []run, found func(r, with run)) {
	order := make([]uint32, len(runs))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		if c := cmp.Compare(runs[a].new, runs[b].new); c != 0 {
			return c
		}
		return cmp.Compare(runs[a].entry, runs[b].entry)
	})
	for i := 0; i < len(order); {
		reach := runs[order[i]] // the run that reaches furthest so far
		for i++; i < len(order) && runs[order[i]].new < reach.newEnd(); i++ {
			r := runs[order[i]]
			n := min(r.newEnd(), reach.newEnd()) - r.new
			found(r.part(r.old, r.old+n), reach)
			if r.newEnd() > reach.newEnd() {
				reach = r
			}
		}
	}
}
