package squash

import (
	"fmt"

	"relive/tree"
)

// checkXattrs reads every entry of the xattr id table with its attributes.
func (v *verifier) checkXattrs() {
	r := v.r
	used := func(i uint32) bool { return int(i/64) < len(v.xattrUse) && v.xattrUse[i/64]&(1<<(i%64)) != 0 }
	stored := int64(0)
	for i := range r.xattrCount {
		if i%256 == 0 && v.stop() {
			return
		}
		place := fmt.Sprintf("xattr id %d", i)
		id, err := r.xattrID(i)
		if err != nil {
			v.err(tree.Within(err, "%s", place))
			continue
		}
		v.report.XattrSets++
		if !v.pairs.has(&r.pairs, id.Ref) {
			v.fault(place, "its pairs at %#x are not at a metadata block", uint64(id.Ref))
			continue
		}
		var trace xattrTrace
		x, err := r.readXattrs(i, &trace)
		for _, value := range trace.values {
			if !v.pairs.has(&r.pairs, value) {
				v.fault(place, "a value at %#x is not at a metadata block", uint64(value))
			}
		}
		if stored += int64(trace.pairs); stored > v.pairs.decoded {
			v.fault(place, "the pairs up to its own have %d bytes, more than the table of %d", stored, v.pairs.decoded)
			return
		}
		listed := 0
		for _, a := range x {
			listed += len(a.Name) + 1 + len(a.Value)
		}
		switch {
		case err != nil:
			v.err(tree.Within(err, "%s", place))
		case len(x) == 0:
			v.fault(place, "has no attributes")
		case int(id.Size) != listed && int(id.Size) != trace.pairs:
			// mksquashfs records the one, gensquashfs the other.
			v.fault(place, "records a size of %d bytes; names and values have %d, the stored pairs %d", id.Size, listed, trace.pairs)
		}
		if v.complete && !used(i) {
			v.warn(place, "no inode has it")
		}
	}
}
